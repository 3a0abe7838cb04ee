/** Which certificate a client gets, and handshakes that wait until there is one. */
import { X509Certificate } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { parsePair } from '../../src/control/certificates.js';
import type { Certificate, CertificateNeed, CertificateSet } from '../../src/plane/plane.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { type PolicyChanges, pemPair } from '../helpers/relay.js';
import { clientHello, HAS_OPENSSL, inRecords, rsaPair } from '../helpers/tls.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const ACME = 'acme-tls/1';
const NOBODY: CertificateSet = { certificates: [], otherwise: 'ask' };
/** What a client is told that there is no certificate for: the alert `unrecognized_name`. */
const REFUSED = { code: 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME' };

function certificate(names: readonly string[], alpn?: string): Certificate {
  const { chain, privateKey } = parsePair(pemPair(['any.test']), []);
  return { names, chain, privateKey, ...(alpn && { alpn }) };
}

function rsaCertificate(names: readonly string[]): Certificate {
  const { chain, privateKey } = parsePair(rsaPair(), []);
  return { names, chain, privateKey };
}

function asking(...certificates: Certificate[]): CertificateSet {
  return { certificates, otherwise: 'ask' };
}

function shown(wire: Wire): string | undefined {
  return wire.tlsSocket.getPeerX509Certificate()?.fingerprint256;
}

function fingerprint({ chain: [leaf] }: Certificate): string {
  return new X509Certificate(leaf as Uint8Array).fingerprint256;
}

/** A handshake that is parked, what it wants, and what becomes of it. */
interface Waiting {
  readonly need: CertificateNeed;
  readonly outcome: Promise<Wire | NodeJS.ErrnoException>;
}

async function park(harness: PlaneHarness, tls: ConnectionOptions): Promise<Waiting> {
  const before = harness.needs.length;
  const outcome = harness.wire(tls).catch((error: Error) => error);
  const need = await eventually(() => harness.needs[before], 'a certificate to be asked for');
  return { need, outcome };
}

async function opened({ outcome }: Waiting): Promise<Wire> {
  const wire = await outcome;
  if (wire instanceof Wire) return wire;
  throw wire;
}

function open(lane: Lane, policy: PolicyChanges = {}, set = NOBODY): Promise<PlaneHarness> {
  return PlaneHarness.open(lane, policy, 'tls', set);
}

describe.each(LANES)('parked handshakes, $name', (lane) => {
  it('the plane asks once for a missing certificate, and continues the handshake when it arrives', async () => {
    const harness = await open(lane);
    const waiting = await park(harness, { servername: 'Relay.Test', ALPNProtocols: ['x', 'http/1.1'] });
    expect(waiting.need).toEqual({
      id: expect.any(Number),
      serverName: 'relay.test',
      localAddress: '127.0.0.1',
      alpn: ['x', 'http/1.1'],
    });
    // A certificate for another name does not help.
    harness.plane.certificates(asking(certificate(['other.test'])));
    await harness.plane.snapshot(0, 0);
    const wanted = certificate(['relay.test']);
    harness.plane.certificates(asking(certificate(['other.test']), wanted));
    const wire = await opened(waiting);
    expect(shown(wire)).toBe(fingerprint(wanted));
    expect(wire.tlsSocket.alpnProtocol).toBe('http/1.1');
    expect(harness.needs).toHaveLength(1);
    // Later clients do not wait.
    expect(shown(await harness.wire({ servername: 'RELAY.test' }))).toBe(fingerprint(wanted));
    expect(harness.needs).toHaveLength(1);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a parked handshake serves DERP once it continues, under one id; %s',
    async (version) => {
      const harness = await open(lane);
      const asked = harness.loggingIn({ tls: { servername: 'relay.test', maxVersion: version } });
      const need = await eventually(() => harness.needs[0], 'a certificate to be asked for');
      harness.plane.certificates(asking(certificate(['relay.test'])));
      const { client, login } = await asked;
      expect(login).toMatchObject({ id: need.id, tlsVersion: version === 'TLSv1.3' ? '1.3' : '1.2' });
      harness.plane.admit(login.id, { mesh: false, receiveLimit: null });
      await client.expect('ServerInfo');
      expect(await client.fence()).toEqual([]);
    },
  );

  it('the certificate for a client without a server name is that of its destination address', async () => {
    const harness = await open(lane);
    const waiting = await park(harness, {});
    expect(waiting.need).toMatchObject({ serverName: '', localAddress: '127.0.0.1', alpn: [] });
    const wanted = certificate(['127.0.0.1']);
    harness.plane.certificates(asking(certificate(['127.0.0.2', 'relay.test']), wanted));
    expect(shown(await opened(waiting))).toBe(fingerprint(wanted));
  });

  it.runIf(HAS_OPENSSL)(
    'a client gets the one of two certificates that it can verify, such as one with RSA',
    async () => {
      const [ecdsa, rsa] = [certificate(['relay.test']), rsaCertificate(['relay.test', 'rsa.test'])];
      const harness = await open(lane, {}, asking(ecdsa, rsa));
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const client = (servername: string, sigalgs?: string) =>
          harness.wire({ servername, minVersion: version, maxVersion: version, ...(sigalgs && { sigalgs }) });
        expect(shown(await client('rsa.test'))).toBe(fingerprint(rsa));
        expect(shown(await client('relay.test'))).toBe(fingerprint(ecdsa));
        expect(shown(await client('relay.test', 'rsa_pss_rsae_sha256'))).toBe(fingerprint(rsa));
        expect(shown(await client('relay.test', 'ecdsa_secp256r1_sha256'))).toBe(fingerprint(ecdsa));
      }
      const { client } = await harness.admitted({ tls: { servername: 'rsa.test' } });
      expect(await client.fence()).toEqual([]);
    },
  );

  it('a certificate for a protocol serves only handshakes that offer the protocol', async () => {
    const [ordinary, challenge] = [certificate(['relay.test']), certificate(['relay.test'], ACME)];
    const harness = await open(lane, {}, asking(ordinary));
    // An authority that asks is not content with what clients get.
    const waiting = await park(harness, { servername: 'relay.test', ALPNProtocols: [ACME] });
    expect(waiting.need.alpn).toEqual([ACME]);
    harness.plane.certificates(asking(challenge, ordinary));
    const wire = await opened(waiting);
    expect([shown(wire), wire.tlsSocket.alpnProtocol]).toEqual([fingerprint(challenge), ACME]);
    for (const tls of [{ ALPNProtocols: ['http/1.1'] }, {}]) {
      const client = await harness.wire({ servername: 'relay.test', ...tls });
      expect(shown(client)).toBe(fingerprint(ordinary));
    }
    // Nor does a client get the challenge for want of another certificate.
    harness.plane.certificates({ certificates: [challenge, ordinary], otherwise: 'first' });
    await harness.plane.snapshot(0, 0);
    expect(shown(await harness.wire({ servername: 'other.test' }))).toBe(fingerprint(ordinary));
    expect(harness.needs).toHaveLength(1);
  });

  it('only handshakes of an authority are parked if clients may not ask for certificates', async () => {
    const ordinary = certificate(['relay.test']);
    const harness = await open(lane, {}, { certificates: [ordinary], otherwise: 'challenge' });
    for (const tls of [{ servername: 'other.test' }, { servername: 'relay.test', ALPNProtocols: [ACME, 'http/1.1'] }]) {
      const outcome = await harness.wire(tls).catch((error: Error) => error);
      if (tls.ALPNProtocols) expect(shown(outcome as Wire)).toBe(fingerprint(ordinary));
      else expect(outcome).toMatchObject(REFUSED);
    }
    expect(harness.needs).toEqual([]);
    const waiting = await park(harness, { servername: 'relay.test', ALPNProtocols: [ACME] });
    expect(waiting.need).toMatchObject({ serverName: 'relay.test', alpn: [ACME] });
    const challenge = certificate(['relay.test'], ACME);
    harness.plane.certificates({ certificates: [challenge, ordinary], otherwise: 'challenge' });
    expect(shown(await opened(waiting))).toBe(fingerprint(challenge));
    expect(shown(await harness.wire({ servername: 'relay.test' }))).toBe(fingerprint(ordinary));
  });

  it.each(['first', 'refuse'] as const)(
    'parked handshakes end their wait when the rule for other names becomes %s',
    async (otherwise) => {
      const harness = await open(lane);
      const waiting = await park(harness, { servername: 'relay.test' });
      const only = certificate(['other.test']);
      harness.plane.certificates({ certificates: [only], otherwise });
      if (otherwise === 'first') expect(shown(await opened(waiting))).toBe(fingerprint(only));
      else expect(await waiting.outcome).toMatchObject(REFUSED);
    },
  );

  it('a parked connection can be closed', async () => {
    const harness = await open(lane);
    const [first, second] = [
      await park(harness, { servername: 'a.test' }),
      await park(harness, { servername: 'b.test' }),
    ];
    harness.plane.close(first.need.id + 1000, 'closed');
    harness.plane.close(first.need.id, 'closed');
    expect(await first.outcome).toBeInstanceOf(Error);
    harness.plane.certificates(asking(certificate(['a.test', 'b.test'])));
    await opened(second);
    expect(harness.ends.size).toBe(0);
  });

  it('a parked handshake has a deadline of its own, and its full handshake deadline afterwards', async () => {
    const harness = await open(lane, { deadlines: { certificate: 600, handshake: 200 } });
    const start = performance.now();
    const waiting = await park(harness, { servername: 'relay.test' });
    expect(await waiting.outcome).toBeInstanceOf(Error);
    expect(performance.now() - start).toBeGreaterThan(595);
    // One that goes on, but not to its end.
    const wire = await Wire.open({ host: '127.0.0.1', port: harness.port });
    wire.write(await clientHello('relay.test'));
    await eventually(() => harness.needs.length === 2, 'a certificate to be asked for');
    harness.plane.certificates(asking(certificate(['relay.test'])));
    await wire.take(5);
    await wire.ended();
  });

  it('parked handshakes are bounded: the oldest makes room, and clients with a certificate need none', async () => {
    const harness = await open(lane, { limits: { parkedHandshakes: 2 } }, asking(certificate(['here.test'])));
    const evicted = () => harness.plane.counters.read('strangers_evicted:pool');
    const [a, b] = [await park(harness, { servername: 'a.test' }), await park(harness, { servername: 'b.test' })];
    const c = await park(harness, { servername: 'c.test' });
    expect(await a.outcome).toBeInstanceOf(Error);
    expect(evicted()).toBe(1);
    await harness.wire({ servername: 'here.test' });
    // Places of those that have left are free: one goes by itself, one is let go of.
    harness.plane.close(c.need.id, 'closed');
    await c.outcome;
    const leaving = await Wire.open({ host: '127.0.0.1', port: harness.port });
    leaving.write(await clientHello('there.test'));
    await eventually(() => harness.needs.length === 4, 'a certificate to be asked for');
    expect(evicted()).toBe(1);
    harness.plane.certificates(asking(certificate(['b.test'])));
    await opened(b);
    // It has its place no more, so there is one for another.
    const d = await park(harness, { servername: 'd.test' });
    expect(evicted()).toBe(1);
    harness.plane.certificates(asking(certificate(['d.test'])));
    await opened(d);
    await leaving.destroy();
  });

  it('no handshake is parked if the bound is 0', async () => {
    const harness = await open(lane, { limits: { parkedHandshakes: 0 } });
    const wire = await Wire.open({ host: '127.0.0.1', port: harness.port });
    wire.write(await clientHello('there.test'));
    expect((await wire.rest()).toString('hex')).toBe('15030300020270');
    expect(harness.plane.counters.read('connections_refused')).toBe(1);
    expect(harness.needs).toEqual([]);
  });

  it('silent connections take no place of parked handshakes', async () => {
    const harness = await open(lane, { limits: { handshakes: 2, parkedHandshakes: 2 } });
    const waiting = [await park(harness, { servername: 'a.test' }), await park(harness, { servername: 'b.test' })];
    const silent = [];
    for (let count = 0; count < 4; count++) silent.push(await Wire.open({ host: '127.0.0.1', port: harness.port }));
    await eventually(() => harness.plane.counters.read('strangers_evicted:pool') === 2, 'two of the silent ones to go');
    harness.plane.certificates(asking(certificate(['a.test', 'b.test'])));
    for (const one of waiting) await opened(one);
    for (const wire of silent) await wire.destroy();
  });

  it('a server name that arrives in pieces selects its certificate', async () => {
    const wanted = certificate(['relay.test']);
    const harness = await open(lane, {}, asking(wanted));
    const hello = await clientHello('relay.test');
    for (const bytes of [hello, inRecords(hello, 1), inRecords(hello, 100)]) {
      const wire = await Wire.open({ host: '127.0.0.1', port: harness.port });
      await wire.writeSplit(bytes, 1, 4, 5, 6, 9, 10, 60, 200);
      // A ServerHello.
      expect((await wire.take(6))[5]).toBe(2);
      expect(wire.isOver).toBe(false);
    }
    expect(harness.needs).toEqual([]);
  });

  it('a parked client that sends garbage is closed', async () => {
    const harness = await open(lane);
    const hello = await clientHello('relay.test');
    const wires = await Promise.all(
      [1, 1000, 300_000].map(async (length) => {
        const wire = await Wire.open({ host: '127.0.0.1', port: harness.port });
        wire.write(hello, Buffer.alloc(length, 'nonsense'));
        return wire;
      }),
    );
    await eventually(() => harness.needs.length === 3, 'three certificates to be asked for');
    const patient = await park(harness, { servername: 'relay.test' });
    harness.plane.certificates(asking(certificate(['relay.test'])));
    await opened(patient);
    for (const wire of wires.slice(1)) await wire.ended();
    await (wires[0] as Wire).destroy();
  });

  it('a flood of parked handshakes delays no other client, and goes on when a certificate arrives', async () => {
    const cap = 64;
    const here = certificate(['here.test']);
    const harness = await open(lane, { limits: { parkedHandshakes: cap } }, asking(here));
    const tls = { servername: 'here.test' };
    const [a, b] = [(await harness.admitted({ tls })).client, (await harness.admitted({ tls })).client];
    const flood = [...Array(3 * cap)].map((_, number) =>
      harness.wire({ servername: `${number}.test` }).catch((error: Error) => error),
    );
    let over = 0;
    for (const outcome of flood) void outcome.then(() => (over += 1));
    await eventually(() => over === 2 * cap, 'those beyond the cap to go');
    await eventually(() => harness.needs.length === 3 * cap, 'all to be told of');
    expect(harness.plane.counters.read('strangers_evicted:pool')).toBe(2 * cap);
    // Packets, logins and new certificates go on as if nothing was.
    for (let round = 0; round < 10; round++) {
      harness.plane.certificates(asking(here, certificate([`round-${round}.test`])));
      a.sendPacket(b.key, `round ${round}`);
      await b.expectPacket(`round ${round}`);
      const { client } = await harness.admitted({ tls });
      await client.close();
    }
    harness.plane.certificates(asking(here, certificate(harness.needs.map(({ serverName }) => serverName))));
    const outcomes = await Promise.all(flood);
    expect(outcomes.filter((outcome) => outcome instanceof Wire)).toHaveLength(cap);
    for (const client of [a, b]) expect(await client.fence()).toEqual([]);
  });

  it('parked handshakes end when the plane shuts down', async () => {
    const harness = await open(lane);
    const waiting = await park(harness, { servername: 'relay.test' });
    await harness.plane.shutdown();
    expect(await waiting.outcome).toBeInstanceOf(Error);
  });
});
