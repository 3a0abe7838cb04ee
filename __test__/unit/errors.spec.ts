import { describe, expect, it } from 'vitest';
import { ConfigError, DerpkitError, ERROR_CODES, ListenError } from '../../src/errors.js';

describe('errors', () => {
  it('each error code has one form, and a sentence', () => {
    expect(Object.keys(ERROR_CODES).sort()).toEqual([
      'ERR_CONFIG',
      'ERR_INTERNAL',
      'ERR_LISTEN',
      'ERR_NATIVE_UNAVAILABLE',
      'ERR_STATE',
    ]);
    for (const [code, text] of Object.entries(ERROR_CODES)) {
      expect(code).toMatch(/^ERR(?:_[A-Z]+)+$/);
      expect(text).toMatch(/^[A-Z].*\.$/);
    }
  });

  it('an error has a code, a name and a cause', () => {
    const cause = new Error('cause');
    const error = new DerpkitError('ERR_STATE', 'text', { cause });
    expect(error).toMatchObject({ code: 'ERR_STATE', message: 'text', name: 'DerpkitError', cause });
    expect(error).toBeInstanceOf(Error);
  });

  it('an error of settings lists every problem', () => {
    const problems = [
      { path: 'a', message: 'one' },
      { path: 'b.c', message: 'two' },
    ];
    const error = new ConfigError(problems);
    expect(error).toBeInstanceOf(DerpkitError);
    expect(error).toMatchObject({ code: 'ERR_CONFIG', name: 'ConfigError', problems, message: 'a: one\nb.c: two' });
  });

  it('an error of a listener names the setting', () => {
    const error = new ListenError('httpPort', 'text', { cause: new Error('why') });
    expect(error).toBeInstanceOf(DerpkitError);
    expect(error).toMatchObject({ code: 'ERR_LISTEN', name: 'ListenError', setting: 'httpPort' });
  });
});
