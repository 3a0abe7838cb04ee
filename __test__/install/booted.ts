/** A real systemd as process 1 of a Debian, in namespaces and a control group of its own. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, ROOT } from '../cli/commands.js';
import { eventually } from '../helpers/wait.js';

const PATIENCE = 60_000;

export class Booted {
  private constructor(
    private readonly command: Command,
    private readonly directory: string,
    private readonly group: string,
    private readonly pid: number,
  ) {}

  /** `debian` stays as it is; the system sees the files of `host` in `/host`. */
  static async start(debian: string, host: string): Promise<Booted> {
    const directory = mkdtempSync(join(tmpdir(), 'derpkit-booted-'));
    const group = join(controlGroups(), `derpkit-${process.pid}`);
    mkdirSync(group);
    const unshare = 'unshare --cgroup --pid --mount --uts --ipc --net --fork --kill-child';
    const script = `echo $$ > "$1/cgroup.procs"; shift; exec ${unshare} "$@"`;
    const boot = join(ROOT, '__test__/install/programs/boot.sh');
    const command = new Command(['sh', '-c', script, 'sh', group, boot, debian, directory, host], {
      endsWithTest: false,
    });
    const children = `/proc/${command.pid}/task/${command.pid}/children`;
    const pid = await eventually(
      () => Number(readFileSync(children, 'utf8').trim()) || undefined,
      'process 1',
      PATIENCE,
    );
    const booted = new Booted(command, directory, group, pid);
    const isUp = () => /^(?:running|degraded)$/m.test(booted.run('systemctl', 'is-system-running').stdout);
    await eventually(isUp, () => `the system: ${command.stdout}${command.stderr}`, PATIENCE);
    return booted;
  }

  /** Runs a command in the system. */
  run(...command: readonly string[]): {
    readonly code: number | null;
    readonly stdout: string;
    readonly stderr: string;
  } {
    const inside = ['-t', `${this.pid}`, '-m', '-u', '-i', '-n', '-p', '-C', '-r', '-w'];
    const bare = ['env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin'];
    const { status, stdout, stderr } = spawnSync('nsenter', [...inside, ...bare, ...command], { encoding: 'utf8' });
    return { code: status, stdout, stderr };
  }

  /** A property of the relay's unit. */
  property(name: string): string {
    return this.run('systemctl', 'show', 'derpkit', '--property', name, '--value').stdout.trim();
  }

  async stop(): Promise<void> {
    process.kill(this.pid, 'SIGKILL');
    await this.command.end();
    await eventually(() => removeGroups(this.group), 'the control groups to be empty', PATIENCE);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Where the second version of control groups is. */
function controlGroups(): string {
  const found = ['/sys/fs/cgroup/unified', '/sys/fs/cgroup'].find((path) => existsSync(join(path, 'cgroup.procs')));
  if (!found) throw new Error('there are no control groups of version 2');
  return found;
}

function removeGroups(group: string): boolean {
  try {
    for (const name of readdirSync(group)) {
      const path = join(group, name);
      if (statSync(path).isDirectory()) removeGroups(path);
    }
    rmdirSync(group);
  } catch {
    // Its processes are still ending.
  }
  return !existsSync(group);
}
