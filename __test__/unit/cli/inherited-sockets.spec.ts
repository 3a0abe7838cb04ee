import { describe, expect, it } from 'vitest';
import { takeSockets } from '../../../src/cli/inherited-sockets.js';

describe('the sockets of a service manager', () => {
  it('are taken with their variables, which no child process gets', () => {
    const env = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'stun:derp', LISTEN_PIDFDID: '1', PATH: '/bin' };
    expect(takeSockets(env, 7)).toEqual({ stun: 3, derp: 4 });
    expect(env).toEqual({ PATH: '/bin' });
  });

  it('are left to the process that they are for, and their variables are taken all the same', () => {
    const env = { LISTEN_PID: '8', LISTEN_FDS: '1', LISTEN_FDNAMES: 'derp' };
    expect(takeSockets(env, 7)).toEqual({});
    expect(env).toEqual({});
  });

  it.each(['', '-1', '1e3', '99999', 'one'])('are not taken where LISTEN_FDS is %j', (LISTEN_FDS) => {
    const env = { LISTEN_PID: '7', LISTEN_FDS, LISTEN_FDNAMES: 'derp' };
    expect(() => takeSockets(env, 7)).toThrow('LISTEN_FDS: must be the number of descriptors that are handed over');
  });

  it('are none where there are none', () => {
    expect(takeSockets({ LISTEN_PID: '7', LISTEN_FDS: '0' }, 7)).toEqual({});
    expect(takeSockets({}, 7)).toEqual({});
  });
});
