import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

/** So many at each step at once. */
const EACH = 8;
const policy = { deadlines: { handshake: 400, head: 400, clientInfo: 400 } };

/** A connection that has done the steps before at once, and takes this one a byte at a time, without end. */
interface Loris {
  readonly wire: Wire;
  /** What it sends, slowly. Never all of it before the deadline. */
  readonly bytes: Buffer;
}

type Step = (relay: TestRelay) => Promise<Loris>;

/** Half of it is a few bytes, the rest is silence: a deadline has to hold with and without progress. */
function slowly(wire: Wire, bytes: Uint8Array | string): Loris {
  return { wire, bytes: Buffer.from(bytes as Uint8Array) };
}

/** A TCP connection to the relay, whatever it speaks. */
function plain(relay: TestRelay): Promise<Wire> {
  const { host, port } = relay.target();
  return Wire.open({ host, port });
}

const LONG_HEAD = `GET /derp HTTP/1.1\r\nUpgrade: DERP\r\nX-Slow: ${'x'.repeat(4000)}`;

const BEFORE_TLS: [name: string, step: Step][] = [
  // A handshake record of 16 KiB, and a ClientHello as long as that.
  [
    'in its first TLS record',
    async (relay) => slowly(await plain(relay), `\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03${'\0'.repeat(4000)}`),
  ],
  [
    'in the rest of its TLS handshake',
    async (relay) => {
      const wire = await plain(relay);
      wire.write(await clientHello());
      // The answer is here, and what follows it does not come.
      await wire.take(5);
      return slowly(wire, `\x16\x03\x03\x0f\xff${'\0'.repeat(4000)}`);
    },
  ],
];

const BEFORE_LOGIN: [name: string, greeting: number, step: Step][] = [
  ['in its head', 0, async (relay) => slowly(await Wire.open(relay.target()), LONG_HEAD)],
  ['in a head of HTTP', 0, async (relay) => slowly(await Wire.open(relay.target()), LONG_HEAD.replace('/derp', '/'))],
  [
    'behind the greeting',
    45,
    async (relay) => {
      const client = await DerpClient.dial(relay);
      client.wire.write(client.head);
      return slowly(client.wire, '');
    },
  ],
  [
    'in its ClientInfo',
    45,
    async (relay) => {
      const client = await DerpClient.dial(relay, { info: `{"version":2,"pad":"${'x'.repeat(4000)}"}` });
      client.wire.write(client.head);
      return slowly(client.wire, client.clientInfo);
    },
  ],
];

/** A byte of each at a time, until all of them have been cut off. */
async function trickle(all: readonly Loris[]): Promise<void> {
  let at = 0;
  await eventually(() => {
    for (const { wire, bytes } of all) {
      if (!wire.isOver && at < bytes.length) wire.write(bytes.subarray(at, at + 1));
    }
    at += 1;
    return all.every(({ wire }) => wire.isOver);
  }, 'all of them to be cut off');
}

describe.each(LANES)('a client that is slow, $name', (lane) => {
  it.each([false, true])('at any step of its login is cut off at the deadline; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls, policy });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const steps = [
        ...(tls ? BEFORE_TLS.map(([name, step]) => ({ name, greeting: undefined, step })) : []),
        ...BEFORE_LOGIN.map(([name, greeting, step]) => ({ name, greeting, step })),
      ];
      const begun = steps.flatMap((step) =>
        [...Array(EACH)].map(async () => ({ ...step, loris: await step.step(relay) })),
      );
      const all = await Promise.all(begun);
      await trickle(all.map(({ loris }) => loris));
      for (const { name, greeting, loris } of all) {
        const said = await loris.wire.rest();
        if (greeting !== undefined) expect(said, name).toHaveLength(greeting);
        await loris.wire.destroy();
      }
    });
    await relay.untilCount('logins_failed', 2 * EACH);
    expect(relay.connected).toHaveLength(2);
    expect(relay.count('connections_refused')).toBe(0);
  });

  it.each([false, true])('in the body of a frame may be: it waits for itself alone; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls, policy });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const reader = await DerpClient.connect(relay);
      const slow = await Promise.all([...Array(EACH)].map(() => DerpClient.connect(relay)));
      const frame = sendPacketFrame(reader.key, Buffer.alloc(65_536 - 32, 7));
      // The head of the frame and of its body, byte by byte, and at last all the rest.
      const slowPart = 200;
      for (const client of slow) client.send(frame.subarray(0, 1));
      for (let at = 1; at < slowPart; at++) {
        for (const client of slow) client.send(frame.subarray(at, at + 1));
        if (at % 20 === 0) expect(await reader.fence()).toEqual([]);
      }
      expect(relay.disconnected).toEqual([]);
      for (const client of slow) {
        client.send(frame.subarray(slowPart));
        const { source, packet } = await reader.expect('RecvPacket');
        expect(source).toBe(client.key);
        expect(packet.equals(frame.subarray(5 + 32))).toBe(true);
      }
      for (const client of [...slow, reader]) await client.close();
    });
    expect(relay.drops()).toEqual({});
  });

  it.each([false, true])('in the body of a request, or in reading the answer, holds nobody up; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const wires = await Promise.all([...Array(EACH)].map(() => Wire.open(relay.target())));
      for (const [index, wire] of wires.entries()) {
        if (index % 2 === 0) {
          wire.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n');
        } else {
          // Requests whose answers it does not read: they end when its place is full, not when the memory is.
          wire.stopReading();
          wire.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(300));
        }
      }
      for (let at = 0; at < 10; at++) {
        for (const [index, wire] of wires.entries()) if (index % 2 === 0) wire.write('x');
        const wire = await Wire.open(relay.target());
        wire.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
        expect((await wire.rest()).toString()).toMatch(/^HTTP\/1\.1 204 /);
        await wire.destroy();
      }
      for (const wire of wires) await wire.destroy();
    });
  });
});

/** The first record of a client, as Node makes it. */
async function clientHello(): Promise<Buffer> {
  const sent: Buffer[] = [];
  const transport = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      sent.push(chunk);
      done();
    },
  });
  const socket = connectTls({ socket: transport, rejectUnauthorized: false });
  socket.on('error', () => undefined);
  await eventually(() => sent.length > 0, 'a ClientHello');
  socket.destroy();
  return Buffer.concat(sent);
}
