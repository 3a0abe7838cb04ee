/**
 * A build of the native plane in which bugs can be planted. It lies with Cargo's own files, under a name that no loader
 * looks for: nothing but a test that asks for it here can get it.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadAddon } from '../../src/plane/addon.js';
import type { Binding, BindingPlane, BindingPolicy } from '../../src/plane/binding.js';

/** Bugs that random traces have to find. */
export const FAULTS = ['reorder', 'misroute', 'lost-peer-gone', 'stale-route'] as const;
export type Fault = (typeof FAULTS)[number];

/** What the system may refuse: a descriptor, to watch a socket. */
export type SystemFault = 'accept' | 'register' | 'pair' | 'duplicate';

/** What the build with faults has, and no other. */
export interface FaultyPlane extends BindingPlane {
  plant(fault: Fault | SystemFault | 'panic' | 'hang' | null): void;
  numberCounters(): void;
  isCounters(view: ArrayBuffer): boolean;
  /** The policy as the plane has it. */
  policyInForce(): BindingPolicy;
  /** The policy of a relay without settings, as the crates know it. */
  defaultPolicy(): BindingPolicy;
  /** The words of every enum that crosses, by the name of its type. */
  words(): Readonly<Record<string, readonly string[]>>;
}

let loaded: Binding | undefined;

/** Builds it, which takes a minute the first time, and loads it. */
export function faultyAddon(): Binding {
  if (loaded) return loaded;
  const path = faultyAddonPath();
  try {
    loaded = loadAddon<Binding>(path);
  } finally {
    // What is loaded needs no name any more, and nobody would take it away later: a killed process has no last word.
    rmSync(path, { force: true });
  }
  return loaded;
}

/** Where a copy of it is: the caller's to take away. */
export function faultyAddonPath(): string {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const args = ['build', '--locked', '--package', 'derp-node', '--features', 'fault-injection'];
  const { status, stdout, stderr } = spawnSync('cargo', [...args, '--message-format', 'json-render-diagnostics'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`the build with faults failed: ${stderr}`);
  const messages = stdout.split('\n').filter((line) => line.startsWith('{"reason":"compiler-artifact"'));
  const artifacts = messages.map((line) => JSON.parse(line) as { target: { name: string }; filenames: string[] });
  const library = artifacts.find(({ target }) => target.name === 'derp_node')?.filenames[0];
  if (!library) throw new Error('the build with faults has made no library');
  const addon = join(dirname(library), `derpkit-with-faults-${process.pid}.node`);
  copyFileSync(library, addon);
  return addon;
}
