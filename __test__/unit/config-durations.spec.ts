import { expect, it } from 'vitest';
import { parseSettings } from '../../src/config.js';

it('a duration is never longer than a timer can wait', () => {
  const most = 2 ** 31 - 1;
  for (const drainDelay of ['9000h', 1e300, most + 1]) {
    expect(parseSettings({ mesh: { drainDelay } }).mesh.drainDelay).toBe(most);
  }
  expect(parseSettings({ mesh: { drainDelay: '1m30s' } }).mesh.drainDelay).toBe(90_000);
});
