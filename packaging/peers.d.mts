/** Absolute paths of the binaries. */
export interface Peers {
  readonly derper: string;
  readonly derpprobe: string;
  readonly interop: string;
}

export function whyNoGo(): string | undefined;
export function buildPeers(): Promise<Peers>;

/** Absolute paths of an ACME server for tests, and of the DNS server that it asks. */
export interface Pebble {
  readonly pebble: string;
  readonly dns: string;
}

export function buildPebble(): Promise<Pebble>;

export function makeOnce(finished: string, fill: (directory: string) => Promise<void>): Promise<void>;
