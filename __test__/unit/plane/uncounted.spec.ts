/** Connections that no counter, snapshot or tap shows. */
import { expect, it } from 'vitest';
import { laneNamed } from '../../helpers/lanes.js';
import { PlaneHarness } from '../../helpers/plane-harness.js';
import { eventually } from '../../helpers/wait.js';
import { attached } from './attached.js';

it('an uncounted connection works as any other, and no counter, snapshot or tap shows it', async () => {
  const harness = await PlaneHarness.open(laneNamed('js'));
  const { counters } = harness.plane;
  const { client: hidden } = await attached(harness, { uncounted: true });
  expect(Object.values(counters.readAll()).filter((count) => count !== 0)).toEqual([]);
  const { client: shown } = await attached(harness);
  const tapped: string[] = [];
  const tap = harness.plane.tap({ snapLength: 100 });
  const reading = (async () => {
    for await (const { frames } of tap) tapped.push(...frames.map(({ bytes }) => Buffer.from(bytes).toString()));
  })();
  hidden.sendPacket(shown.key, 'from the hidden one');
  expect(await shown.expectPacket('from the hidden one')).toBe(hidden.key);
  shown.sendPacket(hidden.key, 'to the hidden one');
  expect(await hidden.expectPacket('to the hidden one')).toBe(shown.key);
  await eventually(() => tapped.length > 0, 'a packet that is shown');
  tap.stop();
  await reading;
  expect(tapped).toEqual(['to the hidden one']);
  expect([counters.read('accepts'), counters.read('packets_received:other')]).toEqual([1, 1]);
  const { total, rows } = await harness.plane.snapshot(0, 10);
  expect([total, rows[0]]).toEqual([1, harness.logins.find(({ key }) => key === shown.key)?.id]);
  // A frame that is longer than any may be.
  hidden.send(Buffer.from('7f00010021', 'hex'));
  await hidden.closed();
  expect(await harness.endOf(harness.logins.find(({ key }) => key === hidden.key)?.id ?? 0)).toBe('protocol_error');
});
