/** A relay of the mesh, as a setting names it. */
export interface MeshPeer {
  /** The name that its certificate must cover, without a final dot; an address has no brackets. */
  readonly host: string;
  /** The Host header: with brackets, and with the port unless that is 443. */
  readonly authority: string;
  readonly port: number;
  /** The host to resolve and to connect to, at `port`. */
  readonly dialHost: string;
}
