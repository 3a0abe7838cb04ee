/**
 * Builds base images from Debian packages and this machine's Node and npm, for machines that reach no image registry.
 * They contain what the published bases do, at equal paths. They are kept outside the clone.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, realpathSync } from 'node:fs';
import { copyFile, cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from '../cache.mjs';
import { makeOnce } from '../peers.mjs';

const run = promisify(execFile);

const SUITE = 'bookworm';
/** The packages of a distroless image, which has no shell and no package manager. */
const RUN = ['base-files', 'netbase', 'tzdata', 'libc6', 'libgcc-s1', 'libstdc++6'];
const INSTALL = [...RUN, 'dash', 'coreutils'];
const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

/** Why the image cannot be built and run here; `undefined` if it can. */
export function imageToolsMissing() {
  if (process.platform !== 'linux' || process.getuid() !== 0) return 'building and running images takes root on Linux';
  const missing = ['buildah', 'runc', 'mmdebstrap'].filter((tool) => spawnSync(tool, ['--version']).error);
  return missing.length > 0 ? `${missing.join(' and ')} of Debian are not installed` : undefined;
}

/** Builds the bases, or finds them built. */
export async function buildBases() {
  const missing = imageToolsMissing();
  if (missing) throw new Error(missing);
  const finished = place();
  if (!existsSync(finished)) {
    process.stderr.write('derpkit: building the bases of the image; this takes a minute, once\n');
    await makeOnce(finished, async (directory) => {
      await build(join(directory, 'run'), RUN);
      await build(join(directory, 'install'), INSTALL);
      await addNpm(join(directory, 'install'));
    });
  }
  return { install: join(finished, 'install'), run: join(finished, 'run') };
}

/** A Debian with systemd and the Node of this machine, built now or found built. */
export async function buildDebian() {
  const finished = `${place()}-systemd`;
  if (!existsSync(finished)) {
    process.stderr.write('derpkit: building a Debian with systemd; this takes a minute or two, once\n');
    await makeOnce(finished, async (directory) => {
      await run('mmdebstrap', [
        '--variant=minbase',
        '--include=systemd,dbus,libstdc++6',
        SUITE,
        join(directory, 'root'),
      ]);
      await copyFile(process.execPath, join(directory, 'root/usr/bin/node'));
    });
  }
  return join(finished, 'root');
}

async function build(root, packages) {
  await run('mmdebstrap', ['--variant=extract', `--include=${packages.join(',')}`, SUITE, root]);
  await mkdir(join(root, 'nodejs/bin'), { recursive: true });
  await copyFile(process.execPath, join(root, 'nodejs/bin/node'));
  await mkdir(join(root, dirname(CERTIFICATES)), { recursive: true });
  await copyFile(CERTIFICATES, join(root, CERTIFICATES));
  await writeFile(join(root, 'etc/passwd'), 'root:x:0:0::/root:/none\nnonroot:x:65532:65532::/home/nonroot:/none\n');
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nnonroot:x:65532:\n');
}

async function addNpm(root) {
  const npm = dirname(dirname(realpathSync(spawnSync('which', ['npm'], { encoding: 'utf8' }).stdout.trim())));
  await cp(npm, join(root, 'usr/lib/node_modules/npm'), { recursive: true });
  await mkdir(join(root, 'usr/local/bin'), { recursive: true });
  await symlink('/nodejs/bin/node', join(root, 'usr/local/bin/node'));
  await symlink('/usr/lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'));
}

/** The directory of the bases, named after their contents. */
function place() {
  const contents = JSON.stringify([SUITE, RUN, INSTALL, process.version, process.arch, 1]);
  return join(cacheDirectory(), 'image-bases', createHash('sha256').update(contents).digest('hex').slice(0, 16));
}
