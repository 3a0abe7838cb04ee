import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Bystanders } from '../helpers/bystanders.js';
import { upgradeRequest } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { randomBytes, SEED, seeded } from '../helpers/random.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually, PATIENCE } from '../helpers/wait.js';
import { type Target, Wire } from '../helpers/wire.js';

nothingIsLeft();

type Random = () => number;

/** What scanners, mistaken clients and worse ones send, and what has nothing of them but their first bytes. */
const GREETINGS: ((random: Random) => Uint8Array | string)[] = [
  (random) => randomBytes(random, 1 + Math.floor(random() * 2000)),
  // A TLS record with a handshake that is none; one of a type and version that there is not; an alert.
  (random) => Buffer.concat([Buffer.from('1603010080', 'hex'), randomBytes(random, 128)]),
  (random) => Buffer.concat([Buffer.from('990909ffff', 'hex'), randomBytes(random, 300)]),
  () => Buffer.from('15030300020228', 'hex'),
  // RDP, SSH, SMB, a PROXY header, SOCKS, memcached, an HTTP/2 preface with its settings.
  () => Buffer.from('030000130ee000000000000100080003000000', 'hex'),
  () => 'SSH-2.0-scanner\r\n',
  () => Buffer.from('00000085ff534d4272000000001853c8', 'hex'),
  () => 'PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n',
  () => Buffer.from('050100', 'hex'),
  () => 'stats\r\nquit\r\n',
  () => Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from('000000040000000000', 'hex')]),
  // Frames of DERP without a request before them.
  () => Buffer.from('0200000010'.padEnd(42, '0'), 'hex'),
  // Requests that are wrong somewhere in the middle.
  (random) => mutated(random, Buffer.from(upgradeRequest({ 'Derp-Fast-Start': '1' }))),
  (random) =>
    mutated(
      random,
      Buffer.from('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n'),
    ),
  () => 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzz\r\n',
  () => 'GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
];

/** Heads beyond all bounds, and the first of them never ends. */
const OVERSIZED = [
  `GET /derp HTTP/1.1\r\nX: ${'x'.repeat(300_000)}`,
  `GET /${'x'.repeat(40_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
  `GET /derp HTTP/1.1\r\n${'X: y\r\n'.repeat(10_000)}\r\n`,
  `${'G'.repeat(100_000)} / HTTP/1.1\r\n\r\n`,
  '\r\n'.repeat(50_000),
];

/** A few of its bytes are others. */
function mutated(random: Random, bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes);
  for (let count = 0; count < 3; count++) changed[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
  return changed;
}

/** Every port and layer of a relay where bytes can be put. */
function ports(relay: TestRelay, tls: boolean): Target[] {
  const { host, port } = relay.target();
  return tls ? [relay.target(), { host, port }, relay.httpTarget()] : [{ host, port }];
}

describe.each(LANES_AND_TLS)('garbage, $name', (lane) => {
  it.each([false, true])('garbage on any TCP port ends its connection and costs nothing else; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls, config: { httpPort: tls ? 0 : -1 } });
    const random = seeded(SEED);
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      for (const target of ports(relay, tls)) {
        await Promise.all(
          [...Array(2)].flatMap(() =>
            GREETINGS.map(async (greeting) => {
              const wire = await Wire.open(target);
              const bytes = Buffer.from(greeting(random) as Uint8Array);
              // In one piece, or in two.
              await wire.writeSplit(bytes, ...(random() < 0.5 ? [Math.floor(random() * bytes.length)] : []));
              wire.end();
              await wire.ended();
              await wire.destroy();
            }),
          ),
        );
      }
    });
    expect(relay.connected).toHaveLength(2);
    expect((await ask(relay.target(), '/derp/probe')).status).toBe(200);
    if (tls) expect((await ask(relay.httpTarget(), '/')).status).toBe(302);
  });

  it.each([false, true])('the relay does not keep an endless head, on any port; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls, config: { httpPort: tls ? 0 : -1 } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      for (const target of ports(relay, tls)) {
        for (const head of OVERSIZED) {
          const wire = await Wire.open(target);
          wire.write(head);
          if (head.startsWith('\r\n')) wire.end();
          const answer = (await wire.rest()).toString('latin1');
          // A TLS listener may say by an alert what it thinks of it.
          if (target.tls || !tls || target.port !== relay.target().port)
            expect(answer).toMatch(/^$|^HTTP\/1\.1 4\d\d /);
          await wire.destroy();
        }
      }
    });
    expect(relay.count('accepts')).toBe(2);
  });

  it('garbage on the STUN port gets no answer, and keeps no client from its own', async () => {
    const relay = await startRelay(lane, { config: { stun: true, stunPort: 0 } });
    const random = seeded(SEED);
    const bystanders = await Bystanders.join(relay);
    const port = relay.relay.address?.stun?.port as number;
    const request = Buffer.from(
      '000100142112a442010101010101010101010101802200087461696c6e6f646580280004355f9b89',
      'hex',
    );
    const datagrams: Buffer[] = [Buffer.alloc(0), Buffer.alloc(1472), Buffer.alloc(20, 0xff)];
    for (let count = 0; count < 80; count++) {
      datagrams.push(randomBytes(random, Math.floor(random() * 1400)));
      // A request that is cut, or goes on: the fingerprint is not its end.
      datagrams.push(request.subarray(0, Math.floor(random() * request.length)));
      datagrams.push(Buffer.concat([request, randomBytes(random, 1 + Math.floor(random() * 50))]));
      // One bit is another; that shows in the fingerprint, or in the magic of the message.
      const flipped = Buffer.from(request);
      const at = Math.floor(random() * request.length);
      flipped[at] = (flipped[at] as number) ^ (1 << Math.floor(random() * 8));
      datagrams.push(flipped);
    }
    await bystanders.during(async () => {
      const socket = createSocket('udp4');
      onTestFinished(() => new Promise<void>((resolve) => void socket.close(() => resolve())).catch(() => undefined));
      const answers: string[] = [];
      socket.on('message', (message) => answers.push(message.toString('hex')));
      await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
      const known = () => relay.count('stun_requests:not_stun') + relay.count('stun_requests:success');
      for (const [index, datagram] of datagrams.entries()) {
        socket.send(datagram, port, '127.0.0.1');
        // A buffer of the system's that is full would drop some.
        if (index % 20 === 19) await eventually(() => known() === index + 1, 'the datagrams to be looked at');
      }
      await eventually(() => known() === datagrams.length, 'all datagrams to be looked at');
      const answered = once(socket, 'message', { signal: AbortSignal.timeout(PATIENCE) });
      socket.send(request, port, '127.0.0.1');
      await answered;
      expect(answers).toHaveLength(1);
      await new Promise<void>((resolve) => socket.close(() => resolve()));
    });
    expect(relay.count('stun_requests:not_stun')).toBe(datagrams.length);
    expect(relay.count('stun_requests:success')).toBe(1);
    expect(relay.count('stun_requests:read_error')).toBe(0);
  });
});
