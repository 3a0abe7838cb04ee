/**
 * Keeps the certificate of one name or address: orders it when it is wanted, renews it in time, and keeps it while the
 * CA is unreachable.
 */
import { generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto';
import { AcmeError } from '../../acme/problem.js';
import { lifetimeOf, renewalTime, type Suggestion } from '../../acme/renewal.js';
import { reasonOf } from '../../errors.js';
import type { ServerCertificate } from '../certificates.js';
import type { Attempt } from './attempts.js';
import { BACK_OFF, type BackOffTimes, nextAttempt } from './back-off.js';

/** The operations that the keeper of one name uses. */
export interface KeeperSource {
  /** Loads the stored certificate with its key, if it is still usable. */
  load(): Promise<KeptCertificate | undefined>;
  /** Orders a certificate; resolves with it and its chain in PEM. */
  order(key: KeyObject, replaced: X509Certificate | undefined): Promise<string>;
  /** Checks a chain that was issued for the key. Throws if the two are not a certificate for the name. */
  accept(key: KeyObject, chain: string): KeptCertificate;
  store(key: KeyObject, chain: string): Promise<void>;
  /** The file of {@link recall} and {@link remember}, for people. */
  readonly record: string;
  /** What the last order has come to, in the files: of this relay, before its start too, or of one that shares the files. */
  recall(): Promise<Attempt | undefined>;
  /** Keeps that; with `undefined` there is nothing to be kept any more. */
  remember(attempt: Attempt | undefined): Promise<void>;
  /** Locks the name against relays that share the files; `undefined` while another relay holds the lock. */
  lock(): Promise<(() => Promise<void>) | undefined>;
  /** When the CA suggests a renewal; `moment` is the position in its window, 0 to 1. */
  suggestion(certificate: X509Certificate, moment: number): Promise<Suggestion | undefined>;
  random(): number;
}

export interface KeptCertificate extends ServerCertificate {
  readonly leaf: X509Certificate;
}

export interface KeeperEvents {
  /** The certificate has changed. */
  changed(): void;
  log(level: 'info' | 'warn' | 'error', facts: object, text: string): void;
}

/** All times are milliseconds. */
export interface KeeperTimes {
  readonly backOff: BackOffTimes;
  /** The interval at which a keeper checks what is due. Timers do not count the time for which a machine sleeps. */
  readonly look: number;
  /** The pause before another look at a name that another relay has locked. */
  readonly locked: number;
  /** The least time between two successful orders, whatever the CA suggests; for short lifetimes, half the lifetime. */
  readonly apart: number;
}

const HOUR = 60 * 60 * 1000;

export const KEEPER_TIMES: KeeperTimes = { backOff: BACK_OFF, look: HOUR / 2, locked: 2000, apart: HOUR };

/** The interval of polls of a CA that makes no suggestion. */
const ASK_AGAIN = 6 * HOUR;

export class Keeper {
  certificate: KeptCertificate | undefined;
  /** Why the last attempt failed; empty after a success. */
  trouble = '';
  failures = 0;
  /** The time of the next order, in milliseconds since the epoch. */
  next = 0;
  private askAt = 0;
  private moment = 0;
  private noEarlier = 0;
  /** The last complaint about the files, so that it is logged once. */
  private said: string | undefined;
  /** Whether the files say what the last order has come to. */
  private isRemembered = false;
  private flight: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    readonly name: string,
    private readonly source: KeeperSource,
    private readonly events: KeeperEvents,
    private readonly times: KeeperTimes,
    /** Whether the keeper orders before a client asks. */
    private readonly eager: boolean,
  ) {}

  /** The next step, in words. */
  get plan(): string {
    if (this.flight) return 'an order is under way';
    const at = new Date(this.next).toISOString();
    if (this.failures > 0)
      return `ordered again at ${at}${this.eager || this.certificate ? '' : ', when a client asks'}`;
    return this.certificate ? `renewed at ${at}` : 'ordered when a client asks';
  }

  /** Whether there is a certificate that has not expired. */
  get isUsable(): boolean {
    return this.certificate !== undefined && lifetimeOf(this.certificate.leaf).until > Date.now();
  }

  /** Whether a handshake should wait: an order is in progress, or starts now. */
  want(): boolean {
    if (this.stopped) return false;
    if (!this.flight && this.next <= Date.now()) this.begin();
    return this.flight !== undefined;
  }

  /** Reads the files, polls the CA for a suggestion, and does what is due. */
  async look(): Promise<void> {
    if (this.flight) return;
    await this.readFiles();
    await this.recall('finished');
    this.askAt = Date.now();
    if (this.certificate || this.eager) this.want();
    this.arm();
  }

  /** Resolves when no order is in progress. */
  async settled(): Promise<void> {
    await this.flight;
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private begin(): void {
    const flight = this.fly().finally(() => {
      this.flight = undefined;
      this.arm();
    });
    this.flight = flight;
  }

  /** Gets a certificate from the files of another relay, or from the CA. Never rejects. */
  private async fly(): Promise<void> {
    let release: (() => Promise<void>) | undefined;
    try {
      release = await this.ownLock();
      if (!release) return;
      await this.readFiles();
      // This relay holds the lock, so an unfinished attempt was abandoned, by a crash or at the end of a process.
      await this.recall('any');
      if (this.stopped || this.next > Date.now()) return;
      await this.order();
    } catch (error) {
      // Before the release of the lock: its next holder must know the outcome.
      await this.failed(error as Error);
    } finally {
      await release?.().catch(() => undefined);
    }
  }

  /** Waits for the lock; `undefined` if another relay got the certificate meanwhile. */
  private async ownLock(): Promise<(() => Promise<void>) | undefined> {
    for (;;) {
      const release = await this.source.lock().catch((error: Error) => {
        // If no file can be written here, no relay that shares the directory can order either.
        const facts = { name: this.name, reason: reasonOf(error) };
        this.events.log('warn', facts, 'the certificate directory cannot be written to');
        return async () => {};
      });
      if (release) return release;
      await new Promise((resolve) => setTimeout(resolve, this.times.locked).unref());
      await this.readFiles();
      if (this.stopped || (this.certificate && this.next > Date.now())) return undefined;
    }
  }

  private async order(): Promise<void> {
    const held = this.certificate;
    this.events.log('info', { name: this.name }, held ? 'renewing a certificate' : 'ordering a certificate');
    await this.rememberNext(this.failures + 1, '');
    const key = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
    const chain = await this.source.order(key, held?.leaf);
    if (this.stopped) return;
    const accepted = this.source.accept(key, chain);
    const { leaf } = accepted;
    const { from, until } = lifetimeOf(leaf);
    this.noEarlier = Date.now() + Math.min(this.times.apart, (until - from) / 2);
    this.adopt(accepted);
    this.events.log('info', { name: this.name, until: leaf.validTo }, 'there is a new certificate');
    try {
      await this.source.store(key, chain);
    } catch (error) {
      // The memory outlives the process: a relay that restarts again and again orders ever later.
      const text = 'the certificate is served, but cannot be kept, and will be ordered again after a restart';
      this.events.log('error', { name: this.name, reason: reasonOf(error) }, text);
      return;
    }
    await this.remember(undefined);
  }

  private async readFiles(): Promise<void> {
    const kept = await this.source.load().catch((error: Error) => {
      const reason = reasonOf(error);
      const facts = { name: this.name, reason };
      if (reason !== this.said) this.events.log('warn', facts, 'a certificate in the files cannot be used');
      this.said = reason;
      return undefined;
    });
    if (!kept || this.stopped) return;
    const held = this.certificate;
    if (held?.fingerprint === kept.fingerprint) return;
    // Keeps the certificate that expires later: an older file does not come from a renewal.
    if (held && lifetimeOf(held.leaf).until > lifetimeOf(kept.leaf).until) return;
    this.adopt(kept);
  }

  private adopt(certificate: KeptCertificate): void {
    this.certificate = certificate;
    this.trouble = '';
    this.failures = 0;
    this.moment = this.source.random();
    this.askAt = Date.now();
    this.next = Math.max(renewalTime(lifetimeOf(certificate.leaf), this.source.random), this.noEarlier);
    this.events.changed();
  }

  /** Takes over the outcome of the last order, and forgets it if the file was removed. */
  private async recall(which: 'finished' | 'any'): Promise<void> {
    const { recall, record } = this.source;
    const known = await recall().catch(() => 'unreadable' as const);
    if (this.stopped || known === 'unreadable') return;
    if (!known) {
      if (this.isRemembered && this.failures > 0) this.forgive();
      this.isRemembered = false;
      return;
    }
    // A certificate that is not due has come since.
    if (this.certificate && this.failures === 0 && this.next > Date.now()) return;
    if (known.trouble === '' && which === 'finished') return;
    this.isRemembered = true;
    if (known.next <= this.next && known.failures <= this.failures) return;
    const { failures, next, trouble } = known;
    this.failures = failures;
    this.next = Math.max(next, this.next);
    this.trouble = trouble || 'it was not finished';
    if (this.next <= Date.now()) return;
    const facts = { name: this.name, next: new Date(this.next).toISOString(), reason: this.trouble };
    const text = `the last order brought no certificate, and the next one waits (to make it now, remove ${record} and reload)`;
    this.events.log('warn', facts, text);
  }

  private forgive(): void {
    this.failures = 0;
    this.trouble = '';
    this.next = this.certificate ? renewalTime(lifetimeOf(this.certificate.leaf), this.source.random) : 0;
  }

  /** Says in the files when the order after the one that is under way, or has failed, may be made at the earliest. */
  private async rememberNext(failures: number, trouble: string, retryAt?: number): Promise<number> {
    const next = nextAttempt(this.times.backOff, failures, Date.now(), retryAt, this.source.random);
    await this.remember({ failures, next, trouble });
    return next;
  }

  /** Where nothing can be written, the pauses hold until the end of the process. */
  private async remember(attempt: Attempt | undefined): Promise<void> {
    this.isRemembered = await this.source.remember(attempt).then(
      () => true,
      () => false,
    );
  }

  private async failed(error: Error): Promise<void> {
    if (this.stopped) return;
    this.failures += 1;
    this.trouble = reasonOf(error);
    const retryAt = error instanceof AcmeError ? error.retryAt : undefined;
    this.next = await this.rememberNext(this.failures, this.trouble, retryAt);
    const reason = `${this.trouble}${advice(error)}`;
    const facts = { name: this.name, next: new Date(this.next).toISOString(), reason };
    const served = this.isUsable ? '; the relay continues to serve the old one' : '';
    this.events.log('error', facts, `there is no new certificate${served}`);
  }

  private arm(): void {
    clearTimeout(this.timer);
    if (this.stopped || this.flight || (!this.certificate && !this.eager)) return;
    const due = Math.min(this.next, this.certificate ? this.askAt : this.next) - Date.now();
    this.timer = setTimeout(() => void this.onTime(), Math.min(Math.max(due, 0), this.times.look)).unref();
  }

  private async onTime(): Promise<void> {
    if (this.next <= Date.now()) this.want();
    else if (this.certificate && this.askAt <= Date.now()) await this.ask(this.certificate);
    this.arm();
  }

  /** Polls the CA for a suggestion. Polls again later if the CA makes none or is unreachable. */
  private async ask(certificate: KeptCertificate): Promise<void> {
    const again = Date.now() + ASK_AGAIN;
    this.askAt = again;
    const suggestion = await this.source.suggestion(certificate.leaf, this.moment).catch(() => undefined);
    if (!suggestion || this.stopped || this.certificate !== certificate || this.failures > 0) return;
    const { at, askAt, explanation } = suggestion;
    // A call of `look` may have asked for an earlier poll meanwhile.
    if (this.askAt === again) this.askAt = askAt;
    const next = Math.max(at, this.noEarlier);
    if (next < this.next && explanation) {
      this.events.log('info', { name: this.name, explanation }, 'the certificate authority wants a renewal');
    }
    this.next = next;
  }
}

const REACHABLE = 'is port 80 of this machine reachable from everywhere, or port 443, and does the name lead here?';

/** What the operator can check, by the type of the CA's error. */
const ADVICE: ReadonlyMap<string, string> = new Map([
  ['connection', REACHABLE],
  ['unauthorized', REACHABLE],
  ['incorrectResponse', REACHABLE],
  ['tls', REACHABLE],
  ['dns', 'does the name resolve, everywhere?'],
  ['rateLimited', 'the CA has had too many orders; waiting is all that helps'],
  ['externalAccountRequired', 'the CA wants an external account: acme.eabKid and acme.eabKeyFile'],
]);

function advice(error: Error): string {
  const known = error instanceof AcmeError ? ADVICE.get(error.type) : undefined;
  return known ? ` (${known})` : '';
}
