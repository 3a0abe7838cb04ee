/** The effects of signals on derper and on both of our planes; `deviations.ts` lists the differences. */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../src/bench/ports.js';
import { binPath, Command } from '../cli/commands.js';
import { get } from '../cli/reach.js';
import { eventually } from '../helpers/wait.js';
import { SIGNAL_DEVIATIONS } from './deviations.ts';
import { makeWorkspace, SERVER_NAME, type Workspace } from './scenarios.ts';

let workspace: Workspace;

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME);
});

afterAll(() => workspace?.remove());

async function started(side: 'derper' | 'js' | 'native'): Promise<{ readonly relay: Command; readonly port: number }> {
  const port = await freePort();
  const program = side === 'derper' ? [workspace.peers.derper] : [process.execPath, binPath('derper')];
  const own = ['-a', `127.0.0.1:${port}`, '-stun=false', '-c', join(workspace.directory, `${side}-signals.key`)];
  const env = side === 'derper' ? {} : { DERPKIT_PLANE: side };
  const relay = new Command([...program, ...own] as [string, ...string[]], { env });
  await eventually(() => answers(port), `${side} to answer`);
  return { relay, port };
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await get(port, '/derp/probe')).status === 200;
  } catch {
    return false;
  }
}

describe.each(SIGNAL_DEVIATIONS)('a relay that gets $signal', ({ signal, derper, derpkit }) => {
  it(`derper ${derper} after ${signal}`, async () => {
    const { relay, port } = await started('derper');
    if (derper === 'ends') {
      expect(await relay.stop(signal)).toMatchObject({ code: null, signal });
      return;
    }
    relay.signal(signal);
    expect(await answers(port)).toBe(true);
    expect((await relay.stop()).code).toBe(0);
  });

  it.each(['js', 'native'] as const)(
    `derpkit says what ${signal} does, and goes on, on the plane %s`,
    async (plane) => {
      const { relay, port } = await started(plane);
      relay.signal(signal);
      await relay.printed(derpkit);
      expect(await answers(port)).toBe(true);
      expect((await relay.stop()).code).toBe(0);
    },
  );
});

it.each(['derper', 'js', 'native'] as const)(
  '%s goes on after SIGUSR2, and ends by SIGTERM with status 0',
  async (side) => {
    const { relay, port } = await started(side);
    relay.signal('SIGUSR2');
    expect(await answers(port)).toBe(true);
    expect(await relay.stop()).toMatchObject({ code: 0, signal: null });
  },
);
