/**
 * `npm run pack-all -- DIRECTORY`: the packages as a release publishes them, one tarball each: `derpkit`, and one for every
 * target whose addon lies in `npm/<target>/`. Only here are the exact `optionalDependencies` written: in the clone's own
 * `package.json` they would ask `npm ci` for packages that are not published yet. Debug information is kept beside the
 * tarballs, as `<file>.debug`.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fail, root, say } from './ensure.mjs';
import { ensureGenerator, places, targetName, tripleOf } from './native.mjs';

/** The contents of the main package beside `package.json`. */
const PARTS = ['dist', 'docs', 'README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md'];

const [out] = process.argv.slice(2);
if (out === undefined) fail('packing needs a directory for the tarballs: npm run pack-all -- DIRECTORY');
if (!existsSync(join(root, 'dist/.built'))) fail('there is nothing to pack yet: npm run build makes it');
mkdirSync(resolve(out), { recursive: true });

const stage = mkdtempSync(join(tmpdir(), 'derpkit-pack-'));
try {
  const targets = readdirSync(join(root, 'npm')).filter((target) => existsSync(places(target).addon));
  // A target's package also contains the load generator.
  if (targets.includes(targetName()) && !existsSync(places().generator)) ensureGenerator();
  for (const part of PARTS) cpSync(join(root, part), join(stage, part), { recursive: true });
  for (const target of targets) stageTarget(target);
  writeManifest(targets);
  // napi-rs's tool checks that each package is complete, and writes the optional dependencies.
  const napi = join(root, 'node_modules/@napi-rs/cli/dist/cli.js');
  run(process.execPath, [napi, 'pre-publish', '--tag-style', 'npm', '--no-gh-release', '--skip-optional-publish']);
  for (const directory of [...targets.map((target) => join('npm', target)), '.']) {
    run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', resolve(out), `./${directory}`]);
  }
  say(`packed derpkit and ${targets.length} platform packages into ${out}: ${targets.join(', ')}`);
} finally {
  rmSync(stage, { recursive: true, force: true });
}

function stageTarget(target) {
  const to = join(stage, 'npm', target);
  cpSync(places(target).directory, to, { recursive: true, filter: (path) => !path.endsWith('index.d.ts') });
  cpSync(join(root, 'LICENSE'), join(to, 'LICENSE'));
  write(to, JSON.parse(readFileSync(join(to, 'package.json'), 'utf8')));
  // Artifacts of a workflow lose the executable bit on their way between jobs.
  if (existsSync(join(to, 'derp-bench'))) chmodSync(join(to, 'derp-bench'), 0o755);
  // Symbols make the addon four times as large, and users need none.
  if (!target.startsWith('linux')) return;
  const objcopy = objcopyFor(target);
  for (const file of [`derpkit.${target}.node`, 'derp-bench'].filter((name) => existsSync(join(to, name)))) {
    const path = join(to, file);
    const aside = join(resolve(out), `${file}${file.includes(target) ? '' : `.${target}`}.debug`);
    run(objcopy.command, ['--only-keep-debug', path, aside], objcopy.env);
    run(objcopy.command, ['--strip-all', path], objcopy.env);
  }
}

/** Rust brings LLVM's objcopy, which supports every architecture; GNU's supports only its own. */
function objcopyFor(target) {
  const sysroot = spawnSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' }).stdout?.trim() ?? '';
  const host = /^host: (.*)$/m.exec(spawnSync('rustc', ['-vV'], { encoding: 'utf8' }).stdout ?? '')?.[1] ?? '';
  const libraries = { ...process.env, LD_LIBRARY_PATH: join(sysroot, 'lib') };
  const candidates = [
    { command: join(sysroot, 'lib/rustlib', host, 'bin/rust-objcopy'), env: libraries },
    { command: 'llvm-objcopy' },
    ...(target.split('-')[1] === process.arch ? [{ command: 'objcopy' }] : []),
  ];
  const found = candidates.find(({ command, env }) => spawnSync(command, ['--version'], { env }).status === 0);
  if (found) return found;
  const names = candidates.map(({ command }) => command).join(', ');
  throw new Error(`none of ${names} can be run, which would strip the addon for ${target}`);
}

/** The main package's manifest, without the fields for development. */
function writeManifest(targets) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  manifest.napi.targets = targets.map(tripleOf);
  for (const name of ['devDependencies', 'scripts']) delete manifest[name];
  write(stage, manifest);
}

/** Provenance requires the repository that built the package; npm compares the two. */
function write(directory, manifest) {
  const { GITHUB_SERVER_URL, GITHUB_REPOSITORY } = process.env;
  const repository = GITHUB_REPOSITORY && { type: 'git', url: `git+${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}.git` };
  const text = JSON.stringify({ ...manifest, ...(repository && { repository }) }, null, 2);
  writeFileSync(join(directory, 'package.json'), `${text}\n`);
}

function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, { cwd: stage, stdio: ['ignore', 2, 2], env });
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
}
