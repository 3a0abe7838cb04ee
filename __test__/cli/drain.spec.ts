/** The end of a relay that others find: it is announced before clients lose their connections. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PLANE_KINDS } from '../helpers/lanes.js';
import { type Command, start, temporary } from './commands.js';
import { get, keyOf, logIn, portOf } from './reach.js';

const TELLS = / draining: probes fail, so that clients go elsewhere, and the relay serves on milliseconds=\d+$/m;

/** A relay whose mesh is a file, or one without a mesh. */
function relay(plane: string, drainDelay: string, hasSource = true): Command {
  const directory = temporary();
  const file = join(directory, 'relays');
  writeFileSync(file, '# none yet\n');
  const args = ['serve', '--listen', '127.0.0.1:0', '--cert-mode', 'off', '--no-stun', '--data-dir', directory];
  const mesh = { DERPKIT_MESH_KEY: '5e'.repeat(32), DERPKIT_MESH_DISCOVER: JSON.stringify([{ file }]) };
  const env = {
    DERPKIT_PLANE: plane,
    DERPKIT_METRICS_LISTEN: '127.0.0.1:0',
    DERPKIT_MESH_DRAIN_DELAY: drainDelay,
    ...(hasSource && mesh),
  };
  return start('derpkit', args, { env });
}

describe.each(PLANE_KINDS)('the end of a relay, on the plane %s', (plane) => {
  it('after SIGTERM a relay fails probes, and serves clients until its delay has passed', async () => {
    const command = relay(plane, '1h');
    const port = await portOf(command, 'DERP over plain HTTP');
    const alice = await logIn(port, await keyOf(command));
    expect((await get(port, '/derp/probe')).status).toBe(200);
    const metrics = Number((await command.printed(/serving metrics addr=\S+:(\d+)$/m))[1]);
    expect((await get(metrics, '/readyz')).status).toBe(200);
    command.signal('SIGTERM');
    await command.printed(TELLS);
    expect((await get(port, '/derp/probe')).status).toBe(503);
    const ready = await get(metrics, '/readyz');
    expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('the relay is draining')]);
    expect((await get(metrics, '/healthz')).status).toBe(200);
    expect((await get(port, '/generate_204')).status).toBe(204);
    const bob = await logIn(port, await keyOf(command));
    alice.sendPacket(bob.key, 'still here');
    expect(await bob.expectPacket('still here')).toBe(alice.key);
    for (let time = 0; time < 2; time++) command.signal('SIGHUP');
    await command.printed(/warn: SIGHUP is ignored: the relay is ending$/m);
    // A second SIGTERM ends the relay before the hour has passed.
    const end = command.end();
    const again = setInterval(() => command.signal('SIGTERM'), 300);
    expect((await end).code).toBe(1);
    clearInterval(again);
  });

  it('a relay ends by itself after its delay, and says how many clients were still there', async () => {
    const command = relay(plane, '300ms');
    const port = await portOf(command, 'DERP over plain HTTP');
    for (let count = 0; count < 2; count++) await logIn(port, await keyOf(command));
    const { code, stderr } = await command.stop();
    expect(code).toBe(0);
    expect(stderr).toMatch(TELLS);
    expect(stderr).toMatch(/ the relay has ended milliseconds=\d+ clients=2\n$/);
  });

  it('a relay ends without a delay after Ctrl-C, or if it has no source', async () => {
    const [interrupted, alone] = [relay(plane, '1h'), relay(plane, '1h', false)];
    await Promise.all([interrupted, alone].map((command) => portOf(command, 'DERP over plain HTTP')));
    const ends = [await interrupted.stop('SIGINT'), await alone.stop()];
    expect(ends.map(({ code }) => code)).toEqual([0, 0]);
    for (const { stderr } of ends) {
      expect(stderr).not.toMatch(TELLS);
      expect(stderr).toMatch(/ stopping reason=\w+\n.* the relay has ended milliseconds=\d+ clients=0\n$/);
    }
  });
});
