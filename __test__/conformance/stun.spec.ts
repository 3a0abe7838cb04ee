import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { crc32 } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { newRelay, startRelay, type TestRelay } from '../helpers/relay.js';
import { PATIENCE } from '../helpers/wait.js';

nothingIsLeft();

const HAS_V6 = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);
/** Of this machine, but for those of one link, which loopback does not lead to. */
const ADDRESSES = Object.values(networkInterfaces())
  .flatMap((addresses = []) => addresses.map(({ address }) => address))
  .filter((address) => !address.startsWith('fe80:'));

if (!HAS_V6) console.warn('STUN over IPv6 is left out: this machine has no ::1');

const COOKIE = '2112a442';
/** The attribute by which Tailscale's clients name themselves. */
const SOFTWARE = '802200087461696c6e6f6465';

/** A binding request as Tailscale's clients send it, or as `attributes` and `type` say. */
function bindingRequest(id: string, { attributes = SOFTWARE, type = '0001', cookie = COOKIE, tail = '' } = {}): Buffer {
  const length = (attributes.length / 2 + 8).toString(16).padStart(4, '0');
  const unsigned = Buffer.from(`${type}${length}${cookie}${id}${attributes}`, 'hex');
  const fingerprint = ((crc32(unsigned) ^ 0x5354554e) >>> 0).toString(16).padStart(8, '0');
  return Buffer.concat([unsigned, Buffer.from(`80280004${fingerprint}${tail}`, 'hex')]);
}

/** The response that a request from this address has to get. `ip` is 4 or 16 bytes in hex. */
function bindingResponse(id: string, ip: string, port: number): string {
  const mask = Buffer.from(COOKIE + id, 'hex');
  const xored = (text: string) =>
    Buffer.from(Buffer.from(text, 'hex').map((byte, index) => byte ^ (mask[index] as number))).toString('hex');
  const family = ip.length === 8 ? '01' : '02';
  const mapped = `00${family}${xored(port.toString(16).padStart(4, '0'))}${xored(ip)}`;
  const attribute = `0020${(mapped.length / 2).toString(16).padStart(4, '0')}${mapped}`;
  return `0101${(attribute.length / 2).toString(16).padStart(4, '0')}${COOKIE}${id}${attribute}`;
}

class StunClient {
  private constructor(
    private readonly socket: Socket,
    private readonly host: string,
    private readonly to: number,
  ) {}

  static async open(relay: TestRelay, host: '127.0.0.1' | '::1'): Promise<StunClient> {
    const socket: Socket = createSocket(host === '::1' ? 'udp6' : 'udp4');
    onTestFinished(() => new Promise<void>((resolve) => void socket.close(() => resolve())));
    await new Promise<void>((resolve) => socket.bind(0, host, resolve));
    return new StunClient(socket, host, relay.relay.address?.stun?.port as number);
  }

  get port(): number {
    return this.socket.address().port;
  }

  send(datagram: Buffer): void {
    this.socket.send(datagram, this.to, this.host);
  }

  async next(): Promise<Buffer> {
    const [datagram] = (await once(this.socket, 'message', { signal: AbortSignal.timeout(PATIENCE) })) as [Buffer];
    return datagram;
  }
}

const V4 = '7f000001';
const V6 = '00000000000000000000000000000001';

describe.each(LANES)('STUN, $name', (lane) => {
  const config = { stun: true, stunPort: 0 };

  it('the test makes requests that equal known ones', () => {
    expect(bindingRequest('01'.repeat(12)).toString('hex')).toBe(
      '000100142112a442010101010101010101010101802200087461696c6e6f646580280004355f9b89',
    );
    expect(bindingResponse('01'.repeat(12), '01020304', 254)).toBe(
      '0101000c2112a44201010101010101010101010100200008000121ec2010a746',
    );
  });

  it('STUN tells an IPv4 client its address', async () => {
    const relay = await startRelay(lane, { config });
    const client = await StunClient.open(relay, '127.0.0.1');
    for (const id of ['01'.repeat(12), 'f0'.repeat(12)]) {
      client.send(bindingRequest(id));
      expect((await client.next()).toString('hex')).toBe(bindingResponse(id, V4, client.port));
    }
    await relay.untilCount('stun_requests:success', 2);
    expect(relay.count('stun_addrfamily:ipv4')).toBe(2);
    expect(relay.count('stun_addrfamily:ipv6')).toBe(0);
  });

  it.skipIf(!HAS_V6)('STUN tells an IPv6 client its address', async () => {
    const relay = await startRelay(lane, { config: { ...config, listen: '[::1]:0' } });
    const client = await StunClient.open(relay, '::1');
    client.send(bindingRequest('02'.repeat(12)));
    expect((await client.next()).toString('hex')).toBe(bindingResponse('02'.repeat(12), V6, client.port));
    await relay.untilCount('stun_requests:success', 1);
    expect(relay.count('stun_addrfamily:ipv6')).toBe(1);
  });

  it.skipIf(!HAS_V6)('STUN answers both families on one socket', async () => {
    const relay = await startRelay(lane, { config: { ...config, listen: ':0' } });
    const [v4, v6] = [await StunClient.open(relay, '127.0.0.1'), await StunClient.open(relay, '::1')];
    v4.send(bindingRequest('03'.repeat(12)));
    expect((await v4.next()).toString('hex')).toBe(bindingResponse('03'.repeat(12), V4, v4.port));
    v6.send(bindingRequest('04'.repeat(12)));
    expect((await v6.next()).toString('hex')).toBe(bindingResponse('04'.repeat(12), V6, v6.port));
    await relay.untilCount('stun_requests:success', 2);
    expect(relay.count('stun_addrfamily:ipv4')).toBe(1);
    expect(relay.count('stun_addrfamily:ipv6')).toBe(1);
  });

  it('STUN answers nothing but binding requests', async () => {
    const relay = await startRelay(lane, { config });
    const client = await StunClient.open(relay, '127.0.0.1');
    const id = '05'.repeat(12);
    const good = bindingRequest(id);
    const wrong = Buffer.from(good);
    wrong[wrong.length - 1] = (wrong.at(-1) as number) ^ 1;
    const others: [name: string, datagram: Buffer][] = [
      ['an empty datagram', Buffer.alloc(0)],
      ['a short one', good.subarray(0, 19)],
      ['a header alone', good.subarray(0, 20)],
      ['text', Buffer.from('hello, who is there?')],
      ['a request without a fingerprint', good.subarray(0, -8)],
      ['a wrong fingerprint', wrong],
      ['no software', bindingRequest(id, { attributes: '' })],
      ['other software', bindingRequest(id, { attributes: '802200087461696c6e6f6466' })],
      ['another cookie', bindingRequest(id, { cookie: '2112a443' })],
      ['a response', bindingRequest(id, { type: '0101' })],
      ['an indication', bindingRequest(id, { type: '0011' })],
      ['no message of STUN', bindingRequest(id, { type: '8001' })],
      ['an attribute behind the fingerprint', bindingRequest(id, { tail: SOFTWARE })],
      ['half an attribute behind the fingerprint', bindingRequest(id, { tail: '8022' })],
      ['a fingerprint cut off', good.subarray(0, -1)],
    ];
    for (const [, datagram] of others) client.send(datagram);
    client.send(bindingRequest('06'.repeat(12)));
    // The first answer is the answer to the last one.
    expect((await client.next()).toString('hex')).toBe(bindingResponse('06'.repeat(12), V4, client.port));
    await relay.untilCount('stun_requests:success', 1);
    expect(relay.count('stun_requests:not_stun')).toBe(others.length);
    expect(relay.count('stun_requests:read_error')).toBe(0);
    expect(relay.count('stun_requests:write_error')).toBe(0);
    expect(relay.count('stun_addrfamily:ipv4')).toBe(1);
  });

  it('STUN goes by the length of the datagram, not by the length in the header', async () => {
    const relay = await startRelay(lane, { config });
    const client = await StunClient.open(relay, '127.0.0.1');
    const id = '07'.repeat(12);
    const unsigned = Buffer.from(`00019999${COOKIE}${id}${SOFTWARE}`, 'hex');
    const fingerprint = Buffer.from('8028000400000000', 'hex');
    fingerprint.writeUInt32BE((crc32(unsigned) ^ 0x5354554e) >>> 0, 4);
    client.send(Buffer.concat([unsigned, fingerprint]));
    expect((await client.next()).toString('hex')).toBe(bindingResponse(id, V4, client.port));
  });

  it('STUN skips unknown attributes, padded to four bytes', async () => {
    const relay = await startRelay(lane, { config });
    const client = await StunClient.open(relay, '127.0.0.1');
    const id = '08'.repeat(12);
    client.send(bindingRequest(id, { attributes: `80ff0003aabbcc00${SOFTWARE}00060000` }));
    expect((await client.next()).toString('hex')).toBe(bindingResponse(id, V4, client.port));
  });

  it('STUN answers from the address that was asked', async () => {
    const relay = await startRelay(lane, { config: { ...config, listen: ':0' } });
    const id = '09'.repeat(12);
    for (const [type, from, addresses] of [
      ['udp4', '127.0.0.1', ADDRESSES.filter((address) => !address.includes(':'))],
      ['udp6', '::1', ADDRESSES.filter((address) => address.includes(':'))],
    ] as const) {
      for (const address of addresses) {
        const socket = createSocket(type);
        onTestFinished(() => void socket.close());
        // The same machine: without a socket of its own, the answer would leave from the address that it goes to.
        await new Promise<void>((resolve) => socket.bind(0, from, resolve));
        socket.send(bindingRequest(id), relay.relay.address?.stun?.port as number, address);
        const [, answered] = await once(socket, 'message', { signal: AbortSignal.timeout(PATIENCE) });
        expect(answered.address).toBe(address);
      }
    }
  });

  it('two relays do not share a STUN port', async () => {
    const relay = await startRelay(lane, { config: { ...config, listen: ':0' } });
    const second = newRelay(lane, { config: { ...config, listen: ':0', stunPort: relay.relay.address?.stun?.port } });
    await expect(second.relay.start()).rejects.toMatchObject({ code: 'ERR_LISTEN' });
  });

  it('STUN answers each of many clients', async () => {
    const relay = await startRelay(lane, { config });
    const clients = await Promise.all([...Array(10)].map(() => StunClient.open(relay, '127.0.0.1')));
    for (let round = 1; round <= 10; round++) {
      const id = round.toString(16).padStart(24, '0');
      const answers = clients.map((client) => client.next());
      for (const client of clients) client.send(bindingRequest(id));
      const got = (await Promise.all(answers)).map((answer) => answer.toString('hex'));
      expect(got).toEqual(clients.map(({ port }) => bindingResponse(id, V4, port)));
    }
    await relay.untilCount('stun_requests:success', 100);
  });

  it('STUN can be turned off', async () => {
    const relay = await startRelay(lane, { config: { stun: false } });
    expect(relay.relay.address?.stun).toBeUndefined();
  });
});
