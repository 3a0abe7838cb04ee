/**
 * A relay that is cut off from the others and from NATS, without a word on any connection: its clients talk on among themselves,
 * the others' too, and all meet again when the network is back. In the long run alone: silence is noticed only after a while.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../packaging/fleet/client.mjs';
import { Fleet, HOSTNAME, whyNoFleet } from '../../packaging/fleet/fleet.mjs';
import { Talk } from '../../packaging/fleet/talk.mjs';
import { builtNats } from '../../packaging/nats.mjs';
import { Namespaces, whyNoNamespaces } from '../helpers/namespaces.js';
import { eventually } from '../helpers/wait.js';

const nats = builtNats();
const missing =
  (process.env.DERPKIT_LONG ? undefined : 'only in npm run test:long') ??
  whyNoFleet() ??
  whyNoNamespaces() ??
  (nats ? undefined : 'nats-server is not built');
if (missing && process.env.DERPKIT_LONG) console.warn(`left out: partitions: ${missing}`);

const PATIENCE = 180_000;
/** Milliseconds of the partition: longer than relays wait for the acknowledgement of what they have sent. */
const APART = 25_000;
const [HAPROXY, NATS] = [2, 3];
const RELAYS = [11, 12, 13] as const;

const MODES = [
  { mode: 'full', network: '10.99.34.', env: { DERPKIT_MESH_DISCOVER: '[{ "nats": true }]' } },
  { mode: 'on-demand', network: '10.99.35.', env: { DERPKIT_MESH_MODE: 'on-demand', DERPKIT_MESH_DISCOVER: '[]' } },
];

describe.skipIf(missing).each(MODES)('a partition of a region in the mode $mode', ({ network, env }) => {
  let places: Namespaces;
  let fleet: Fleet;
  let clients: Client[];

  beforeAll(async () => {
    places = new Namespaces(network, [1, HAPROXY, NATS], RELAYS);
    fleet = new Fleet(network, { ...env, DERPKIT_DEBUG_TRUSTED_CIDRS: `${network}0/24` }, nats);
    const names = fleet.relays.map(({ name }) => name);
    await fleet.start(names);
    for (const [index, name] of names.entries()) {
      const program = [process.execPath, 'dist/cli/derpkit.js', 'serve'];
      const plane = { DERPKIT_PLANE: index === 1 ? 'js' : 'native' };
      fleet.startRelay(name, plane, places.within(RELAYS[index] as number, program));
    }
    const ca = readFileSync(fleet.authority);
    clients = [0, 0, 1, 1, 2, 2].map((index) => {
      const host = fleet.addressOf(names[index] as string);
      return new Client({ host, port: 8443, servername: HOSTNAME, ca });
    });
    await eventually(() => clients.every(({ relay }) => relay !== undefined), 'clients to be connected', PATIENCE);
  });

  afterAll(async () => {
    for (const client of clients ?? []) client.close();
    await fleet?.close();
    places?.close();
  });

  it('each side loses nothing meanwhile, and all clients reach each other afterwards', async () => {
    const [cutOff, others] = [clients.slice(0, 2), clients.slice(2)];
    await eventually(() => new Talk(clients).reaches(), 'ways between all clients', PATIENCE);
    const [inside, outside] = [new Talk(cutOff), new Talk(others)];
    await eventually(async () => (await inside.reaches()) && (await outside.reaches()), 'ways on both sides', PATIENCE);
    places.cut(RELAYS[0], [NATS, RELAYS[1], RELAYS[2]]);
    const said = await Promise.all([inside.during(APART), outside.during(APART)]);
    places.heal(RELAYS[0]);
    for (const { sent, received, outOfOrder } of said) {
      expect({ received, outOfOrder }).toEqual({ received: sent, outOfOrder: 0 });
      expect(sent).toBeGreaterThan(1000);
    }
    const whole = new Talk(clients);
    await eventually(() => whole.reaches(), 'ways between all clients again', PATIENCE);
    const { sent, received, outOfOrder } = await whole.during(2_000);
    expect({ received, outOfOrder }).toEqual({ received: sent, outOfOrder: 0 });
    expect(clients.map(({ connects }) => connects)).toEqual([1, 1, 1, 1, 1, 1]);
  });
});
