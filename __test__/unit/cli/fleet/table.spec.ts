import { describe, expect, it } from 'vitest';
import { COLOURED, PLAIN } from '../../../../src/cli/columns.js';
import { linesOf } from '../../../../src/cli/fleet/table.js';
import type { FleetReport, KeyWhereabouts } from '../../../../src/http/fleet-report.js';
import { bare } from '../../../cli/terminal.js';
import { FULL, key, REPORT } from './report.js';

const WIDE = Number.POSITIVE_INFINITY;
const lines = (report: FleetReport, width = WIDE) => linesOf(report, width, PLAIN);

describe('what derpkit fleet prints', () => {
  it('the lines have the directory, a row for each relay, what differs, and what is wrong', () => {
    expect(lines(REPORT)).toEqual([
      'region    eu, mode on-demand, 3 other relays',
      'directory up for 2h, 10.0.0.9:4222 (2.15.3), 0.4 ms, 12 keys announced',
      '',
      'RELAY            ADDRESS           VERSION   UP CLIENTS LINKS PACKETS SEEN LINK       KEYS FAILED SETTINGS',
      'aaaaaaaaaaaaaaaa 10.0.0.1:443      0.1.0    90s      12     2    1.2M here -             -      - -',
      'bbbbbbbbbbbbbbbb 10.0.0.2:443      0.1.0    55h      12     2    1.2M   3s connected     7      0 2 differ',
      'cccccccccccccccc [2001:db8::3]:443 0.2.0    90s      12     2    1.2M  14s waiting       0      3 differ',
      'dddddddddddddddd d.test:443        0.1.0    90s      12     2    1.2M   0s -             -      - as here',
      '',
      'differences',
      'bbbbbbbbbbbbbbbb logLevel: info here, debug there',
      'bbbbbbbbbbbbbbbb novelty: not known here, 7 there',
      '',
      'trouble',
      'cccccccccccccccc does not say what it does: the relay does not answer in time',
      'cccccccccccccccc has other settings, and has not said which',
      'cccccccccccccccc cannot be dialled: connection refused',
    ]);
  });

  it('of a full mesh, the lines have the links, and say that there is no directory', () => {
    expect(lines(FULL)).toEqual([
      'region    mode full, 2 other relays',
      'directory none: relays of a full mesh tell each other about their keys',
      '',
      'RELAY            ADDRESS      VERSION   UP CLIENTS LINKS PACKETS',
      'aaaaaaaaaaaaaaaa 10.0.0.1:443 0.1.0    90s      12     2    1.2M',
      '',
      'MESH        RELAY            STATE      FOR PEERS FAILED FROM',
      'b.test      bbbbbbbbbbbbbbbb connected  10m    20      0 dns relays.test',
      'c.test:8443 -                waiting     0s     0      2 meshWith',
      '',
      'trouble',
      'c.test:8443 cannot be dialled: connection refused',
    ]);
  });

  it('a relay of the mesh with the key of this one is trouble', () => {
    const [first] = FULL.mesh as [FleetReport['mesh'][number]];
    const twin = { ...FULL, mesh: [{ ...first, state: 'twin' }] };
    expect(lines(twin)).toContain('b.test has the key of this relay: give each relay a key of its own');
  });

  it('a directory that is away says why, and how often', () => {
    const { directory } = REPORT;
    if (!directory) throw new Error('the report has a directory');
    const away = {
      ...directory,
      state: 'waiting',
      server: '',
      version: '',
      roundTrip: null,
      failures: 1,
      trouble: 'gone',
    };
    expect(lines({ ...REPORT, directory: away })[1]).toBe(
      'directory waiting for 2h, 12 keys announced, failed once: gone',
    );
    expect(linesOf({ ...REPORT, directory: away }, WIDE, COLOURED)[1]).toContain('\x1b[1;31mwaiting');
  });

  it.each<[string, Partial<KeyWhereabouts>]>([
    ['here', { here: true }],
    ['nowhere', {}],
    ['at bbbbbbbbbbbbbbbb (b.test:443), generation 5', { elsewhere: at('b.test:443', 5) }],
    ['at bbbbbbbbbbbbbbbb', { elsewhere: at('', null) }],
    ['here, and at bbbbbbbbbbbbbbbb (b.test:443), generation 5', { here: true, elsewhere: at('b.test:443', 5) }],
    ['whether a relay has it cannot be said: late', { trouble: 'late' }],
    ['here, and whether another relay has it cannot be said: late', { here: true, trouble: 'late' }],
  ])('a key is %s', (text, more) => {
    const whereabouts = { key: key('ee'), here: false, elsewhere: null, trouble: '', ...more };
    expect(lines({ ...REPORT, key: whereabouts })[2]).toBe(`key       ${'e'.repeat(16)} is ${text}`);
  });

  it.each([1, 5, 12, 40, 80])(
    'in a terminal of %i columns no line is longer, and no text but that of tables is lost',
    (width) => {
      for (const report of [REPORT, FULL]) {
        const narrow = lines(report, width);
        expect(narrow.filter((line) => line.length > Math.max(width, 11))).toEqual([]);
        const text = narrow.join('').replaceAll(' ', '');
        expect(text).toContain('connectionrefused');
      }
    },
  );

  it('colours change no text, and what is wrong stands out', () => {
    const coloured = linesOf(REPORT, 60, COLOURED);
    expect(coloured.map(bare)).toEqual(lines(REPORT, 60));
    expect(coloured).toContain(COLOURED.alarm('trouble'));
  });

  it('no character of another relay could move the cursor', () => {
    const evil = '\x1b[2J\u202e\x07ü\n';
    const soiled = JSON.parse(
      JSON.stringify([REPORT, FULL], (name, value) =>
        typeof value === 'string' && name !== 'mode' ? `${value}${evil}` : value,
      ),
    ) as FleetReport[];
    const whereabouts = {
      key: evil,
      here: false,
      elsewhere: { relay: evil, address: evil, generation: 1 },
      trouble: evil,
    };
    for (const report of soiled) {
      const all = lines({ ...report, key: whereabouts });
      expect(all.filter((line) => /[^\x20-\x7e]/.test(line))).toEqual([]);
      expect(all.join('\n')).toContain('?[2J');
    }
  });

  it('numbers and times beyond all measure are printed', () => {
    const huge = JSON.parse(JSON.stringify(REPORT), (_name, value) => (typeof value === 'number' ? 1e300 : value));
    const past = JSON.parse(JSON.stringify(REPORT), (_name, value) => (typeof value === 'number' ? -1e300 : value));
    for (const report of [huge, past]) expect(lines(report).filter((line) => line.startsWith('dddd'))).toHaveLength(1);
  });
});

function at(address: string, generation: number | null): KeyWhereabouts['elsewhere'] {
  return { relay: key('bb'), address, generation };
}
