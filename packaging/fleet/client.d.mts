import type { NodeKey } from '../../src/protocol/key.js';

export interface ClientTarget {
  readonly host: string;
  readonly port: number;
  readonly servername: string;
  readonly ca: Buffer;
}

/** A small DERP client that connects again whenever its connection ends. */
export class Client {
  constructor(target: ClientTarget);
  readonly key: NodeKey;
  /** The key of its relay, as hex; undefined while it is not connected. */
  readonly relay: string | undefined;
  readonly connects: number;
  send(to: NodeKey, packet: Buffer): boolean;
  close(): void;
}
