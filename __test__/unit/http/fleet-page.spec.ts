import { afterEach, describe, expect, it } from 'vitest';
import type { FleetRelay, FleetReport, KeyWhereabouts } from '../../../src/http/fleet-report.js';
import { formatNodeKey, type NodeKey } from '../../../src/protocol/key.js';
import { FULL, key, REPORT } from '../cli/fleet/report.js';
import { Harness, NOTHING_TO_SHOW } from './harness.js';

let main: Harness;

afterEach(() => main.close());

async function showing(fleet: (key: NodeKey | undefined) => Promise<FleetReport>): Promise<Harness> {
  main = await Harness.open('main', { debug: { ...NOTHING_TO_SHOW, fleet } });
  return main;
}

const COLUMNS = 'Relay|Address|Name|Version|Clients|Links|Packets|Since';
const LINKS = 'Relay|Key|From|State|Since|Failures|Peers|Trouble';

/** A table under its heading, from lines whose cells stand between bars. */
function table(title: string, head: string, ...lines: string[]): string {
  const row = (line: string, tag: string) =>
    `<tr>${line
      .split('|')
      .map((cell) => `<${tag}>${cell}</${tag}>`)
      .join('')}</tr>\n`;
  return `<h2>${title}</h2><table>\n${row(head, 'th')}${lines.map((line) => row(line, 'td')).join('')}</table>`;
}

function fleetPage(facts: readonly string[], tables: readonly string[]): string {
  const start = '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>fleet</title></head>';
  return `${start}\n<body><h1>fleet</h1><ul>\n${facts.join('\n')}\n</ul>\n${tables.join('\n')}</body></html>\n`;
}

describe('/debug/fleet', () => {
  it('the page has this relay, the others, what differs and the directory', async () => {
    await showing(async () => REPORT);
    const { status, headers, body } = await main.ask('GET /debug/fleet HTTP/1.1');
    expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type: 'text/html; charset=utf-8' });
    expect(body).toMatch(
      /^<!doctype html>\n<html lang="en">\n<head>.*<title>fleet<\/title><\/head>\n<body><h1>fleet<\/h1>/,
    );
    const facts = ['<li><b>Region:</b> eu</li>', '<li><b>Mode:</b> on-demand</li>'];
    for (const fact of facts) expect(body).toContain(fact);
    expect(body).toMatch(/<b>Directory:<\/b> up since 2026-\S+Z, 10\.0\.0\.9:4222 \(2\.15\.3\), 12 keys announced</);
    expect(body).toMatch(new RegExp(`<td>${key('cc')}</td>.*<td>14 s ago</td><td>the relay does not answer in time`));
    expect(body).toContain(`<td>${key('bb')}</td><td>logLevel</td><td>info</td><td>debug</td>`);
    expect(body).toContain(`<td>${key('bb')}</td><td>novelty</td><td>not known</td><td>7</td>`);
  });

  it('the page of a full mesh says that there is no directory, and has the links', async () => {
    await showing(async () => FULL);
    const { body } = await main.ask('GET /debug/fleet HTTP/1.1');
    expect(body).toContain('<b>Directory:</b> none: relays of a full mesh tell each other about their keys');
    expect(body).toContain('<td>c.test:8443</td><td></td><td>meshWith</td><td>waiting</td>');
    expect(body).not.toContain('Other relays');
  });

  it('the page escapes HTML, and prints times that are none', async () => {
    const evil = JSON.parse(JSON.stringify({ ...REPORT, mesh: FULL.mesh }), (name, value) => {
      if (name === 'since') return 1e300;
      return typeof value === 'string' && name !== 'mode' ? `<${value}>` : value;
    });
    await showing(async () => evil);
    const { status, body } = await main.ask('GET /debug/fleet HTTP/1.1');
    expect(status).toBe(200);
    expect(body.match(/<(nodekey|10\.|derp|debug|connection|the directory|b\.test)/)).toBeNull();
    expect(body).toContain('&lt;nodekey:');
    expect(body).toContain('<td>1e+300</td>');
  });

  it('the page says where a key is', async () => {
    const elsewhere = { relay: key('bb'), address: 'b.test:443', generation: 5 };
    await showing(async (asked) => ({
      ...REPORT,
      key: { key: formatNodeKey(asked as NodeKey), here: true, elsewhere, trouble: 'late' },
    }));
    const { body } = await main.ask(`GET /debug/fleet?key=${key('ee')} HTTP/1.1`);
    expect(body).toContain(
      `<b>Key ${key('ee')}:</b> at this relay; at ${key('bb')} b.test:443, generation 5; ` +
        'whether another relay has it cannot be said: late',
    );
  });

  it('the page of a relay with a directory has tables of relays and of settings', async () => {
    await showing(async () => REPORT);
    const { body } = await main.ask('GET /debug/fleet HTTP/1.1');
    const facts = [
      '<li><b>Region:</b> eu</li>',
      '<li><b>Mode:</b> on-demand</li>',
      '<li><b>Directory:</b> up since 2026-11-18T09:06:40.000Z, 10.0.0.9:4222 (2.15.3), 12 keys announced</li>',
    ];
    const [began, earlier] = ['2026-11-18T11:05:10.000Z', '2026-11-16T03:33:20.000Z'];
    const load = 'derp.test|0.1.0|12|2|1234567';
    const tables = [
      table('This relay', COLUMNS, `${key('aa')}|10.0.0.1:443|${load}|${began}`),
      table(
        'Other relays',
        `${COLUMNS}|Seen|Answer|Link|Keys|Failures|Trouble|Settings`,
        `${key('bb')}|10.0.0.2:443|${load}|${earlier}|3 s ago|yes|connected|7|0||2 differ`,
        `${key('cc')}|[2001:db8::3]:443|derp.test|0.2.0|12|2|1234567|${began}|14 s ago|the relay does not answer in time|` +
          'waiting|0|3|connection refused|differ',
        `${key('dd')}|d.test:443|${load}|${began}|0 s ago|yes|||||0 differ`,
      ),
      table(
        'Settings that differ',
        'Relay|Setting|Here|There',
        `${key('bb')}|logLevel|info|debug`,
        `${key('bb')}|novelty|not known|7`,
      ),
      table('Full mesh', LINKS),
    ];
    expect(body).toBe(fleetPage(facts, tables));
  });

  it('the page of a relay without a directory has tables of itself and of its mesh', async () => {
    await showing(async () => FULL);
    const { body } = await main.ask('GET /debug/fleet HTTP/1.1');
    const facts = [
      '<li><b>Region:</b> eu</li>',
      '<li><b>Mode:</b> full</li>',
      '<li><b>Directory:</b> none: relays of a full mesh tell each other about their keys</li>',
    ];
    const tables = [
      table('This relay', COLUMNS, `${key('aa')}|10.0.0.1:443|derp.test|0.1.0|12|2|1234567|2026-11-18T11:05:10.000Z`),
      table(
        'Full mesh',
        LINKS,
        `b.test|${key('bb')}|dns relays.test|connected|2026-11-18T10:56:40.000Z|0|20|`,
        'c.test:8443||meshWith|waiting|2026-11-18T11:06:40.000Z|2|0|connection refused',
      ),
    ];
    expect(body).toBe(fleetPage(facts, tables));
  });

  it('the page says since when and why there is no directory, and which values settings have', async () => {
    const trouble = 'connection <refused>';
    const directory = { ...REPORT.directory, state: 'down', failures: 2, trouble, server: '', version: '', keys: 1 };
    const [relay] = REPORT.relays as [FleetRelay];
    const differences = [
      { name: 'one', here: null, there: false },
      { name: 'two', here: 0 },
    ];
    const latest = 8.64e15;
    const here = { ...REPORT.here, since: latest };
    const report = { ...REPORT, here, directory, relays: [{ ...relay, seen: REPORT.time + 1000, differences }] };
    await showing(async () => report as FleetReport);
    const { body } = await main.ask('GET /debug/fleet HTTP/1.1');
    const about = '1 key announced, failed 2 times in a row: connection &lt;refused&gt;';
    expect(body).toContain(`<b>Directory:</b> down since 2026-11-18T09:06:40.000Z, ${about}</li>`);
    expect(body).toContain('<td>one</td><td>none</td><td>false</td></tr>');
    expect(body).toContain('<td>two</td><td>0</td><td>not known</td></tr>');
    expect(body).toContain('<td>+275760-09-13T00:00:00.000Z</td>');
    expect(body).toContain('<td>0 s ago</td>');
  });

  it.each<[Partial<KeyWhereabouts>, string]>([
    [{ here: true }, 'at this relay'],
    [{}, 'at no relay'],
    [{ trouble: 'late' }, 'whether another relay has it cannot be said: late'],
    [{ elsewhere: { relay: key('bb'), address: '', generation: null } }, `at ${key('bb')} `],
  ])('the page says where a key is of which it is known that %j', async (known, shown) => {
    const whereabouts = { key: key('ee'), here: false, elsewhere: null, trouble: '', ...known };
    await showing(async () => ({ ...REPORT, key: whereabouts }));
    const { body } = await main.ask(`GET /debug/fleet?key=${key('ee')} HTTP/1.1`);
    expect(body).toContain(`<li><b>Key ${key('ee')}:</b> ${shown}</li>\n</ul>`);
  });
});

describe('/debug/fleet.json', () => {
  it('the answer is the report, about the key that is asked for', async () => {
    const asked: (NodeKey | undefined)[] = [];
    await showing(async (one) => {
      asked.push(one);
      return REPORT;
    });
    const { status, headers, body } = await main.ask('GET /debug/fleet.json HTTP/1.1');
    expect({ status, type: headers['content-type'], report: JSON.parse(body) }).toEqual({
      ...{ status: 200, type: 'application/json', report: REPORT },
    });
    await main.ask(`GET /debug/fleet.json?key=${key('ee')} HTTP/1.1`);
    expect(asked.map((one) => one && formatNodeKey(one))).toEqual([undefined, key('ee')]);
  });

  it.each(['', 'x', 'ee'.repeat(32), `nodekey-${'ee'.repeat(32)}`, `${key('ee')}00`])(
    'the key %j is refused',
    async (text) => {
      await showing(async () => REPORT);
      const { status, body } = await main.ask(`GET /debug/fleet.json?key=${text} HTTP/1.1`);
      expect({ status, body }).toEqual({ status: 400, body: 'key must be nodekey: and 64 hex digits\n' });
    },
  );

  it('a bounded number of reports is made at once', async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let waiting = 0;
    await showing(async () => {
      waiting += 1;
      await held;
      return REPORT;
    });
    const answers = Array.from({ length: 17 }, () => main.ask('GET /debug/fleet.json HTTP/1.1'));
    const refused = await Promise.race(answers);
    expect(refused).toMatchObject({ status: 503, body: '16 reports are being made already; try again\n' });
    expect(waiting).toBe(16);
    release();
    const all = await Promise.all(answers);
    expect(all.filter(({ status }) => status === 200)).toHaveLength(16);
    expect((await main.ask('GET /debug/fleet.json HTTP/1.1')).status).toBe(200);
  });
});
