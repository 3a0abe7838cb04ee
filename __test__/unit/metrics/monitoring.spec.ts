/** The dashboard and the alerts of `packaging/monitoring`, and promtool's word on them and on the metrics of a relay with everything. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { parse } from 'yaml';
import { promtool } from '../../../packaging/promtool.mjs';
import { createRelay } from '../../../src/relay.js';
import { ask } from '../../helpers/http.js';
import { MESH_KEY, pemPair } from '../../helpers/relay.js';
import { eventually } from '../../helpers/wait.js';
import { temporaryDirectory } from '../temp.js';

const FOLDER = fileURLToPath(new URL('../../../packaging/monitoring/', import.meta.url));
const read = (name: string) => readFileSync(join(FOLDER, name), 'utf8');

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

const dashboard: { readonly panels: readonly Panel[]; readonly templating: { readonly list: readonly object[] } } =
  JSON.parse(read('dashboard.json'));
const rules: readonly { readonly alert: string; readonly expr: string }[] = parse(read('alerts.yml')).groups[0].rules;

/** Every expression of the dashboard, with values in place of Grafana's variables. */
const drawn = dashboard.panels
  .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
  .map((expr) => expr.replaceAll('$__rate_interval', '5m').replaceAll(/\$(?:job|instance)/g, '.+'));
const alerted = rules.map(({ expr }) => expr);

const DIRECTORY = temporaryDirectory();
/** What a relay with everything says of itself. */
let exposition = '';

/** Every sample's name, with the names of its labels. */
const samples = new Map<string, Set<string>>();

beforeAll(async () => {
  const file = (name: string, text: string) => {
    writeFileSync(join(DIRECTORY, name), text);
    return join(DIRECTORY, name);
  };
  const { chain, key } = pemPair(['localhost']);
  const relay = createRelay({
    plane: 'js',
    logLevel: 'silent',
    dataDir: DIRECTORY,
    listen: '127.0.0.1:0',
    httpPort: -1,
    stun: false,
    certificates: [{ chainFile: file('chain.pem', chain), keyFile: file('key.pem', key), default: true }],
    metrics: { listen: 0 },
    meshKey: MESH_KEY,
    // No relay, no name server and no NATS listen there.
    meshWith: '127.0.0.1:1',
    mesh: { discover: [{ dns: { name: 'relays.test', server: '127.0.0.1:1' } }], mode: 'on-demand' },
    nats: { servers: '127.0.0.1:1' },
    admission: { verifiers: [{ keys: file('keys', '') }] },
    rateConfig: file('rates.json', '{}'),
  });
  await relay.start();
  const { derp, metrics: listener } = relay.address as NonNullable<typeof relay.address>;
  const metrics = async () => (await ask({ host: '127.0.0.1', port: listener?.port ?? 0 }, '/metrics')).body;
  await ask({ host: '127.0.0.1', port: derp.port, tls: {} }, '/robots.txt');
  await eventually(async () => (await metrics()).includes('\nderpkit_mesh_source_up{'), 'the metrics of the mesh');
  exposition = await metrics();
  for (const [, name = '', labels = ''] of exposition.matchAll(/^([a-z]\w*)(?:\{(.*)\})? \S+$/gm)) {
    const known = samples.get(name) ?? new Set();
    samples.set(name, known);
    for (const [, label = ''] of labels.matchAll(/(\w+)="/g)) known.add(label);
  }
  await relay.close();
});

/** Runs promtool; left out where it cannot be had. */
async function checks(context: TestContext, args: readonly string[], input = '') {
  const program = await promtool().catch((error: Error) => {
    if (process.env.CI) throw error;
    console.log(`left out: promtool: ${error.message}`);
    return context.skip(error.message);
  });
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: FOLDER, input, encoding: 'utf8' });
  return { status, output: `${stdout}${stderr}` };
}

describe('promtool', { timeout: 300_000 }, () => {
  it('has no complaint about metrics that derper has none of', async (context) => {
    const { status, output } = await checks(context, ['check', 'metrics'], exposition);
    // It complains about names of derper, which is status 3; what it cannot read is status 1.
    expect(status).toBe(3);
    const lines = output.trim().split('\n');
    expect(
      lines.filter((line) => !/^(derp_|derper_|stun_|bootstrap_dns_|tls_listener_|uptime_sec )/.test(line)),
    ).toEqual([]);
    expect(lines.filter((line) => line.includes('no help text'))).toEqual([]);
    expect(exposition.match(/^# TYPE derpkit_/gm)?.length).toBeGreaterThan(25);
  });

  it('accepts the alert rules', async (context) => {
    const { status, output } = await checks(context, ['check', 'rules', 'alerts.yml']);
    expect(output).toContain(`SUCCESS: ${rules.length} rules found`);
    expect(status).toBe(0);
  });

  it('plays the tests of the alert rules, and all pass', async (context) => {
    const { status, output } = await checks(context, ['test', 'rules', 'alerts.test.yml']);
    expect(output).toContain('SUCCESS');
    expect(status).toBe(0);
  });

  it('reads every expression of the dashboard', async (context) => {
    const asRules = drawn.map((expr, index) => ({ record: `panel:${index}`, expr }));
    const path = join(DIRECTORY, 'dashboard.yml');
    writeFileSync(path, JSON.stringify({ groups: [{ name: 'dashboard', rules: asRules }] }));
    const { status, output } = await checks(context, ['check', 'rules', path]);
    expect(output).toContain(`SUCCESS: ${drawn.length} rules found`);
    expect(status).toBe(0);
  });
});

/** Functions, operators and words of PromQL that expressions here use. */
const WORDS = /^(?:and|by|changes|histogram_quantile|increase|last_over_time|max_over_time|on|rate|sum|time|unless)$/;
/** Of Prometheus itself, and what it adds to every sample. */
const SCRAPED = { metrics: ['up'], labels: ['job', 'instance', 'le'] };

/** What an expression asks for that no relay says. */
function unknown(expr: string): string[] {
  const bare = expr.replaceAll(/\b(?:by|on) \([^)]*\)|\{[^}]*\}|\[[^\]]*\]|"[^"]*"/g, ' ');
  const names = (bare.match(/\b[a-zA-Z_]\w*/g) ?? []).filter((word) => !WORDS.test(word));
  const metrics = names.filter((name) => !samples.has(name) && !SCRAPED.metrics.includes(name));
  const used = [...expr.matchAll(/\b(\w+)\{([^}]*)\}/g)].flatMap(([, metric = '', matchers = '']) => {
    const wanted = [...matchers.matchAll(/(\w+)(?:=|!=|=~|!~)"/g)].map(([, label = '']) => label);
    const known = [...(samples.get(metric) ?? []), ...SCRAPED.labels];
    return wanted.filter((label) => !known.includes(label)).map((label) => `${metric}{${label}}`);
  });
  const grouped = [...expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, labels = '']) => labels.split(/, */));
  const all = new Set([...[...samples.values()].flatMap((labels) => [...labels]), ...SCRAPED.labels]);
  return [...metrics, ...used, ...grouped.filter((label) => !all.has(label))];
}

describe('the monitoring', () => {
  it('asks for metrics and labels that a relay has', () => {
    expect(drawn.length).toBeGreaterThan(30);
    expect([...drawn, ...alerted].flatMap((expr) => unknown(expr).map((what) => `${what} in ${expr}`))).toEqual([]);
  });

  it.each([
    ['rate(derp_accept[5m])', 'derp_accept'],
    ['sum by (kindness) (derp_accepts)', 'kindness'],
    ['derpkit_held_bytes{of="x"} > 0', 'derpkit_held_bytes{of}'],
  ])('would be told of what it asks for in vain: %s', (expr, what) => {
    expect(unknown(expr)).toEqual([what]);
  });

  it('every alert fires in a test, and is silent in another', () => {
    const played: { eval_time: string; alertname: string; exp_alerts: unknown[] }[] = parse(
      read('alerts.test.yml'),
    ).tests.flatMap((test: { alert_rule_test: unknown[] }) => test.alert_rule_test);
    const names = (fires: boolean) =>
      new Set(played.filter(({ exp_alerts }) => exp_alerts.length > 0 === fires).map(({ alertname }) => alertname));
    const all = new Set(rules.map(({ alert }) => alert));
    expect(names(true)).toEqual(all);
    expect(names(false)).toEqual(all);
  });

  it('the dashboard has a row for each subject, and panels that do not overlap', () => {
    const { panels } = dashboard;
    const rows = panels.filter(({ type }) => type === 'row').map(({ title }) => title);
    expect(rows).toEqual(['Traffic', 'Drops', 'Queue delay', 'Logins and refusals', 'Mesh', 'Certificates', 'Process']);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    expect(panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([]);
    expect(panels.filter(({ type, description = '' }) => type !== 'row' && !/\.$/.test(description))).toEqual([]);
  });
});
