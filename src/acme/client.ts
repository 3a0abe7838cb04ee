/**
 * An ACME client (RFC 8555) for one account: signed requests, nonces, orders. It has no files, and no timers beyond its
 * calls.
 */
import type { KeyObject } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { base64url, type ExternalAccount, externalAccountBinding, jwkOf, signed } from './jws.js';
import { AcmeError, acmeError, type Problem, refusal, retryAt } from './problem.js';
import type { Answer, Transport } from './transport.js';

export interface AccountOptions {
  /** URL of the CA's directory. */
  readonly directory: string;
  readonly key: KeyObject;
  readonly email?: string | undefined;
  readonly externalAccount?: ExternalAccount | undefined;
}

export interface Identifier {
  readonly type: 'dns' | 'ip';
  readonly value: string;
}

export interface OrderRequest {
  readonly identifier: Identifier;
  readonly profile?: string | undefined;
  /** ARI's name of the certificate that the order renews (RFC 9773 §5). */
  readonly replaces?: string | undefined;
}

/** A resource of the CA, with its URL. The fields are the CA's; each one is checked only where it is read. */
export interface Resource {
  readonly url: string;
  readonly status: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Challenge {
  readonly type: string;
  readonly url: string;
  readonly token: string;
  readonly status: string;
  readonly error: Problem | undefined;
}

/** A CA may refuse any nonce. One that refuses this many in a row is broken. */
const NONCE_ATTEMPTS = 10;
/** Milliseconds between polls of a resource that the CA is processing. */
const POLL = { first: 500, most: 10_000 };

export class AcmeClient {
  private nonces: string[] = [];
  private urls: Readonly<Record<string, unknown>> | undefined;
  private kid: string | undefined;

  constructor(
    private readonly options: AccountOptions,
    private readonly transport: Transport,
    private readonly signal: AbortSignal,
  ) {}

  /** Registers the account, or finds it: for a known key, the CA returns the existing account. */
  async register(): Promise<void> {
    const { directory, key, email, externalAccount } = this.options;
    const url = await this.endpoint('newAccount');
    const answer = await this.post('registering the account', url, {
      termsOfServiceAgreed: true,
      ...(email && { contact: [`mailto:${email}`] }),
      ...(externalAccount && { externalAccountBinding: externalAccountBinding(externalAccount, key, url) }),
    });
    const { location } = answer.headers;
    if (typeof location !== 'string') throw new AcmeError('', `${directory} gives the account no URL`);
    this.kid = location;
  }

  async order({ identifier, profile, replaces }: OrderRequest): Promise<Resource> {
    const what = `ordering a certificate for ${identifier.value}`;
    const body = { identifiers: [identifier], ...(profile && { profile }), ...(replaces && { replaces }) };
    const answer = await this.post(what, await this.endpoint('newOrder'), body);
    const { location } = answer.headers;
    if (typeof location !== 'string') throw new AcmeError('', `${what}: the CA gives the order no URL`);
    return resource(what, location, answer);
  }

  /** Reads an order or an authorization. */
  async get(what: string, url: string): Promise<Resource> {
    return resource(what, url, await this.post(what, url, undefined));
  }

  /** Tells the CA that the answer to a challenge is in place. */
  async accept(challenge: Challenge): Promise<void> {
    await this.post(`accepting ${challenge.type}`, challenge.url, {});
  }

  /** Polls a resource until its status is none of `busy`. */
  async settled(what: string, url: string, busy: readonly string[]): Promise<Resource> {
    for (let pause = POLL.first; ; pause = Math.min(pause * 2, POLL.most)) {
      const answer = await this.post(what, url, undefined);
      const current = resource(what, url, answer);
      if (!busy.includes(current.status)) return current;
      const asked = (retryAt(answer, Date.now()) ?? 0) - Date.now();
      await delay(Math.min(Math.max(pause, asked), POLL.most), undefined, { signal: this.signal });
    }
  }

  /** Sends the certificate request of a ready order. */
  async finalize(what: string, order: Resource, request: Uint8Array): Promise<void> {
    await this.post(what, urlOf(what, order, 'finalize'), { csr: base64url(request) });
  }

  /** The certificate chain of a finished order, in PEM. */
  async certificate(what: string, order: Resource): Promise<string> {
    return (await this.post(what, urlOf(what, order, 'certificate'), undefined)).body;
  }

  /** Deactivates an authorization that is no longer needed: open ones count against the account. */
  async deactivate(url: string): Promise<void> {
    await this.post('deactivating an authorization', url, { status: 'deactivated' });
  }

  /** The CA's renewal information for a certificate (RFC 9773); `undefined` if the CA has none. */
  async renewalInfo(certificate: string): Promise<Answer | undefined> {
    const { renewalInfo } = await this.directory();
    if (typeof renewalInfo !== 'string') return undefined;
    const url = `${renewalInfo.replace(/\/$/, '')}/${certificate}`;
    const answer = await this.transport.send('GET', url, undefined, this.signal);
    if (answer.status !== 200) throw refusal('reading the renewal information', answer, Date.now());
    return answer;
  }

  private async directory(): Promise<Readonly<Record<string, unknown>>> {
    if (this.urls) return this.urls;
    const what = 'reading the directory';
    const answer = await this.transport.send('GET', this.options.directory, undefined, this.signal);
    if (answer.status !== 200) throw refusal(what, answer, Date.now());
    this.urls = objectOf(what, answer.body);
    return this.urls;
  }

  private async endpoint(name: string): Promise<string> {
    const url = (await this.directory())[name];
    if (typeof url === 'string') return url;
    throw new AcmeError('', `${this.options.directory} is not an ACME directory: it has no ${name}`);
  }

  private async post(what: string, url: string, body: object | undefined): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.postOnce(url, body);
      if (answer.status >= 200 && answer.status < 300) return answer;
      const error = refusal(what, answer, Date.now());
      if (error.type !== 'badNonce' || attempt >= NONCE_ATTEMPTS) throw error;
    }
  }

  private async postOnce(url: string, body: object | undefined): Promise<Answer> {
    const { key } = this.options;
    const nonce = this.nonces.pop() ?? (await this.freshNonce());
    const identity = this.kid === undefined ? { jwk: jwkOf(key) } : { kid: this.kid };
    const payload = body === undefined ? '' : JSON.stringify(body);
    const text = signed(key, { nonce, url, ...identity }, payload);
    const answer = await this.transport.send('POST', url, text, this.signal);
    const next = answer.headers['replay-nonce'];
    // One nonce is enough: an account sends its requests one by one.
    if (typeof next === 'string') this.nonces = [next];
    return answer;
  }

  private async freshNonce(): Promise<string> {
    const answer = await this.transport.send('HEAD', await this.endpoint('newNonce'), undefined, this.signal);
    const nonce = answer.headers['replay-nonce'];
    if (typeof nonce === 'string') return nonce;
    throw refusal('asking for a nonce', answer, Date.now());
  }
}

/** The well-formed challenges of an authorization. */
export function challengesOf({ fields }: Resource): Challenge[] {
  const list: unknown[] = Array.isArray(fields.challenges) ? fields.challenges : [];
  return list.flatMap((item) => {
    const { type, url, token, status, error } = Object(item) as Record<string, unknown>;
    // Tokens become part of file names and paths. RFC 8555 §8.3 permits no other characters.
    if (typeof type !== 'string' || typeof url !== 'string' || typeof token !== 'string') return [];
    if (!/^[A-Za-z0-9_-]{1,256}$/.test(token)) return [];
    return [{ type, url, token, status: String(status), error: error ? (error as Problem) : undefined }];
  });
}

/** Why a resource became `invalid`, in the CA's words. */
export function failureOf(what: string, { fields, status }: Resource): AcmeError {
  return acmeError(what, (fields.error as Problem | undefined) ?? { detail: `it is ${status}` });
}

function resource(what: string, url: string, { body }: Answer): Resource {
  const fields = objectOf(what, body);
  return { url, status: String(fields.status), fields };
}

function objectOf(what: string, body: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // The text is not JSON; the error below covers that.
  }
  throw new AcmeError('', `${what}: the answer is not a JSON object`);
}

function urlOf(what: string, { fields }: Resource, name: string): string {
  const url = fields[name];
  if (typeof url === 'string') return url;
  throw new AcmeError('', `${what}: the order has no ${name} URL`);
}
