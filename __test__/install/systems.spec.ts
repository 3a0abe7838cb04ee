/**
 * The artefacts on other systems than this one: other processors, other C libraries, other Nodes. `npm run test:long` builds
 * and runs what can be run here. `DERPKIT_NODE`, a command such as `docker run … node`, names one system instead.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { otherSystems, type System, WITHOUT_AES } from '../../packaging/systems.mjs';
import { addonFile, TARGETS } from '../../src/plane/targets.js';
import { ROOT, temporary } from '../cli/commands.js';
import { BIN, PATIENCE, Project } from './project.js';
import { openRegistry, type Registry } from './registry.js';

const { DERPKIT_LONG, DERPKIT_NODE, DERPKIT_TARGET } = process.env;
/** For processors that are emulated, on a machine that does other work too. */
const LONGER = 2 * PATIENCE;

/** What the load generator reports. */
interface Load {
  readonly ok: boolean;
  readonly traffic: { readonly delivered_in_all: number; readonly lost_in_all: number };
  readonly cipher: string;
}

let registry: Registry;

/** The systems to run. Prints why a system is left out. */
function wanted(): readonly System[] {
  if (DERPKIT_NODE) {
    const words = DERPKIT_NODE.split(' ');
    return [{ name: DERPKIT_NODE, target: DERPKIT_TARGET ?? '', before: words.slice(0, -1), node: words.at(-1) ?? '' }];
  }
  if (!DERPKIT_LONG) return [];
  try {
    return otherSystems().filter(({ name, target }) => {
      if (!isBuilt(target)) console.log(`left out: ${name}: ${target} is not built; npm run build-target -- ${target}`);
      return isBuilt(target);
    });
  } catch (error) {
    console.log(`left out: other systems: ${(error as Error).message}`);
    return [];
  }
}

/** The options of npm for an installation on that target; none for one that has no package. */
function platform(target: string): string[] {
  const [os, cpu, libc] = target.split('-');
  if (!(TARGETS as readonly string[]).includes(target)) return [];
  return [`--os=${os}`, `--cpu=${cpu}`, ...(libc ? [`--libc=${libc === 'gnu' ? 'glibc' : 'musl'}`] : [])];
}

function isBuilt(target: string): boolean {
  return existsSync(join(ROOT, 'npm', target, addonFile(target)));
}

const systems = wanted();

describe.skipIf(systems.length === 0)('other systems', () => {
  beforeAll(async () => {
    registry = await openRegistry();
  }, 600_000);

  afterAll(() => registry?.close());

  describe.each(systems)('on $name', { timeout: LONGER }, ({ target, before, node }) => {
    const on = (program: string, ...args: string[]) => [...before, program, ...args] as [string, ...string[]];
    const plane = platform(target).length > 0 ? 'native' : 'js';

    it('the relay comes up on its plane, and relays over plain TCP and TLS', async () => {
      const project = new Project(registry);
      await project.run('npm', 'install', 'derpkit', ...platform(target));
      const bin = join(project.directory, BIN);
      const begin = performance.now();
      const relay = await project.relays(plane, ...on(node, bin));
      console.log(`${target}: from Enter to the end of a relayed packet: ${Math.round(performance.now() - begin)} ms`);
      expect(relay.stderr).toContain(`plane=${plane}`);
      await project.relaysOverTls(plane, on(node, bin));
    });

    it.runIf(plane === 'native')('the load generator loads the relay over TLS', async () => {
      const project = new Project(registry);
      await project.run('npm', 'install', 'derpkit', ...platform(target));
      const generator = join(project.directory, 'node_modules/@derpkit', `native-${target}`, 'derp-bench');
      await project.relaysOverTls(plane, on(node, join(project.directory, BIN)), async (port) => {
        const load = [
          'pairs',
          '--pairs=2',
          '--rate=500',
          '--seconds=2',
          '--tls',
          '--json',
          `--target=127.0.0.1:${port}`,
        ];
        const { stdout } = await project.run(...on(generator, ...load));
        const { ok, traffic, cipher } = JSON.parse(stdout) as Load;
        console.log(`${target}: the load generator: ${traffic.delivered_in_all} packets relayed, with ${cipher}`);
        expect({ ok, lost: traffic.lost_in_all }).toEqual({ ok: true, lost: 0 });
        expect(traffic.delivered_in_all).toBeGreaterThan(100);
      });
    });
  });
});

const withoutAes = systems.find(({ before }) => before.includes(WITHOUT_AES));

describe.runIf(withoutAes)('emulated processors', () => {
  it('the emulated processor has no AES instructions', () => {
    const program = join(temporary(), 'has-aes');
    writeFileSync(`${program}.c`, 'int main(void) { return __builtin_cpu_supports("aes") ? 1 : 0; }\n');
    expect(spawnSync('cc', ['-o', program, `${program}.c`]).status).toBe(0);
    const [qemu = '', ...options] = withoutAes?.before ?? [];
    expect(spawnSync(qemu, [...options, program]).status).toBe(0);
    // On a processor with AES instructions, the program says so.
    expect(spawnSync(qemu, ['-cpu', 'max', program]).status).toBe(1);
  });
});
