import { ListenError, type ListenSetting } from '../errors.js';
import type { Face } from '../http/server.js';
import type { DataPlane, ListenerId, Listening, ListenSpec } from '../plane/plane.js';

/** The listeners of a relay, and the face that the HTTP server shows on each. */
export class Listeners {
  /** The ports of both faces, for redirects: the well-known ones until a listener is open. */
  readonly ports = { plain: 80, tls: 443 };
  private readonly faces = new Map<ListenerId, Face>();

  constructor(private readonly plane: DataPlane) {}

  /** Rejects with a `ListenError` that names the setting. */
  async open(spec: ListenSpec, face: Face, setting: ListenSetting): Promise<Listening> {
    try {
      const listening = await this.plane.listen(spec);
      this.faces.set(listening.id, face);
      return listening;
    } catch (error) {
      const { message, cause } = error as Error;
      throw new ListenError(setting, message, { cause });
    }
  }

  face(id: ListenerId): Face {
    return this.faces.get(id) ?? 'main';
  }
}
