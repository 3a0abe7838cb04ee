/** What keys found on demand need of links, of packets that other relays forward, and of clients that hear of a remote key. */
import { describe, expect, it } from 'vitest';
import type { TapFrame } from '../../src/plane/plane.js';
import { peerGoneFrame, peerPresentFrame } from '../../src/protocol/frame.js';
import { PeerGoneReason } from '../../src/protocol/wire.js';
import { type DerpClient, discoPacket } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import {
  anyKey,
  balanced,
  commandsDone,
  drops,
  linkedTo,
  lookupCounts,
  notHere,
  openWithLookups,
  sendTo,
  texts,
  untilAsked,
} from '../helpers/lookups.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const MESH = { mesh: true, receiveLimit: null };

/** Forwards a packet of `source`, and returns when the client has it. */
async function hear(mesh: DerpClient, client: DerpClient, source: DerpClient['key'], text = 'hello'): Promise<void> {
  mesh.forwardPacket(source, client.key, text);
  expect(await client.expectPacket(text)).toBe(source);
}

describe.each(LANES)('keys on demand, $name', (lane) => {
  describe('links that do not watch', () => {
    it('the link carries packets, and reports PeerGone frames alone', async () => {
      const harness = await openWithLookups(lane);
      const end = await linkedTo(harness);
      const { client } = await harness.admitted();
      const [present, gone, away] = [anyKey(), anyKey(), anyKey()];
      end.send(
        peerPresentFrame({ key: present, address: '192.0.2.1', port: 1, flags: 0, appName: '' }),
        peerGoneFrame(gone, PeerGoneReason.NotHere),
        peerPresentFrame({ key: present, address: '192.0.2.1', port: 1, flags: 0, appName: '' }),
        peerGoneFrame(away, PeerGoneReason.Disconnected),
      );
      await eventually(() => harness.told.length >= 2, 'two keys to be gone');
      harness.plane.route(gone, 1);
      await commandsDone(harness);
      await sendTo(client, gone, 'carried');
      // Nothing came ahead of it, such as WatchConns.
      expect(await texts(end, 1)).toEqual(['carried']);
      expect(harness.told).toEqual([`not ${gone}`, `not ${away}`]);
    });
  });

  describe('forwarded packets', () => {
    it('a forwarded packet to an unknown key asks for nothing, and is answered whatever its kind', async () => {
      const harness = await openWithLookups(lane);
      const { client: mesh } = await harness.admitted({}, MESH);
      const [source, first, second] = [anyKey(), anyKey(), anyKey()];
      mesh.forwardPacket(source, first, 'other');
      mesh.forwardPacket(source, second, discoPacket());
      expect(await mesh.fence()).toEqual([notHere(first), notHere(second)]);
      expect(drops(harness)).toEqual({ unknown_dest_on_fwd: 2 });
      expect(lookupCounts(harness)).toEqual({});
    });

    it('the answers to forwarded packets keep to the bound of NotHere', async () => {
      const harness = await openWithLookups(lane, {}, { notHere: { burst: 2, perSecond: 0 } });
      const { client: mesh } = await harness.admitted({}, MESH);
      const keys = [anyKey(), anyKey(), anyKey()] as const;
      for (const key of keys) mesh.forwardPacket(anyKey(), key, 'other');
      expect(await mesh.fence()).toEqual([notHere(keys[0]), notHere(keys[1])]);
    });

    it('a plane without lookups answers forwarded disco packets alone', async () => {
      const harness = await PlaneHarness.open(lane);
      const { client: mesh } = await harness.admitted({}, MESH);
      const key = anyKey();
      mesh.forwardPacket(anyKey(), key, 'other');
      expect(await mesh.fence()).toEqual([]);
      mesh.forwardPacket(anyKey(), key, discoPacket());
      expect(await mesh.fence()).toEqual([notHere(key)]);
    });

    it('a forwarded packet is never forwarded again, and does not wait for a lookup of its key', async () => {
      const harness = await openWithLookups(lane);
      const end = await linkedTo(harness);
      const { client: mesh } = await harness.admitted({}, MESH);
      const { client } = await harness.admitted();
      const [routed, asked] = [anyKey(), anyKey()];
      harness.plane.route(routed, 1);
      await commandsDone(harness);
      await sendTo(client, asked, 'of the client');
      for (const key of [routed, asked]) mesh.forwardPacket(anyKey(), key, 'other');
      expect(await mesh.fence()).toEqual([notHere(routed), notHere(asked)]);
      harness.plane.route(asked, 1);
      expect(await texts(end, 1)).toEqual(['of the client']);
      expect(drops(harness)).toEqual({ unknown_dest_on_fwd: 2 });
      await balanced(harness, 1);
    });
  });

  describe('remote keys that clients hear of', () => {
    it('a source is reported once for all of its packets and receivers, and again after it is gone', async () => {
      const harness = await openWithLookups(lane);
      const { client: mesh } = await harness.admitted({}, MESH);
      const [{ client: a }, { client: b }] = [await harness.admitted(), await harness.admitted()];
      const [source, last] = [anyKey(), anyKey()];
      await hear(mesh, a, source);
      await hear(mesh, b, source);
      await hear(mesh, a, source);
      await eventually(() => harness.sources.length >= 1, 'a report');
      harness.plane.gone(source, PeerGoneReason.Disconnected);
      for (const client of [a, b]) expect(await client.expect('PeerGone')).toMatchObject({ key: source, reason: 0 });
      await hear(mesh, b, source);
      await hear(mesh, a, last);
      await eventually(() => harness.sources.length >= 3, 'three reports');
      expect([...harness.sources].sort()).toEqual([source, source, last].sort());
    });

    it('a source is reported again after all of its receivers have left', async () => {
      const harness = await openWithLookups(lane);
      const { client: mesh } = await harness.admitted({}, MESH);
      const [one, two, three] = [await harness.admitted(), await harness.admitted(), await harness.admitted()];
      const [source, last] = [anyKey(), anyKey()];
      await hear(mesh, one.client, source);
      await hear(mesh, two.client, source);
      await one.client.close();
      await harness.endOf(one.id);
      // The second one is still owed a PeerGone.
      await hear(mesh, three.client, source);
      for (const { client, id } of [two, three]) {
        await client.close();
        await harness.endOf(id);
      }
      const { client } = await harness.admitted();
      await hear(mesh, client, source);
      await hear(mesh, client, last);
      await eventually(() => harness.sources.length >= 3, 'three reports');
      expect([...harness.sources].sort()).toEqual([source, source, last].sort());
    });

    it('a source that has a connection here is not reported', async () => {
      const harness = await openWithLookups(lane);
      const { client: mesh } = await harness.admitted({}, MESH);
      const [{ client: a }, { client: b }] = [await harness.admitted(), await harness.admitted()];
      await sendTo(a, b.key, 'one');
      await b.expectPacket('one');
      const last = anyKey();
      await hear(mesh, b, last);
      await eventually(() => harness.sources.length >= 1, 'a report');
      expect(harness.sources).toEqual([last]);
    });

    it('a plane without lookups reports no source', async () => {
      const harness = await PlaneHarness.open(lane);
      const { client: mesh } = await harness.admitted({}, MESH);
      const { client } = await harness.admitted();
      await hear(mesh, client, anyKey());
      await client.close();
      await mesh.close();
      await harness.plane.shutdown();
      expect(harness.sources).toEqual([]);
    });
  });

  describe('a tap', () => {
    it('a tap shows each packet that waited once, with what became of it', async () => {
      const harness = await openWithLookups(lane, {}, { queueDepth: 1 });
      const end = await linkedTo(harness);
      const { client } = await harness.admitted();
      const [found, missing] = [anyKey(), anyKey()];
      const tap = harness.plane.tap({ snapLength: 100 });
      const frames: TapFrame[] = [];
      const reading = (async () => {
        for await (const batch of tap) frames.push(...batch.frames);
      })();
      await sendTo(client, found, 'evicted', 'found');
      await sendTo(client, missing, 'missing');
      await untilAsked(harness, found, missing);
      harness.plane.route(found, 1);
      harness.plane.missing(missing);
      expect(await texts(end, 1)).toEqual(['found']);
      await eventually(
        () => frames.length >= 3,
        () => `three frames, not ${frames.length}`,
      );
      tap.stop();
      await reading;
      const shown = frames.map(({ source, destination, bytes, dropped }) => {
        expect(source).toBe(client.key);
        return [destination, Buffer.from(bytes).toString(), dropped];
      });
      expect(shown).toHaveLength(3);
      expect(shown).toEqual(
        expect.arrayContaining([
          [found, 'evicted', 'queue_head'],
          [found, 'found', undefined],
          [missing, 'missing', 'unknown_dest'],
        ]),
      );
    });
  });
});
