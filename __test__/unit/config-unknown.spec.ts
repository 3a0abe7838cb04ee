/** Settings that there are not, and the ones that were meant. */
import { expect, it } from 'vitest';
import { parseSettings } from '../../src/config.js';

it.each([
  ['nope', /^there is no such setting$/],
  ['http-port', /httpPort/],
  ['HTTP_PORT', /httpPort/],
  ['httpport', /httpPort/],
  ['hostnmae', /^there is no such setting; did you mean hostname\?$/],
  ['plnae', /^there is no such setting; did you mean plane\?$/],
  ['lsten', /^there is no such setting; did you mean listen\?$/],
  ['stunPorts', /^there is no such setting; did you mean stunPort\?$/],
  ['constructor', /^there is no such setting$/],
  ['__proto__', /^there is no such setting$/],
])('the unknown setting %s is refused', (name, message) => {
  const config = JSON.parse(`{${JSON.stringify(name)}: 1}`);
  const problems = [{ path: name, message: expect.stringMatching(message) }];
  expect(() => parseSettings(config)).toThrow(expect.objectContaining({ problems }));
});
