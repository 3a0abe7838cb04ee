import { expect, it } from 'vitest';
import { connectionsWithin, descriptorLimit, MOST_CONNECTIONS } from '../../../src/relay/descriptors.js';

it.each([
  // The larger of 64 and a tenth.
  { limit: 256, open: 20, own: 10, connections: 192 },
  { limit: 640, open: 20, own: 10, connections: 576 },
  { limit: 1024, open: 20, own: 10, connections: 921 },
  { limit: 1 << 20, open: 20, own: 10, connections: 943_718 },
  // More if the program around the relay, or its many workers, have more.
  { limit: 1024, open: 400, own: 100, connections: 492 },
  // Never none.
  { limit: 64, open: 20, own: 10, connections: 1 },
  { limit: undefined, open: 20, own: 10, connections: MOST_CONNECTIONS },
])(
  'the relay uses $connections of $limit descriptors for connections, if $open are open',
  ({ connections, ...use }) => {
    expect(connectionsWithin(use)).toBe(connections);
  },
);

it('the relay knows the limit of descriptors of its process', () => {
  const limit = descriptorLimit();
  if (process.platform === 'linux') expect(limit).toBeGreaterThan(0);
});
