/** A certificate authority that limits orders: the pause of a relay, also over restarts, and the messages about the limit. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CertificateTimes } from '../../src/relay/certificates.js';
import { LANES } from '../helpers/lanes.js';
import { Log } from '../helpers/log.js';
import type { TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Authority, getHttp, NAME, read, shown, temporary } from './acme.ts';
import { CaFront, type FrontAnswer } from './ca-front.ts';

const authority = Authority.forThisFile();
/** Pauses of our own would be over at once: what holds a relay back is the CA's word. */
const EAGER: CertificateTimes = {
  keeper: { backOff: { first: 20, most: 20, mostAsked: 600_000 }, look: 100, locked: 50, apart: 60_000 },
  look: 5000,
};
const WORDS = 'too many certificates (5) already issued for this exact set of domains in the last 168h';
const SECONDS = 3;

function limited(retryAfter: string): FrontAnswer {
  const body = { type: 'urn:ietf:params:acme:error:rateLimited', detail: WORDS, status: 429 };
  return { status: 429, headers: { 'Retry-After': retryAfter }, body };
}

async function front(): Promise<CaFront> {
  const made = await CaFront.start(authority.pebble);
  const file = join(temporary(), 'ca.pem');
  writeFileSync(file, made.certificate);
  process.env.NODE_EXTRA_CA_CERTS = file;
  return made;
}

function start(lane: (typeof LANES)[number], ca: CaFront, directory: string, log = new Log()): Promise<TestRelay> {
  const options = { logger: log.logger, certificateTimes: EAGER };
  return authority.relay(lane, directory, { acme: { directory: ca.directory } }, options);
}

async function page(relay: TestRelay, path: string): Promise<string> {
  return (await getHttp(relay.httpTarget().port, path, NAME)).body;
}

describe.each(LANES)('a CA that limits orders, $name', (lane) => {
  it.each([
    ['seconds', () => String(SECONDS)],
    ['a date', () => new Date(Math.ceil(Date.now() / 1000 + SECONDS) * 1000).toUTCString()],
  ])(
    'a CA that asks for a pause in %s is quoted, gets no order before the end, and then issues the certificate',
    async (_how, retryAfter) => {
      const ca = await front();
      ca.aboutOrders = () => (ca.orders.length === 1 ? limited(retryAfter()) : undefined);
      const log = new Log();
      const relay = await start(lane, ca, temporary(), log);
      const line = await eventually(() => log.find(/^error/), 'the failure');
      expect(line).toContain(WORDS);
      expect(line).toContain('waiting is all that helps');
      expect(await page(relay, '/debug/certificates')).toContain(WORDS);
      expect(await page(relay, '/debug/varz')).toContain(`derpkit_certificate_failures{name="${NAME}"} 1`);
      // Clients do not wait, and bring about no order.
      for (let count = 0; count < 3; count++) await expect(shown(relay)).rejects.toThrow();
      await relay.relay.reload();
      await eventually(() => ca.orders.length === 2, 'the next order');
      const [first, second] = ca.orders as [number, number];
      expect(second - first).toBeGreaterThanOrEqual(SECONDS * 1000);
      await eventually(() => shown(relay).catch(() => undefined), 'the certificate');
      await eventually(
        async () => !/derpkit_certificate_failures\{[^}]*\} [1-9]/.test(await page(relay, '/debug/varz')),
        'no failure',
      );
    },
  );

  it('a relay that restarts again and again places one order at the CA, and may order from another CA', async () => {
    const ca = await front();
    ca.aboutOrders = () => limited('3600');
    const directory = temporary();
    for (let again = 0; again < 4; again++) {
      const log = new Log();
      const relay = await start(lane, ca, directory, log);
      await eventually(() => log.find(/too many certificates/), 'what the CA has said');
      await expect(shown(relay)).rejects.toThrow();
      expect(await page(relay, '/debug/certificates')).toContain(WORDS);
      await relay.close();
    }
    expect(ca.orders).toHaveLength(1);
    expect(readdirSync(directory).sort()).toEqual(['acme_account+key', `${NAME}+order`]);
    // The limit of one CA does not apply to another.
    process.env.NODE_EXTRA_CA_CERTS = authority.pebble.caFile;
    const relay = await authority.relay(lane, directory, {}, { certificateTimes: EAGER });
    expect((await shown(relay)).checkHost(NAME)).toBe(NAME);
    await eventually(() => read(directory, `${NAME}+order`) === undefined, 'the file to be removed');
  });

  it('a relay orders again if the record of its last order is malformed', async () => {
    const ca = await front();
    const directory = temporary();
    writeFileSync(join(directory, `${NAME}+order`), Buffer.alloc(5000, 7));
    const relay = await start(lane, ca, directory);
    expect((await shown(relay)).checkHost(NAME)).toBe(NAME);
    expect(ca.orders).toHaveLength(1);
  });
});
