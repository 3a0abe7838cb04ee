/** How the addon is found, and what is said where it cannot be. In copies of the package, by the command as it is built. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { VERSION } from '../../src/version.js';
import { Command, lines, temporary, withoutNative } from '../cli/commands.js';
import { keyOf, logIn, portOf } from '../cli/reach.js';
import { addonPath } from './addon.js';

const SERVE = ['serve', '--listen=127.0.0.1:0', '--http-port=-1', '--no-stun', '--cert-mode=off'];
const TARGET = addonPath().split('/').at(-2) as string;

/** A copy of the package. `addon` goes where a built addon is looked for. */
function packageWith(addon?: (place: string) => void, version: string = VERSION): { command: string; place: string } {
  const command = withoutNative('derpkit');
  const root = join(dirname(command), '..', '..');
  const place = join(root, 'npm', TARGET, `derpkit.${TARGET}.node`);
  const manifest = join(root, 'package.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"version": "${VERSION}"`, `"version": "${version}"`));
  mkdirSync(dirname(place), { recursive: true });
  addon?.(place);
  return { command, place };
}

function planeOf(command: string) {
  return new Command([process.execPath, command, 'version'], { env: { DERPKIT_PLANE: 'native' } }).end();
}

/** `native` refuses; `auto` goes on in JavaScript, and warns of the same. */
async function expectRefused(command: string, place: string, text: string, advice: string): Promise<void> {
  const { code, stderr } = await planeOf(command);
  expect(code).toBe(1);
  expect(lines(stderr)).toHaveLength(1);
  expect(stderr).toContain(`there is no native plane for ${TARGET} (`);
  expect(stderr).toContain(`${place}: ${text}`);
  expect(stderr).toContain(`@derpkit/native-${TARGET}: Cannot find module '@derpkit/native-${TARGET}'`);
  expect(stderr).toContain(advice);

  const relay = new Command([process.execPath, command, ...SERVE, '--data-dir', temporary()]);
  const [warning] = await relay.printed(/^.* warn: .*the native plane cannot be used.*$/m);
  expect(warning).toContain(`${place}: ${text}`);
  expect(warning).toContain(advice);
  const [port, key] = [await portOf(relay, 'DERP over plain HTTP'), await keyOf(relay)];
  expect(await (await logIn(port, key)).fence()).toEqual([]);
  expect(relay.stderr).toContain('plane=js');
}

/** What the system's loader says of a file. */
function wordsOfTheSystem(place: string): string {
  try {
    createRequire(import.meta.url)(place);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error(`${place} can be loaded`);
}

it('the addon of this clone is loaded, and named', async () => {
  const { command, place } = packageWith((at) => copyFileSync(addonPath(), at));
  const { code, stdout, stderr } = await planeOf(command);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain(`plane: native (${place})`);
});

it('without an addon, the error lists the platform and every place', async () => {
  const { command, place } = packageWith();
  await expectRefused(command, place, 'there is no such file', 'npm run build');
});

it.each([
  ['damaged', 'no library, whatever it is called'],
  ['for another processor', forAnotherProcessor()],
])('an addon that is %s is refused with the system’s reason', async (_name, bytes) => {
  const { command, place } = packageWith((at) => writeFileSync(at, bytes));
  await expectRefused(
    command,
    place,
    wordsOfTheSystem(place),
    `mended by a new installation of @derpkit/native-${TARGET}`,
  );
});

it('an addon that needs a newer C library is refused with the system’s reason', async () => {
  const { command, place } = packageWith((at) => writeFileSync(at, forNewerSystem()));
  const words = wordsOfTheSystem(place);
  expect(words).toContain("version `GLIBC_9.99' not found");
  await expectRefused(
    command,
    place,
    words,
    'the C library of this system is older than it needs (glibc 2.28, musl 1.2)',
  );
});

it('an addon of another program is refused', async () => {
  const { command, place } = packageWith((at) => copyFileSync(otherAddon(), at));
  await expectRefused(command, place, 'it is an addon, but none of derpkit', 'mended by a new installation');
});

it('an addon of another version is refused', async () => {
  const { command, place } = packageWith((at) => copyFileSync(addonPath(), at), '99.0.0');
  await expectRefused(
    command,
    place,
    `it is version ${VERSION}, not 99.0.0`,
    `install @derpkit/native-${TARGET}@99.0.0`,
  );
});

it('an addon of another version in a package is refused, and its file is named', async () => {
  const { command } = packageWith();
  // Beside what asks for it: the other modules are those of the clone.
  const modules = join(dirname(command), '..', 'node_modules', '@derpkit', `native-${TARGET}`);
  mkdirSync(modules, { recursive: true });
  const file = join(modules, `derpkit.${TARGET}.node`);
  copyFileSync(addonPath(), file);
  writeFileSync(join(modules, 'package.json'), JSON.stringify({ name: 'x', main: `derpkit.${TARGET}.node` }));
  const manifest = join(dirname(command), '..', '..', 'package.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"version": "${VERSION}"`, '"version": "99.0.0"'));
  const { code, stderr } = await planeOf(command);
  expect(code).toBe(1);
  expect(stderr).toContain(`${realpathSync(file)}: it is version ${VERSION}, not 99.0.0`);
  expect(stderr).toContain(`install @derpkit/native-${TARGET}@99.0.0`);
});

/** The addon, its processor in the head of the file another one. */
function forAnotherProcessor(): Buffer {
  const bytes = readFileSync(addonPath());
  bytes.writeUInt16LE(process.arch === 'x64' ? 183 : 62, 18);
  return bytes;
}

/** The addon, one version of glibc's symbols that it asks for one that glibc does not have. */
function forNewerSystem(): Buffer {
  const bytes = readFileSync(addonPath());
  const at = bytes.indexOf('GLIBC_2.28\0');
  expect(at).toBeGreaterThan(0);
  bytes.write('GLIBC_9.99', at, 'latin1');
  return bytes;
}

/** An addon that is none of ours: it registers nothing but an empty object. */
function otherAddon(): string {
  const file = join(temporary(), 'other.node');
  const source = 'void *napi_register_module_v1(void *env, void *exports) { (void)env; return exports; }\n';
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-o', file, '-xc', '-'], { input: source });
  if (status !== 0) throw new Error(`cc failed: ${stderr}`);
  return file;
}
