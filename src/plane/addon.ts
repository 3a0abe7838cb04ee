/** Finds and loads the addon for this platform. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DerpkitError } from '../errors.js';
import { VERSION } from '../version.js';
import { addonFile, packageOf, TARGETS, targetName } from './targets.js';

const require = createRequire(import.meta.url);

/** What is said of a file or package that is not there. */
const NOTHING = /no such file$|^Cannot find module/;
/** What glibc and musl say of a library that asks for more than they have. */
const OLD_SYSTEM = /version `\w+_[\d.]+' not found|undefined symbol: |Error relocating .*: symbol not found/;

/** What an addon of any version exports. */
interface Versioned {
  version(): string;
}

/** The addon's version differs from the package's. */
class VersionError extends Error {}

/**
 * Loads the addon for this platform: the one built in this clone if there is one, else the one of the platform's
 * package. Throws `ERR_NATIVE_UNAVAILABLE`. Its message names the platform, every place that was tried with the
 * system's error, and what to do; its cause has the original errors.
 */
export function findAddon<Binding extends Versioned>(): { readonly path: string; readonly binding: Binding } {
  const target = targetName();
  const built = fileURLToPath(new URL(`../../npm/${target}/${addonFile(target)}`, import.meta.url));
  const tried: { path: string; error: Error }[] = [];
  for (const path of [built, packageOf(target)]) {
    try {
      return { path, binding: loadAddon<Binding>(path) };
    } catch (error) {
      tried.push({ path: fileOf(path), error: error as Error });
    }
  }
  const causes = tried.map(({ path, error }) => `${path}: ${firstLine(error.message)}`).join('; ');
  const errors = tried.map(({ error }) => error);
  const message = `there is no native plane for ${target} (${causes}); ${advice(target, errors)}`;
  throw new DerpkitError('ERR_NATIVE_UNAVAILABLE', message, { cause: new AggregateError(errors) });
}

/** Loads one addon by path or package name. Throws if it cannot be loaded or has another version. */
export function loadAddon<Binding extends Versioned>(path: string): Binding {
  if (isAbsolute(path) && !existsSync(path)) throw new Error('there is no such file');
  const binding = require(path) as Partial<Binding>;
  if (typeof binding.version !== 'function') throw new Error('it is an addon, but none of derpkit');
  const version = binding.version();
  if (version !== VERSION) throw new VersionError(`it is version ${version}, not ${VERSION}`);
  return binding as Binding;
}

/** The file that a package's name stands for; the name itself where there is none. */
function fileOf(path: string): string {
  try {
    return require.resolve(path);
  } catch {
    return path;
  }
}

/** What the user can do if no addon loads. */
function advice(target: string, errors: readonly Error[]): string {
  if (!(TARGETS as readonly string[]).includes(target)) return 'only the JavaScript plane runs on this platform';
  const pack = packageOf(target);
  const found = errors.filter(({ message }) => !NOTHING.test(message));
  if (found.some((error) => error instanceof VersionError)) return `install ${pack}@${VERSION}, or build it anew`;
  if (found.some(({ message }) => OLD_SYSTEM.test(message))) {
    return 'the C library of this system is older than it needs (glibc 2.28, musl 1.2): npm run build in a clone builds one for it';
  }
  return found.length === 0
    ? `install ${pack}@${VERSION} (npm leaves it out with --omit=optional), or in a clone: npm run build, with Cargo there`
    : `a file that is damaged, or is for another platform, is mended by a new installation of ${pack}@${VERSION}`;
}

/**
 * The first line of an error message. The other lines of a missing module name the file that requires it, which is
 * always this one.
 */
function firstLine(text: string): string {
  return text.split('\nRequire stack:', 1)[0]?.replaceAll('\n', ' ') ?? '';
}
