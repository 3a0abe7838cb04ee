/**
 * Three relays of a region, each in a process of its own, in mixtures of both planes and derper. What is asked of
 * them is the same; what they do differently on purpose stands in `deviations.ts`.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MESH_DEVIATIONS } from './deviations.ts';
import { type Kind, RING_NAMES, Ring } from './ring.ts';
import { makeWorkspace, RING_SCENARIOS, type Workspace } from './scenarios.ts';

/** The first is the oracle. In the others every kind dials every kind, itself included, and is dialled by it. */
const MIXTURES: readonly (readonly [Kind, Kind, Kind])[] = [
  ['derper', 'derper', 'derper'],
  ['native', 'js', 'derper'],
  ['native', 'native', 'js'],
  ['js', 'js', 'derper'],
  ['native', 'derper', 'derper'],
];

let workspace: Workspace;
const rings: Promise<Ring>[] = [];

// They wait for each other most of the time, so that they are played at once.
beforeAll(async () => {
  workspace = await makeWorkspace(...RING_NAMES);
  for (const kinds of MIXTURES) rings.push(Ring.start(workspace, kinds, RING_SCENARIOS));
  await Promise.all(rings);
});

afterAll(async () => {
  await Promise.all(rings.map(async (ring) => (await ring).stop()));
  workspace?.remove();
});

describe.each(MIXTURES.map((kinds, index) => ({ name: kinds.join(', '), kinds, index })))('$name', (mixture) => {
  const { kinds, index } = mixture;

  it.each(RING_SCENARIOS)('the ring of relays passes the scenario %s', async (scenario) => {
    const facts = await (await rings[index])?.result(scenario);
    for (const { node, what, is } of facts ?? []) {
      const deviation = MESH_DEVIATIONS.find((deviation) => deviation.what === what);
      expect(deviation, what).toBeDefined();
      const expected = kinds[node] === 'derper' ? deviation?.derper : [deviation?.derpkit];
      expect(expected, `node ${node}, ${kinds[node]}: ${what} ${is}`).toContain(is);
    }
  });
});
