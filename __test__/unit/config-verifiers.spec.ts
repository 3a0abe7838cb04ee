import { expect, it } from 'vitest';
import { parseSettings } from '../../src/config.js';
import type { ConfigError, Problem } from '../../src/errors.js';

function problemsOf(verifier: object): readonly Problem[] {
  try {
    parseSettings({ admission: { verifiers: [verifier] } } as never);
    return [];
  } catch (error) {
    return (error as ConfigError).problems;
  }
}

it.each([
  [{ key: '/k' }, '; there is no field key'],
  [{ key: '/k', keys: '/k' }, '; there is no field key'],
  [{}, ''],
  [{ keys: '/k', url: 'http://a' }, ''],
])('the verifier %j is refused in one line', (verifier, more) => {
  const message = `must be an object with one of tailscaled, url and keys${more}`;
  expect(problemsOf(verifier)).toEqual([{ path: 'admission.verifiers.0', message }]);
});
