import { lookup } from 'node:dns/promises';
import { describe, expect, it } from 'vitest';
import { ConfigError, DerpkitError, ERROR_CODES, ListenError, reasonOf } from '../../src/errors.js';

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

  it('the reason of a name that is looked up in vain has the name', async () => {
    const error = await lookup('nowhere.invalid').catch((caught) => caught);
    expect(reasonOf(error)).toMatch(
      /^(?:no address is known for the name nowhere\.invalid|the name nowhere\.invalid cannot be looked up for now)$/,
    );
    // Another system than this test's may have no DNS server that answers.
    const again = { code: 'EAI_AGAIN', errno: -3001, hostname: 'a.test' };
    expect(reasonOf(Object.assign(new Error('again'), again))).toBe('the name a.test cannot be looked up for now');
    expect(reasonOf(Object.assign(new Error('no'), { code: 'ENOENT', errno: -2 }))).toBe('no such file or directory');
  });

  it('an error of a listener names the setting', () => {
    const error = new ListenError('httpPort', 'text', { cause: new Error('why') });
    expect(error).toBeInstanceOf(DerpkitError);
    expect(error).toMatchObject({ code: 'ERR_LISTEN', name: 'ListenError', setting: 'httpPort' });
  });
});
