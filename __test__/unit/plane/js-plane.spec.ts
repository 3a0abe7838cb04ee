/** Commands to the JavaScript plane as a whole. */
import { expect, it } from 'vitest';
import { laneNamed } from '../../helpers/lanes.js';
import { anyKey, drops, linkedTo, lookupPolicy, openWithLookups, sendTo, texts } from '../../helpers/lookups.js';

it('a new policy that keeps lookups leaves alone what waits for one', async () => {
  const harness = await openWithLookups(laneNamed('js'));
  const end = await linkedTo(harness);
  const { client } = await harness.admitted();
  const key = anyKey();
  await sendTo(client, key, 'patient');
  harness.plane.policy(harness.policy(lookupPolicy({ burst: 5 })));
  expect(drops(harness)).toEqual({});
  harness.plane.route(key, 1);
  expect(await texts(end, 1)).toEqual(['patient']);
});
