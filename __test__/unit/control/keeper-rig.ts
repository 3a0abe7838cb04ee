/** A keeper of a certificate whose authority, files and clock do what the test says. */
import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, vi } from 'vitest';
import type { Suggestion } from '../../../src/acme/renewal.js';
import type { Attempt } from '../../../src/control/acme/attempts.js';
import { KEEPER_TIMES, Keeper, type KeptCertificate } from '../../../src/control/acme/keeper.js';
import { parsePair } from '../../../src/control/certificates.js';
import { selfSignedCertificate } from '../../../src/control/x509.js';

export const MINUTE = 60 * 1000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const NAME = 'relay.example.com';
/** When each test begins. */
export const BEGIN = Date.parse('2026-01-01T00:00:00Z');

/** Lets the time of each test begin at {@link BEGIN}, and pass by {@link Rig.pass} alone. */
export function stopTheClock(): void {
  beforeEach(() => {
    vi.useFakeTimers({ now: BEGIN });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

export function certificate(days: number, age = 0): KeptCertificate {
  const { der, privateKey } = selfSignedCertificate([NAME], days, new Date(Date.now() - age * DAY));
  const leaf = new X509Certificate(der);
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { ...parsePair({ chain: leaf.toString(), key }, [NAME]), leaf };
}

function lineOf(level: string, facts: object, text: string): string {
  const { reason } = facts as { readonly reason?: string };
  return `${level}: ${text}${reason === undefined ? '' : `: ${reason}`}`;
}

/** What outlives a process: the file about the last order. */
export class Disk {
  attempt: Attempt | undefined;
  isReadable = true;
  isWritable = true;
}

/** A keeper whose CA does what the test says. */
export class Rig {
  orders: number[] = [];
  asked: number[] = [];
  kept: KeptCertificate | undefined;
  days = 90;
  failure: Error | undefined;
  suggestion: (() => Suggestion | undefined | Promise<Suggestion | undefined>) | undefined;
  lines: string[] = [];
  facts: object[] = [];
  changes = 0;
  locked = false;
  hangs = false;
  isFull = false;
  /** The answer to an order comes after it. */
  gate: Promise<void> | undefined;
  lockFailure: Error | undefined;
  loadFailure: Error | undefined;
  /** What the record said at each release of the lock. */
  released: (Attempt | undefined)[] = [];
  readonly keeper: Keeper;

  constructor(
    eager = true,
    readonly disk = new Disk(),
  ) {
    this.keeper = new Keeper(
      NAME,
      {
        random: () => 0,
        load: async () => {
          if (this.loadFailure) throw this.loadFailure;
          return this.kept;
        },
        order: async () => {
          this.orders.push(Date.now());
          if (this.failure) throw this.failure;
          if (this.hangs) await new Promise(() => {});
          await this.gate;
          return 'chain';
        },
        accept: () => certificate(this.days),
        store: async () => {
          if (this.isFull) throw new Error('the disk is full');
        },
        record: '/certs/record',
        recall: async () => {
          if (!disk.isReadable) throw new Error('it cannot be read');
          return disk.attempt;
        },
        remember: async (attempt) => {
          if (!disk.isWritable) throw new Error('the disk is read-only');
          disk.attempt = attempt;
        },
        lock: async () => {
          if (this.lockFailure) throw this.lockFailure;
          return this.locked ? undefined : async () => void this.released.push(disk.attempt);
        },
        suggestion: async () => {
          this.asked.push(Date.now());
          return this.suggestion?.();
        },
      },
      {
        changed: () => {
          this.changes += 1;
        },
        log: (level, facts, text) => {
          this.lines.push(lineOf(level, facts, text));
          this.facts.push(facts);
        },
      },
      KEEPER_TIMES,
      eager,
    );
  }

  async pass(milliseconds: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(milliseconds);
  }

  /** The keeper looks, and what it begins goes on as far as it can without time. */
  async look(): Promise<void> {
    await this.keeper.look();
    await this.pass(0);
  }
}
