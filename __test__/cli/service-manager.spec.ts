/** What a relay tells the service manager that has started it. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { LANES } from '../helpers/lanes.js';
import { eventually } from '../helpers/wait.js';
import { listener } from './activated.js';
import { type Command, lines, start, temporary } from './commands.js';

const PLANES = [...new Set(LANES.map(({ planeKind }) => planeKind))];
const NOTIFY = ['/usr/bin/systemd-notify', '/bin/systemd-notify'].some(existsSync);

/** Starts a relay that has a file to read again. */
function serve(plane: string, socket: string, env: Readonly<Record<string, string>> = {}): Command {
  const directory = temporary();
  const rate = join(directory, 'rate.json');
  writeFileSync(rate, '{}');
  const args = ['serve', '--listen=127.0.0.1:0', '--cert-mode=off', '--no-stun', '--data-dir', directory];
  const variables = { DERPKIT_PLANE: plane, NOTIFY_SOCKET: socket, ...env };
  return start('derpkit', [...args, '--rate-config', rate], { env: variables });
}

/** The datagrams so far, without the figures that differ, and without those that ask whether the others have been read. */
function datagrams({ stdout }: Command): string[] {
  const told = lines(stdout.replaceAll(/port \d+/g, 'port N').replaceAll(/USEC=\d\d+/g, 'USEC=N')).slice(1);
  return told.filter((line) => line !== 'BARRIER=1');
}

describe.each(PLANES.filter((plane) => plane === 'native' || NOTIFY))('a service manager, on the %s plane', (plane) => {
  it.each(['path', 'abstract'] as const)(
    'a relay reports its state to a socket with a name of the kind %s',
    async (kind) => {
      const { socket, told } = await listener(kind);
      const relay = serve(plane, socket);
      await told.printed(/^READY=1 /m);
      relay.signal('SIGHUP');
      await told.printed(/^READY=1$/m);
      expect((await relay.stop()).code).toBe(0);
      await told.printed(/^STOPPING=1/m);
      expect(datagrams(told)).toEqual([
        `READY=1 STATUS=serving HTTP on port N; plane ${plane}`,
        'RELOADING=1 MONOTONIC_USEC=N',
        'READY=1',
        'STOPPING=1 STATUS=closing connections',
      ]);
    },
  );

  it('the time of a reload comes from the manager’s clock', async () => {
    const { socket, told } = await listener('path');
    const relay = serve(plane, socket);
    await told.printed(/^READY=1 /m);
    const before = process.hrtime.bigint() / 1000n;
    relay.signal('SIGHUP');
    const [, time = ''] = await told.printed(/MONOTONIC_USEC=(\d+)/);
    expect(BigInt(time)).toBeGreaterThanOrEqual(before);
    expect(BigInt(time)).toBeLessThanOrEqual(process.hrtime.bigint() / 1000n);
  });

  it('a relay goes on if its manager is gone, and logs it once', async () => {
    const relay = serve(plane, join(temporary(), 'nobody'));
    await relay.printed(/the service manager cannot be told how the relay is, and may end it reason="/);
    relay.signal('SIGHUP');
    await relay.printed(/the relay has read its files again/);
    const { code, stderr } = await relay.stop();
    expect({ code, warnings: stderr.match(/cannot be told/g)?.length }).toEqual({ code: 0, warnings: 1 });
  });
});

/** Has a process stand still on SIGWINCH for as long as there is a file. */
const STANDING_STILL = `data:text/javascript,${encodeURIComponent(`
  import { existsSync, writeSync } from 'node:fs';
  process.on('SIGWINCH', () => {
    writeSync(1, 'stands still\\n');
    while (existsSync(process.env.STILL));
  });
`)}`;

describe('the watchdog of a service manager', () => {
  const HALF_A_SECOND = { WATCHDOG_USEC: '500000' };

  it.runIf(PLANES.includes('native'))('a relay sends signs of life, and none while JavaScript hangs', async () => {
    const { socket, told } = await listener('path');
    const still = join(temporary(), 'still');
    writeFileSync(still, '');
    const relay = serve('native', socket, {
      ...HALF_A_SECOND,
      NODE_OPTIONS: `--import=${STANDING_STILL}`,
      STILL: still,
    });
    await told.printed(/(?:^WATCHDOG=1$[\s\S]*){3}/m);
    relay.signal('SIGWINCH');
    await relay.printed(/^stands still$/m);
    // What was sent before has arrived; then comes nothing, for as long as the manager waits.
    await delay(100);
    const before = told.stdout;
    await delay(500);
    expect(told.stdout).toBe(before);
    rmSync(still);
    await eventually(() => told.stdout.length > before.length, 'another sign of life');
  });

  it('the watchdog belongs to another process if WATCHDOG_PID says so', async () => {
    const { socket, told } = await listener('path');
    const relay = serve(PLANES.at(-1) as string, socket, { ...HALF_A_SECOND, WATCHDOG_PID: '1' });
    await told.printed(/^READY=1/m);
    relay.signal('SIGHUP');
    await told.printed(/^READY=1$/m);
    expect(told.stdout).not.toContain('WATCHDOG');
  });

  it.runIf(NOTIFY)(
    'a relay on the JavaScript plane turns the watchdog off, because it has no independent signs of life',
    async () => {
      const { socket, told } = await listener('path');
      serve('js', socket, HALF_A_SECOND);
      await told.printed(/^READY=1 STATUS=.* WATCHDOG_USEC=0$/m);
    },
  );
});
