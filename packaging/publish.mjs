/**
 * `node packaging/publish.mjs DIRECTORY [option of npm publish…]`: publishes the packages of `npm run pack-all`. The
 * platform packages come first, so that `derpkit` never appears without its native plane. Packages that the registry
 * already has in this version are skipped, so that an interrupted run can be repeated.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { fail, say } from './ensure.mjs';

const [directory, ...options] = process.argv.slice(2);
if (directory === undefined) fail('publishing needs the directory with the tarballs');
const tarballs = readdirSync(directory).filter((name) => name.endsWith('.tgz'));
const isMain = (name) => !name.startsWith('derpkit-native-');
const [main, ...others] = tarballs.filter(isMain);
if (main === undefined || others.length > 0) fail(`${directory} must have one tarball of derpkit`);

for (const name of [...tarballs.filter((name) => !isMain(name)).sort(), main]) {
  const { publish, id } = manifestOf(resolve(directory, name));
  if (publish === false) {
    say(`${id} is published already`);
    continue;
  }
  const args = ['publish', resolve(directory, name), '--access', 'public', '--ignore-scripts', '--silent', ...options];
  const { status } = spawnSync('npm', args, { stdio: ['ignore', 2, 2] });
  if (status !== 0) fail(`${id} could not be published`);
  say(`published ${id}`);
}

function manifestOf(tarball) {
  const text = spawnSync('tar', ['-xOzf', tarball, 'package/package.json'], { encoding: 'utf8' }).stdout;
  const { name, version } = JSON.parse(text);
  const id = `${name}@${version}`;
  const registry = options.filter(
    (_option, index) => options[index] === '--registry' || options[index - 1] === '--registry',
  );
  const { status, stdout } = spawnSync('npm', ['view', id, 'version', ...registry], { encoding: 'utf8' });
  return { id, publish: !(status === 0 && stdout.trim() === version) };
}
