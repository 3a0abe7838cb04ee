/** A small DNS server on 127.0.0.1, over UDP and TCP: names that change while it runs. */
export class DnsServer {
  static start(port?: number): Promise<DnsServer>;
  /** `address:port`. */
  readonly address: string;
  readonly port: number;
  /** Questions so far, of every name. */
  readonly questions: number;
  set(name: string, addresses: readonly string[], ttl?: number): void;
  setServices(name: string, services: readonly { readonly host: string; readonly port: number }[], ttl?: number): void;
  delete(name: string): void;
  fail(name: string, how?: 'servfail' | 'silent', types?: readonly string[]): void;
  close(): Promise<void>;
}
