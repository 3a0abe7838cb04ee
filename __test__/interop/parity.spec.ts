/** Holds the tables of what there is to what the real derper and ours say of themselves. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { binPath } from '../cli/commands.js';
import { ask } from '../helpers/http.js';
import { FLAGS } from '../repo/parity/flags.ts';
import { METRICS } from '../repo/parity/metrics.ts';
import { makeWorkspace, SERVER_NAME, type Workspace } from './scenarios.ts';
import { type Implementation, Relay } from './servers.ts';

let workspace: Workspace;

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME);
});

afterAll(() => workspace?.remove());

it('the flags are those of derper -h', () => {
  const theirs = flagsOf(spawnSync(workspace.peers.derper, ['-h'], { encoding: 'utf8' }).stderr);
  const ours = flagsOf(spawnSync(process.execPath, [binPath('derper'), '-h'], { encoding: 'utf8' }).stderr);
  expect(theirs.length).toBeGreaterThan(30);
  expect(ours).toEqual(theirs);
  expect(theirs).toEqual(FLAGS.map(({ name }) => name));
});

it('the metrics are those of /debug/varz, with their types', async () => {
  const [theirs, ours] = [await metricsOf('derper'), await metricsOf('derpkit')];
  expect([...theirs.keys()].sort()).toEqual(METRICS.map(({ name }) => name));
  for (const { name, test } of METRICS) {
    expect(`${name} ${ours.get(name)}`).toBe(`${name} ${test === undefined ? undefined : theirs.get(name)}`);
  }
  const own = [...ours.keys()].filter((name) => !theirs.has(name));
  expect(own.filter((name) => !name.startsWith('derpkit_'))).toEqual([]);
});

/** Not their types: usage takes the name of one from whatever a text has in backquotes. */
function flagsOf(usage: string): string[] {
  return [...usage.matchAll(/^ {2}(-[a-z-]+)/gm)].map((match) => match[1] as string);
}

/** Names and types of a relay with everything that has metrics of its own. */
async function metricsOf(implementation: Implementation): Promise<Map<string, string>> {
  const rates = join(workspace.directory, 'rates.json');
  writeFileSync(rates, '{}');
  const relay = await Relay.start(implementation, workspace.peers, {
    directory: workspace.directory,
    name: `parity-${implementation}`,
    address: '127.0.0.1',
    hostname: SERVER_NAME,
    flags: ['-rate-config', rates],
  });
  try {
    const target = { host: relay.address, port: relay.port, tls: { servername: SERVER_NAME } };
    // What is counted by version of TLS is there after the first request.
    await ask(target, '/robots.txt');
    return typesOf((await ask(target, '/debug/varz')).body);
  } finally {
    await relay.stop();
  }
}

function typesOf(text: string): Map<string, string> {
  const types = new Map(
    [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type] as [string, string]),
  );
  for (const [sample] of text.matchAll(/^[a-z][^{ ]*/gm)) {
    const family = sample.replace(/_(?:bucket|sum|count)$/, '');
    if (!types.has(sample) && !types.has(family)) types.set(sample, 'untyped');
  }
  return types;
}
