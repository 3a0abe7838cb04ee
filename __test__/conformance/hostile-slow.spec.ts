import { describe, expect, it } from 'vitest';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { clientHello } from '../helpers/tls.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

/** So many at each step at once. */
const EACH = 8;
const DEADLINE = 600;

type Deadline = 'handshake' | 'head' | 'clientInfo';

/** A connection that has done the steps before at once, and takes this one a byte at a time, without end. */
interface Loris {
  readonly wire: Wire;
  /** What it sends, slowly. Never all of it before the deadline. */
  readonly bytes: Buffer;
}

type Step = (relay: TestRelay) => Promise<Loris>;

function slowly(wire: Wire, bytes: Uint8Array | string): Loris {
  return { wire, bytes: Buffer.from(bytes as Uint8Array) };
}

/** A TCP connection to the relay, whatever it speaks. */
function plain(relay: TestRelay): Promise<Wire> {
  const { host, port } = relay.target();
  return Wire.open({ host, port });
}

const LONG_HEAD = `GET /derp HTTP/1.1\r\nUpgrade: DERP\r\nX-Slow: ${'x'.repeat(4000)}`;

const STEPS: readonly { deadline: Deadline; name: string; step: Step }[] = [
  {
    deadline: 'handshake',
    name: 'in its first TLS record',
    // A ClientHello as long as a record can be.
    step: async (relay) => slowly(await plain(relay), Buffer.from('160301400001003ffc0303'.padEnd(8000, '0'), 'hex')),
  },
  {
    deadline: 'handshake',
    name: 'in the rest of its TLS handshake',
    step: async (relay) => {
      const wire = await plain(relay);
      wire.write(await clientHello());
      // The answer is here, and what should follow it is a record that takes its time.
      await wire.take(5);
      return slowly(wire, Buffer.from('1603034000'.padEnd(8000, '0'), 'hex'));
    },
  },
  { deadline: 'head', name: 'in its head', step: async (relay) => slowly(await Wire.open(relay.target()), LONG_HEAD) },
  {
    deadline: 'clientInfo',
    name: 'behind the greeting',
    step: async (relay) => {
      const client = await DerpClient.dial(relay);
      client.wire.write(client.head);
      return slowly(client.wire, '');
    },
  },
  {
    deadline: 'clientInfo',
    name: 'in its ClientInfo',
    step: async (relay) => {
      const client = await DerpClient.dial(relay, { info: `{"version":2,"pad":"${'x'.repeat(4000)}"}` });
      client.wire.write(client.head);
      return slowly(client.wire, client.clientInfo);
    },
  },
];

/** What it is told before it is cut off. Of a handshake that is part of the handshake. */
const TOLD: Record<Deadline, number | undefined> = { handshake: undefined, head: 0, clientInfo: 45 };

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

describe.each(LANES_AND_TLS)('a client that is slow, $name', (lane) => {
  it.each([false, true])(
    'a client that stalls at any step of its login is closed at the deadline; TLS %s',
    async (tls) => {
      // One relay for each deadline: what comes before the step is in no hurry.
      const deadlines: Deadline[] = tls ? ['handshake', 'head', 'clientInfo'] : ['head', 'clientInfo'];
      const relays = new Map<Deadline, TestRelay>();
      for (const deadline of deadlines) {
        relays.set(deadline, await startRelay(lane, { tls, policy: { deadlines: { [deadline]: DEADLINE } } }));
      }
      const attack = async () => {
        const begun = STEPS.flatMap(({ deadline, name, step }) => {
          const relay = relays.get(deadline);
          return relay ? [...Array(EACH)].map(async () => ({ deadline, name, loris: await step(relay) })) : [];
        });
        const all = await Promise.all(begun);
        await trickle(all.map(({ loris }) => loris));
        for (const { deadline, name, loris } of all) {
          const said = await loris.wire.rest();
          // A reset takes with it what has come, and has not been read yet on a busy machine.
          if (TOLD[deadline] !== undefined) expect([0, TOLD[deadline]], name).toContain(said.length);
          await loris.wire.destroy();
        }
      };
      let watched: () => Promise<unknown> = attack;
      for (const relay of relays.values()) {
        const [bystanders, inner] = [await Bystanders.join(relay), watched];
        watched = () => bystanders.during(inner);
      }
      await watched();
      for (const [deadline, relay] of relays) {
        await relay.untilCount('logins_failed', deadline === 'clientInfo' ? 2 * EACH : 0);
        expect(relay.connected).toHaveLength(2);
        expect(relay.count('connections_refused')).toBe(0);
      }
    },
  );

  it.each([false, true])('a client may send a frame slowly, and delays no other; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls, policy: { deadlines: { clientInfo: DEADLINE, head: DEADLINE } } });
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

  it.each([false, true])(
    'a client that sends a request or reads its answer slowly delays no other; TLS %s',
    async (tls) => {
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
    },
  );
});
