import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { notePreferredFrame, pingFrame, sendPacketFrame } from '../../src/protocol/frame.js';
import { nodeKeyBytes, nodeKeyHex } from '../../src/protocol/key.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { servedChain } from '../helpers/handshake.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { pemPair, startRelay, type TestRelay } from '../helpers/relay.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const TLS_12 = { maxVersion: 'TLSv1.2' } as const;
const TLS_13 = { minVersion: 'TLSv1.3' } as const;

/** What every connection is greeted with: the ServerKey frame, byte for byte. */
function greeting(relay: TestRelay): Buffer {
  return Buffer.concat([Buffer.from('010000002844455250f09f9491', 'hex'), nodeKeyBytes(relay.keys.publicKey)]);
}

function switching(relay: TestRelay): string {
  const key = nodeKeyHex(relay.keys.publicKey);
  return (
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n' +
    `Derp-Version: 2\r\nDerp-Public-Key: ${key}\r\n\r\n`
  );
}

/** Heads that all get the 101. */
const UPGRADES: [name: string, head: string][] = [
  ...['DERP', 'derp', 'Derp', 'WebSocket', 'websocket', 'WEBSOCKET'].map((upgrade): [string, string] => [
    upgrade,
    upgradeRequest({ Upgrade: upgrade }),
  ]),
  ...['0', 'true', '11', '1, 1'].map((value): [string, string] => [
    `Derp-Fast-Start ${value}`,
    upgradeRequest({ 'Derp-Fast-Start': value }),
  ]),
  ['other names and blanks', 'GET /derp HTTP/1.1\r\nhost:x\r\nCONNECTION:\tupgrade \r\nuPgRaDe:  dErP\t\r\n\r\n'],
  ['another method', upgradeRequest({}, 'POST /derp HTTP/1.1')],
  ['no Connection header', upgradeRequest({ Connection: '' })],
  ['version 1.0', upgradeRequest({}, 'GET /derp HTTP/1.0')],
  ['no Host header, in version 1.0', upgradeRequest({ Host: '' }, 'GET /derp HTTP/1.0')],
  ['a query', upgradeRequest({}, 'GET /derp?x=/y HTTP/1.1')],
  ['another WebSocket protocol', upgradeRequest({ Upgrade: 'websocket', 'Sec-WebSocket-Protocol': 'x' })],
  ['a second Upgrade header', upgradeRequest({ Upgrade: 'DERP', upgrade: 'h2c' })],
];

async function expectSwitched(wire: Wire, relay: TestRelay): Promise<void> {
  const answer = switching(relay);
  expect((await wire.take(answer.length)).toString('latin1')).toBe(answer);
  expect(await wire.take(45)).toEqual(greeting(relay));
}

describe.each(LANES)('connecting, $name', (lane) => {
  describe('the upgrade', () => {
    it.each([
      ['plain TCP', false, undefined],
      ['TLS 1.2', true, TLS_12],
      ['TLS 1.3', true, TLS_13],
    ])('an upgrade over %s is answered with exactly the 101 and the greeting', async (_name, tls, options) => {
      const relay = await startRelay(lane, { tls });
      const wire = await Wire.open(relay.target(options));
      wire.write(upgradeRequest());
      await expectSwitched(wire, relay);
    });

    it.each([
      ['plain TCP', false, undefined],
      ['TLS 1.2', true, TLS_12],
      ['TLS 1.3', true, TLS_13],
    ])('a fast start over %s gets no HTTP answer', async (_name, tls, options) => {
      const relay = await startRelay(lane, { tls });
      const wire = await Wire.open(relay.target(options));
      wire.write(upgradeRequest({ 'Derp-Fast-Start': '1' }));
      expect(await wire.take(45)).toEqual(greeting(relay));
    });

    it('the relay accepts an upgrade in every valid spelling, and ignores irrelevant fields', async () => {
      const relay = await startRelay(lane);
      for (const [name, head] of UPGRADES) {
        const wire = await Wire.open(relay.target());
        wire.write(head);
        await expectSwitched(wire, relay).catch((cause: Error) => {
          throw new Error(`${name}: ${cause.message}`, { cause });
        });
        await wire.destroy();
      }
      expect(relay.count('accepts')).toBe(UPGRADES.length);
    });

    it('a request without an upgrade gets exactly derper’s demand for one', async () => {
      const relay = await startRelay(lane);
      for (const upgrade of ['', 'h2c', 'derp, websocket', 'derpx']) {
        const wire = await Wire.open(relay.target());
        wire.write(upgradeRequest({ Upgrade: upgrade }));
        const answer = (await wire.takeThrough('\r\n\r\n')).toString('latin1');
        const [status, ...headers] = answer.trimEnd().split('\r\n');
        expect(status, upgrade).toBe('HTTP/1.1 426 Upgrade Required');
        expect(headers).toContain('Content-Type: text/plain; charset=utf-8');
        expect(headers).toContain('X-Content-Type-Options: nosniff');
        expect(headers).toContain('Content-Length: 33');
        expect(answer).not.toMatch(/^upgrade:/im);
        expect((await wire.take(33)).toString()).toBe('DERP requires connection upgrade\n');
      }
      expect(relay.count('accepts')).toBe(0);
    });

    it('an upgrade at any other path is no DERP upgrade', async () => {
      const relay = await startRelay(lane);
      for (const path of ['/derp/', '/derp/x', '/derpx', '/DERP', '/', '/?/derp']) {
        const wire = await Wire.open(relay.target());
        wire.write(upgradeRequest({}, `GET ${path} HTTP/1.1`));
        expect((await wire.takeThrough('\r\n')).toString(), path).toBe('HTTP/1.1 200 OK\r\n');
      }
      expect(relay.count('accepts')).toBe(0);
    });

    it.each([
      ['Content-Length: -1', '400 Bad Request'],
      ['Content-Length: 5, 5', '400 Bad Request'],
      ['Content-Length: 9223372036854775808', '400 Bad Request'],
      ['Content-Length: 5\r\nContent-Length: 6', '400 Bad Request'],
      ['Content-Length:', '400 Bad Request'],
      ['Transfer-Encoding: gzip', '501 Not Implemented', 'Unsupported transfer encoding'],
      ['Transfer-Encoding: gzip, chunked', '501 Not Implemented', 'Unsupported transfer encoding'],
      ['Transfer-Encoding: chunked, gzip', '501 Not Implemented', 'Unsupported transfer encoding'],
      [
        'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
        '501 Not Implemented',
        'Unsupported transfer encoding',
      ],
    ])('an upgrade with %j is refused', async (fields, status, text = status) => {
      const relay = await startRelay(lane);
      // As the first request, and as a later one.
      for (const before of ['', 'GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n']) {
        const wire = await Wire.open(relay.target());
        wire.write(before);
        if (before !== '') await wire.takeThrough('\r\n\r\n');
        wire.write(upgradeRequest().replace(/\r\n\r\n$/, `\r\n${fields}\r\n\r\n`));
        const answer = (await wire.rest()).toString('latin1');
        expect(answer.startsWith(`HTTP/1.1 ${status}\r\n`), answer).toBe(true);
        expect(answer.endsWith(`\r\n\r\n${text}`), answer).toBe(true);
      }
      expect(relay.count('accepts')).toBe(0);
    });

    it('an upgrade with a readable body is accepted', async () => {
      const relay = await startRelay(lane);
      for (const fields of [
        'Content-Length: 0',
        'Content-Length: 5\r\ncontent-length: 5',
        'Transfer-Encoding: CHUNKED',
      ]) {
        const wire = await Wire.open(relay.target());
        wire.write(upgradeRequest().replace(/\r\n\r\n$/, `\r\n${fields}\r\n\r\n`));
        await expectSwitched(wire, relay);
        await wire.destroy();
      }
    });

    it.each(['derp', 'WebSocket'])('an upgrade to %s leads to a complete login', async (upgrade) => {
      const relay = await startRelay(lane, { tls: true });
      const client = await DerpClient.connect(relay, { start: 'switch', upgrade });
      expect(await client.fence()).toEqual([]);
    });

    it('a relay without DERP refuses upgrades', async () => {
      const relay = await startRelay(lane, { config: { derp: false } });
      for (const head of [
        upgradeRequest(),
        upgradeRequest({ Upgrade: '' }),
        upgradeRequest({ 'Derp-Fast-Start': '1' }),
      ]) {
        const wire = await Wire.open(relay.target());
        wire.write(head);
        expect((await wire.takeThrough('\r\n')).toString()).toBe('HTTP/1.1 404 Not Found\r\n');
        await wire.takeThrough('\r\n\r\n');
        expect((await wire.take(21)).toString()).toBe('derp server disabled\n');
      }
    });

    it.each([false, true])('an upgrade works as the second request of a connection, fast start %s', async (fast) => {
      const relay = await startRelay(lane, { tls: true });
      const client = await DerpClient.dial(relay, { start: fast ? 'fast' : 'switch' });
      client.wire.write('GET /derp/probe HTTP/1.1\r\nHost: x\r\n\r\n');
      const answer = (await client.wire.takeThrough('\r\n\r\n')).toString();
      expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      await client.login(notePreferredFrame(true));
      client.sendPacket(client.key, 'to myself');
      expect(await client.expectPacket('to myself')).toBe(client.key);
      await relay.untilFigures({ connections: 1, home: 1 });
    });

    it('an upgrade as the second request of a connection that ends with it completes', async () => {
      const relay = await startRelay(lane);
      const client = await DerpClient.dial(relay);
      client.wire.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n');
      await client.wire.takeThrough('\r\n\r\n');
      client.wire.write(client.head, client.clientInfo);
      client.wire.end();
      await client.closed();
      await relay.untilFigures({ connections: 0 });
    });

    it('the relay reads a ClientInfo that arrives together with a second request', async () => {
      const relay = await startRelay(lane);
      const client = await DerpClient.dial(relay);
      client.wire.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n', client.head, client.clientInfo);
      await client.wire.takeThrough('\r\n\r\n');
      client.readFrames();
      await client.expect('ServerKey');
      await client.expect('ServerInfo');
      expect(await client.fence()).toEqual([]);
    });
  });

  describe('the first frames', () => {
    it('the first frames of the relay are the greeting and ServerInfo, even if others wait', async () => {
      const relay = await startRelay(lane);
      const sender = await DerpClient.connect(relay);
      const first = await DerpClient.connect(relay);
      // Packets for this key flow while its second connection logs in and takes them over.
      for (let packet = 0; packet < 20; packet++) sender.sendPacket(first.key, 'early');
      const second = await DerpClient.dial(relay, { keys: first.keys });
      second.wire.write(second.head, second.clientInfo, pingFrame(Buffer.alloc(8)));
      for (let packet = 0; packet < 20; packet++) {
        sender.sendPacket(first.key, 'late');
        await sender.fence();
      }
      second.readFrames();
      await second.expect('ServerKey');
      await second.expect('ServerInfo');
    });

    it('the first frames of a client may share a segment, or be cut anywhere', async () => {
      const relay = await startRelay(lane);
      const sample = await DerpClient.dial(relay);
      const length = sample.head.length + sample.clientInfo.length;
      const head = sample.head.length;
      const cuts = [
        [],
        [1],
        [head - 4],
        [head - 2],
        [head - 1],
        [head],
        [head + 1],
        [head + 5],
        [head + 60],
        [length - 1],
        [length],
        [length + 5],
        [length + 6],
        [length + 6 + 4],
        [length + 6 + 13],
        [length + 6 + 13 + 20],
        [3, head, head + 3, head + 40, length, length + 3, length + 9, length + 30],
      ];
      for (const cut of cuts) {
        const client = await DerpClient.dial(relay);
        const bytes = Buffer.concat([Buffer.from(client.head), client.clientInfo, ...pipelined(client)]);
        await client.wire.writeSplit(bytes, ...cut);
        await expectPipelined(client, `cut at ${cut}`);
      }
      await relay.untilFigures({ connections: cuts.length, home: cuts.length });
    });

    it('the first frames of a client may arrive byte by byte', async () => {
      const relay = await startRelay(lane, { tls: true });
      const client = await DerpClient.dial(relay);
      const bytes = Buffer.concat([Buffer.from(client.head), client.clientInfo, ...pipelined(client)]);
      await client.wire.writeSplit(bytes, ...bytes.keys());
      await expectPipelined(client, 'byte by byte');
    });
  });

  it('a client with Ideal-Node counts as not ideal, and no other does', async () => {
    const relay = await startRelay(lane);
    const fast = await DerpClient.connect(relay, { idealNode: '1a' });
    await DerpClient.connect(relay, { idealNode: 'x', start: 'switch' });
    await DerpClient.connect(relay);
    const blank = await DerpClient.dial(relay);
    blank.wire.write(upgradeRequest({ 'Derp-Fast-Start': '1', 'Ideal-Node': ' ' }), blank.clientInfo);
    await relay.untilFigures({ connections: 4, notIdeal: 2 });
    await fast.close();
    await relay.untilFigures({ connections: 3, notIdeal: 1 });
  });

  describe('TLS', () => {
    it.each(['TLSv1.2', 'TLSv1.3'] as const)('the chain of %s ends with the meta certificate', async (version) => {
      const relay = await startRelay(lane, { tls: true });
      const chain = await servedChain(relay.target(), version);
      expect(chain).toHaveLength(2);
      const [leaf, meta] = chain.map((der) => new X509Certificate(der)) as [X509Certificate, X509Certificate];
      expect(createHash('sha256').update(leaf.raw).digest('hex')).toBe(relay.relay.fingerprint);
      expect(meta.subject).toBe(`CN=derpkey${nodeKeyHex(relay.keys.publicKey)}`);
      expect(meta.issuer).toBe(meta.subject);
      expect(Number.parseInt(meta.serialNumber, 16)).toBe(2);
      expect(meta.publicKey.asymmetricKeyType).toBe('ed25519');
      expect(meta.verify(meta.publicKey)).toBe(true);
      expect(new Date(meta.validFrom) < new Date() && new Date(meta.validTo) > new Date()).toBe(true);
    });

    it.each(['TLSv1.2', 'TLSv1.3'] as const)(
      'the relay serves the whole given chain, in order, over %s',
      async (version) => {
        const [leaf, other] = [pemPair(['localhost']), pemPair(['another.test'])];
        const certificate = { chain: leaf.chain + other.chain, key: leaf.key };
        const relay = await startRelay(lane, { tls: true, config: { certificate } });
        const chain = await servedChain(relay.target(), version);
        const given = [leaf, other].map(({ chain: pem }) => new X509Certificate(pem).raw);
        expect(chain.slice(0, 2)).toEqual(given);
        expect(chain).toHaveLength(3);
      },
    );

    it('the relay speaks TLS 1.2 or newer', async () => {
      const relay = await startRelay(lane, { tls: true });
      const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
      await expect(Wire.open(relay.target(old))).rejects.toThrow(
        /protocol version|unsupported protocol|wrong version/i,
      );
      expect((await Wire.open(relay.target(TLS_12))).tlsSocket.getProtocol()).toBe('TLSv1.2');
      expect((await Wire.open(relay.target())).tlsSocket.getProtocol()).toBe('TLSv1.3');
    });

    it('the relay selects HTTP/1.1 even if a client also offers HTTP/2', async () => {
      const relay = await startRelay(lane, { tls: true });
      const wire = await Wire.open(relay.target({ ALPNProtocols: ['h2', 'http/1.1'] }));
      expect(wire.tlsSocket.alpnProtocol).toBe('http/1.1');
    });

    it('a self-signed relay serves any server name, and none', async () => {
      const relay = await startRelay(lane, { tls: true });
      for (const servername of [undefined, 'localhost', 'anything.test']) {
        const client = await DerpClient.connect(relay, { tls: servername === undefined ? {} : { servername } });
        expect(await client.fence()).toEqual([]);
      }
    });

    it('in manual mode the relay serves its host name, and refuses others and none', async () => {
      const relay = await startManual(lane, 'relay.test');
      const served = await DerpClient.connect(relay, { tls: { servername: 'relay.test' } });
      expect(await served.fence()).toEqual([]);
      // A name has no letter case.
      await DerpClient.connect(relay, { tls: { servername: 'Relay.Test' } });
      for (const tls of [{ servername: 'other.test' }, { servername: 'x.relay.test' }, {}]) {
        for (const version of [TLS_12, TLS_13]) {
          await expect(Wire.open(relay.target({ ...tls, ...version })), JSON.stringify(tls)).rejects.toThrow();
        }
      }
      expect(await served.fence()).toEqual([]);
    });

    it('in manual mode for an IP address the relay serves any server name, and none', async () => {
      const relay = await startManual(lane, '127.0.0.1');
      for (const tls of [{ servername: 'other.test' }, {}]) await DerpClient.connect(relay, { tls });
      await relay.untilFigures({ connections: 2 });
    });
  });
});

async function startManual(lane: (typeof LANES)[number], hostname: string): Promise<TestRelay> {
  const certDir = await mkdtemp(join(tmpdir(), 'derpkit-conformance-'));
  onTestFinished(() => rm(certDir, { recursive: true }));
  const { chain, key } = pemPair([hostname]);
  await writeFile(join(certDir, `${hostname}.crt`), chain);
  await writeFile(join(certDir, `${hostname}.key`), key);
  return startRelay(lane, { config: { certMode: 'manual', hostname, certDir } });
}

/** NotePreferred, a ping and a packet to oneself: what a client may send before it has read anything. */
function pipelined(client: DerpClient): Buffer[] {
  return [
    notePreferredFrame(true),
    pingFrame(Buffer.from('12345678')),
    sendPacketFrame(client.key, Buffer.from('pipelined')),
  ];
}

/** Between a pong and a packet no order is promised. */
async function expectPipelined(client: DerpClient, what: string): Promise<void> {
  client.readFrames();
  await client.expect('ServerKey');
  await client.expect('ServerInfo');
  const frames = [await client.next(), await client.next()];
  expect(frames, what).toContainEqual({ type: 'Pong', data: Buffer.from('12345678').toString('hex') });
  expect(frames, what).toContainEqual({ type: 'RecvPacket', source: client.key, packet: Buffer.from('pipelined') });
}
