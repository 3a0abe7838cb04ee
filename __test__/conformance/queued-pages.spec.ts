/** Pages below `/debug/` that go on until their client leaves, asked for behind another such page on one connection. */
import { describe, expect, it } from 'vitest';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const requestOf = (path: string) => `GET /debug/${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

/** The status of a page, whose answer is not read to its end. */
async function statusOf(relay: TestRelay, path: string): Promise<number> {
  const wire = await Wire.open(relay.target());
  wire.write(requestOf(path));
  const head = (await wire.takeThrough('\r\n\r\n')).toString();
  await wire.destroy();
  return Number(head.split(' ')[1]);
}

describe.each(LANES)('pages that wait behind another, $name', (lane) => {
  it.each([
    ['tap', 'tap', 'live/events', 1, 409],
    ['live/events', 'live/events', 'traffic', 64, 503],
    ['traffic', 'traffic', 'live/events', 4, 503],
    ['pprof/profile', 'pprof/profile?seconds=300', 'live/events', 1, 409],
  ] as const)('/debug/%s is free again when its connections have gone', async (_, path, first, most, full) => {
    const relay = await startRelay(lane);
    const wires: Wire[] = [];
    for (let left = most; left > 0; left -= 16) {
      const wire = await Wire.open(relay.target());
      wire.write(requestOf(first) + requestOf(path).repeat(Math.min(left, 16)));
      wires.push(wire);
      // Requests that come at once are handled at once.
      await wire.takeThrough('\r\n\r\n');
    }
    expect(await statusOf(relay, path)).toBe(full);
    for (const wire of wires) await wire.destroy();
    const again = path.replace('300', '1');
    expect(await eventually(async () => (await statusOf(relay, again)) === 200, 'the page to be free')).toBe(true);
  });
});
