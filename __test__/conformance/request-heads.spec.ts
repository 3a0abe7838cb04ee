/** What comes where a request should: answered as derper does, at the byte that decides, not at a deadline. */
import { describe, expect, it } from 'vitest';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

/** No deadline comes in the way of a test. */
const PATIENT = { deadlines: { head: 3_600_000, handshake: 3_600_000 } };

const REFUSED =
  'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request';
const HTTP_TO_TLS = 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n';

const NO_HEADS: [name: string, bytes: string][] = [
  ['a request without a version', 'GET /\r\n'],
  ['a mail client', 'EHLO mail.test\r\n'],
  ['the banner of SSH', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
  ['a ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
  ['a remote desktop', '\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00'],
  ['the PROXY protocol', 'PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n'],
  ['an empty line', '\r\n'],
  ['a line feed', '\n'],
  ['a header without a colon', 'GET / HTTP/1.1\r\nHost relay.test\r\n'],
];

const PROBE = 'GET /derp/probe HTTP/1.1\nHost: relay.test\n\n';

async function plainWire(relay: TestRelay): Promise<Wire> {
  const { host, port } = relay.target();
  return Wire.open({ host, port });
}

describe.each(LANES)('request heads, $name', (lane) => {
  describe.each([false, true])('TLS %s', (tls) => {
    it.each(NO_HEADS)('bytes that cannot be a request are refused at once: %s', async (_name, bytes) => {
      const relay = await startRelay(lane, { tls, policy: PATIENT });
      const wire = await Wire.open(relay.target());
      wire.write(Buffer.from(bytes, 'latin1'));
      expect((await wire.rest()).toString('latin1')).toBe(REFUSED);
    });

    it('bytes that cannot be a request are refused in pieces, too', async () => {
      const relay = await startRelay(lane, { tls, policy: PATIENT });
      const wire = await Wire.open(relay.target());
      const bytes = Buffer.from('SSH-2.0-OpenSSH_9.2p1\r\n');
      await wire.writeSplit(bytes, ...bytes.keys());
      expect((await wire.rest()).toString('latin1')).toBe(REFUSED);
    });

    it('a request may end its lines with LF alone', async () => {
      const relay = await startRelay(lane, { tls, policy: PATIENT });
      for (const request of [PROBE, PROBE.replace('\n', '\r\n'), PROBE.replace(/\n$/, '\r\n')]) {
        const wire = await Wire.open(relay.target());
        wire.write(request);
        expect((await wire.takeThrough('\r\n')).toString()).toBe('HTTP/1.1 200 OK\r\n');
      }
    });

    it('an upgrade may end its lines with LF alone, and logs in then', async () => {
      const relay = await startRelay(lane, { tls, policy: PATIENT });
      const client = await DerpClient.dial(relay);
      client.wire.write(client.head.replaceAll('\r\n', '\n'), client.clientInfo);
      client.readFrames();
      await client.expect('ServerKey');
      await client.expect('ServerInfo');
      // What looks like a line end in a packet is none.
      client.sendPacket(client.key, 'a\nb\r\nc');
      await client.expectPacket('a\nb\r\nc');
    });

    it('a WebSocket handshake may end its lines with LF alone', async () => {
      const relay = await startRelay(lane, { tls, policy: PATIENT });
      const wire = await Wire.open(relay.target());
      const lines = [
        ...['GET /derp HTTP/1.1', 'Host: relay.test', 'Connection: Upgrade', 'Upgrade: websocket'],
        ...['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==', 'Sec-WebSocket-Protocol: derp'],
      ];
      wire.write(`${lines.join('\n')}\n\n`);
      expect((await wire.takeThrough('\r\n')).toString()).toBe('HTTP/1.1 101 Switching Protocols\r\n');
      // The greeting, as a binary message.
      await wire.takeThrough('\r\n\r\n');
      expect(await wire.take(2)).toEqual(Buffer.of(0x82, 45));
    });

    it('a body behind lines that end with LF alone stays unchanged', async () => {
      const relay = await startRelay(lane, { tls, policy: PATIENT });
      const wire = await Wire.open(relay.target());
      wire.write(
        'POST /derp/probe HTTP/1.1\nHost: x\nContent-Length: 3\n\na\nb',
        'GET /derp/probe HTTP/1.1\r\nHost: x\r\n\r\n',
      );
      await wire.takeThrough('bogus probe method\n');
      expect((await wire.takeThrough('\r\n')).toString()).toBe('HTTP/1.1 200 OK\r\n');
    });

    it('a relay without DERP reads request heads in the same way', async () => {
      const relay = await startRelay(lane, { tls, policy: PATIENT, config: { derp: false } });
      const [bad, good] = [await Wire.open(relay.target()), await Wire.open(relay.target())];
      bad.write('GET /\r\n');
      expect((await bad.rest()).toString('latin1')).toBe(REFUSED);
      good.write(PROBE);
      expect((await good.takeThrough('\r\n')).toString()).toBe('HTTP/1.1 200 OK\r\n');
    });
  });

  it('the plain listener beside TLS reads request heads in the same way', async () => {
    const relay = await startRelay(lane, { tls: true, policy: PATIENT, config: { httpPort: 0 } });
    const [bad, good] = [await Wire.open(relay.httpTarget()), await Wire.open(relay.httpTarget())];
    bad.write('GET /\r\n');
    expect((await bad.rest()).toString('latin1')).toBe(REFUSED);
    good.write('GET /generate_204 HTTP/1.1\nHost: relay.test\n\n');
    expect((await good.takeThrough('\r\n')).toString()).toBe('HTTP/1.1 204 No Content\r\n');
  });

  describe('plain text at a TLS listener', () => {
    it.each(['GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'HEAD /', 'POST /x HTTP/1.1\r\n', 'PUT /', 'OPTIONS * HTTP/1.1'])(
      'HTTP at a TLS listener is told so: %j',
      async (request) => {
        const relay = await startRelay(lane, { tls: true, policy: PATIENT });
        const wire = await plainWire(relay);
        wire.write(request);
        expect((await wire.rest()).toString('latin1')).toBe(HTTP_TO_TLS);
      },
    );

    it('HTTP at a TLS listener is told so byte by byte', async () => {
      const relay = await startRelay(lane, { tls: true, policy: PATIENT });
      const wire = await plainWire(relay);
      await wire.writeSplit(Buffer.from('GET /'), 1, 2, 3, 4);
      expect((await wire.rest()).toString('latin1')).toBe(HTTP_TO_TLS);
    });

    it.each(['DELETE / HTTP/1.1\r\n', 'GEX / HTTP/1.1\r\n', 'EHLO x\r\n', 'SSH-2.0-x\r\n'])(
      'other plain text at a TLS listener is closed at once, without an answer: %j',
      async (bytes) => {
        const relay = await startRelay(lane, { tls: true, policy: PATIENT });
        const [whole, pieces] = [await plainWire(relay), await plainWire(relay)];
        whole.write(bytes);
        await pieces.writeSplit(Buffer.from(bytes), 1, 2, 4);
        for (const wire of [whole, pieces]) expect((await wire.rest()).toString('latin1')).not.toMatch(/HTTP/);
      },
    );
  });
});
