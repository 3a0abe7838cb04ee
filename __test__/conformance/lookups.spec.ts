/** Keys that the plane does not know, and a control plane that says where they are, or that they are nowhere. */
import { describe, expect, it } from 'vitest';
import { discoPacket } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import {
  anyKey,
  balanced,
  commandsDone,
  discoText,
  drops,
  forwarded,
  linkedTo,
  lookupCounts,
  lookupPolicy,
  notHere,
  openWithLookups,
  sendTo,
  texts,
  untilAsked,
} from '../helpers/lookups.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

describe.each(LANES)('a lookup, $name', (lane) => {
  describe('asking', () => {
    it('the plane asks for an unknown key once, whatever number of packets and clients want it', async () => {
      const harness = await openWithLookups(lane);
      const [{ client: a }, { client: b }] = [await harness.admitted(), await harness.admitted()];
      const key = anyKey();
      await sendTo(a, key, 'one', discoPacket(), 'two');
      await sendTo(b, key, 'three');
      await untilAsked(harness, key);
      expect(drops(harness)).toEqual({});
      await balanced(harness, 0, 4);
    });

    it('a plane without lookups asks for nothing and drops packets to unknown keys at once', async () => {
      const harness = await PlaneHarness.open(lane);
      const { client } = await harness.admitted();
      const key = anyKey();
      client.sendPacket(key, discoPacket());
      client.sendPacket(key, 'other');
      expect(await client.fence()).toEqual([notHere(key)]);
      harness.plane.missing(key);
      await commandsDone(harness);
      expect(drops(harness)).toEqual({ unknown_dest: 2 });
      expect(lookupCounts(harness)).toEqual({});
      expect(harness.lookups).toEqual([]);
    });

    it('the plane does not ask for a key that has a connection or a route', async () => {
      const harness = await openWithLookups(lane);
      const end = await linkedTo(harness);
      const [{ client: a }, { client: b }] = [await harness.admitted(), await harness.admitted()];
      const remote = anyKey();
      harness.plane.route(remote, 1);
      await commandsDone(harness);
      await sendTo(a, b.key, 'here');
      await sendTo(a, remote, 'there');
      expect(await b.expectPacket('here')).toBe(a.key);
      expect(await texts(end, 1)).toEqual(['there']);
      expect(lookupCounts(harness)).toEqual({});
    });
  });

  describe('that finds the key', () => {
    it('what waits goes to the link in its order, ahead of all that comes later', async () => {
      const harness = await openWithLookups(lane);
      const end = await linkedTo(harness);
      const { client } = await harness.admitted();
      for (let round = 0; round < 20; round++) {
        const key = anyKey();
        const send = (number: number) => {
          client.sendPacket(key, `other ${number}`);
          client.sendPacket(key, discoText(`disco ${number}`));
        };
        for (let number = 0; number < 5; number++) send(number);
        await eventually(() => harness.lookups.at(-1) === key, 'the lookup');
        // The answer and the next packets meet.
        for (let number = 5; number < 10; number++) send(number);
        harness.plane.route(key, 1);
        for (let number = 10; number < 15; number++) send(number);
        const packets = await forwarded(end, 30);
        expect(new Set(packets.map(({ destination }) => destination))).toEqual(new Set([key]));
        expect(new Set(packets.map(({ source }) => source))).toEqual(new Set([client.key]));
        const words = packets.map(({ packet }) => packet.toString('latin1'));
        const ofKind = (kind: string) => words.flatMap((word) => word.match(`${kind} \\d+$`)?.[0] ?? []);
        for (const kind of ['other', 'disco']) {
          expect(ofKind(kind)).toEqual(Array.from({ length: 15 }, (_, number) => `${kind} ${number}`));
        }
      }
      expect(harness.plane.counters.read('packets_forwarded_out')).toBe(600);
      expect(lookupCounts(harness)).toEqual({ asked: 20 });
      await balanced(harness, 600);
    });

    it('packets reach the link even after their sender has left', async () => {
      const harness = await openWithLookups(lane);
      const end = await linkedTo(harness);
      const { client, id } = await harness.admitted();
      const key = anyKey();
      await sendTo(client, key, 'last words');
      await client.close();
      await harness.endOf(id);
      harness.plane.route(key, 1);
      expect(await forwarded(end, 1)).toEqual([
        { source: client.key, destination: key, packet: Buffer.from('last words') },
      ]);
      await balanced(harness, 1);
    });

    it('what waits is dropped if the link is not open', async () => {
      const harness = await openWithLookups(lane);
      const { client } = await harness.admitted();
      const key = anyKey();
      await sendTo(client, key, 'one', discoPacket());
      harness.plane.route(key, 7);
      await commandsDone(harness);
      expect(drops(harness)).toEqual({ mesh_down: 2 });
      expect(await client.fence()).toEqual([]);
    });

    it('a route that is taken away answers nothing', async () => {
      const harness = await openWithLookups(lane);
      const end = await linkedTo(harness);
      const { client } = await harness.admitted();
      const key = anyKey();
      await sendTo(client, key, 'one');
      harness.plane.route(key, null);
      await commandsDone(harness);
      await sendTo(client, key, 'two');
      await untilAsked(harness, key);
      harness.plane.route(key, 1);
      expect(await texts(end, 2)).toEqual(['one', 'two']);
    });

    it('what waits is dropped if the key has a connection here by then', async () => {
      const harness = await openWithLookups(lane);
      await linkedTo(harness);
      const { client } = await harness.admitted();
      const { client: late, login } = await harness.loggingIn();
      await sendTo(client, late.key, 'too early', discoPacket());
      harness.plane.admit(login.id, { mesh: false, receiveLimit: null });
      await late.expect('ServerInfo');
      await sendTo(client, late.key, 'in time');
      await late.expectPacket('in time');
      harness.plane.route(late.key, 1);
      await commandsDone(harness);
      expect(drops(harness)).toEqual({ unknown_dest: 2 });
      expect(harness.plane.counters.read('packets_forwarded_out')).toBe(0);
      expect(await client.fence()).toEqual([]);
      await untilAsked(harness, late.key);
    });
  });

  describe('that finds nothing', () => {
    it('what waits is dropped, and each disco packet is answered to its sender', async () => {
      const key = anyKey();
      const harness = await openWithLookups(lane, {}, { watchedDrops: [key] });
      const [{ client: a }, { client: b }] = [await harness.admitted(), await harness.admitted()];
      await sendTo(a, key, discoPacket(1), 'one', discoPacket(2));
      await sendTo(b, key, 'two');
      harness.plane.missing(key);
      await commandsDone(harness);
      expect(await a.fence()).toEqual([notHere(key), notHere(key)]);
      expect(await b.fence()).toEqual([]);
      expect(drops(harness)).toEqual({ unknown_dest: 4 });
      expect(lookupCounts(harness)).toEqual({ asked: 1, missing: 1 });
      const told = (source: string) =>
        harness.dropped
          .filter((drop) => drop.source === source && drop.destination === key && drop.reason === 'unknown_dest')
          .reduce((sum, { packets }) => sum + packets, 0);
      await eventually(() => told(a.key) === 3 && told(b.key) === 1, 'all drops to be told');
    });

    it('a disco packet takes its token of NotHere when it begins to wait', async () => {
      const harness = await openWithLookups(lane, {}, { notHere: { burst: 1, perSecond: 0 } });
      const { client } = await harness.admitted();
      const [first, second] = [anyKey(), anyKey()];
      await sendTo(client, first, discoPacket());
      await sendTo(client, second, discoPacket());
      harness.plane.missing(second);
      await commandsDone(harness);
      expect(await client.fence()).toEqual([]);
      harness.plane.missing(first);
      await commandsDone(harness);
      expect(await client.fence()).toEqual([notHere(first)]);
      expect(drops(harness)).toEqual({ unknown_dest: 2 });
    });

    it('a client that has left is not told, nor is a later connection of its key', async () => {
      const harness = await openWithLookups(lane);
      const { client, id } = await harness.admitted();
      const key = anyKey();
      await sendTo(client, key, discoPacket());
      await client.close();
      await harness.endOf(id);
      harness.logins.length = 0;
      const { client: again } = await harness.admitted({ keys: client.keys });
      harness.plane.missing(key);
      await commandsDone(harness);
      expect(await again.fence()).toEqual([]);
      expect(harness.plane.counters.read('peer_gone_not_here_frames')).toBe(0);
      expect(drops(harness)).toEqual({ unknown_dest: 1 });
    });

    it('a key that has a connection by then is not missing: what waits is dropped without a word', async () => {
      const harness = await openWithLookups(lane);
      const { client } = await harness.admitted();
      const { client: late, login } = await harness.loggingIn();
      await sendTo(client, late.key, discoPacket());
      harness.plane.admit(login.id, { mesh: false, receiveLimit: null });
      await late.expect('ServerInfo');
      harness.plane.missing(late.key);
      await commandsDone(harness);
      expect(await client.fence()).toEqual([]);
      expect(drops(harness)).toEqual({ unknown_dest: 1 });
      expect(lookupCounts(harness)).toEqual({ asked: 1 });
      await late.close();
      await harness.endOf(login.id);
      await sendTo(client, late.key, 'again');
      await untilAsked(harness, late.key, late.key);
    });
  });

  describe('that is over', () => {
    it('a policy without lookups answers all lookups as missing and forgets all misses', async () => {
      const harness = await openWithLookups(lane);
      const { client } = await harness.admitted();
      const [known, waiting] = [anyKey(), anyKey()];
      await sendTo(client, known, 'one');
      harness.plane.missing(known);
      await sendTo(client, waiting, discoPacket(), 'two');
      harness.plane.policy(harness.policy({ ...lookupPolicy(), lookups: null }));
      await commandsDone(harness);
      expect(await client.fence()).toEqual([notHere(waiting)]);
      expect(drops(harness)).toEqual({ unknown_dest: 3 });
      expect(lookupCounts(harness)).toEqual({ asked: 2, missing: 2 });
      harness.plane.policy(harness.policy(lookupPolicy()));
      await commandsDone(harness);
      await sendTo(client, known, 'three');
      await sendTo(client, waiting, 'four');
      await untilAsked(harness, known, waiting, known, waiting);
    });

    it('the plane drops what waits when it shuts down', async () => {
      const harness = await openWithLookups(lane);
      const { client } = await harness.admitted();
      await sendTo(client, anyKey(), discoPacket(), 'two');
      await harness.plane.shutdown();
      expect(drops(harness)).toEqual({ unknown_dest: 2 });
    });
  });
});
