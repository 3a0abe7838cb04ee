import { describe, expect, it } from 'vitest';
import { takeSockets } from '../../../src/cli/inherited-sockets.js';

describe('the sockets of a service manager', () => {
  it('inherited sockets are taken together with their variables, which no child process gets', () => {
    const env = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: 'stun:derp', LISTEN_PIDFDID: '1', PATH: '/bin' };
    expect(takeSockets(env, 7)).toEqual({ stun: 3, derp: 4 });
    expect(env).toEqual({ PATH: '/bin' });
  });

  it('sockets of another process are left alone, and their variables removed all the same', () => {
    const env = { LISTEN_PID: '8', LISTEN_FDS: '1', LISTEN_FDNAMES: 'derp' };
    expect(takeSockets(env, 7)).toEqual({});
    expect(env).toEqual({});
  });

  it.each(['', '-1', '1e3', '99999', 'one'])('no socket is taken if LISTEN_FDS is %j', (LISTEN_FDS) => {
    const env = { LISTEN_PID: '7', LISTEN_FDS, LISTEN_FDNAMES: 'derp' };
    expect(() => takeSockets(env, 7)).toThrow('LISTEN_FDS: must be the number of descriptors that are handed over');
  });

  it('without variables there are no inherited sockets', () => {
    expect(takeSockets({ LISTEN_PID: '7', LISTEN_FDS: '0' }, 7)).toEqual({});
    expect(takeSockets({}, 7)).toEqual({});
  });
});
