/** Listeners that cannot be opened. */
import { closeSync, openSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { laneNamed } from '../../helpers/lanes.js';
import { PlaneHarness } from '../../helpers/plane-harness.js';

describe('a listener of a descriptor', () => {
  it.each([
    ['tcp', 'is no TCP socket that listens', 'EINVAL'],
    ['stun', 'is no UDP socket', 'ERR_INVALID_FD_TYPE'],
  ] as const)('a descriptor of a file is no listener of the kind %s', async (kind, text, code) => {
    const harness = await PlaneHarness.open(laneNamed('js'));
    const fd = openSync('/dev/null', 'r');
    onTestFinished(() => closeSync(fd));
    await expect(harness.plane.listen({ kind, derp: true, host: '', port: 0, fd })).rejects.toMatchObject({
      code: 'ERR_LISTEN',
      message: `cannot listen on descriptor ${fd} (${kind})`,
      cause: { message: text, cause: { code } },
    });
  });
});
