/** What clients that have nothing to say cost the whole process, from outside, over TLS. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Command, temporary } from '../cli/commands.js';
import { ROOT } from './addon.js';
import { generator } from './generator.js';

/**
 * Bytes of the process for each client, when it has come, after traffic, and after others have come and gone; what the
 * process has once is in it. Ciphers that are kept would be 1,200 more.
 */
const MOST = { settled: 2560, touched: 2560, stormed: 3072 };
const LONG = process.env.DERPKIT_LONG !== undefined;
const [CLIENTS, STORM] = LONG ? [8000, 20_000] : [3000, 1500];

it.runIf(process.platform === 'linux')(
  'an idle client costs less than 3 KB when new, after traffic, and after other clients came and left',
  { timeout: LONG ? 600_000 : 120_000 },
  async () => {
    const bench = generator();
    const program = join(ROOT, '__test__', 'native', 'programs', 'weighed.mjs');
    const relay = new Command([process.execPath, '--expose-gc', program, temporary()]);
    const port = (await relay.printed(/^port (\d+)$/m))[1];
    const weigh = async (...plan: (string | number)[]) => {
      const target = ['--target', `127.0.0.1:${port}`, '--tls', '--pid', `${relay.pid}`];
      const patience = LONG ? 540_000 : 110_000;
      const weighed = new Command([bench, 'idle', ...plan.map(String), ...target, '--json'], { patience });
      const { code, stdout, stderr } = await weighed.end();
      expect(code, stderr).toBe(0);
      return JSON.parse(stdout).clients;
    };
    // Some first: what a young process has beside its clients, it lets go of in its first seconds, and gives back after
    // enough of them.
    await weigh('--clients', 50, '--primer', 10, '--settle', 4, '--storm', 1500);
    // Long enough between the looks that what is dropped after a second or two of silence has been, and given back.
    const clients = await weigh('--clients', CLIENTS, '--primer', 300, '--settle', 7, '--touch', 3, '--storm', STORM);
    console.log(JSON.stringify(clients));
    expect(clients.count).toBe(CLIENTS);
    for (const [look, most] of Object.entries(MOST)) expect(clients[`bytes_each_${look}`], look).toBeLessThan(most);
  },
);
