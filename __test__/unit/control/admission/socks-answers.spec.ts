/** Proxies that speak SOCKS 5 in unusual ways, or something else. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { dialSocks, isSocks } from '../../../../src/control/admission/socks.js';
import { SocksProxy } from '../../../helpers/socks-proxy.js';
import { ALLOW } from '../../../helpers/verifier.js';
import { bound, controller, question, server } from './controllers.js';

/** A server that answers each message of a client with the next of these texts; then it does the rest. */
async function saying(texts: readonly string[], rest: (socket: Socket) => void = () => {}): Promise<number> {
  const sockets = new Set<Socket>();
  const made = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    const left = [...texts];
    socket.on('data', () => {
      const text = left.shift();
      if (text === undefined) rest(socket);
      else socket.write(Buffer.from(text, 'latin1'));
    });
  });
  await once(made.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    made.close();
  });
  return (made.address() as AddressInfo).port;
}

/** The answer of a controller behind the proxy, or the reason why it cannot be asked. */
async function through(port: number, user = '', host = 'verifier.test', proxy = '127.0.0.1'): Promise<string> {
  const made = controller(`http://${host}/verify`, { env: { HTTP_PROXY: `socks5://${user}${proxy}:${port}` } });
  const answer = await made.ask(question, bound());
  return answer.kind === 'failed' ? answer.reason.replace(/^it cannot be asked: /, '') : answer.kind;
}

async function proxyTo(options: Partial<Parameters<typeof SocksProxy.listen>[0]> = {}): Promise<SocksProxy> {
  const verifier = await server(ALLOW);
  const proxy = await SocksProxy.listen({ leadsTo: () => verifier.port, ...options });
  onTestFinished(() => proxy.close());
  return proxy;
}

const CONNECTED = '\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00';
const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"Allow":true}';

describe('a proxy of SOCKS', () => {
  it.each([
    [1, 'a failure of its own'],
    [2, 'its rules do not allow that'],
    [3, 'the network is unreachable'],
    [4, 'the host is unreachable'],
    [5, 'the connection is refused'],
    [6, 'the packets have lived for too long'],
    [7, 'it does not know the command CONNECT'],
    [8, 'it does not know the kind of address'],
    [9, 'reply 9'],
  ])('the reply %s of a SOCKS proxy means: %s', async (code, reason) => {
    const port = await saying(['\x05\x00', `\x05${String.fromCharCode(code)}\x00\x01\x00\x00\x00\x00\x00\x00`]);
    expect(await through(port)).toBe(`the proxy refuses the connection: ${reason}`);
  });

  it.each<[string, string[], string]>([
    ['another version of SOCKS', ['\x04\x00'], 'what answers there is no proxy that speaks SOCKS 5'],
    ['another version for its reply', ['\x05\x00', '\x04\x00\x00\x01'], 'the answer of the proxy is not SOCKS 5'],
    ['for a password, without an offer', ['\x05\x02'], 'the proxy wants another user, or another way to log in'],
    ['for no way to log in', ['\x05\xff'], 'the proxy wants another user, or another way to log in'],
  ])('a SOCKS proxy that asks for %s is reported', async (_what, texts, reason) => {
    expect(await through(await saying(texts))).toBe(reason);
  });

  it('a SOCKS proxy that takes no password, although it is offered one, is reported', async () => {
    const reason = 'the proxy wants another user, or another way to log in';
    expect(await through(await saying(['\x05\xff']), 'me:secret@')).toBe(reason);
  });

  it('a connection that a SOCKS proxy has made is like any other', async () => {
    const target = await saying([]);
    const proxy = await SocksProxy.listen({ leadsTo: () => target });
    onTestFinished(() => proxy.close());
    const made = await dialSocks(new URL(`socks5://127.0.0.1:${proxy.port}`), { host: 'verifier.test', port: 80 });
    const other = connect(target, '127.0.0.1');
    await once(other, 'connect');
    const listening = (socket: Socket) =>
      ['timeout', 'end', 'readable', 'error'].map((name) => socket.listenerCount(name));
    expect([listening(made), made.timeout]).toEqual([listening(other), 0]);
    made.destroy();
    other.destroy();
  });

  it('a SOCKS proxy whose connection breaks is reported as such', async () => {
    const port = await saying(['\x05\x00'], (socket) => socket.resetAndDestroy());
    expect(await through(port)).toBe('connection reset by peer');
  });

  it('what the server says at once behind the reply of a SOCKS proxy is not lost', async () => {
    expect(await through(await saying(['\x05\x00', `${CONNECTED}${ANSWER}`]))).toBe('allowed');
  });

  it('a user and a password of 255 bytes are sent whole, and longer or empty ones are reported', async () => {
    const [longest, longer] = ['x'.repeat(255), 'x'.repeat(256)];
    const proxy = await proxyTo({ credentials: [longest, longest] });
    expect(await through(proxy.port, `${longest}:${longest}@`)).toBe('allowed');
    const reason = 'the name of the proxy user is empty, or it or the password is longer than 255 bytes';
    for (const user of [`${longer}:x@`, `x:${longer}@`, ':x@']) {
      expect(await through(proxy.port, user)).toBe(reason);
    }
  });

  it('a user without a password may log in', async () => {
    const proxy = await proxyTo({ credentials: ['me', ''] });
    expect(await through(proxy.port, 'me@')).toBe('allowed');
  });

  it('a SOCKS proxy is asked for a name of 255 bytes, and not for a longer one', async () => {
    const proxy = await proxyTo();
    const name = `${'x'.repeat(250)}.test`;
    expect(await through(proxy.port, '', name)).toBe('allowed');
    expect(proxy.targets).toEqual([`${name}:80`]);
    expect(await through(proxy.port, '', `x${name}`)).toBe('the name of the host is longer than 255 bytes');
  });

  it('a SOCKS proxy that is silent is given up', async () => {
    const proxy = new URL(`socks5://127.0.0.1:${await saying([])}`);
    await expect(dialSocks(proxy, { host: 'verifier.test', port: 80 }, 50)).rejects.toThrow(
      /^the proxy does not answer$/,
    );
  });

  it('a SOCKS proxy may be named by an IPv6 address', async () => {
    expect(await through((await proxyTo()).port, '', 'verifier.test', '[::ffff:127.0.0.1]')).toBe('allowed');
  });
});

it.each([
  ['socks5://a', true],
  ['socks5h://a', true],
  ['xsocks5://a', false],
  ['socks4://a', false],
  ['http://a', false],
])('a proxy speaks SOCKS if its URL says so: %s', (url, speaks) => {
  expect(isSocks(new URL(url))).toBe(speaks);
});
