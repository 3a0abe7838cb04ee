import { describe, expect, it } from 'vitest';
import { explain, inOneLine } from '../../../src/cli/messages.js';
import { ConfigError, DerpkitError, ListenError } from '../../../src/errors.js';

const spelling = (setting: string) => `<${setting}>`;

describe('explain', () => {
  it('explain prints one line for each problem, in the user’s spelling', () => {
    const error = new ConfigError([
      { path: 'httpPort', message: 'must be a port' },
      { path: 'certificate.key', message: 'must be text' },
    ]);
    expect(explain('prog', error, spelling)).toBe(
      'prog: <httpPort>: must be a port\nprog: <certificate>.key: must be text\n',
    );
  });

  it.each([
    ['EADDRINUSE', 'listen', 'the port is already in use; choose another port with <listen>'],
    [
      'EACCES',
      'httpPort',
      'the port needs privileges: allow it with CAP_NET_BIND_SERVICE (AmbientCapabilities= of a unit), or choose another port, or -1 for none, with <httpPort>',
    ],
    [
      'EADDRNOTAVAIL',
      'stunPort',
      'why; choose an address of this machine, or leave the address out for all, with <listen>',
    ],
    ['ENOTFOUND', 'listen', 'why; choose an address of this machine, or leave the address out for all, with <listen>'],
    ['EADDRINUSE', 'metrics.listen', 'the port is already in use; choose another port with <metrics.listen>'],
    ['ENOTFOUND', 'metrics.listen', 'why; choose an address of this machine with <metrics.listen>'],
    ['ENOMEM', 'stunPort', 'why; choose another port with <stunPort>'],
  ] as const)('explain advises what to do about %s', (code, setting, advice) => {
    const cause = Object.assign(new Error('why'), { code });
    const error = new ListenError(setting, 'cannot listen on :1 (tcp)', { cause });
    expect(explain('prog', error, spelling)).toBe(`prog: cannot listen on :1 (tcp): ${advice}\n`);
  });

  it('explain prints no character of a settings file that a terminal obeys', () => {
    const error = new ConfigError([{ path: 'a\x1b[2J\u009b\nb', message: 'there is no such setting' }]);
    expect(explain('prog', error, (path) => path)).toBe('prog: a\\u001b[2J\\u009b\\u000ab: there is no such setting\n');
    expect(inOneLine(error, (path) => path)).not.toMatch(/[^\x20-\x7e]/);
  });

  it('explain prints one line for errors with a code, and a stack for faults of our own', () => {
    expect(explain('prog', new DerpkitError('ERR_STATE', 'text'), spelling)).toBe('prog: text\n');
    expect(explain('prog', new TypeError('oops'), spelling)).toMatch(/^prog: TypeError: oops\n\s+at /);
    expect(explain('prog', 'text', spelling)).toBe('prog: text\n');
  });
});
