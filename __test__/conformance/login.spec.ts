import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/frame.js';
import { sealClientInfo } from '../../src/protocol/login.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH, NONCE_LENGTH } from '../../src/protocol/wire.js';
import { bystanderPair } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { MESH_KEY, startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** A frame header that announces a body, which need not come. */
function header(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(HEADER_LENGTH);
  bytes[0] = type;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** What a client sends behind its request that is no login. `own` is the ClientInfo that it could have sent. */
type BadLogin = (client: DerpClient, relay: TestRelay) => Uint8Array;

function withInfo(info: string): BadLogin {
  return (client, relay) => sealClientInfo(client.keys, relay.keys.publicKey, info);
}

/**
 * X25519 points of low order: 0 (which is no key at all), 1, two of order 8, p-1, p, p+1. Whatever the private key, the
 * shared key is the same, so anyone could log in with them.
 */
const LOW_ORDER_POINTS = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
];

/** A ClientInfo that opens for everybody: sealed with the key that a low-order point always leads to. */
function lowOrderLogin(point: string): Buffer {
  const shared = nacl.box.before(new Uint8Array(KEY_LENGTH), nacl.randomBytes(KEY_LENGTH));
  const nonce = nacl.randomBytes(NONCE_LENGTH);
  const box = nacl.box.after(Buffer.from('{"version":2}'), nonce, shared);
  return encodeFrame(FrameType.ClientInfo, Buffer.concat([Buffer.from(point, 'hex'), nonce, box]));
}

const BAD_LOGINS: [name: string, bytes: BadLogin][] = [
  ['another first frame', () => header(FrameType.SendPacket, 40)],
  ['a first frame of unknown type', () => header(0x77, 0)],
  ['a ServerKey', (client) => Buffer.concat([header(FrameType.ServerKey, 0), client.clientInfo])],
  [
    'a ping before the ClientInfo',
    (client) => Buffer.concat([encodeFrame(FrameType.Ping, Buffer.alloc(8)), client.clientInfo]),
  ],
  ['a ClientInfo of 0 bytes', () => header(FrameType.ClientInfo, 0)],
  ['a ClientInfo of 55 bytes', () => header(FrameType.ClientInfo, 55)],
  ['a ClientInfo of 262145 bytes', () => header(FrameType.ClientInfo, 262145)],
  ['a ClientInfo of 4 GB', () => header(FrameType.ClientInfo, 0xffffffff)],
  [
    'a ClientInfo without a box',
    (client) => encodeFrame(FrameType.ClientInfo, client.clientInfo.subarray(HEADER_LENGTH, HEADER_LENGTH + 56)),
  ],
  [
    'a box shorter than its tag',
    (client) => encodeFrame(FrameType.ClientInfo, client.clientInfo.subarray(HEADER_LENGTH, HEADER_LENGTH + 71)),
  ],
  [
    'a box of garbage',
    (client) =>
      encodeFrame(
        FrameType.ClientInfo,
        Buffer.concat([client.clientInfo.subarray(HEADER_LENGTH, HEADER_LENGTH + 56), Buffer.alloc(48, 7)]),
      ),
  ],
  ['a box with one bit changed', (client) => flipped(client.clientInfo, client.clientInfo.length - 1)],
  ['a key that is not the sealer’s', (client) => flipped(client.clientInfo, HEADER_LENGTH)],
  ['a box for another relay', (client) => sealClientInfo(client.keys, client.key, '{"version":2}')],
  ['no JSON', withInfo('hello')],
  ['an empty box', withInfo('')],
  ['half an object', withInfo('{"version":2')],
  ['JSON and more', withInfo('{"version":2}{}')],
  ['an array', withInfo('[]')],
  ['a version that is a string', withInfo('{"version":"2"}')],
  ['a version with a fraction', withInfo('{"version":2.5}')],
  ['a flag that is a number', withInfo('{"version":2,"CanAckPings":1}')],
  ['an empty mesh key', withInfo('{"version":2,"meshKey":""}')],
  ['a mesh key that is null', withInfo('{"version":2,"meshKey":null}')],
  ['a mesh key of 63 digits', withInfo(`{"version":2,"meshKey":"${'a'.repeat(63)}"}`)],
  ['a mesh key of 65 digits', withInfo(`{"version":2,"meshKey":"${'a'.repeat(65)}"}`)],
  ['a mesh key with a blank', withInfo(`{"version":2,"meshKey":" ${MESH_KEY}"}`)],
  ['a mesh key that is not hex', withInfo(`{"version":2,"meshKey":"${'g'.repeat(64)}"}`)],
  ['an app name of 33 characters', withInfo(`{"version":2,"AppName":"${'a'.repeat(33)}"}`)],
  ['an app name with a control character', withInfo('{"version":2,"AppName":"a\\u001fb"}')],
  ['an app name beyond ASCII', withInfo('{"version":2,"AppName":"ä"}')],
  ['an app name that is DEL', withInfo('{"version":2,"AppName":"\\u007f"}')],
  ['an app name that is a number', withInfo('{"version":2,"AppName":7}')],
  ...LOW_ORDER_POINTS.map((point): [string, BadLogin] => [`the key ${point.slice(0, 6)}…`, () => lowOrderLogin(point)]),
];

const GOOD_INFOS: [name: string, info: string][] = [
  ['nothing at all', '{}'],
  ['null', 'null'],
  ['blanks around it', ' \n{"version":2}\t '],
  ['no flags', '{"version":2}'],
  ['an unknown field', '{"version":2,"later":{"a":[1,2,{}]}}'],
  ['fields that are null', '{"version":null,"CanAckPings":null,"IsProber":null,"AppName":null}'],
  ['any version', '{"version":-3}'],
  ['names in any case', `{"VERSION":2,"CANACKPINGS":true,"MeshKey":"${MESH_KEY}"}`],
  ['a mesh key that is all zero', `{"meshKey":"${'0'.repeat(64)}"}`],
  ['an app name of 32 characters', `{"AppName":"${'~'.repeat(32)}"}`],
  ['an empty app name', '{"AppName":""}'],
  ['an app name of blanks', '{"AppName":"  "}'],
];

function flipped(frame: Buffer, index: number): Buffer {
  const changed = Buffer.from(frame);
  changed[index] = (changed[index] as number) ^ 1;
  return changed;
}

describe.each(LANES)('logging in, $name', (lane) => {
  it('a malformed login fails, silently and alone', async () => {
    const relay = await startRelay(lane);
    const undisturbed = await bystanderPair(relay);
    let failures = 0;
    for (const [name, bytes] of BAD_LOGINS) {
      const client = await DerpClient.dial(relay);
      client.wire.write(client.head, bytes(client, relay));
      failures += 1;
      // The greeting is all that is ever said.
      expect(await client.wire.rest(), name).toHaveLength(45);
      await relay.untilCount('logins_failed', failures);
    }
    await undisturbed();
    expect(relay.connected).toHaveLength(2);
    expect(relay.count('accepts')).toBe(2 + failures);
  });

  it('the relay accepts every ClientInfo that Go’s decoder accepts', async () => {
    const relay = await startRelay(lane);
    for (const [name, info] of GOOD_INFOS) {
      const client = await DerpClient.connect(relay, { info });
      expect(await client.fence(), name).toEqual([]);
    }
  });

  it('the relay accepts a ClientInfo of 262144 bytes, and not one byte more', async () => {
    const relay = await startRelay(lane, { tls: true });
    const info = `{"version":2,"pad":"${'x'.repeat(262144 - 72 - 22)}"}`;
    const client = await DerpClient.dial(relay, { info });
    expect(client.clientInfo).toHaveLength(HEADER_LENGTH + 262144);
    await client.login();
    expect(await client.fence()).toEqual([]);
    const longer = await DerpClient.dial(relay, { info: `${info} ` });
    longer.wire.write(longer.head, longer.clientInfo);
    await longer.closed();
  });

  it('a wrong mesh key makes an ordinary client', async () => {
    const relay = await startRelay(lane);
    const client = await DerpClient.connect(relay, { meshKey: 'a'.repeat(64) });
    expect(await client.fence()).toEqual([]);
    expect(relay.connected).toMatchObject([{ mesh: false }]);
    client.watch();
    await client.closed();
    expect(await relay.endOf(client.key)).toBe('protocol_error');
  });

  it.each([
    ['no mesh key', undefined],
    ['a mesh key of zeros', '0'.repeat(64)],
  ])('no client becomes a mesh peer on a relay with %s', async (_name, meshKey) => {
    const relay = await startRelay(lane, { config: { meshKey } });
    for (const offered of [MESH_KEY, '0'.repeat(64)]) await DerpClient.connect(relay, { meshKey: offered });
    expect(relay.connected.map(({ mesh }) => mesh)).toEqual([false, false]);
  });

  it('the relay accepts the mesh key in either case', async () => {
    const relay = await startRelay(lane);
    await DerpClient.connect(relay, { meshKey: MESH_KEY.toUpperCase() });
    expect(relay.connected).toMatchObject([{ mesh: true }]);
  });

  it('the relay reports the client’s facts and its address', async () => {
    const relay = await startRelay(lane);
    const client = await DerpClient.connect(relay);
    expect(relay.connected).toMatchObject([
      { mesh: false, peer: { address: '127.0.0.1', port: client.wire.localPort } },
    ]);
    await client.close();
    expect(await relay.endOf(client.key)).toBe('disconnected');
  });

  describe('the login deadline', () => {
    const policy = { deadlines: { clientInfo: 250 } };

    it.each([
      ['nothing', (): Buffer => Buffer.alloc(0)],
      ['half a header', (info: Buffer): Buffer => info.subarray(0, 3)],
      ['half a ClientInfo', (info: Buffer): Buffer => info.subarray(0, 60)],
    ])('a client that sends %s is closed at the login deadline', async (_name, part) => {
      const relay = await startRelay(lane, { policy });
      const undisturbed = await bystanderPair(relay);
      const client = await DerpClient.dial(relay);
      const before = performance.now();
      client.wire.write(client.head, part(client.clientInfo));
      expect(await client.wire.rest()).toHaveLength(45);
      expect(performance.now() - before).toBeGreaterThan(245);
      await relay.untilCount('logins_failed', 1);
      await undisturbed();
    });

    it('a trickle of bytes does not extend the login deadline', async () => {
      const relay = await startRelay(lane, { policy });
      const client = await DerpClient.dial(relay);
      client.wire.write(client.head);
      let at = 0;
      await eventually(() => {
        client.wire.write(client.clientInfo.subarray(at, at + 1));
        at += 1;
        return client.wire.isOver;
      }, 'the deadline');
      expect(at).toBeLessThan(client.clientInfo.length);
      await relay.untilCount('logins_failed', 1);
    });

    it('the deadline ends with the login', async () => {
      const relay = await startRelay(lane, { policy });
      const client = await DerpClient.connect(relay);
      const late = await DerpClient.dial(relay);
      late.wire.write(late.head);
      await late.wire.rest();
      expect(await client.fence()).toEqual([]);
    });
  });

  it('a client may disconnect in the middle of its login', async () => {
    const relay = await startRelay(lane);
    const undisturbed = await bystanderPair(relay);
    for (const length of [0, 3, 5, 60]) {
      const client = await DerpClient.dial(relay);
      client.wire.write(client.head, client.clientInfo.subarray(0, length));
      await client.wire.take(45);
      await client.close();
    }
    await relay.untilCount('logins_failed', 4);
    await undisturbed();
  });

  it('a client may disconnect right behind its ClientInfo', async () => {
    const relay = await startRelay(lane);
    const undisturbed = await bystanderPair(relay);
    for (let time = 0; time < 10; time++) {
      const client = await DerpClient.dial(relay);
      client.wire.write(client.head, client.clientInfo);
      await client.wire.flushed();
      if (time % 2 === 0) client.wire.reset();
      else await client.close();
    }
    await relay.untilCount('accepts', 12);
    await relay.untilFigures({ connections: 2 });
    await undisturbed();
  });

  describe('the bounds of logins', () => {
    /** Whoever hangs up is noticed, not timed out. */
    const NEVER = { handshake: 600_000, head: 600_000 };

    it('the number of connections without a request is bounded', async () => {
      const relay = await startRelay(lane, { policy: { limits: { handshakes: 3 }, deadlines: NEVER } });
      const undisturbed = await bystanderPair(relay);
      const idle = [await DerpClient.dial(relay), await DerpClient.dial(relay), await DerpClient.dial(relay)];
      idle[1]?.wire.write('GET /de');
      await settled(relay);
      // The one that has been there longest makes room.
      const late = await DerpClient.dial(relay);
      await idle[0]?.closed();
      expect(relay.count('strangers_evicted:pool')).toBe(1);
      await late.login();
      await undisturbed();
      // The one in the middle of its request has its place still.
      const half = idle[1] as DerpClient;
      half.wire.write(half.head.slice('GET /de'.length), half.clientInfo);
      half.readFrames();
      await half.expect('ServerKey');
      await half.expect('ServerInfo');
    });

    it('the number of handshakes is bounded', async () => {
      const relay = await startRelay(lane, { tls: true, policy: { limits: { handshakes: 2 }, deadlines: NEVER } });
      const undisturbed = await bystanderPair(relay);
      const idle = [await plain(relay), await plain(relay)];
      await settled(relay);
      const late = await DerpClient.connect(relay);
      await idle[0]?.closed();
      expect(relay.count('strangers_evicted:pool')).toBe(1);
      expect(idle[1]?.wire.isOver).toBe(false);
      expect(await late.fence()).toEqual([]);
      await undisturbed();
    });

    it('the number of logins that wait is bounded', async () => {
      const relay = await startRelay(lane, { policy: { limits: { pendingLogins: 3 } } });
      const undisturbed = await bystanderPair(relay);
      const waiting = await Promise.all([0, 1, 2].map(() => DerpClient.dial(relay)));
      for (const client of waiting) {
        client.wire.write(client.head);
        await client.wire.take(45);
      }
      const late = await DerpClient.connect(relay);
      await waiting[0]?.closed();
      expect(relay.count('strangers_evicted:pool')).toBe(1);
      expect(await late.fence()).toEqual([]);
      await undisturbed();
      for (const client of waiting.slice(1)) client.wire.write(client.clientInfo);
      await relay.untilFigures({ connections: 5 });
    });

    it('the number of logins that wait is bounded, however many connections came before', async () => {
      const relay = await startRelay(lane, { policy: { limits: { pendingLogins: 3 } } });
      const clients = await Promise.all([...Array(8)].map(() => DerpClient.dial(relay)));
      await settled(relay);
      for (const client of clients) client.wire.write(client.head);
      await eventually(() => clients.filter(({ wire }) => wire.isOver).length === 5, 'five of eight to make room');
      expect(relay.count('accepts')).toBe(8);
      expect(relay.count('strangers_evicted:pool')).toBe(5);
      for (const client of clients) await client.close();
      await relay.untilCount('logins_failed', 8);
      await recovered(relay);
    });

    it('the bytes of incomplete logins are bounded', async () => {
      const relay = await startRelay(lane, { policy: { limits: { loginBytes: 5000 } } });
      const undisturbed = await bystanderPair(relay);
      const partial = async (bytes: number) => {
        const client = await DerpClient.dial(relay);
        client.wire.write(client.head);
        await client.wire.take(45);
        client.wire.write(header(FrameType.ClientInfo, 200_000), Buffer.alloc(bytes - HEADER_LENGTH));
        return client;
      };
      const holders = [await partial(2000), await partial(2000)];
      // Held bytes are nobody's to see, but who brings too many is turned away.
      const tooMuch = await partial(3000);
      await tooMuch.closed();
      await relay.untilCount('logins_failed', 1);
      for (const holder of holders) expect(holder.wire.isOver).toBe(false);
      await undisturbed();
      const whole = await DerpClient.connect(relay);
      expect(await whole.fence()).toEqual([]);
      await holders[0]?.close();
      await relay.untilCount('logins_failed', 2);
      const patient = await partial(2500);
      patient.wire.write(Buffer.alloc(100));
      await undisturbed();
      expect(patient.wire.isOver).toBe(false);
    });
  });
});

/** A TCP connection to a TLS listener, without a handshake. */
async function plain(relay: TestRelay): Promise<DerpClient> {
  const { Wire } = await import('../helpers/wire.js');
  const { host, port } = relay.target();
  return new DerpClient(await Wire.open({ host, port }), relay.keys.publicKey);
}

/** The relay has accepted the connections that were made before this. */
async function settled(relay: TestRelay): Promise<void> {
  await relay.commandsDone();
}

/** A new client gets in, at the latest when the relay has noticed that another is gone. */
async function recovered(relay: TestRelay): Promise<void> {
  await eventually(async () => {
    const client = await DerpClient.connect(relay).catch(() => undefined);
    await client?.close();
    return client;
  }, 'the relay to take connections again');
}
