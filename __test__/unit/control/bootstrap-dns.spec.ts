import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { BootstrapDns, isWithin, type NameResolver } from '../../../src/control/bootstrap-dns.js';
import { Barrier } from '../../../src/faults/barrier.js';
import { STRICT } from '../../helpers/strict-barrier.js';
import { eventually } from '../../helpers/wait.js';

const resolver: NameResolver = {
  addresses: async (name) => {
    if (name === 'broken.test') throw new Error('no such name');
    return name === 'empty.test' ? [] : ['192.0.2.1', '2001:db8::1'];
  },
  texts: async (name) => {
    if (name === 'none.test') throw new Error('no such text');
    return name === 'half.test' ? ['101', 'x', '10', '50'] : ['many'];
  },
};

async function opened(published: string[], unpublished: string[] = []): Promise<BootstrapDns> {
  const names = new BootstrapDns(
    { published, unpublished },
    () => {},
    STRICT,
    resolver,
    () => 0.999,
  );
  await names.refresh();
  return names;
}

const BOTH = '{\n\t"a.test": [\n\t\t"192.0.2.1",\n\t\t"2001:db8::1"\n\t],\n\t"empty.test": []\n}';

describe('the rollout of unpublished names', () => {
  it.each([4, 5, 7, 9, 10])('a rollout of one half includes 1.2.3.%i', (last) => {
    expect(isWithin(0.5, `1.2.3.${last}`, Math.random)).toBe(true);
  });

  it.each([6, 8])('a rollout of one half excludes 1.2.3.%i', (last) => {
    expect(isWithin(0.5, `1.2.3.${last}`, Math.random)).toBe(false);
  });

  it('a rollout of 0 includes no client, and one of 1 every client', () => {
    expect(isWithin(0, '1.2.3.4', () => 0)).toBe(false);
    expect(isWithin(1, 'unknown', () => 1)).toBe(true);
    expect(isWithin(0.5, 'unknown', () => 0)).toBe(false);
  });

  it('a rollout on loopback is random', () => {
    expect(isWithin(0.01, '127.0.0.1', () => 0.4)).toBe(true);
    expect(isWithin(0.99, '::1', () => 0.6)).toBe(false);
    expect(isWithin(0.99, '127.0.0.1', () => 0.5)).toBe(false);
    expect(isWithin(0, '127.0.0.1', () => 0)).toBe(false);
  });

  it.each(['1.127.0.1', '2001:db8::1', '::1:0:1', '::11'])(
    'a rollout to %s, which is no loopback, is not random',
    (address) => {
      const random = () => expect.unreachable('it is not random');
      expect(isWithin(0.999_999, address, random)).toBe(true);
      expect(isWithin(0.000_001, address, random)).toBe(false);
    },
  );
});

describe('the answer of bootstrap-dns', () => {
  it('the answer is empty until names resolve, and then has those that did', async () => {
    const early = new BootstrapDns({ published: ['a.test'], unpublished: [] }, () => {}, STRICT, resolver);
    expect(early.answer(null, '')).toBe('');
    expect(early.answer('a.test', '')).toBe('');
    expect(early.counts).toMatchObject({ requests: 2, unpublishedMisses: 1 });
    expect((await opened(['empty.test', 'a.test', 'broken.test'])).answer(null, '')).toBe(BOTH);
    expect((await opened(['broken.test'])).answer(null, '')).toBe('null');
  });

  it('an unpublished name is told only to clients that ask and are in its share', async () => {
    const names = await opened(
      ['a.test', 'empty.test'],
      ['b.test', 'c.test/half.test', 'd.test/bad.test', 'e.test/none.test'],
    );
    expect(names.answer('b.test', '')).toBe('{\n\t"b.test": [\n\t\t"192.0.2.1",\n\t\t"2001:db8::1"\n\t]\n}');
    expect(names.answer('c.test', '1.2.3.4')).toContain('c.test');
    for (const [name, from] of [
      ['c.test', '1.2.3.6'],
      ['d.test', '1.2.3.4'],
      ['e.test', '1.2.3.4'],
      ['x.test', '1.2.3.4'],
      ['a.test', ''],
      ['empty.test', ''],
      ['', ''],
    ] as const) {
      expect(names.answer(name, from), name).toBe(BOTH);
    }
    expect(names.counts).toEqual({
      requests: 9,
      publishedHits: 1,
      publishedMisses: 1,
      unpublishedHits: 5,
      unpublishedMisses: 4,
      unpublishedPercentMisses: 3,
    });
    expect(names.queriedDomains).toBe(7);
  });

  it('without published names, the answer is empty for all but those that ask for another name', async () => {
    const names = await opened([], ['a.test', 'empty.test']);
    expect(names.answer(null, '')).toBe('');
    expect(names.answer('a.test', '')).toContain('"a.test": [');
    // A name without addresses is as good as none.
    expect(names.answer('empty.test', '')).toBe('');
    expect(names.counts).toMatchObject({ unpublishedHits: 1, unpublishedMisses: 1 });
  });

  it('the addresses of a published name are in a random order', async () => {
    const three = { ...resolver, addresses: async () => ['192.0.2.1', '192.0.2.2', '192.0.2.3'] };
    const order = async (random: number) => {
      const names = new BootstrapDns(
        { published: ['a.test'], unpublished: ['b.test'] },
        () => {},
        STRICT,
        three,
        () => random,
      );
      await names.refresh();
      // An unpublished one stays as it is.
      expect(JSON.parse(names.answer('b.test', ''))).toEqual({ 'b.test': await three.addresses() });
      return JSON.parse(names.answer(null, ''))
        ['a.test'].map((address: string) => address.at(-1))
        .join('');
    };
    expect([await order(0), await order(0.5), await order(0.999)]).toEqual(['231', '132', '123']);
  });

  const [ALL, HALF, NONE] = [3, 1, 0];
  it.each<[string, string[], number]>([
    ['a percentage', ['50'], HALF],
    ['a percentage with a sign', ['+50'], HALF],
    ['the last percentage of several', ['10', '50'], HALF],
    ['100 after 0', ['0', '100'], ALL],
    ['0 after 50', ['50', '0'], NONE],
    ['a percentage before others out of range', ['50', '-1', '101'], HALF],
    ['other forms of numbers', ['5e1', ' 50', '0x32', '50.0'], NONE],
    ['nothing', [], NONE],
  ])('the share of an unpublished name is in its texts: %s', async (_what, texts, clients) => {
    const asked: string[] = [];
    const names = new BootstrapDns({ published: [], unpublished: ['a.test/rollout/a.test'] }, () => {}, STRICT, {
      addresses: resolver.addresses,
      texts: async (name) => {
        asked.push(name);
        return texts;
      },
    });
    await names.refresh();
    const got = ['unknown', '1.2.3.4', '1.2.3.6'].filter((address) => names.answer('a.test', address) !== '');
    expect(got).toHaveLength(clients);
    expect(asked).toEqual(['rollout/a.test']);
  });

  it('a query of a published name is a hit if the name has addresses', async () => {
    const names = await opened(['a.test', 'empty.test']);
    for (const name of ['a.test', 'a.test', 'empty.test']) names.answer(name, '');
    expect(names.counts).toMatchObject({ publishedHits: 2, publishedMisses: 1 });
  });

  it('at most 500 queried names are remembered', async () => {
    const names = await opened(['a.test']);
    for (let index = 0; index <= 500; index++) names.answer(`${index}.test`, '');
    expect(names.queriedDomains).toBe(0);
  });
});

describe('repeated lookups of names', () => {
  const INTERVAL = 10 * 60_000;

  function looked(published: string[], unpublished: string[]) {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const asked: string[] = [];
    const counting = {
      ...resolver,
      addresses: async (name: string) => {
        asked.push(name);
        return [];
      },
    };
    return { asked, names: new BootstrapDns({ published, unpublished }, () => {}, STRICT, counting) };
  }

  it.each([
    [['a.test'], []],
    [[], ['a.test']],
  ])('names are looked up every ten minutes, until a stop: %j and %j', async (published, unpublished) => {
    const { asked, names } = looked(published, unpublished);
    names.start();
    expect(asked).toEqual(['a.test']);
    await vi.advanceTimersByTimeAsync(INTERVAL);
    expect(asked).toHaveLength(2);
    names.stop();
    await vi.advanceTimersByTimeAsync(INTERVAL);
    names.start();
    expect(asked).toHaveLength(2);
  });

  it('all names of a list have a minute together, and those that fail are told', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    const told: string[] = [];
    const never = { ...resolver, addresses: () => new Promise<never>(() => {}) };
    const names = { published: ['a.test', 'b.test'], unpublished: [] };
    const bootstrap = new BootstrapDns(names, (name, { message }) => told.push(`${name}: ${message}`), STRICT, never);
    vi.advanceTimersByTime(1_000_000);
    const done = bootstrap.refresh();
    await vi.advanceTimersByTimeAsync(59_999);
    expect(told).toEqual([]);
    await vi.advanceTimersByTimeAsync(2);
    await done;
    expect(told).toEqual(['a.test: no answer in time', 'b.test: no answer in time']);
  });

  it('a fault in a lookup is reported', async () => {
    const reported: string[] = [];
    const barrier = new Barrier((what, error) => void reported.push(`${what}: ${(error as Error).message}`));
    const warn = () => {
      throw new Error('no log');
    };
    const names = new BootstrapDns({ published: ['broken.test'], unpublished: [] }, warn, barrier, resolver);
    names.start();
    await eventually(() => reported.length > 0, 'the report');
    names.stop();
    expect(reported).toEqual(['the bootstrap names: no log']);
  });

  it('without names, no lookup is planned', async () => {
    const { names } = looked([], []);
    names.start();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('an address in place of a name is its own answer', async () => {
    const names = new BootstrapDns({ published: ['192.0.2.7'], unpublished: [] }, () => {}, STRICT);
    await names.refresh();
    expect(JSON.parse(names.answer(null, ''))).toEqual({ '192.0.2.7': ['192.0.2.7'] });
  });
});
