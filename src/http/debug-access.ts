import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { Networks } from '../plane/networks.js';
import { covers, hostOfField, withoutFinalDot } from '../protocol/host-name.js';

export interface DebugAccessOptions extends DebugRules {
  /**
   * Host names that requests may use, besides addresses and `localhost`. The first label may be a star. Called at each
   * request.
   */
  readonly hosts: () => readonly string[];
}

/** The clients with access to `/debug/`, besides those that always have it. */
export interface DebugRules {
  /** A client address with access, compared as text. */
  readonly allowIp?: string | undefined;
  /** Networks with access, `address/bits`. */
  readonly trustedCidrs: readonly string[];
  /**
   * A file with a secret. A GET request that passes its trimmed text as `debugkey` has access. Read at each request.
   */
  readonly keyFile?: string | undefined;
}

/** `unknown host`: the client's address has access, but its request names a host that is not one of ours. */
export type DebugVerdict = 'allowed' | 'denied' | 'unknown host';

/**
 * Which requests a page answers. `near` is derper's rule. `own` is that rule without requests that web pages of other sites send: they
 * cannot read an answer, but could hold what there is little of. `machine` is for pages that show more than figures: those of this
 * machine, and the debug key. `key` is the debug key alone.
 */
export type DebugReach = 'near' | 'own' | 'machine' | 'key';

/** The facts of a request that decide about access. */
export interface DebugRequest {
  readonly method: string;
  /** The `debugkey` of the query, decoded. */
  readonly debugKey: string | null;
  readonly headers: IncomingHttpHeaders;
  /** IP text of the client; empty if unknown. */
  readonly address: string;
}

/**
 * Headers with which proxies describe the original client, besides every header with `forward` in its name. Empty ones
 * count.
 */
const PROXY_HEADERS = [
  'via',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'true-client-ip',
  'cf-connecting-ip',
  'fastly-client-ip',
  'fly-client-ip',
  'client-ip',
  'x-remote-ip',
  'x-azure-clientip',
  'x-appengine-user-ip',
  'x-envoy-external-address',
  'x-original-host',
  'cdn-loop',
];

/** The machine itself, and Tailscale's networks. */
const NEAR = new Networks(['127.0.0.0/8', '::1/128', '100.64.0.0/10', 'fd7a:115c:a1e0::/48']);
const MACHINE = new Networks(['127.0.0.0/8', '::1/128']);
/** Chromebooks use a part of Tailscale's range for themselves. */
const CHROMEBOOKS = new Networks(['100.115.92.0/23']);

/**
 * Decides about access to `/debug/`: derper's rules, of which the first match decides. An unknown client is denied. Two
 * rules go beyond derper. Any proxy header denies access. And the Host must be one of ours: otherwise a web page in a
 * trusted browser could point a name of its own at this relay and read the answers.
 */
export class DebugAccess {
  private rules!: DebugRules;
  private trusted = new Networks([]);
  private readonly hosts: () => readonly string[];

  constructor({ hosts, ...rules }: DebugAccessOptions) {
    this.hosts = hosts;
    this.change(rules);
  }

  /** Other rules hold, for requests from here on. */
  change(rules: DebugRules): void {
    this.rules = rules;
    this.trusted = new Networks(rules.trustedCidrs);
  }

  verdict(request: DebugRequest, reach: DebugReach = 'near'): DebugVerdict {
    const { method, debugKey, headers, address } = request;
    if (method === 'GET' && debugKey && this.isKey(debugKey)) return 'allowed';
    if (reach === 'key') return 'denied';
    // Behind a proxy, the peer address is the proxy's and does not identify the client.
    if (isProxied(headers) || !this.isNear(address)) return 'denied';
    if (reach !== 'near' && !isOfItsOwn(headers)) return 'denied';
    if (reach === 'machine' && !MACHINE.has(address)) return 'denied';
    return headers.host === undefined || this.isOurs(headers.host) ? 'allowed' : 'unknown host';
  }

  /** Whether a client with this address has access, if its request is acceptable otherwise. */
  isNear(address: string): boolean {
    if (isIP(address) === 0) return false;
    if (address === this.rules.allowIp) return true;
    // The zone of an address names an interface of this machine, to which no rule applies.
    if (address.includes('%')) return false;
    return (NEAR.has(address) && !CHROMEBOOKS.has(address)) || this.trusted.has(address);
  }

  /** Whether a Host header names this relay: an address, `localhost`, or one of its names. */
  isOurs(field: string): boolean {
    const host = hostOfField(field);
    if (isIP(host) !== 0 || host === 'localhost') return true;
    return this.hosts().some((name) => covers(withoutFinalDot(name), host));
  }

  private isKey(given: string): boolean {
    const { keyFile } = this.rules;
    if (!keyFile) return false;
    try {
      const hash = (text: string) => createHash('sha256').update(text).digest();
      return timingSafeEqual(hash(readFileSync(keyFile, 'utf8').trim()), hash(given));
    } catch {
      return false;
    }
  }
}

/** Whether no web page of another site has sent the request. Programs do not say. */
function isOfItsOwn({ 'sec-fetch-site': site = 'none' }: IncomingHttpHeaders): boolean {
  return site === 'none' || site === 'same-origin';
}

function isProxied(headers: IncomingHttpHeaders): boolean {
  return Object.keys(headers).some((name) => name.includes('forward') || PROXY_HEADERS.includes(name));
}
