import { describe, expect, it } from 'vitest';
import {
  AnnouncedRelays,
  type Announcement,
  LOST_AFTER,
  MOST_RELAYS,
  readAnnouncement,
  writeAnnouncement,
} from '../../../../src/control/directory/announced.js';
import type { NodeKey } from '../../../../src/protocol/key.js';

const id = 'a'.repeat(32) as NodeKey;
const ANNOUNCEMENT: Announcement = {
  id,
  ...{ address: '10.0.0.7', port: 443, tlsName: 'derp.example.com', version: '1.2.3-rc.1+build' },
  load: { clients: 1, links: 2, packets: 3 },
  ...{ settings: '0123456789abcdef', since: 1_000, instance: 'ab', isSynced: true, asks: false },
};

function announced(changes: Partial<Announcement> = {}): Announcement {
  return { ...ANNOUNCEMENT, ...changes };
}

describe('an announcement', () => {
  it('reads back as it was written, and nothing more than that', () => {
    expect(readAnnouncement(writeAnnouncement(ANNOUNCEMENT))).toEqual(ANNOUNCEMENT);
    const more = { ...ANNOUNCEMENT, ours: 1, __proto__: { x: 1 } };
    expect(readAnnouncement(writeAnnouncement(more))).toEqual(ANNOUNCEMENT);
  });

  it.each<[string, unknown[]]>([
    ['id', ['', 'x', 5, null, 'a'.repeat(63)]],
    ['address', ['', 'a b', '[::1]', 'a:1', 5, null, 'a'.repeat(300)]],
    ['port', [0, 65_536, 1.5, '443', null]],
    ['tlsName', ['', 'a/b', 5, null]],
    ['version', ['', 'a b', '<script>', '\u0001', 'a'.repeat(65), 5]],
    ['load', [null, 5, {}, { clients: -1, links: 0, packets: 0 }, { clients: 1, links: 0.5, packets: 0 }]],
    ['settings', ['', '\n', 5]],
    ['since', [-1, 1.5, '5', null]],
    ['instance', ['', ' ', 5]],
    ['isSynced', [0, 'true', null]],
    ['asks', [1, null]],
  ])('with a wrong %s it is none', (name, values) => {
    const given = JSON.parse(writeAnnouncement(ANNOUNCEMENT).toString());
    for (const value of [...values, undefined]) {
      expect(readAnnouncement(Buffer.from(JSON.stringify({ ...given, [name]: value })))).toBeUndefined();
    }
  });

  it('longer than 2 KiB it is none, whatever it says', () => {
    const given = writeAnnouncement(ANNOUNCEMENT);
    const padded = (length: number) => Buffer.concat([given, Buffer.alloc(length - given.length, ' ')]);
    expect(readAnnouncement(padded(2_048))).toEqual(ANNOUNCEMENT);
    expect(readAnnouncement(padded(2_049))).toBeUndefined();
  });

  it.each(['', 'null', '[]', '5', '"x"', '{', '\xff', `{"id":"${'a'.repeat(3_000)}"}`])('%j is none', (text) => {
    expect(readAnnouncement(Buffer.from(text))).toBeUndefined();
  });
});

describe('the relays that announce themselves', () => {
  it('a relay comes, stays, moves, and leaves', () => {
    const relays = new AnnouncedRelays();
    expect(relays.heard(announced(), 1, 100)).toBe(true);
    expect(relays.heard(announced({ load: { clients: 9, links: 0, packets: 0 } }), 2, 200)).toBe(false);
    expect(relays.all()).toMatchObject([{ id, seen: 200, load: { clients: 9 } }]);
    expect(relays.heard(announced({ address: '10.0.0.8' }), 3, 300)).toBe(true);
    expect(relays.heard(announced({ address: '10.0.0.8', port: 444 }), 4, 400)).toBe(true);
    expect(relays.heard(announced({ address: '10.0.0.8', port: 444, tlsName: 'b' }), 5, 500)).toBe(true);
    expect(relays.leave(id, 6)).toBe(true);
    expect(relays.leave(id, 7)).toBe(false);
    expect(relays.all()).toEqual([]);
  });

  it('a restart is a relay with another process; an earlier process that comes back is a twin, and changes nothing', () => {
    const relays = new AnnouncedRelays();
    const [one, two] = [announced({ instance: '1' }), announced({ instance: '2', address: '10.0.0.8' })];
    expect(relays.heard(one, 1, 100)).toBe(true);
    expect(relays.heard(two, 2, 200)).toBe(true);
    expect(relays.heard(two, 3, 300)).toBe(false);
    for (const time of [4, 5]) expect(relays.heard(one, time, 400)).toBe('twin');
    relays.resume(400);
    expect(relays.heard(one, 6, 400)).toBe('twin');
    expect(relays.all()).toMatchObject([{ address: '10.0.0.8', seen: 400 }]);
    // An old message of the earlier process is no sign of it.
    expect(relays.heard(one, 1, 500)).toBeUndefined();
    // The later one is gone.
    relays.expire(400 + LOST_AFTER);
    expect(relays.heard(one, 7, 90_000)).toBe(true);
  });

  it('many processes of one key are remembered up to a bound', () => {
    const relays = new AnnouncedRelays();
    for (let time = 1; time <= 50; time += 1) relays.heard(announced({ instance: `${time}` }), time, time);
    expect(relays.heard(announced({ instance: '43' }), 51, 51)).toBe('twin');
    expect(relays.heard(announced({ instance: '42' }), 52, 52)).toBe(false);
  });

  it('a message that is sent again says nothing', () => {
    const relays = new AnnouncedRelays();
    relays.heard(announced(), 5, 100);
    expect(relays.heard(announced({ address: 'old' }), 5, 200)).toBeUndefined();
    expect(relays.leave(id, 4)).toBe(false);
    expect(relays.leave(id, 6)).toBe(true);
    expect(relays.heard(announced(), 5, 300)).toBeUndefined();
    expect(relays.all()).toEqual([]);
    // The same with a farewell from before.
    expect(relays.leave(id, 3)).toBe(false);
    expect(relays.heard(announced(), 5, 300)).toBeUndefined();
    // The relay itself comes back.
    expect(relays.heard(announced(), 7, 400)).toBe(true);
  });

  it('a relay that says nothing is lost after three announcements, unless the connection was down', () => {
    const relays = new AnnouncedRelays();
    relays.heard(announced(), 1, 1_000);
    expect(relays.expire(1_000 + LOST_AFTER - 1)).toEqual([]);
    relays.resume(90_000);
    expect(relays.expire(90_000 + LOST_AFTER - 1)).toEqual([]);
    expect(relays.expire(90_000 + LOST_AFTER).map((relay) => relay.id)).toEqual([id]);
    expect(relays.all()).toEqual([]);
  });

  it('after a connection was down, a relay has not announced all of its keys until it says so', () => {
    const relays = new AnnouncedRelays();
    expect(relays.isSynced).toBe(true);
    relays.heard(announced({ isSynced: false }), 1, 0);
    expect(relays.isSynced).toBe(false);
    relays.heard(announced(), 2, 0);
    expect(relays.isSynced).toBe(true);
    relays.resume(0);
    expect(relays.isSynced).toBe(false);
    relays.leave(id, 3);
    expect(relays.isSynced).toBe(true);
  });

  it('the number of relays is bounded, and so are those that have left', () => {
    const relays = new AnnouncedRelays();
    const named = (index: number) => announced({ id: `${index}`.padStart(32, '.') as NodeKey });
    for (let index = 0; index < MOST_RELAYS; index += 1) expect(relays.heard(named(index), 1, 0)).toBe(true);
    expect(relays.heard(named(MOST_RELAYS), 1, 0)).toBeUndefined();
    expect(relays.all()).toHaveLength(MOST_RELAYS);
    for (let index = 0; index < 2 * MOST_RELAYS; index += 1) relays.leave(named(index).id, 2);
    // The first ones that have left are forgotten.
    expect(relays.heard(named(0), 1, 0)).toBe(true);
    expect(relays.heard(named(2 * MOST_RELAYS - 1), 1, 0)).toBeUndefined();
  });
});
