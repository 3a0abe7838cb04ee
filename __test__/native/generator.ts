import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './addon.js';

/** The load generator, built where the tests of the crates have it. */
export function generator(): string {
  const args = ['build', '--package', 'derp-bench', '--locked'];
  const { status, stderr } = spawnSync('cargo', args, { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`cargo ${args.join(' ')} failed: ${stderr}`);
  return join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug', 'derp-bench');
}
