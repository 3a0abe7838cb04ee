/** The directory in a real nats-server: where keys are, what moves, and what happens while the server is away. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { builtNats } from '../../packaging/nats.mjs';
import { isLater } from '../../src/control/directory/directory.js';
import { MOST_FINDS } from '../../src/control/directory/finds.js';
import type { NatsDirectoryOptions } from '../../src/control/directory/nats-directory.js';
import { key, TestDirectory } from '../helpers/directory.js';
import { bytesHeld } from '../helpers/memory.js';
import { NatsServerProcess } from '../helpers/nats.js';
import { eventually } from '../helpers/wait.js';

const program = builtNats();
const LOAD = { clients: 1, links: 2, packets: 3 };

describe.skipIf(!program)('a directory in NATS', () => {
  let nats: NatsServerProcess;
  beforeAll(async () => {
    nats = await NatsServerProcess.start(program as string);
  });
  afterAll(() => nats.stop());

  /** Relays of one region that no other test uses. */
  async function relays(count: number, options: Partial<NatsDirectoryOptions> = {}): Promise<TestDirectory[]> {
    const region = `r${Math.random().toString(36).slice(2)}`;
    const all = Array.from({ length: count }, () =>
      new TestDirectory(`127.0.0.1:${nats.port}`, { region, ...options }).start(),
    );
    onTestFinished(async () => {
      await Promise.all(all.map(({ directory }) => directory.close()));
    });
    await Promise.all(all.map((one) => one.up()));
    return all;
  }

  it('a key is found at the relay that has it, and nowhere before and after', async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    const client = key();
    expect(await b.finds(client)).toBeUndefined();
    a.directory.announce(client);
    await b.findsAt(client, a.id);
    expect(await a.finds(client)).toBeUndefined();
    a.directory.withdraw(client);
    await b.findsAt(client, undefined);
    const { counts } = b.directory.status();
    expect(counts).toMatchObject({ late: 0, down: 0, refused: 0 });
    expect(counts.nowhere).toBeGreaterThanOrEqual(2);
  });

  it('a relay that watches a key is told where it goes, and that it has left', async () => {
    const [a, b, c] = (await relays(3)) as [TestDirectory, TestDirectory, TestDirectory];
    const client = key();
    await c.watches(client);
    a.directory.announce(client);
    await eventually(() => c.moves.some(({ place }) => place?.relay === a.id), 'news from the first relay');
    b.directory.announce(client);
    await eventually(() => c.moves.some(({ place }) => place?.relay === b.id), 'news from the second relay');
    a.directory.withdraw(client);
    await eventually(() => c.moves.some(({ from, place }) => from === a.id && !place), 'the first relay to lose it');
    const at = (relay: string) => c.moves.findLast(({ place }) => place?.relay === relay)?.place?.generation ?? 0;
    expect(at(b.id)).toBeGreaterThan(at(a.id));
    c.directory.unwatch(client);
    const { length } = c.moves;
    b.directory.withdraw(client);
    await c.findsAt(client, undefined);
    expect(c.moves).toHaveLength(length);
  });

  it('the newest of three relays with one key has the highest generation, whatever their clocks say', async () => {
    const [b, c, d] = (await relays(3)) as [TestDirectory, TestDirectory, TestDirectory];
    const ahead = Date.now() + 60_000;
    const [a] = (await relays(1, { region: b.region, clock: () => ahead })) as [TestDirectory];
    const client = key();
    await d.watches(client);
    const latest = () => d.moves.flatMap(({ place }) => place ?? []).sort((x, y) => (isLater(x, y) ? -1 : 1))[0];
    for (const [index, relay] of [a, b, c].entries()) {
      relay.directory.announce(client);
      await eventually(() => latest()?.relay === relay.id, `relay ${index} to win`);
      expect(latest()?.generation).toBeGreaterThanOrEqual(ahead);
    }
    // Each of them answers, and the best answer is the one that stays.
    const places = [await d.directory.find(client)];
    const best = () => [...places, ...d.moves.map(({ place }) => place)].some((one) => one?.relay === c.id);
    await eventually(best, 'the best answer');
  });

  it('relays know each other by their announcements, and see one leave', async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    await eventually(() => b.last.some(({ id }) => id === a.id), 'the other relay');
    expect(b.directory.relays().find(({ id }) => id === a.id)).toMatchObject({
      ...{ address: '127.0.0.1', port: 443, tlsName: 'derp.test', version: '1.2.3' },
      load: { clients: 1, links: 2, packets: 3 },
    });
    await a.directory.close();
    await eventually(() => b.last.length === 1, 'the other relay to leave');
    expect(b.last.map(({ id }) => id)).toEqual([b.id]);
    // At once, and not because it has been missed.
    expect(b.lines.at(-1)).toMatchObject({ text: 'a relay of the region leaves' });
  });

  it('two relays with one key are told of each other, and a third one is told once, and keeps to the later one', async () => {
    const twin = key();
    const at = (address: string) => ({
      relay: twin,
      facts: () => ({ ...{ address, port: 443, tlsName: 'derp.test', version: '1', settings: 'ab' }, load: LOAD }),
    });
    const [c] = (await relays(1)) as [TestDirectory];
    const { region } = c;
    const [a] = (await relays(1, { region, ...at('10.0.0.1') })) as [TestDirectory];
    await eventually(() => c.last.length === 2, 'the first one to be known');
    const [b] = (await relays(1, { region, ...at('10.0.0.2') })) as [TestDirectory];
    const addresses = ({ last }: TestDirectory) => last.map(({ address }) => address);
    const text = 'another relay of the region has the key of this relay: give each a keyFile of its own';
    for (const [one, own, other] of [
      [a, '10.0.0.1', '10.0.0.2'],
      [b, '10.0.0.2', '10.0.0.1'],
    ] as const) {
      await eventually(() => addresses(one).slice(0, 2).join() === `${own},${other}`, 'the twin to be known');
      expect(one.lines).toContainEqual({ level: 'error', text, facts: expect.objectContaining({ addr: other }) });
    }
    // The first one announces itself again.
    const twins = () => c.lines.filter(({ text: said }) => said.startsWith('two relays of the region have one key'));
    await eventually(() => twins().length > 1, 'the third one to notice');
    expect(twins().map(({ level }) => level)).toEqual([
      'warn',
      ...twins()
        .slice(1)
        .map(() => 'debug'),
    ]);
    const announced = c.lines.filter(({ text: said }) => said === 'a relay of the region announces itself');
    expect(announced.map(({ facts }) => facts.addr)).toEqual(['10.0.0.1', '10.0.0.2']);
    expect(addresses(c).slice(1)).toEqual(['10.0.0.2']);
    await b.directory.close();
    await eventually(() => a.last.length === 2 && a.last[1]?.id === c.id, 'the twin to be gone');
    await eventually(() => addresses(c)[1] === '10.0.0.1', 'the third one to take the one that is left');
    expect(c.lines.filter(({ text: said }) => said === 'a relay of the region leaves')).toHaveLength(1);
  });

  it('a relay that asks for one key many times asks once, and bounds its questions', async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    const client = key();
    a.directory.announce(client);
    await b.findsAt(client, a.id);
    const { answered } = a.directory.status().counts;
    await Promise.all(Array.from({ length: 100 }, () => b.directory.find(client)));
    expect(a.directory.status().counts.answered).toBe(answered + 1);
    const most = MOST_FINDS.asked + MOST_FINDS.waiting;
    const many = await Promise.all(Array.from({ length: most + 500 }, () => b.finds(key())));
    expect(many.filter((one) => one === 'crowded')).toHaveLength(500);
    expect(many.filter((one) => one !== 'crowded' && one !== 'late' && one !== undefined)).toEqual([]);
  });

  it('a key costs less than a kilobyte here', async () => {
    const [a] = (await relays(1)) as [TestDirectory];
    const keys = Array.from({ length: 20_000 }, key);
    const before = await bytesHeld('js');
    for (const one of keys) a.directory.announce(one);
    await a.finds(key());
    expect(((await bytesHeld('js')) - before) / keys.length).toBeLessThan(1_000);
  });

  it('a relay says what it does and how it is set, once where it is asked many times at once', async () => {
    let asked = 0;
    const settings = () => {
      asked += 1;
      return { hostname: 'derp.test' };
    };
    const [a] = (await relays(1, { settings })) as [TestDirectory];
    const [b] = (await relays(1, { region: a.region })) as [TestDirectory];
    const all = await Promise.all(Array.from({ length: 10 }, () => b.directory.ask(a.id)));
    for (const facts of all) {
      expect(facts).toEqual({
        version: '1.2.3',
        load: { clients: 1, links: 2, packets: 3 },
        settings: { hostname: 'derp.test' },
      });
    }
    expect(asked).toBe(1);
    await b.directory.ask(a.id);
    expect(asked).toBe(2);
  });

  it('a question that is under way when the connection ends has no answer', async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    nats.pause();
    const asked = a.directory.ask(b.id).catch(({ trouble }) => trouble);
    await nats.kill();
    await nats.again();
    expect(await asked).toBe('down');
    await a.up();
  });

  it('a relay that is not there, answers nonsense, or cannot be reached is told apart', async () => {
    const settings = () => ({ hostname: { of: 'it' } }) as unknown as Record<string, string>;
    const [a] = (await relays(1)) as [TestDirectory];
    const [b] = (await relays(1, { region: a.region, settings })) as [TestDirectory];
    await expect(a.directory.ask(key())).rejects.toMatchObject({ trouble: 'absent' });
    await expect(a.directory.ask(b.id)).rejects.toMatchObject({ trouble: 'malformed' });
    expect(a.directory.status().counts.refused).toBe(1);
    await b.directory.close();
    await expect(b.directory.ask(a.id)).rejects.toMatchObject({ trouble: 'down' });
  });

  it('a relay whose server stands still has no answer in time', async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    nats.pause();
    try {
      // The signal takes its time where the machine is busy.
      await eventually(
        () =>
          a.directory.ask(b.id).then(
            () => false,
            ({ trouble }) => trouble === 'silent',
          ),
        'no answer',
      );
    } finally {
      nats.resume();
    }
    await eventually(
      () =>
        a.directory.ask(b.id).then(
          () => true,
          () => false,
        ),
      'an answer',
    );
  });

  it('another mesh key is another region, and its messages are refused', async () => {
    const [a] = (await relays(1)) as [TestDirectory];
    const [b] = (await relays(1, { region: a.region, meshKey: 'cd'.repeat(32) })) as [TestDirectory];
    const client = key();
    a.directory.announce(client);
    expect(await b.finds(client)).toBeUndefined();
    await eventually(() => a.directory.status().counts.refused > 0, 'a message that does not open');
    expect(a.directory.relays()).toHaveLength(1);
    expect(a.lines.filter(({ level }) => level === 'warn')).toEqual([
      expect.objectContaining({ text: 'a message in NATS is ignored' }),
    ]);
  });
});
