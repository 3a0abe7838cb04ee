/** A relay of the mesh and the state of its link. */
export interface MeshStatus {
  /** The relay as the settings or a source name it: `host` or `host:port`. */
  readonly relay: string;
  /** Where the relay has its name from: `meshWith`, or a source such as `dns relays.example.com`. */
  readonly from: string;
  /**
   * `connecting`: a dial is in progress, or waits for its turn; `waiting`: until the next dial; `self`: it is this relay, which
   * is not dialled again; `twin`: it is another relay with the key of this one, so that the two cannot mesh; `duplicate`: it is
   * a relay that is connected under another address; `leaving`: connected, and no source names it any more.
   */
  readonly state: 'connecting' | 'connected' | 'waiting' | 'self' | 'twin' | 'duplicate' | 'leaving';
  /** Since when it has been in this state: milliseconds since 1970. While dials fail, since when the relay is not connected. */
  readonly since: number;
  /** Gauge: dials in a row that have failed. */
  readonly failures: number;
  /** Gauge: node keys that it announces. */
  readonly peers: number;
  /** Node keys of it that were ignored, or forgotten later, because of `limits.meshKeys`. */
  readonly passedOver: number;
  /** Its key, `nodekey:<hex>`; `undefined` before the first connection. */
  readonly publicKey: string | undefined;
  /** Why the last dial failed or the last link ended; empty if neither happened yet. */
  readonly trouble: string;
}
