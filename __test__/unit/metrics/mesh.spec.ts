import { expect, it } from 'vitest';
import { type MeshFigures, meshMetrics } from '../../../src/metrics/mesh.js';

it('no metric says that a link to this relay itself, or to a second name of another, is down', () => {
  const link = (relay: string, state: MeshFigures['state']): MeshFigures => {
    return { relay, state, peers: 0, passedOver: 0, failures: 0, since: 0 };
  };
  const links = [link('a', 'connected'), link('b', 'waiting'), link('c', 'self'), link('d', 'duplicate')];
  const up = meshMetrics(links, []).find(([name]) => name === 'derpkit_mesh_link_up');
  expect(up?.[1]).toMatchObject({
    rows: [
      { of: ['a'], value: 1 },
      { of: ['b'], value: 0 },
    ],
  });
});
