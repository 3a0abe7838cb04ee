/** The class of this machine and the versions of the tools, without anything that identifies it. */
import { spawnSync } from 'node:child_process';
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { VERSION } from '../version.js';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
  readonly openssl: string;
  readonly go?: string;
  readonly rustc?: string;
  readonly derpkit: string;
  /** The commit of the clone, with `+` behind it if files were changed. */
  readonly commit?: string;
}

/** `clone` is the directory of the sources, if there is one. */
export function machine(clone: string | undefined): Machine {
  const all = cpus();
  const go = clone && say('go', ['env', 'GOVERSION']);
  const rustc = clone && say('rustc', ['--version'])?.split(' ')[1];
  const commit = clone && commitOf(clone);
  return {
    cpu: all[0]?.model ?? 'unknown',
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${platform()} ${release()} ${arch()}`,
    node: process.versions.node,
    openssl: process.versions.openssl,
    ...(go && { go }),
    ...(rustc && { rustc }),
    derpkit: VERSION,
    ...(commit && { commit }),
  };
}

function commitOf(clone: string): string | undefined {
  const commit = say('git', ['-C', clone, 'rev-parse', '--short=12', 'HEAD']);
  const changed = say('git', ['-C', clone, 'status', '--porcelain', '--untracked-files=no']);
  return commit && (changed ? `${commit}+` : commit);
}

/** The output of a program; undefined if it cannot be run or prints nothing. */
export function say(program: string, args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8', timeout: 20_000 });
  return status === 0 ? stdout.trim() || undefined : undefined;
}
