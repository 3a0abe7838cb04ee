/**
 * Builds nats-server, the engine of the directory. The first build takes minutes, so only `npm run test:long` builds it;
 * other runs use it if it is built. It lies beside the other peers.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from './cache.mjs';
import { makeOnce, whyNoGo } from './peers.mjs';

const run = promisify(execFile);

/** A server of the system is not enough: the tests need one version. */
const NATS = { module: 'github.com/nats-io/nats-server/v2', version: 'v2.15.3', toolchain: 'go1.27.3' };

/** The path of nats-server; `undefined` if it is not built. */
export function builtNats() {
  const program = join(place(), process.platform === 'win32' ? 'nats-server.exe' : 'nats-server');
  return existsSync(program) ? program : undefined;
}

/** Builds nats-server, unless it is built. Returns its path. */
export async function buildNats() {
  const missing = whyNoGo();
  if (missing) throw new Error(missing);
  if (!builtNats()) {
    process.stderr.write('derpkit: building nats-server; this takes three minutes, once\n');
    await makeOnce(place(), async (directory) => {
      const args = ['install', '-trimpath', '-ldflags=-s -w', `${NATS.module}@${NATS.version}`];
      const env = { ...process.env, GOBIN: directory, GOFLAGS: '-mod=mod', GOTOOLCHAIN: NATS.toolchain };
      await run('go', args, { cwd: directory, env, maxBuffer: 1 << 26 });
    });
  }
  return builtNats();
}

function place() {
  return join(cacheDirectory(), 'peers', `nats-${NATS.version}-${process.platform}-${process.arch}`);
}
