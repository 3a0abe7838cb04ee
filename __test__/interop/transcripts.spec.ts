/**
 * The real client against derpkit and against derper, in the same run: what each of a scenario's clients is told has to be
 * the same, line by line. Keys have names, and ports are left out; nothing else is.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeWorkspace, run, type SCENARIOS, SERVER_NAME, type Workspace } from './scenarios.ts';
import { Relay } from './servers.ts';

/**
 * What is the same twice on derper itself. The others depend on how long things take: how many packets come before a
 * connection is seen to have ended, which of many packets are lost, how often a limit has filled up.
 */
const TRANSCRIBED = [
  ...['meta-certificate', 'fast-start', 'upgrade-tls12', 'upgrade-plain', 'server-info-first', 'many-options'],
  ...['relay-tls', 'relay-plain', 'relay-to-self', 'relay-too-large', 'peer-gone-disconnected', 'ping'],
  ...['note-preferred', 'tolerated-frames', 'reconnect-100', 'mesh-watch-ipv4', 'mesh-watch-ipv6', 'mesh-close-peer'],
  ...['mesh-close-peer-refused', 'mesh-forward', 'mesh-forward-refused', 'mesh-wrong-key', 'region-ideal-node'],
  'websocket',
] as const satisfies readonly (typeof SCENARIOS)[number][];

type Side = 'derper' | 'js' | 'native';

let workspace: Workspace;
const relays = new Map<Side, readonly [tls: Relay, plain: Relay]>();

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME);
  for (const side of ['derper', 'js', 'native'] as const) {
    const start = (face: 'tls' | 'plain') =>
      Relay.start(side === 'derper' ? 'derper' : 'derpkit', workspace.peers, {
        directory: workspace.directory,
        name: `transcripts-${side}-${face}`,
        address: '127.0.0.1',
        ...(face === 'tls' && { hostname: SERVER_NAME }),
        ...(side !== 'derper' && { env: { DERPKIT_PLANE: side } }),
      });
    relays.set(side, [await start('tls'), await start('plain')]);
  }
});

afterAll(async () => {
  await Promise.all([...relays.values()].flat().map((relay) => relay.stop()));
  workspace?.remove();
});

const played = new Map<string, Promise<readonly string[]>>();

/** What the clients of a scenario were told, each side asked once. */
function transcript(side: Side, scenario: string): Promise<readonly string[]> {
  const name = `${side} ${scenario}`;
  const lines = played.get(name) ?? play(side, scenario);
  played.set(name, lines);
  return lines;
}

async function play(side: Side, scenario: string): Promise<readonly string[]> {
  const { peers, authority, meshKey } = workspace;
  const [tls, plain] = relays.get(side) as readonly [Relay, Relay];
  const { stdout } = await run(peers.interop, [
    ...['-run', scenario, '-transcript', '-ca', authority, '-mesh-key-file', meshKey, '-server-name', SERVER_NAME],
    ...['-tls', `https://${tls.at(tls.port)}`, '-plain', `http://${plain.at(plain.port)}`],
  ]);
  return stdout.trimEnd().split('\n');
}

describe.each(['js', 'native'] as const)('beside derper, the %s plane', (side) => {
  it.each(TRANSCRIBED)('both relays send clients of %s equal frames', async (scenario) => {
    const theirs = await transcript('derper', scenario);
    expect(theirs.length).toBeGreaterThan(1);
    expect(await transcript(side, scenario)).toEqual(theirs);
  });
});

it('the comparison tells two scenarios apart, and two packets', async () => {
  expect(await transcript('js', 'relay-tls')).not.toEqual(await transcript('derper', 'relay-to-self'));
  const packets = (await transcript('derper', 'relay-tls')).filter((line) => line.startsWith('packet of '));
  expect(new Set(packets).size).toBeGreaterThan(30);
});
