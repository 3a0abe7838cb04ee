/** Finds the load generator. It is a separate program, so that measuring does not slow down what is measured. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { packageOf, targetName } from '../plane/targets.js';

/** The path of the generator, which lies beside the addon of this platform; undefined if it is missing. */
export function findGenerator(): string | undefined {
  const name = process.platform === 'win32' ? 'derp-bench.exe' : 'derp-bench';
  const built = fileURLToPath(new URL(`../../npm/${targetName()}/${name}`, import.meta.url));
  if (existsSync(built)) return built;
  try {
    const installed = fileURLToPath(import.meta.resolve(`${packageOf(targetName())}/${name}`));
    return existsSync(installed) ? installed : undefined;
  } catch {
    return undefined;
  }
}

export const NO_GENERATOR =
  'the load generator is missing: a package without prebuilt binaries does not contain this Rust program. ' +
  'In a clone of the sources with Cargo, `npm run bench` builds it; --generator names one that was built elsewhere';
