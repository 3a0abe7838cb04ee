/** Finds the addon of this platform, and loads it. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DerpkitError } from '../errors.js';
import { VERSION } from '../version.js';
import { addonFile, packageOf, TARGETS, targetName } from './targets.js';

/** What every addon has, of whatever version. */
interface Versioned {
  version(): string;
}

/** An addon of another version than the package. */
class VersionError extends Error {}

/**
 * The addon for this platform: one that was built in this clone, or else the one of the platform's package. Throws
 * `ERR_NATIVE_UNAVAILABLE` with the platform, every place looked at, what the system said there, and what to do; its cause
 * has the errors as they were.
 */
export function findAddon<Binding extends Versioned>(): { readonly path: string; readonly binding: Binding } {
  const target = targetName();
  const built = fileURLToPath(new URL(`../../npm/${target}/${addonFile(target)}`, import.meta.url));
  const tried: { path: string; error: Error }[] = [];
  for (const path of [built, packageOf(target)]) {
    try {
      return { path, binding: loadAddon<Binding>(path) };
    } catch (error) {
      tried.push({ path, error: error as Error });
    }
  }
  const causes = tried.map(({ path, error }) => `${path}: ${firstLine(error.message)}`).join('; ');
  const errors = tried.map(({ error }) => error);
  const message = `there is no native plane for ${target} (${causes}); ${advice(target, errors)}`;
  throw new DerpkitError('ERR_NATIVE_UNAVAILABLE', message, { cause: new AggregateError(errors) });
}

/** One addon, by its path or package. Throws if it cannot be loaded, or is of another version. */
export function loadAddon<Binding extends Versioned>(path: string): Binding {
  if (isAbsolute(path) && !existsSync(path)) throw new Error('there is no such file');
  const binding = createRequire(import.meta.url)(path) as Binding;
  const version = binding.version();
  if (version !== VERSION) throw new VersionError(`it is version ${version}, not ${VERSION}`);
  return binding;
}

/** What to do where no addon can be loaded. */
function advice(target: string, errors: readonly Error[]): string {
  if (!(TARGETS as readonly string[]).includes(target)) return 'this platform has the JavaScript plane alone';
  const pack = packageOf(target);
  if (errors.some((error) => error instanceof VersionError)) return `install ${pack}@${VERSION}, or build it anew`;
  const missing = errors.every(({ message }) => /no such file$|^Cannot find module/.test(message));
  return missing
    ? `install ${pack}@${VERSION} (npm leaves it out with --omit=optional), or in a clone: npm run build, with Cargo there`
    : `a damaged file is mended by a new installation of ${pack}@${VERSION}`;
}

/** Where a module is not found, the other lines say which file asks for it, which is always this one. */
function firstLine(text: string): string {
  return text.split('\nRequire stack:', 1)[0]?.replaceAll('\n', ' ') ?? '';
}
