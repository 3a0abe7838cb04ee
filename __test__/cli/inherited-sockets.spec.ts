/** Socket activation: the relay takes sockets that a service manager has opened. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LANES } from '../helpers/lanes.js';
import { activate, tcp, udp, unix } from './activated.js';
import { type Command, start, temporary } from './commands.js';
import { askStun, get, keyOf, logIn, portOf } from './reach.js';

const PLANES = [...new Set(LANES.map(({ planeKind }) => planeKind))];

function data(): string[] {
  return ['--data-dir', temporary()];
}

/** A packet gets through. */
async function relays(relay: Command, port: number, tls?: { readonly rejectUnauthorized: boolean }): Promise<void> {
  const key = await keyOf(relay);
  const [from, to] = [await logIn(port, key, tls), await logIn(port, key, tls)];
  from.sendPacket(to.key, 'through it');
  expect(await to.expectPacket('through it')).toBe(from.key);
}

describe.each(PLANES)('sockets of a service manager, on the %s plane', (plane) => {
  const env = { DERPKIT_PLANE: plane };

  it('inherited sockets carry TLS, plain HTTP and STUN', async () => {
    const sockets = [await udp(), await tcp(), await tcp()] as const;
    const [stun, derp, http] = sockets;
    const relay = activate('derpkit', ['serve', ...data()], { sockets, names: 'stun:derp:http', env });
    expect(await portOf(relay, 'DERP over TLS')).toBe(derp.port);
    expect(await portOf(relay, 'HTTP')).toBe(http.port);
    expect(await portOf(relay, 'STUN')).toBe(stun.port);
    await relays(relay, derp.port, { rejectUnauthorized: false });
    expect((await get(http.port, '/generate_204')).status).toBe(204);
    await askStun(stun.port);
    expect((await relay.stop()).code).toBe(0);
  });

  it('an inherited socket carries metrics, which no setting has asked for', async () => {
    const [derp, metrics] = [await tcp(), await tcp()];
    const args = ['serve', ...data(), '--cert-mode=off', '--no-stun'];
    const relay = activate('derpkit', args, { sockets: [derp, metrics], names: 'derp:metrics', env });
    expect(await portOf(relay, 'metrics')).toBe(metrics.port);
    expect((await get(metrics.port, '/healthz')).status).toBe(200);
    expect((await relay.stop()).code).toBe(0);
  });

  it('inherited sockets work for derper, too', async () => {
    const derp = await tcp();
    const args = ['-a', ':3340', '-stun=false', '-c', join(temporary(), 'derper.key')];
    const relay = activate('derper', args, { sockets: [derp], names: 'derp', env });
    expect(await portOf(relay, 'DERP over plain HTTP')).toBe(derp.port);
    await relays(relay, derp.port);
  });

  it('inherited sockets of all addresses serve both families', async () => {
    const [derp, stun] = [await tcp('::'), await udp('::')];
    const args = ['serve', ...data(), '--cert-mode=off'];
    const relay = activate('derpkit', args, { sockets: [derp, stun], names: 'derp:stun', env });
    await relays(relay, derp.port);
    await askStun(stun.port);
    expect((await fetch(`http://[::1]:${derp.port}/generate_204`)).status).toBe(204);
  });

  it('inherited sockets are closed in child processes', async () => {
    const derp = await tcp();
    const args = ['serve', ...data(), '--cert-mode=off', '--no-stun'];
    const relay = activate('derpkit', args, { sockets: [derp], names: 'derp', env });
    await portOf(relay, 'DERP over plain HTTP');
    const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/${relay.pid}/fdinfo/3`, 'utf8'))?.[1];
    expect(Number.parseInt(flags ?? '', 8) & 0o2000000, 'the descriptor is closed on exec').not.toBe(0);
  });

  it.each([
    ['derp', udp, 'descriptor 3 is no TCP socket that listens'],
    ['derp', unix, 'descriptor 3 is no TCP socket that listens'],
    ['metrics', udp, 'descriptor 3 is no TCP socket that listens'],
    ['metrics', unix, 'descriptor 3 is no TCP socket that listens'],
    ['stun', tcp, 'descriptor 3 is no UDP socket'],
    ['stun', unix, 'descriptor 3 is no UDP socket'],
  ] as const)('an inherited socket of another kind is refused: %s, given one of %o', async (name, open, message) => {
    const args = ['serve', ...data(), '--listen=127.0.0.1:0', '--cert-mode=off'];
    const relay = activate('derpkit', args, { sockets: [await open()], names: name, env });
    const { code, stderr } = await relay.end();
    expect(code).toBe(1);
    expect(stderr).toContain(`derpkit: the inherited socket ${name}: ${message}\n`);
  });
});

describe('inherited sockets without a use', () => {
  it.each([
    [
      'web',
      1,
      'LISTEN_FDNAMES: the relay has no use for a socket named "web"; FileDescriptorName= of its unit must be derp, http, stun or metrics',
    ],
    [
      'derp:derp',
      2,
      'LISTEN_FDNAMES: there are 2 sockets named derp, and the relay takes one; have one Listen…= for it',
    ],
    [
      'derp',
      2,
      'LISTEN_FDNAMES: has 1 names for 2 sockets; name each with FileDescriptorName= of its unit: derp, http, stun or metrics',
    ],
    [
      undefined,
      1,
      'LISTEN_FDNAMES: has 0 names for 1 sockets; name each with FileDescriptorName= of its unit: derp, http, stun or metrics',
    ],
    [
      'http',
      1,
      'the inherited socket http: is not needed without TLS: the socket derp has all of HTTP; take it away, or choose a certMode',
    ],
    ['stun', 1, 'the inherited socket stun: is not needed, because stun is false; take it away, or turn STUN on'],
  ])('an inherited socket without a use ends the start: %s', async (names, count, message) => {
    const sockets = await Promise.all([...Array(count)].map(() => tcp()));
    const args = ['serve', ...data(), '--listen=127.0.0.1:0', '--cert-mode=off', '--no-stun'];
    const relay = activate('derpkit', args, { sockets, env: {}, ...(names !== undefined && { names }) });
    const { code, stderr } = await relay.end();
    expect({ code, stderr }).toEqual({ code: 1, stderr: `derpkit: ${message}\n` });
  });

  it('sockets belong to another process if LISTEN_PID says so', async () => {
    const env = { LISTEN_PID: '1', LISTEN_FDS: '1', LISTEN_FDNAMES: 'web' };
    const args = ['serve', ...data(), '--listen=127.0.0.1:0', '--cert-mode=off', '--no-stun'];
    const relay = start('derpkit', args, { env });
    await portOf(relay, 'DERP over plain HTTP');
  });
});
