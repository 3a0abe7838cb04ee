/**
 * `npm run deb -- DIRECTORY`: a package for Debian and its relatives, of this machine's architecture, made of what
 * `pack-all` packs. The native plane has to be built. It takes Debian's `dpkg-deb`, and Node from wherever apt has it.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fail, root, say } from './ensure.mjs';
import { targetName } from './native.mjs';

const ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' };
const SCRIPTS = ['postinst', 'prerm', 'postrm'];

const [out] = process.argv.slice(2);
if (out === undefined) fail('the Debian package needs a directory: npm run deb -- DIRECTORY');
const architecture = ARCHITECTURES[process.arch];
if (!targetName().endsWith('-gnu') || !architecture) fail(`there is no Debian package for ${targetName()}`);

const stage = mkdtempSync(join(tmpdir(), 'derpkit-deb-'));
try {
  const packed = join(stage, 'packed');
  run(process.execPath, [join(root, 'packaging/pack.mjs'), packed]);
  const tree = join(stage, 'tree');
  install(packed, join(tree, 'usr/lib/derpkit'));
  placeFiles(tree);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeControl(tree, version);
  mkdirSync(resolve(out), { recursive: true });
  const file = join(resolve(out), `derpkit_${version}_${architecture}.deb`);
  run('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', tree, file]);
  say(`made ${file}`);
} finally {
  rmSync(stage, { recursive: true, force: true });
}

/** The package, its platform package, and their dependencies, as npm lays them out. */
function install(packed, directory) {
  mkdirSync(directory, { recursive: true });
  const tarballs = readdirSync(packed).filter((name) => name.endsWith('.tgz'));
  const wanted = tarballs.filter((name) => /^derpkit-\d/.test(name) || name.includes(targetName()));
  if (wanted.length !== 2) fail('the native plane is not built: npm run build makes it, with Cargo there');
  const paths = wanted.map((name) => join(packed, name));
  run('npm', ['install', '--prefix', directory, '--ignore-scripts', '--no-audit', '--no-fund', '--no-save', ...paths]);
  // What npm notes of where it has the packages from is of this machine.
  for (const name of ['package.json', 'package-lock.json', 'node_modules/.package-lock.json', 'node_modules/.bin'])
    rmSync(join(directory, name), { recursive: true, force: true });
}

function placeFiles(tree) {
  const put = (from, to) => {
    mkdirSync(join(tree, to, '..'), { recursive: true });
    copyFileSync(join(root, from), join(tree, to));
    chmodSync(join(tree, to), 0o644);
  };
  for (const name of readdirSync(join(root, 'packaging/systemd'))) {
    const to = name.endsWith('.sysusers') ? 'usr/lib/sysusers.d/derpkit.conf' : `usr/lib/systemd/system/${name}`;
    put(`packaging/systemd/${name}`, to);
  }
  put('packaging/deb/derpkit.env', 'etc/derpkit/derpkit.env');
  put('LICENSE', 'usr/share/doc/derpkit/copyright');
  put('CHANGELOG.md', 'usr/share/doc/derpkit/changelog.md');
  mkdirSync(join(tree, 'usr/bin'));
  for (const name of ['derpkit', 'derper']) {
    symlinkSync(`../lib/derpkit/node_modules/derpkit/dist/cli/${name}.js`, join(tree, 'usr/bin', name));
  }
}

function writeControl(tree, version) {
  const directory = join(tree, 'DEBIAN');
  mkdirSync(directory);
  const size = Number.parseInt(spawnSync('du', ['-sk', join(tree, 'usr')], { encoding: 'utf8' }).stdout, 10);
  const control = {
    Package: 'derpkit',
    Version: version,
    Architecture: architecture,
    Maintainer: 'The derpkit project <derpkit@localhost>',
    'Installed-Size': size,
    Depends: 'nodejs (>= 20.17), libc6 (>= 2.28)',
    Recommends: 'systemd',
    Section: 'net',
    Priority: 'optional',
    Homepage: 'https://www.npmjs.com/package/derpkit',
    Description: 'DERP relay for Tailscale and headscale',
  };
  const lines = Object.entries(control).map(([name, value]) => `${name}: ${value}\n`);
  writeFileSync(join(directory, 'control'), lines.join(''));
  writeFileSync(join(directory, 'conffiles'), '/etc/derpkit/derpkit.env\n');
  for (const name of SCRIPTS) {
    cpSync(join(root, 'packaging/deb', name), join(directory, name));
    chmodSync(join(directory, name), 0o755);
  }
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: stage, stdio: ['ignore', 2, 2] });
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
}
