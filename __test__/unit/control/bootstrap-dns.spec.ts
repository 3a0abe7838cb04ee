import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { BootstrapDns, isWithin, type NameResolver } from '../../../src/control/bootstrap-dns.js';
import { STRICT } from '../../helpers/strict-barrier.js';

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
  });
});

describe('the answer of bootstrap-dns', () => {
  it('the answer is empty until names resolve, and then has those that did', async () => {
    const early = new BootstrapDns({ published: ['a.test'], unpublished: [] }, () => {}, STRICT, resolver);
    expect(early.answer(null, '')).toBe('');
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
