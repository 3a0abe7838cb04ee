import { afterEach, describe, expect, it } from 'vitest';
import type { FleetReport } from '../../../src/http/fleet-report.js';
import { formatNodeKey, type NodeKey } from '../../../src/protocol/key.js';
import { FULL, key, REPORT } from '../cli/fleet/report.js';
import { Harness, NOTHING_TO_SHOW } from './harness.js';

let main: Harness;

afterEach(() => main.close());

async function showing(fleet: (key: NodeKey | undefined) => Promise<FleetReport>): Promise<Harness> {
  main = await Harness.open('main', { debug: { ...NOTHING_TO_SHOW, fleet } });
  return main;
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

  it.each(['', 'x', 'ee'.repeat(32), `${key('ee')}00`])('the key %j is refused', async (text) => {
    await showing(async () => REPORT);
    const { status, body } = await main.ask(`GET /debug/fleet.json?key=${text} HTTP/1.1`);
    expect({ status, body }).toEqual({ status: 400, body: 'key must be nodekey: and 64 hex digits\n' });
  });

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
