import { describe, expect, it } from 'vitest';
import { parseSettings } from '../../../../src/config.js';
import { readFacts, writeFacts } from '../../../../src/control/directory/relay-facts.js';
import { fleetSettings } from '../../../../src/relay/fleet-settings.js';

const LOAD = { clients: 1, links: 2, packets: 3 };
const FACTS = { version: '1.2.3', load: LOAD, settings: { 'mesh.mode': 'on-demand', stun: true, stunPort: 3478 } };

const read = (value: unknown) => readFacts(Buffer.from(JSON.stringify(value)));

describe('what a relay says about itself', () => {
  it('an answer is read as it was written, with every setting that relays compare', () => {
    const settings = fleetSettings(parseSettings({}));
    expect(Object.keys(settings).length).toBeGreaterThan(20);
    expect(readFacts(writeFacts({ ...FACTS, settings }))).toEqual({ ...FACTS, settings });
  });

  it('a list of any length fits into an answer, and a difference at its end is seen', () => {
    const exempt = Array.from({ length: 100 }, (_, at) => `10.0.${at}.0/24`);
    const of = (list: readonly string[]) => fleetSettings(parseSettings({ limits: { exempt: list } }));
    const [all, fewer] = [of(exempt), of(exempt.slice(1))];
    const other = of([...exempt.slice(0, -1), '10.1.0.0/24']);
    expect(readFacts(writeFacts({ ...FACTS, settings: all }))?.settings).toEqual(all);
    expect(new Set([all, fewer, other].map((settings) => settings['limits.exempt'])).size).toBe(3);
  });

  it('what a later version adds to an answer is ignored', () => {
    expect(read({ ...FACTS, more: { of: 'it' } })).toEqual(FACTS);
  });

  it.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['too long', `${JSON.stringify(FACTS)}${' '.repeat(16_384)}`],
    ['without a version', JSON.stringify({ ...FACTS, version: undefined })],
    ['with a version that could move a cursor', JSON.stringify({ ...FACTS, version: '\u001b[2J' })],
    ['with a load below 0', JSON.stringify({ ...FACTS, load: { ...LOAD, clients: -1 } })],
    ['without settings', JSON.stringify({ ...FACTS, settings: undefined })],
    ['with a list of settings', JSON.stringify({ ...FACTS, settings: [1] })],
    ['with a setting that is an object', JSON.stringify({ ...FACTS, settings: { a: {} } })],
    ['with a setting that is too long', JSON.stringify({ ...FACTS, settings: { a: 'a'.repeat(257) } })],
    ['with a name that is none', JSON.stringify({ ...FACTS, settings: { 'a b': 1 } })],
    [
      'with a name of prototypes',
      '{"version":"1","load":{"clients":1,"links":2,"packets":3},"settings":{"__proto__":{}}}',
    ],
    [
      'with too many settings',
      JSON.stringify({ ...FACTS, settings: Object.fromEntries(Array.from({ length: 257 }, (_, at) => [`a${at}`, 1])) }),
    ],
  ])('an answer that is %s is refused', (_what, text) => {
    expect(readFacts(Buffer.from(text))).toBeUndefined();
  });
});
