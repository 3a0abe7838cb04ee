import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';

export interface DebugAccessOptions {
  /** An address that is let in, compared as text. */
  readonly allowIp?: string | undefined;
  /** Networks that are let in, `address/bits`. */
  readonly trustedCidrs: readonly string[];
  /** File whose text, without blanks around it, a GET request may give as `debugkey`. Read anew each time. */
  readonly keyFile?: string | undefined;
}

/** What is asked of a request. */
export interface DebugRequest {
  readonly method: string;
  /** Of the query, decoded. */
  readonly debugKey: string | null;
  readonly forwardedFor: string | undefined;
  /** IP text of the peer; empty if unknown. */
  readonly address: string;
}

/** Who may see `/debug/`: derper's rules, the first one that fits. Whoever is not known to be near is far. */
export class DebugAccess {
  private readonly near = new BlockList();
  /** Chromebooks' own, in the middle of Tailscale's range. */
  private readonly except = new BlockList();
  private readonly trusted = new BlockList();

  constructor(private readonly options: DebugAccessOptions) {
    for (const network of ['127.0.0.0/8', '::1/128', '100.64.0.0/10', 'fd7a:115c:a1e0::/48']) add(this.near, network);
    add(this.except, '100.115.92.0/23');
    for (const network of options.trustedCidrs) add(this.trusted, network);
  }

  allows({ method, debugKey, forwardedFor, address }: DebugRequest): boolean {
    if (method === 'GET' && debugKey && this.isKey(debugKey)) return true;
    // Behind a proxy the peer is the proxy, which says nothing about who asks.
    if (forwardedFor) return false;
    if (isIP(address) === 0) return false;
    if (address === this.options.allowIp) return true;
    // A zone names an interface of this machine; no rule here is about one.
    if (address.includes('%')) return false;
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
    const near = this.near.check(address, family) && !this.except.check(address, family);
    return near || this.trusted.check(address, family);
  }

  private isKey(given: string): boolean {
    const { keyFile } = this.options;
    if (!keyFile) return false;
    try {
      const hash = (text: string) => createHash('sha256').update(text).digest();
      return timingSafeEqual(hash(readFileSync(keyFile, 'utf8').trim()), hash(given));
    } catch {
      return false;
    }
  }
}

function add(list: BlockList, network: string): void {
  const [address = '', bits] = network.split('/');
  list.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4');
}
