/** Addresses of names, from DNS alone, with the time for which they hold. What fails keeps its last answer. */

import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { MOST_FOUND } from './wanted.js';

/** Asks a DNS server: those of the system or a given one, except in tests. Rejects with an error that has a `code`. */
export interface DnsQuestions {
  resolve4(name: string, options: { ttl: true }): Promise<{ address: string; ttl: number }[]>;
  resolve6(name: string, options: { ttl: true }): Promise<{ address: string; ttl: number }[]>;
  resolveSrv(name: string): Promise<{ name: string; port: number }[]>;
  cancel(): void;
}

/** Milliseconds for a try, and tries for a question: the whole takes less than 10 s. */
const TRIES = { timeout: 2_000, tries: 2 } as const;

/** A new resolver for each look, because the system's servers can change. `server` is an address, with a port or without. */
export function dnsQuestions(server: string | undefined): DnsQuestions {
  const resolver = new Resolver(TRIES);
  if (server !== undefined) resolver.setServers([isIP(server) === 6 ? `[${server}]` : server]);
  return resolver;
}

/** What is known of a name. */
export interface Answer {
  readonly addresses: readonly string[];
  /** Seconds until the first record ends; `undefined` if there is none. */
  readonly ttl: number | undefined;
  /** Why part of the answer is an old one; `undefined` if none is. */
  readonly trouble: string | undefined;
}

/** The codes with which a server says that there is no such name, or that it has no such records. */
const EMPTY = new Set(['ENOTFOUND', 'ENODATA']);

const WORDS: Readonly<Record<string, string>> = {
  ESERVFAIL: 'the DNS server has failed',
  ETIMEOUT: 'the DNS server does not answer in time',
  ECONNREFUSED: 'the DNS server cannot be reached',
  EREFUSED: 'the DNS server refuses the question',
  EFORMERR: 'the DNS server does not understand the question',
  ENOTIMP: 'the DNS server does not know such questions',
  EBADRESP: 'the answer of the DNS server cannot be read',
};

/** Whether an answer says that there is nothing, which is an answer. */
export function isEmpty(error: unknown): boolean {
  return EMPTY.has(String((error as { code?: unknown }).code));
}

/** Why a question has failed, in words. */
export function dnsReason(name: string, error: unknown): string {
  const code = String((error as { code?: unknown }).code ?? error);
  return `${name}: ${WORDS[code] ?? code}`;
}

/** A and AAAA records by name. Both are one answer, and each keeps its last records while its question fails. */
export class Lookups {
  private last = new Map<string, readonly { readonly address: string; readonly ttl: number }[]>();

  async addresses(questions: DnsQuestions, name: string): Promise<Answer> {
    const ask = (family: 4 | 6) =>
      family === 4 ? questions.resolve4(name, { ttl: true }) : questions.resolve6(name, { ttl: true });
    const troubles: string[] = [];
    const records = await Promise.all(
      ([4, 6] as const).map(async (family) => {
        const known = `${family} ${name}`;
        try {
          this.last.set(known, (await ask(family)).filter(({ address }) => isUsable(address)).slice(0, MOST_FOUND + 1));
        } catch (error) {
          if (isEmpty(error)) this.last.set(known, []);
          else troubles.push(dnsReason(name, error));
        }
        return this.last.get(known) ?? [];
      }),
    );
    const all = records.flat();
    return {
      addresses: [...new Set(all.map(({ address }) => address))],
      ttl: all.length > 0 ? Math.min(...all.map(({ ttl }) => ttl)) : undefined,
      trouble: troubles[0],
    };
  }

  /** Forgets all other names. */
  keep(names: readonly string[]): void {
    const kept = new Set(names);
    for (const known of this.last.keys()) if (!kept.has(known.slice(2))) this.last.delete(known);
  }
}

/** Unspecified, broadcast and multicast addresses are no relay's. */
function isUsable(address: string): boolean {
  return !/^(?:0\.0\.0\.0|255\.255\.255\.255|2(?:2[4-9]|3\d)\..*|::|ff..:.*)$/i.test(address);
}
