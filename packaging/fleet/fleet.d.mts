import type { DnsServer } from '../dns-server.mjs';

/** The name of the certificate. */
export const HOSTNAME: string;
/** Why no fleet can run here; undefined if it can. */
export function whyNoFleet(): string | undefined;

/** The compose file of the fleet as processes of this machine. */
export class Fleet {
  /**
   * `network`: the first three bytes of loopback addresses, with a dot behind; of every fleet another. `env`: of all relays.
   * `nats`: the path of nats-server; without it the relays know nothing of NATS.
   */
  constructor(network?: string, env?: Readonly<Record<string, string>>, nats?: string);
  readonly hasNats: boolean;
  readonly relays: readonly { readonly name: string; readonly aliases: readonly string[] }[];
  readonly dns: DnsServer;
  /** The port of HAProxy on 127.0.0.1. */
  readonly port: number;
  /** A file with the certificate of all relays, which signs itself; its key lies beside it. */
  readonly authority: string;
  readonly meshKeyFile: string;
  onLine: (name: string, line: string) => void;
  /** A process has ended that was not stopped. */
  onEnd: (name: string, code: number | null) => void;
  /** The last line that a process has written. */
  lastLine(name: string): string | undefined;
  /** Starts everything but the relays that `without` names. */
  start(without?: readonly string[]): Promise<void>;
  addressOf(name: string): string;
  isRunning(name: string): boolean;
  startRelay(name: string, env?: Readonly<Record<string, string>>, command?: readonly string[]): void;
  startHaproxy(): Promise<void>;
  startNats(): void;
  /** Resolves with the exit status; `null` after a signal, `undefined` if it does not run. */
  stop(name: string, signal?: NodeJS.Signals): Promise<number | null | undefined>;
  signal(name: string, signal: NodeJS.Signals): void;
  /** The rows of a relay's /debug/varz, by name and labels. */
  figures(name: string): Promise<ReadonlyMap<string, number>>;
  close(): Promise<void>;
}
