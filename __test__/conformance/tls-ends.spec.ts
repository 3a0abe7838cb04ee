/** How connections over TLS end: by faults of their records at once, and from the relay's side always with an alert. */
import { spawn } from 'node:child_process';
import { describe, expect, it, onTestFinished } from 'vitest';
import { encodeFrame } from '../../src/protocol/frame.js';
import { FrameType } from '../../src/protocol/wire.js';
import { type ClientOptions, DerpClient, upgradeRequest } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { MESH_KEY, ownCertificate, startRelay, type TestRelay } from '../helpers/relay.js';
import { BreakableTls, HAS_OPENSSL, rsaPair } from '../helpers/tls.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;
type Version = (typeof VERSIONS)[number];

const APPLICATION_DATA = 23;
const HANDSHAKE = 22;
const ALERT = 21;
const CHANGE_CIPHER_SPEC = 20;

function record(type: number, body: Uint8Array, version = 0x0303, length = body.length): Buffer {
  const header = Buffer.of(type, version >> 8, version & 0xff, length >> 8, length & 0xff);
  return Buffer.concat([header, body]);
}

/** Bytes that no peer with the keys sends after the handshake. */
const FAULTS: [name: string, bytes: Buffer][] = [
  ['data with a wrong tag', record(APPLICATION_DATA, Buffer.alloc(64, 7))],
  ['the largest record, with a wrong tag', record(APPLICATION_DATA, Buffer.alloc(16384 + 24, 7))],
  ['data shorter than a tag', record(APPLICATION_DATA, Buffer.alloc(8, 7))],
  ['data of no length', record(APPLICATION_DATA, Buffer.alloc(0))],
  ['an alert with a wrong tag', record(ALERT, Buffer.alloc(26, 7))],
  ['a fatal alert in the clear', record(ALERT, Buffer.of(2, 40))],
  ['a handshake message with a wrong tag', record(HANDSHAKE, Buffer.alloc(64, 1))],
  ['a ClientHello in the clear', record(HANDSHAKE, Buffer.from(`010000${'26'}0303${'00'.repeat(36)}`, 'hex'))],
  ['a malformed change of ciphers', record(CHANGE_CIPHER_SPEC, Buffer.of(2))],
  ['a record of an unknown type', record(99, Buffer.alloc(64, 7))],
  ['a record that is too long', record(APPLICATION_DATA, Buffer.alloc(64, 7), 0x0303, 0xffff)],
  ['a record of another version', record(APPLICATION_DATA, Buffer.alloc(64, 7), 0x0909)],
  ['a request in the clear', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
];

/** More than the relay reads of a request, all of it sent before the answer comes. */
const BODY = 'x'.repeat(100_000);
const UNREAD: [name: string, request: string][] = [
  [
    'a body that the relay does not read',
    `POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n${BODY}`,
  ],
  [
    'a body that the relay did not ask for',
    `POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n${BODY}`,
  ],
  ['a malformed request', `POST\u0001/ HTTP/1.1\r\n\r\n${BODY}`],
  ['a head that is too long', `GET / HTTP/1.1\nHost: x\nX: ${BODY}\n\n`],
];

async function breakable(relay: TestRelay, version: Version, options: ClientOptions = {}) {
  const tls = await BreakableTls.open(relay.target(), version);
  return { tls, client: new DerpClient(tls.wire, relay.keys.publicKey, options) };
}

function certificateOf(kind: 'ec' | 'rsa'): { chain: string; key: string } {
  return kind === 'ec' ? ownCertificate() : rsaPair();
}

describe.each(LANES)('the end of TLS, $name', (lane) => {
  describe.each(VERSIONS)('%s', (version) => {
    it.each(FAULTS)('%s ends a TLS connection, and peers are told', async (_name, bytes) => {
      const relay = await startRelay(lane, { tls: true });
      const peer = await DerpClient.connect(relay);
      const { tls, client } = await breakable(relay, version);
      await client.login();
      client.sendPacket(peer.key, 'before');
      await peer.expectPacket('before');
      tls.inject(bytes);
      expect(await peer.expect('PeerGone')).toMatchObject({ key: client.key });
      await tls.over();
      expect(await peer.fence()).toEqual([]);
      expect(await relay.endOf(client.key)).toBe('disconnected');
    });

    it('a TLS fault before the request ends the connection', async () => {
      const relay = await startRelay(lane, { tls: true });
      const tls = await BreakableTls.open(relay.target(), version);
      tls.inject(record(APPLICATION_DATA, Buffer.alloc(64, 7)));
      await tls.over();
    });

    describe('alerts', () => {
      it('TLS ends with an alert if no request arrives', async () => {
        const relay = await startRelay(lane, { tls: true, policy: { deadlines: { head: 100 } } });
        const { tls } = await breakable(relay, version);
        await tls.over();
        expect(tls.endsWithAlert).toBe(true);
      });

      it('TLS ends with an alert if no login arrives', async () => {
        const relay = await startRelay(lane, { tls: true, policy: { deadlines: { clientInfo: 100 } } });
        const { tls } = await breakable(relay, version);
        tls.wire.write(upgradeRequest());
        await tls.over();
        expect(tls.endsWithAlert).toBe(true);
      });

      it('TLS ends with an alert if the first frame is not a login', async () => {
        const relay = await startRelay(lane, { tls: true });
        const { tls } = await breakable(relay, version);
        tls.wire.write(upgradeRequest(), encodeFrame(FrameType.Ping, Buffer.alloc(8)));
        await tls.over();
        expect(tls.endsWithAlert).toBe(true);
      });

      it('TLS ends with an alert if the login is refused', async () => {
        const relay = await startRelay(lane, { tls: true, config: { disallowAppNames: ['unwanted'] } });
        const { tls, client } = await breakable(relay, version, { appName: 'unwanted' });
        tls.wire.write(client.head, client.clientInfo);
        await tls.over();
        expect(tls.endsWithAlert).toBe(true);
      });

      it('TLS ends with an alert if the client breaks the protocol', async () => {
        const relay = await startRelay(lane, { tls: true });
        const { tls, client } = await breakable(relay, version);
        await client.login();
        client.send(encodeFrame(FrameType.SendPacket, Buffer.alloc(3)));
        await tls.over();
        expect(tls.endsWithAlert).toBe(true);
      });

      it('TLS ends with an alert if a mesh peer closes the client', async () => {
        const relay = await startRelay(lane, { tls: true });
        const { tls, client } = await breakable(relay, version);
        await client.login();
        const mesh = await DerpClient.connect(relay, { meshKey: MESH_KEY });
        mesh.closePeer(client.key);
        await tls.over();
        expect(tls.endsWithAlert).toBe(true);
      });

      it.each(['close_notify', 'FIN alone'])(
        'TLS ends with an alert if the client ends its side with %s',
        async (how) => {
          const relay = await startRelay(lane, { tls: true });
          const { tls, client } = await breakable(relay, version);
          await client.login();
          if (how === 'FIN alone') tls.endBelow();
          else tls.wire.end();
          await tls.over();
          expect(tls.endsWithAlert).toBe(true);
        },
      );

      it.each(UNREAD)('TLS ends with an alert behind the answer to %s', async (_name, request) => {
        const relay = await startRelay(lane, { tls: true });
        for (let count = 0; count < 40; count++) {
          const { tls } = await breakable(relay, version);
          tls.wire.write(request);
          await tls.over();
          expect((await tls.wire.rest()).toString('latin1'), `${count}`).toMatch(/^HTTP\/1\.[01] [245]/);
          expect(tls.endsWithAlert, `${count}`).toBe(true);
          await tls.wire.destroy();
        }
      });

      it('TLS ends with an alert if the relay closes', async () => {
        const relay = await startRelay(lane, { tls: true });
        const { tls, client } = await breakable(relay, version);
        await client.login();
        await relay.relay.close();
        await tls.over();
        expect(tls.endsWithAlert).toBe(true);
      });
    });
  });

  it.skipIf(!HAS_OPENSSL)('TLS is never renegotiated', async () => {
    const relay = await startRelay(lane, { tls: true });
    const target = relay.target();
    // Node's client cannot be made to send the request without waiting for the answer; OpenSSL's can.
    const args = ['s_client', '-connect', `${target.host}:${target.port}`, '-tls1_2', '-legacy_renegotiation', '-msg'];
    const openssl = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'ignore'] });
    onTestFinished(() => void openssl.kill());
    let said = '';
    openssl.stdout.on('data', (chunk) => {
      said += chunk;
      // The handshake is done, and its session shown.
      if (said.includes('Verify return code') && !said.includes('asked')) {
        said += 'asked';
        openssl.stdin.write('R\n');
      }
    });
    await new Promise<void>((resolve) => openssl.once('close', () => resolve()));
    expect(said).toContain('asked');
    expect(said.match(/<<< .*ServerHello$/gm)).toHaveLength(1);
    expect(said.match(/<<< .*Finished$/gm)).toHaveLength(1);
  });

  describe('cipher suites', () => {
    const keys = { ec: 'ECDSA', rsa: 'RSA' } as const;

    it.skipIf(!HAS_OPENSSL).each(['ec', 'rsa'] as const)(
      'TLS 1.2 uses only suites with forward secrecy and an AEAD, with an %s key',
      async (kind) => {
        const relay = await startRelay(lane, { tls: true, config: { certificate: certificateOf(kind) } });
        const suites = ['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305'];
        for (const suite of suites) {
          const ciphers = `ECDHE-${keys[kind]}-${suite}`;
          const wire = await Wire.open(relay.target({ maxVersion: 'TLSv1.2', ciphers }));
          expect(wire.tlsSocket.getCipher().name).toBe(ciphers);
        }
      },
    );

    it.skipIf(!HAS_OPENSSL).each([
      ['ec', 'ECDHE-ECDSA-AES128-SHA256'],
      ['ec', 'ECDHE-ECDSA-AES256-SHA'],
      ['ec', 'ECDHE-ECDSA-AES128-CCM'],
      ['rsa', 'AES128-GCM-SHA256'],
      ['rsa', 'AES256-SHA'],
      ['rsa', 'ECDHE-RSA-AES128-SHA'],
      ['rsa', 'DHE-RSA-AES128-GCM-SHA256'],
    ] as const)('TLS 1.2 refuses other suites, with an %s key: %s', async (kind, ciphers) => {
      const relay = await startRelay(lane, { tls: true, config: { certificate: certificateOf(kind) } });
      const tls = { maxVersion: 'TLSv1.2', ciphers: `${ciphers}:@SECLEVEL=0` } as const;
      await expect(Wire.open(relay.target(tls))).rejects.toThrow(/handshake failure/i);
    });
  });
});
