/** What becomes of a relay whose plane cannot serve what the settings say. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { PlaneRefusal } from '../../src/errors.js';
import { type SelectedPlane, selectPlane } from '../../src/plane/select.js';
import { composeRelay } from '../../src/relay.js';
import { ask } from '../helpers/http.js';
import { nothingIsLeft } from '../helpers/leaks.js';

nothingIsLeft();

const settings = parseSettings({
  listen: '127.0.0.1:0',
  certMode: 'off',
  stun: false,
  logLevel: 'silent',
  privateKey: `privkey:${'1'.repeat(64)}`,
});

/** As the addon says it where the system has no more threads. */
const withoutThreads: SelectedPlane = {
  kind: 'native',
  reason: 'it was selected',
  create: () => {
    throw Object.assign(new Error('Resource temporarily unavailable (os error 11)'), {
      errno: -11,
      code: 'ERR_INTERNAL',
    });
  },
};

describe('a plane that gets too few threads', () => {
  it('a plane without threads reports the setting, the reason and what to do', async () => {
    const relay = composeRelay(settings, withoutThreads);
    const error = await relay.start().catch((reason: Error) => reason);
    expect(error).toBeInstanceOf(PlaneRefusal);
    expect((error as PlaneRefusal).problems).toEqual([
      {
        path: 'workers',
        message: expect.stringMatching(
          /^the native plane cannot start its threads: resource temporarily unavailable; .*ulimit -u.* use plane js/,
        ),
      },
    ]);
  });

  it.each([
    [-24, 'workers', /^the native plane has too few file descriptors: too many open files; .*ulimit -n/],
    [-12, 'plane', /^the plane cannot be made: not enough memory; /],
    [undefined, 'plane', /^the plane cannot be made: a private key has 32 bytes; /],
  ])('a plane that fails with the error %s of the system says what has failed', async (errno, path, message) => {
    const create = () => {
      throw Object.assign(new Error('a private key has 32 bytes'), { errno });
    };
    const error = await composeRelay(settings, { ...withoutThreads, create })
      .start()
      .catch((reason: Error) => reason);
    expect((error as PlaneRefusal).problems).toEqual([{ path, message: expect.stringMatching(message) }]);
  });

  it('a plane without threads gives way to the other one under auto', async () => {
    const relay = composeRelay(settings, { ...withoutThreads, instead: selectPlane('js') });
    onTestFinished(() => relay.close());
    await relay.start();
    expect(relay.plane).toMatchObject({ kind: 'js', fallback: true, reason: expect.stringContaining('threads') });
    const { address, port } = relay.address?.derp ?? { address: '', port: 0 };
    expect((await ask({ host: address, port }, '/derp/probe')).status).toBe(200);
  });
});
