import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadRateConfig, parseRateConfig } from '../../../src/control/rate-config.js';
import { MAX_BODY_LENGTH } from '../../../src/protocol/wire.js';
import { temporaryDirectory } from '../temp.js';

const directory = temporaryDirectory();
const rate = (bytesPerSecond: unknown, burst?: unknown) =>
  JSON.stringify({ PerClientRateLimitBytesPerSec: bytesPerSecond, PerClientRateBurstBytes: burst });

describe('a rate file', () => {
  it('a rate file has a rate and a burst', async () => {
    const path = join(directory, 'rate.json');
    writeFileSync(path, rate(1000, MAX_BODY_LENGTH + 1));
    expect(await loadRateConfig(path)).toEqual({ bytesPerSecond: 1000, burst: MAX_BODY_LENGTH + 1 });
  });

  it('a missing rate file is an error', async () => {
    await expect(loadRateConfig(join(directory, 'none'))).rejects.toThrow(/ENOENT/);
  });

  it('a burst below the largest frame is raised to that frame', () => {
    expect(parseRateConfig(rate(1000, 5))).toEqual({ bytesPerSecond: 1000, burst: MAX_BODY_LENGTH });
    expect(parseRateConfig(rate(1000))).toEqual({ bytesPerSecond: 1000, burst: MAX_BODY_LENGTH });
  });

  it.each(['null', '{}', '{"other":1}', rate(0, 70_000), rate(null, null), ' \n{}'])(
    'a rate file may limit nothing: %s',
    (text) => {
      expect(parseRateConfig(text)).toEqual({ bytesPerSecond: 0, burst: 0 });
    },
  );

  it('a rate file is read as in Go: names in any case, and the last of several counts', () => {
    expect(parseRateConfig('{"perclientRATElimitbytespersec":7}').bytesPerSecond).toBe(7);
    const twice = '{"PerClientRateLimitBytesPerSec":7,"perClientRateLimitBytesPerSec":8}';
    expect(parseRateConfig(twice).bytesPerSecond).toBe(8);
    const thrice = `${twice.slice(0, -1)},"PERCLIENTRATELIMITBYTESPERSEC":9}`;
    expect(parseRateConfig(thrice).bytesPerSecond).toBe(9);
  });

  it.each(['', '{', 'rate: 1'])('a rate file that is not JSON is refused: %j', (text) => {
    expect(() => parseRateConfig(text)).toThrow('it is not JSON');
  });

  it.each(['1', '"x"', '[]', 'true'])('a rate file that is not an object is refused: %s', (text) => {
    expect(() => parseRateConfig(text)).toThrow('it is not a JSON object');
  });

  it.each(['-1', '1.5', '"1"', 'true', '{}', '18446744073709551616'])(
    'a rate file with %s for bytes is refused by name',
    (value) => {
      const expected = 'has to be a number of bytes, 0 or more';
      expect(() => parseRateConfig(`{"PerClientRateLimitBytesPerSec":${value}}`)).toThrow(
        `PerClientRateLimitBytesPerSec ${expected}`,
      );
      expect(() => parseRateConfig(`{"PerClientRateBurstBytes":${value}}`)).toThrow(
        `PerClientRateBurstBytes ${expected}`,
      );
    },
  );
});
