import type { LinkChange } from '../../plane/plane.js';
import type { NodeKey } from '../../protocol/key.js';

/** A part of the control plane that has dialled, and hears what becomes of the link. */
export interface LinkUser {
  /** The dial has succeeded: the relay with this key has admitted us. */
  onOpen(serverKey: NodeKey): void;
  /** The relay says that keys are there, or are not. */
  onPeers(changes: readonly LinkChange[]): void;
  /** The dial has failed, or the link has ended. Called once. */
  onClosed(reason: string): void;
}
