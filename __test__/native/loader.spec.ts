/** How the addon is found, and what is said where it cannot be. In copies of the package, by the command as it is built. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { VERSION } from '../../src/version.js';
import { Command, lines, withoutNative } from '../cli/commands.js';
import { addonPath } from './addon.js';

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

async function expectRefused(command: string, place: string, text: string, advice: string): Promise<void> {
  const { code, stderr } = await planeOf(command);
  expect(code).toBe(1);
  expect(lines(stderr)).toHaveLength(1);
  expect(stderr).toContain(`there is no native plane for ${TARGET} (`);
  expect(stderr).toContain(`${place}: ${text}`);
  expect(stderr).toContain(`@derpkit/native-${TARGET}: Cannot find module '@derpkit/native-${TARGET}'`);
  expect(stderr).toContain(advice);
}

it('an addon that was built here is taken, and named', async () => {
  const { command, place } = packageWith((at) => copyFileSync(addonPath(), at));
  const { code, stdout, stderr } = await planeOf(command);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain(`plane: native (${place})`);
});

it('without one, the error has the platform and every place', async () => {
  const { command, place } = packageWith();
  await expectRefused(command, place, 'there is no such file', 'npm run build');
});

it('one that the system does not load is refused in the words of the system', async () => {
  const { command, place } = packageWith((at) => writeFileSync(at, 'no library, whatever it is called'));
  let text = '';
  try {
    createRequire(import.meta.url)(place);
  } catch (error) {
    text = (error as Error).message;
  }
  expect(text).not.toBe('');
  await expectRefused(command, place, text, 'a damaged file is mended by a new installation');
});

it('one of another version is none', async () => {
  const { command, place } = packageWith((at) => copyFileSync(addonPath(), at), '99.0.0');
  await expectRefused(
    command,
    place,
    `it is version ${VERSION}, not 99.0.0`,
    `install @derpkit/native-${TARGET}@99.0.0`,
  );
});
