import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, it, onTestFinished } from 'vitest';
import { StunSockets } from '../../../src/plane/js/stun-sockets.js';

/** Sockets that echo, on a host with these addresses. On Linux, all of 127.0.0.0/8 can be bound. */
async function echo(addresses: () => readonly string[]) {
  const sockets = new StunSockets(
    { kind: 'stun', derp: false, host: '0.0.0.0', port: 0 },
    {
      onMessage: (socket, message, from) => socket.send(message, from.port, from.address),
      onError: () => undefined,
    },
    addresses,
  );
  onTestFinished(() => sockets.close());
  const { port } = await sockets.open();
  return {
    sockets,
    port,
    /** The source of the answer to a request to this address. */
    async answeredFrom(address: string): Promise<string> {
      const socket = createSocket('udp4');
      try {
        await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
        socket.send('x', port, address);
        const [, from] = await once(socket, 'message', { signal: AbortSignal.timeout(10_000) });
        return from.address;
      } finally {
        socket.close();
      }
    },
  };
}

describe.runIf(process.platform === 'linux')('the sockets of a STUN port', () => {
  it('a STUN port answers from the address of the request, and follows addresses that come and go', async () => {
    let addresses = ['127.0.0.1', '127.0.0.2'];
    const { sockets, answeredFrom } = await echo(() => addresses);
    expect(await answeredFrom('127.0.0.2')).toBe('127.0.0.2');
    expect(await answeredFrom('127.0.0.1')).toBe('127.0.0.1');
    // An address without an interface is answered all the same.
    expect(await answeredFrom('127.0.0.9')).toBe('127.0.0.1');
    addresses = ['127.0.0.1', '127.0.0.9'];
    await sockets.look();
    expect(await answeredFrom('127.0.0.9')).toBe('127.0.0.9');
    expect(await answeredFrom('127.0.0.2')).toBe('127.0.0.1');
  });

  it('a STUN port survives an address that cannot be bound, and a system that does not list its addresses', async () => {
    let tells = true;
    const { sockets, answeredFrom } = await echo(() => {
      if (!tells) throw new Error('no descriptors');
      return ['192.0.2.77', '127.0.0.2', 'no address'];
    });
    tells = false;
    await sockets.look();
    expect(await answeredFrom('127.0.0.2')).toBe('127.0.0.2');
  });

  it('a STUN port of all IPv4 addresses has none of IPv6', async () => {
    const { sockets, port } = await echo(() => ['127.0.0.2', '::1']);
    await sockets.look();
    const other = createSocket('udp6');
    onTestFinished(() => void other.close());
    const bound = once(other.bind(port, '::1'), 'listening').catch(({ code }) => code);
    expect(await bound).not.toBe('EADDRINUSE');
  });

  it('a STUN port bounds its number of sockets', async () => {
    const addresses = [...Array(200).keys()].map((number) => `127.0.1.${number}`);
    const { answeredFrom } = await echo(() => addresses);
    expect(await answeredFrom('127.0.1.1')).toBe('127.0.1.1');
    expect(await answeredFrom('127.0.1.199')).toBe('127.0.0.1');
  });
});
