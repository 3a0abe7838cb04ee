/** Figures of clients that derper has, too: how many peers send to one, and how often clients move their home. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { notePreferredFrame } from '../../src/protocol/frame.js';
import { formatNodeKey, keyPairOf, parsePrivateKey } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { PLANE_KINDS } from '../helpers/lanes.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { makeWorkspace, SERVER_NAME, type Workspace } from './scenarios.ts';
import { Relay } from './servers.ts';

/** More than derper's grace, within which a change of home is none, in milliseconds. */
const GRACE = 5500;
const SENDERS = 150;

let workspace: Workspace;
const relays = new Map<string, Relay>();

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME);
  const { directory, peers } = workspace;
  for (const name of ['derper', ...PLANE_KINDS]) {
    const env = { TS_DERP_SENDER_CARDINALITY: '1', ...(name !== 'derper' && { DERPKIT_PLANE: name }) };
    const options = { directory, name: `senders-${name}`, address: '127.0.0.1', env };
    relays.set(name, await Relay.start(name === 'derper' ? 'derper' : 'derpkit', peers, options));
  }
});

afterAll(async () => {
  await Promise.all([...relays.values()].map((relay) => relay.stop()));
  workspace?.remove();
});

function at({ port }: Relay) {
  return { host: '127.0.0.1', port };
}

async function logIn(relay: Relay, name: string): Promise<DerpClient> {
  const text = JSON.parse(readFileSync(join(workspace.directory, `senders-${name}.key`), 'utf8')).PrivateKey;
  const client = new DerpClient(await Wire.open(at(relay)), keyPairOf(parsePrivateKey(text) as Uint8Array).publicKey);
  await client.login();
  return client;
}

it('derper and derpkit estimate alike how many peers send to a client', async () => {
  const seen = new Map<string, unknown>();
  for (const [name, relay] of relays) {
    const receiver = await logIn(relay, name);
    let packets = 0;
    receiver.onPacket = () => {
      packets += 1;
    };
    for (let number = 1; number <= SENDERS; number++) {
      const sender = await logIn(relay, name);
      for (let count = 0; count < 2; count++) sender.sendPacket(receiver.key, Buffer.alloc(20));
      await eventually(() => packets === 2 * number, 'its packets');
      await sender.close();
    }
    const { body } = await ask(at(relay), `/debug/clients/?key=${formatNodeKey(receiver.key)}&format=json`);
    const wire = await Wire.open(at(relay));
    wire.write('GET /debug/traffic HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n');
    const traffic = (await wire.takeThrough('}\n\n')).toString();
    await wire.destroy();
    const line = traffic.split('\n').find((text) => text.includes(formatNodeKey(receiver.key))) ?? '{}';
    seen.set(name, { senders: JSON.parse(body).clients[0].senders, traffic: JSON.parse(line).UniqueSenders });
    await receiver.close();
  }
  // So few are counted exactly.
  const wanted = { senders: SENDERS, traffic: SENDERS };
  expect(Object.fromEntries(seen)).toEqual(Object.fromEntries([...relays.keys()].map((name) => [name, wanted])));
});

it('derper and derpkit count every move of a client’s home, those that follow at once and those before its end, too', async () => {
  const all = await Promise.all(
    [...relays].map(async ([name, relay]) => ({ relay, client: await logIn(relay, name) })),
  );
  for (const { client } of all) client.send(...[true, false, true].map(notePreferredFrame));
  await delay(GRACE);
  const moves = async (relay: Relay) => {
    const { body } = await ask(at(relay), '/debug/varz');
    return ['in', 'out'].map((way) => Number(new RegExp(`^derp_home_moves_${way} (\\d+)$`, 'm').exec(body)?.[1]));
  };
  for (const { relay, client } of all) {
    expect(await moves(relay)).toEqual([0, 0]);
    client.send(...[true, false, true, true, false].map(notePreferredFrame));
    await eventually(async () => `${await moves(relay)}` === '1,2', 'the moves');
    client.send(...[true, false].map(notePreferredFrame));
    client.wire.end();
    await eventually(async () => `${await moves(relay)}` === '2,3', 'the last moves');
  }
});
