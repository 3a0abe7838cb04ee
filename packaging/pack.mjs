/**
 * `npm run pack-all -- DIRECTORY`: the packages as a release publishes them, one tarball each: `derpkit`, and one for every
 * target whose addon lies in `npm/<target>/`. Only here are the exact `optionalDependencies` written: in the clone's own
 * `package.json` they would ask `npm ci` for packages that are not published yet. Debug information is kept beside the
 * tarballs, as `<file>.debug`.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fail, root, say } from './ensure.mjs';
import { ensureGenerator, places, targetName, tripleOf } from './native.mjs';

/** What the main package is made of, beside `package.json`. */
const PARTS = ['dist', 'README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md'];

const [out] = process.argv.slice(2);
if (out === undefined) fail('packing needs a directory for the tarballs: npm run pack-all -- DIRECTORY');
if (!existsSync(join(root, 'dist/.built'))) fail('there is nothing to pack yet: npm run build makes it');
mkdirSync(resolve(out), { recursive: true });

const stage = mkdtempSync(join(tmpdir(), 'derpkit-pack-'));
try {
  const targets = readdirSync(join(root, 'npm')).filter((target) => existsSync(places(target).addon));
  // The package of a target has the load generator, too.
  if (targets.includes(targetName()) && !existsSync(places().generator)) ensureGenerator();
  for (const part of PARTS) cpSync(join(root, part), join(stage, part), { recursive: true });
  for (const target of targets) stageTarget(target);
  writeManifest(targets);
  // napi-rs's own tool checks that each package is whole, and writes the optional dependencies.
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
  // What is not stripped is four times as large, and its users have no debugger.
  for (const file of [`derpkit.${target}.node`, 'derp-bench'].filter((name) => existsSync(join(to, name)))) {
    if (!target.startsWith('linux')) continue;
    const path = join(to, file);
    const objcopy = objcopyFor(target);
    run(objcopy, [
      '--only-keep-debug',
      path,
      join(resolve(out), `${file}${file.includes(target) ? '' : `.${target}`}.debug`),
    ]);
    run(objcopy, ['--strip-all', path]);
  }
}

/** GNU's tool knows its own architecture alone; that of LLVM, which comes with Rust or the system, knows all. */
function objcopyFor(target) {
  const own = target.split('-')[1] === process.arch;
  const candidates = [
    ...(own ? ['objcopy'] : []),
    `${tripleOf(target).split('-')[0]}-linux-gnu-objcopy`,
    'llvm-objcopy',
  ];
  const found = candidates.find((name) => spawnSync(name, ['--version']).status === 0);
  if (!found)
    throw new Error(`none of ${candidates.join(', ')} is installed, which would strip the addon for ${target}`);
  return found;
}

/** The main package's manifest, without what is for development alone. */
function writeManifest(targets) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  manifest.napi.targets = targets.map(tripleOf);
  for (const name of ['devDependencies', 'scripts']) delete manifest[name];
  writeFileSync(join(stage, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: stage, stdio: ['ignore', 2, 2] });
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')} failed${error ? `: ${error.message}` : ''}`);
}
