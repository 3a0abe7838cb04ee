/** Finds the addon of this platform, and loads it. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DerpkitError } from '../errors.js';
import { VERSION } from '../version.js';

/** What every addon has, of whatever version. */
interface Versioned {
  version(): string;
}

/**
 * The addon for this platform: one that was built here, or else the package. Throws `ERR_NATIVE_UNAVAILABLE` with the
 * platform, every place looked at, and what the system said there; its cause has the errors as they were.
 */
export function findAddon<Binding extends Versioned>(): { readonly path: string; readonly binding: Binding } {
  const target = targetName();
  const built = fileURLToPath(new URL(`../../npm/${target}/derpkit.node`, import.meta.url));
  const tried: { path: string; error: Error }[] = [];
  for (const path of [built, `@derpkit/${target}`]) {
    try {
      return { path, binding: loadAddon<Binding>(path) };
    } catch (error) {
      tried.push({ path, error: error as Error });
    }
  }
  const causes = tried.map(({ path, error }) => `${path}: ${firstLine(error.message)}`);
  throw new DerpkitError('ERR_NATIVE_UNAVAILABLE', `there is no native plane for ${target} (${causes.join('; ')})`, {
    cause: new AggregateError(tried.map(({ error }) => error)),
  });
}

/** One addon, by its path or package. Throws if it cannot be loaded, or is of another version. */
export function loadAddon<Binding extends Versioned>(path: string): Binding {
  if (isAbsolute(path) && !existsSync(path)) throw new Error('there is no such file');
  const binding = createRequire(import.meta.url)(path) as Binding;
  const version = binding.version();
  if (version !== VERSION) throw new Error(`it is version ${version}, not ${VERSION}`);
  return binding;
}

/** Platform, architecture and, on Linux, the C library: the name of the package that has the addon. */
export function targetName(): string {
  const { platform, arch } = process;
  if (platform !== 'linux') return `${platform}-${arch}`;
  return `linux-${arch}-${hasGlibc() ? 'gnu' : 'musl'}`;
}

function hasGlibc(): boolean {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  const { excludeNetwork } = report;
  // The names of all hosts that are connected to would be looked up otherwise.
  report.excludeNetwork = true;
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } };
  report.excludeNetwork = excludeNetwork ?? false;
  return header.glibcVersionRuntime !== undefined;
}

/** Where a module is not found, the other lines say who has asked for it, which is always us. */
function firstLine(text: string): string {
  return text.split('\nRequire stack:', 1)[0]?.replaceAll('\n', ' ') ?? '';
}
