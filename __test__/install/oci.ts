/** Builds the image with buildah, and runs it with runc, without any daemon. */
import { execFile, spawnSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import type { Bases } from '../../packaging/image/bases.mjs';
import { Command, ROOT } from '../cli/commands.js';

const run = promisify(execFile);
const INSTALL_BASE = 'localhost/derpkit-install-base';
const RUN_BASE = 'localhost/derpkit-run-base';
const IMAGE = 'localhost/derpkit';

/** What a container platform reads of an image. */
export interface ImageConfig {
  readonly Cmd: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Env: readonly string[];
  readonly ExposedPorts: Readonly<Record<string, object>>;
  readonly Healthcheck: { readonly Test: readonly string[] };
  readonly Labels: Readonly<Record<string, string>>;
  readonly StopSignal: string;
  readonly User: string;
  readonly Volumes: Readonly<Record<string, object>>;
}

/** An image, and a file system made of it. */
export class Image {
  private constructor(
    readonly directory: string,
    readonly config: ImageConfig,
    readonly root: string,
    private readonly buildah: readonly string[],
  ) {}

  /** Builds the published Dockerfile, of a package in a registry. */
  static async build(bases: Bases, args: Readonly<Record<string, string>>): Promise<Image> {
    const directory = mkdtempSync(join(tmpdir(), 'derpkit-image-'));
    const stores = ['--root', join(directory, 'store'), '--runroot', join(directory, 'runtime')];
    const buildah = ['--storage-driver', 'vfs', ...stores];
    const call = async (...rest: readonly string[]) =>
      (await run('buildah', [...buildah, ...rest], { maxBuffer: 1 << 26 })).stdout.trim();
    try {
      for (const [name, base] of [
        [INSTALL_BASE, bases.install],
        [RUN_BASE, bases.run],
      ] as const) {
        const container = await call('from', 'scratch');
        await call('add', '--quiet', container, base, '/');
        await call('commit', '--quiet', '--format=docker', '--rm', container, name);
      }
      const given = { INSTALL_BASE, RUN_BASE, ...args };
      const flags = Object.entries(given).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
      // Format oci has no HEALTHCHECK.
      const how = ['--pull-never', '--isolation=chroot', '--format=docker', '--tag', IMAGE];
      await call('build', ...how, ...flags, join(ROOT, 'packaging/image'));
      const { Docker } = JSON.parse(await call('inspect', '--type=image', IMAGE)) as {
        Docker: { config: ImageConfig };
      };
      const container = await call('from', '--pull-never', IMAGE);
      return new Image(directory, Docker.config, await call('mount', container), buildah);
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** Bytes of files below a path of the image. */
  size(path = '/'): number {
    return Number.parseInt(spawnSync('du', ['-sb', join(this.root, path)], { encoding: 'utf8' }).stdout, 10);
  }

  has(path: string): boolean {
    return existsSync(join(this.root, path));
  }

  remove(): void {
    spawnSync('buildah', [...this.buildah, 'umount', '--all']);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface ContainerOptions {
  /** Beside those of the image. */
  readonly env: Readonly<Record<string, string>>;
  /** In place of the image's own. */
  readonly cmd?: readonly string[];
  /** Directories of this machine, by where the container has them, to be read. */
  readonly mounts?: Readonly<Record<string, string>>;
}

/** A container as a careful operator runs it: read-only, without capabilities; with the network of this machine. */
export class Container {
  private static count = 0;
  readonly relay: Command;
  readonly started = performance.now();
  private readonly name: string;
  private readonly runc: readonly [string, ...string[]];

  constructor(
    private readonly image: Image,
    { env, cmd, mounts = {} }: ContainerOptions,
  ) {
    const { config, directory, root } = image;
    this.name = `derpkit-${process.pid}-${Container.count++}`;
    const bundle = join(directory, this.name);
    const data = join(bundle, 'data');
    mkdirSync(data, { recursive: true });
    const [uid = 0, gid = 0] = config.User.split(':').map(Number);
    // As a volume that is made of the image's directory.
    chownSync(data, uid, gid);
    spawnSync('runc', ['spec'], { cwd: bundle });
    const path = join(bundle, 'config.json');
    const spec = JSON.parse(readFileSync(path, 'utf8'));
    const none = { bounding: [], effective: [], permitted: [], ambient: [] };
    spec.root = { path: root, readonly: true };
    spec.process = {
      ...{ terminal: false, user: { uid, gid }, cwd: '/', noNewPrivileges: true, capabilities: none },
      args: [...config.Entrypoint, ...(cmd ?? config.Cmd)],
      env: [...config.Env, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)],
    };
    spec.mounts = spec.mounts.filter(({ type }: { type: string }) => type !== 'cgroup');
    const bind = (destination: string, source: string, option: string) =>
      spec.mounts.push({ destination, source, type: 'bind', options: ['bind', option] });
    bind('/data', data, 'rw');
    for (const [destination, source] of Object.entries(mounts)) bind(destination, source, 'ro');
    spec.linux = {
      maskedPaths: spec.linux.maskedPaths,
      readonlyPaths: spec.linux.readonlyPaths,
      namespaces: ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
    };
    writeFileSync(path, JSON.stringify(spec));
    this.runc = ['runc', '--root', join(directory, 'runc')];
    this.relay = new Command([...this.runc, 'run', '--bundle', bundle, this.name]);
    // A container outlives the program that has started it. One that has ended is gone already.
    onTestFinished(() => void spawnSync('runc', [...this.runc.slice(1), 'delete', '--force', this.name]));
  }

  /** Runs the image's health check in the container. */
  async health(): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
    const [kind, ...command] = this.image.config.Healthcheck.Test;
    if (kind !== 'CMD') throw new Error(`the health check needs a shell: ${kind}`);
    return new Command([...this.runc, 'exec', this.name, ...command]).end();
  }

  /** Sends a signal to process 1 of the container. */
  kill(signal: string): void {
    const { status, stderr } = spawnSync('runc', [...this.runc.slice(1), 'kill', this.name, signal], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`runc kill: ${stderr}`);
  }
}
