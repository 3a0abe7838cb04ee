/** Absolute paths of the binaries. */
export interface Peers {
  readonly derper: string;
  readonly derpprobe: string;
  readonly interop: string;
}

export function goAvailable(): string | undefined;
export function buildPeers(): Promise<Peers>;
