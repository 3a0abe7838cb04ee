/** A registry of our own on loopback, with this package and its platform packages as a release publishes them. */

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageManagers } from '../../packaging/managers.mjs';
import { freePort } from '../../src/bench/ports.js';
import { Command, networkEnvironment, ROOT } from '../cli/commands.js';

export interface Registry {
  readonly url: string;
  /** A directory for projects, which goes with the registry. */
  readonly directory: string;
  close(): void;
}

/** Packs everything, starts the registry, and publishes what was packed. What is not ours it takes from where npm does. */
export async function openRegistry(): Promise<Registry> {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-registry-'));
  const packed = join(directory, 'packed');
  packAll(packed);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/`;
  const upstream = execFileSync('npm', ['config', 'get', 'registry'], { cwd: ROOT, encoding: 'utf8' }).trim();
  const config = {
    storage: join(directory, 'storage'),
    web: { enable: false },
    uplinks: { upstream: { url: upstream, timeout: '60s', maxage: '1h' } },
    packages: {
      '{derpkit,@derpkit/*}': { access: '$all', publish: '$anonymous' },
      '**': { access: '$all', proxy: 'upstream' },
    },
    log: { type: 'stdout', level: 'warn' },
  };
  writeFileSync(join(directory, 'verdaccio.json'), JSON.stringify(config));
  const command = [
    process.execPath,
    packageManagers().verdaccio,
    '--config',
    join(directory, 'verdaccio.json'),
  ] as const;
  const server = new Command([...command, '--listen', `127.0.0.1:${port}`], {
    env: { ...networkEnvironment(), HOME: directory },
    endsWithTest: false,
  });
  const close = () => {
    server.signal('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await answers(url);
    publish(packed, url);
  } catch (error) {
    close();
    throw error;
  }
  mkdirSync(join(directory, 'projects'));
  return { url, directory: join(directory, 'projects'), close };
}

/** Packs what a release publishes into a directory. */
export function packAll(directory: string): void {
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, 'packaging/pack.mjs'), directory], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`packing failed: ${stderr}`);
}

async function answers(url: string): Promise<void> {
  const end = performance.now() + 60_000;
  for (;;) {
    const response = await fetch(new URL('-/ping', url)).catch(() => undefined);
    if (response?.ok) return;
    if (performance.now() > end) throw new Error(`the registry at ${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** As a release does it, but for the provenance, which a hosted workflow alone can have. */
function publish(packed: string, url: string): void {
  // npm publishes nothing without a token, whatever the registry says.
  const token = `--${url.slice('http:'.length)}:_authToken=anybody`;
  const script = join(ROOT, 'packaging/publish.mjs');
  const args = [script, packed, '--registry', url, token];
  const { status, stderr, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`publishing failed: ${stderr}${stdout}`);
}
