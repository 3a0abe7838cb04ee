/** The set of relays of several sources, without real sources. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Discovery } from '../../../../src/control/mesh/discovery.js';
import type { MeshSource, SourceSink } from '../../../../src/control/mesh/source.js';
import { type FoundRelay, MOST_FOUND } from '../../../../src/control/mesh/wanted.js';
import { parseMeshPeer } from '../../../../src/protocol/mesh-peer.js';
import { STRICT } from '../../../helpers/strict-barrier.js';

class Source implements MeshSource {
  sink!: SourceSink;
  looks = 0;
  constructor(readonly name: string) {}
  start(sink: SourceSink) {
    this.sink = sink;
  }
  look() {
    this.looks += 1;
  }
  async withdraw() {}
  stop() {}
}

let one: Source;
let two: Source;
let sets: string[][];
let log: string[];
let discovery: Discovery;

beforeEach(() => {
  [one, two, sets, log] = [new Source('dns one'), new Source('file two'), [], []];
  discovery = new Discovery([one, two], {
    follow: (found) => void sets.push(found.map(({ name, from }) => `${name} of ${from}`)),
    log: (level, facts, text) => void log.push(`${level} ${text} ${JSON.stringify(facts)}`),
    barrier: STRICT,
  });
  discovery.start();
});

function relays(...names: string[]): FoundRelay[] {
  return names.map((name) => ({ name, peer: parseMeshPeer(name) as FoundRelay['peer'] }));
}

describe('the set of relays of several sources', () => {
  it('a relay of two sources counts once, and stays while one source names it', () => {
    one.sink.found(relays('a', 'b'));
    two.sink.found(relays('b', 'c'));
    expect(sets.at(-1)).toEqual(['a of dns one', 'b of dns one', 'c of file two']);
    one.sink.found(relays('a'));
    expect(sets.at(-1)).toEqual(['a of dns one', 'b of file two', 'c of file two']);
  });

  it('the set is passed on only if it changes', () => {
    one.sink.found(relays('a', 'b'));
    one.sink.found(relays('b', 'a'));
    one.sink.failed('no');
    one.sink.found(relays('a', 'b'));
    expect(sets).toHaveLength(1);
  });

  it('an empty answer empties the set, and a failing source does not', () => {
    one.sink.found(relays('a'));
    one.sink.failed('it is down');
    expect(sets).toEqual([['a of dns one']]);
    one.sink.found([]);
    expect(sets.at(-1)).toEqual([]);
  });

  it('the set has a bounded number of relays, and keeps earlier ones', () => {
    const many = [...Array(MOST_FOUND + 10).keys()].map((number) => `relay-${number}`);
    one.sink.found(relays(...many.slice(5)));
    expect(sets.at(-1)).toHaveLength(MOST_FOUND);
    one.sink.found(relays(...many));
    expect(sets.at(-1)).toHaveLength(MOST_FOUND);
    expect(sets.at(-1)).not.toContain('relay-0 of dns one');
    expect(log.filter((line) => line.startsWith('warn'))).toEqual([
      'warn mesh sources name too many relays; the others are left out {"found":505,"limit":500}',
    ]);
  });
});

describe('the state of a source', () => {
  it('the state of a source says how often and why it fails', () => {
    const [before] = discovery.status();
    expect(before).toMatchObject({ source: 'dns one', state: 'waiting', failures: 0, relays: 0, trouble: '' });
    one.sink.found(relays('a'));
    one.sink.failed('first');
    one.sink.failed('second');
    expect(discovery.status()[0]).toMatchObject({ state: 'failing', failures: 2, relays: 1, trouble: 'second' });
    one.sink.found(relays('a'));
    expect(discovery.status()[0]).toMatchObject({ state: 'good', failures: 0, trouble: '' });
  });

  it('changes of a source are logged, each reason once', () => {
    one.sink.found(relays('a', 'b'));
    for (const reason of ['down', 'down', 'down']) one.sink.failed(reason);
    one.sink.found(relays('b', 'c'));
    expect(log).toEqual([
      'info a mesh source names relays {"source":"dns one","relays":2,"came":"a, b"}',
      'warn a mesh source fails; the last relays that it has named stay {"source":"dns one","relays":2,"reason":"down"}',
      ...Array(2).fill(
        'debug a mesh source fails; the last relays that it has named stay {"source":"dns one","relays":2,"reason":"down"}',
      ),
      'info a mesh source answers again {"source":"dns one","relays":2}',
      'info a mesh source names relays {"source":"dns one","relays":2,"came":"c","went":"a"}',
    ]);
  });

  it('a source that always changes does not fill the log', () => {
    for (let time = 0; time < 1000; time++) one.sink.found(relays(`relay-${time}`));
    expect(log.filter((line) => line.startsWith('info')).length).toBeLessThan(20);
  });
});

it('a hint reaches every source', () => {
  discovery.look();
  expect([one.looks, two.looks]).toEqual([1, 1]);
});
