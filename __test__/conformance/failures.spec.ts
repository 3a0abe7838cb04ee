/** Connections that come to nothing before they are admitted leave a count, and a line where debug is on, alike on every plane. */
import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { parsePair, servedSet } from '../../src/control/certificates.js';
import { FAILURE_COUNTERS } from '../../src/plane/failures.js';
import type { Failure } from '../../src/plane/plane.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { sealClientInfo } from '../../src/protocol/login.js';
import { FrameType } from '../../src/protocol/wire.js';
import { Bench } from '../helpers/bench.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { Log } from '../helpers/log.js';
import { MESH_KEY, type PolicyChanges, pemPair, startRelay } from '../helpers/relay.js';
import { clientHello } from '../helpers/tls.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const NAME = 'relay.test';
const SOON = { handshake: 200, head: 200, clientInfo: 200, admission: 200, certificate: 200 };
/** The alert `unknown_ca`, fatal, as a client of TLS 1.2 sends it. */
const UNKNOWN_CA = Buffer.from('15030300020230', 'hex');

type Expected = Partial<Pick<Failure, 'serverName' | 'alert'>> & { readonly what: Failure['what'] };
type Visit = (bench: Bench) => Promise<Wire | undefined>;
type Otherwise = Parameters<typeof servedSet>[1];

/** One client, what it is to come to, and what of the plane has to be different for that. */
interface Case {
  readonly name: string;
  readonly visit: Visit;
  readonly expected: Expected;
  readonly policy?: PolicyChanges;
  readonly otherwise?: Otherwise;
}

const raw = (bench: Bench) => Wire.open({ host: '127.0.0.1', port: bench.port });

function sends(...parts: readonly (Uint8Array | string)[]): Visit {
  return async (bench) => {
    const wire = await raw(bench);
    wire.write(...parts);
    return wire;
  };
}

/** A handshake with these options, which fails. The wire is the socket below it. */
function handshake(options: ConnectionOptions): Visit {
  return (bench) => {
    const socket = connectTcp({ host: '127.0.0.1', port: bench.port, noDelay: true });
    const wire = new Wire(socket);
    const stream = connectTls({ socket, rejectUnauthorized: false, servername: NAME, ...options });
    stream.on('error', () => undefined);
    return new Promise((resolve) => stream.once('close', () => resolve(wire)));
  };
}

const HANDSHAKES: Case[] = [
  {
    name: 'for a name that no certificate is for',
    visit: handshake({ servername: 'Other.test' }),
    expected: { what: 'handshakes_failed:unknown_name', serverName: 'other.test' },
  },
  {
    name: 'without a name, where no certificate is for such',
    visit: handshake({ servername: '' }),
    expected: { what: 'handshakes_failed:no_name' },
  },
  {
    name: 'of TLS 1.1',
    visit: handshake({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }),
    expected: { what: 'handshakes_failed:no_common_version' },
  },
  {
    name: 'of TLS 1.2, with a suite that is not ours',
    visit: handshake({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' }),
    expected: { what: 'handshakes_failed:no_common_cipher', serverName: NAME },
  },
  {
    name: 'of TLS 1.2, with a suite that is for another key',
    visit: handshake({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }),
    expected: { what: 'handshakes_failed:no_common_cipher', serverName: NAME },
  },
  {
    name: 'of TLS 1.3, with a suite that is not ours',
    visit: handshake({ minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_CCM_SHA256' }),
    expected: { what: 'handshakes_failed:no_common_cipher', serverName: NAME },
  },
  {
    name: 'of TLS 1.3, with signatures of another key',
    visit: handshake({ minVersion: 'TLSv1.3', sigalgs: 'RSA-PSS+SHA256' }),
    expected: { what: 'handshakes_failed:no_common_cipher', serverName: NAME },
  },
  {
    name: 'for HTTP/2 alone',
    visit: handshake({ ALPNProtocols: ['h2'] }),
    expected: { what: 'handshakes_failed:no_common_protocol', serverName: NAME },
  },
  {
    name: 'that the client ends with an alert',
    visit: async (bench) => {
      const wire = await raw(bench);
      wire.write(await clientHello(NAME, 'TLSv1.2'));
      await wire.take(5);
      wire.write(UNKNOWN_CA);
      return wire;
    },
    expected: { what: 'handshakes_failed:client_alert', serverName: NAME, alert: 'unknown_ca' },
  },
  {
    name: 'that is a request in the clear',
    visit: sends('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    expected: { what: 'handshakes_failed:http' },
  },
  {
    name: 'that is SSH',
    visit: sends('SSH-2.0-OpenSSH_9.2p1\r\n'),
    expected: { what: 'handshakes_failed:malformed' },
  },
  {
    name: 'that begins like HTTP, and is nothing',
    visit: sends('GEX / HTTP/1.1\r\n'),
    expected: { what: 'handshakes_failed:malformed' },
  },
  {
    name: 'whose ClientHello is cut short',
    visit: sends(Buffer.from('160301000801000004deadbeef', 'hex')),
    expected: { what: 'handshakes_failed:malformed' },
  },
  {
    name: 'that breaks off behind the ClientHello',
    visit: async (bench) => {
      const wire = await raw(bench);
      wire.write(await clientHello(NAME));
      await wire.take(5);
      wire.end();
      return wire;
    },
    expected: { what: 'handshakes_failed:hung_up', serverName: NAME },
  },
  {
    name: 'that ends with a reset',
    visit: async (bench) => {
      const wire = await raw(bench);
      wire.write(await clientHello(NAME));
      await wire.take(5);
      wire.reset();
      return undefined;
    },
    expected: { what: 'handshakes_failed:hung_up', serverName: NAME },
  },
  {
    name: 'of which nothing comes',
    visit: async (bench) => {
      const wire = await raw(bench);
      wire.end();
      return wire;
    },
    expected: { what: 'handshakes_failed:hung_up' },
  },
  {
    name: 'that is not done in time',
    visit: sends(Buffer.from('1603010200', 'hex')),
    expected: { what: 'handshakes_failed:timeout' },
    policy: { deadlines: SOON },
  },
  {
    name: 'that is not done in time, behind its ClientHello',
    visit: async (bench) => {
      const wire = await raw(bench);
      wire.write(await clientHello(NAME));
      return wire;
    },
    expected: { what: 'handshakes_failed:timeout', serverName: NAME },
    policy: { deadlines: SOON },
  },
  {
    name: 'whose certificate does not come',
    visit: handshake({ servername: 'wanted.test' }),
    expected: { what: 'handshakes_failed:no_certificate', serverName: 'wanted.test' },
    policy: { deadlines: SOON },
    otherwise: 'ask',
  },
  {
    name: 'for which there is to be no certificate',
    visit: async (bench) => {
      const over = handshake({ servername: 'wanted.test' })(bench);
      const need = await eventually(() => bench.needs[0], 'a certificate to be asked for');
      bench.plane.close(need.id, 'closed');
      return over;
    },
    expected: { what: 'handshakes_failed:no_certificate', serverName: 'wanted.test' },
    otherwise: 'ask',
  },
  {
    name: 'beyond those that may wait for a certificate',
    visit: handshake({ servername: 'wanted.test' }),
    expected: { what: 'handshakes_failed:no_certificate', serverName: 'wanted.test' },
    policy: { limits: { parkedHandshakes: 0 } },
    otherwise: 'ask',
  },
  {
    name: 'beyond the rate',
    visit: async (bench) => {
      await raw(bench);
      return raw(bench);
    },
    expected: { what: 'tls_rejects' },
    policy: { acceptRate: { perSecond: 0.001, burst: 1 } },
  },
];

const REQUESTS: Case[] = [
  {
    name: 'that does not come',
    visit: raw,
    expected: { what: 'requests_failed:timeout' },
    policy: { deadlines: SOON },
  },
  {
    name: 'that does not come to its end',
    visit: sends('GET / HTTP/1.1\r\nHost'),
    expected: { what: 'requests_failed:timeout' },
    policy: { deadlines: SOON },
  },
  {
    name: 'that the client does not make',
    visit: async (bench) => {
      const wire = await raw(bench);
      wire.end();
      return wire;
    },
    expected: { what: 'requests_failed:hung_up' },
  },
];

/** Logs in with this frame, made of the relay's public key and of the client's keys. */
function logsIn(frame: (bench: Bench, client: DerpClient) => Uint8Array): Visit {
  return async (bench) => {
    const wire = await raw(bench);
    const client = new DerpClient(wire, bench.keys.publicKey);
    wire.write(client.head, frame(bench, client));
    return wire;
  };
}

function withText(text: string): Visit {
  return logsIn(({ keys }, client) => sealClientInfo(client.keys, keys.publicKey, text));
}

const LOGINS: Case[] = [
  {
    name: 'that begins with another frame',
    visit: logsIn(() => encodeFrame(FrameType.Ping, Buffer.alloc(8))),
    expected: { what: 'logins_failed:no_client_info' },
  },
  {
    name: 'that is too short',
    visit: logsIn(() => encodeFrame(FrameType.ClientInfo, Buffer.alloc(8))),
    expected: { what: 'logins_failed:bad_length' },
  },
  {
    name: 'that is too long',
    visit: logsIn(() => Buffer.from('0200040001', 'hex')),
    expected: { what: 'logins_failed:bad_length' },
  },
  {
    name: 'with a key that is zero',
    visit: logsIn(() => encodeFrame(FrameType.ClientInfo, Buffer.alloc(100))),
    expected: { what: 'logins_failed:bad_key' },
  },
  {
    name: 'for another relay',
    visit: logsIn((_bench, client) => sealClientInfo(client.keys, generateKeyPair().publicKey, '{"version":2}')),
    expected: { what: 'logins_failed:bad_box' },
  },
  { name: 'that is no JSON', visit: withText('{'), expected: { what: 'logins_failed:bad_info' } },
  {
    name: 'with a mesh key that is none',
    visit: withText('{"meshKey":"5e"}'),
    expected: { what: 'logins_failed:bad_info' },
  },
  {
    name: 'beyond what all of them may hold',
    visit: logsIn(() => Buffer.concat([Buffer.from('0200000400', 'hex'), Buffer.alloc(64)])),
    expected: { what: 'logins_failed:over_budget' },
    policy: { limits: { loginBytes: 10 } },
  },
  {
    name: 'that does not come',
    visit: sends(upgradeRequest()),
    expected: { what: 'logins_failed:timeout' },
    policy: { deadlines: SOON },
  },
  {
    name: 'that the client leaves',
    visit: async (bench) => {
      const wire = await raw(bench);
      wire.write(upgradeRequest());
      await wire.takeThrough('\r\n\r\n');
      wire.end();
      return wire;
    },
    expected: { what: 'logins_failed:hung_up' },
  },
  {
    name: 'that is refused',
    visit: async (bench) => {
      const { client, login } = await bench.loggingIn();
      bench.plane.refuse(login.id);
      return client.wire;
    },
    expected: { what: 'logins_failed:refused' },
  },
  {
    name: 'that nobody decides about',
    visit: async (bench) => (await bench.loggingIn()).client.wire,
    expected: { what: 'logins_failed:admission_timeout' },
    policy: { deadlines: SOON },
  },
];

/** Each makes room for, or is in the way of, another of its own address. */
const LIMITS: Case[] = [
  {
    name: 'beyond all connections',
    visit: raw,
    expected: { what: 'connections_refused' },
    policy: { limits: { connections: 0 } },
  },
  {
    name: 'beyond the share of its address',
    visit: async (bench) => {
      await raw(bench);
      return raw(bench);
    },
    expected: { what: 'strangers_refused:address' },
    policy: { limits: { perAddress: 1, exempt: [] } },
  },
  {
    name: 'beyond a pool',
    visit: raw,
    expected: { what: 'strangers_refused:pool' },
    policy: { limits: { handshakes: 0 } },
  },
  {
    name: 'that makes room before its request',
    visit: async (bench) => {
      const first = await raw(bench);
      await raw(bench);
      return first;
    },
    expected: { what: 'requests_failed:evicted' },
    policy: { limits: { handshakes: 1 } },
  },
  {
    name: 'that makes room before its login',
    visit: async (bench) => {
      const first = await sends(upgradeRequest())(bench);
      await first?.takeThrough('\r\n\r\n');
      await sends(upgradeRequest())(bench);
      return first;
    },
    expected: { what: 'logins_failed:evicted' },
    policy: { limits: { pendingLogins: 1 } },
  },
];

const EVICTED: Case = {
  name: 'that makes room',
  visit: async (bench) => {
    const first = await sends(Buffer.from('1603010200', 'hex'))(bench);
    await raw(bench);
    return first;
  },
  expected: { what: 'handshakes_failed:evicted' },
  policy: { limits: { handshakes: 1 } },
};

async function comesTo(lane: Lane, { visit, expected, policy, otherwise }: Case, tls: boolean): Promise<void> {
  const pair = pemPair([NAME]);
  const keys = generateKeyPair();
  const served = { certificate: parsePair(pair, []), names: [NAME] };
  const set = tls ? servedSet([served], otherwise ?? 'refuse', keys.publicKey, new Date()) : undefined;
  const bench = await Bench.open(lane, { tellFailures: true, ...policy }, tls ? 'tls' : 'tcp', set);
  const wire = await visit(bench);
  const told = await eventually(() => bench.failed[0], 'a failure to be told of');
  const { what, serverName = '', alert = '' } = expected;
  expect(told).toMatchObject({ what, serverName, alert, peer: { address: '127.0.0.1' } });
  expect(told.peer.port).toBeGreaterThan(0);
  await wire?.ended();
  // Once, and nothing else.
  const counted = FAILURE_COUNTERS.filter((name) => bench.plane.counters.read(name) > 0);
  expect(counted).toEqual(what.includes('_failed:') ? [what] : []);
  expect(bench.plane.counters.read(what)).toBe(1);
  expect(bench.failed).toHaveLength(1);
}

describe.each(LANES)('what comes to nothing, $name', (lane) => {
  it.each([...HANDSHAKES, EVICTED])('is counted and told of: a handshake $name', (one) => comesTo(lane, one, true));
  it.each(REQUESTS)('is counted and told of: a request $name', (one) => comesTo(lane, one, false));
  it.each(LOGINS)('is counted and told of: a login $name', (one) => comesTo(lane, one, false));
  it.each(LIMITS)('is counted and told of: a connection $name', (one) => comesTo(lane, one, false));

  it('is counted, and told to nobody, where nobody wants to know', async () => {
    const bench = await Bench.open(lane);
    const wire = await sends('GET / HTTP/1.1\r\nHost')(bench);
    wire?.end();
    await wire?.ended();
    await eventually(() => bench.plane.counters.read('requests_failed:hung_up') === 1, 'it to be counted');
    await bench.plane.snapshot(0, 0);
    expect(bench.failed).toEqual([]);
  });

  it('is told of with an end: of a flood, most is a number', async () => {
    const log = new Log();
    const relay = await startRelay(lane, { tls: false, logger: log.logger });
    const wires = await Promise.all([...Array(300)].map(() => Wire.open(relay.target())));
    for (const wire of wires) wire.reset();
    await relay.untilCount('requests_failed:hung_up', 300);
    const lines = () => log.lines.filter((line) => line.includes('has brought no request'));
    const heldBack = () => {
      return lines().reduce((sum, line) => sum + Number(/"heldBack":(\d+)/.exec(line)?.[1] ?? 0), 0);
    };
    // The rest is told of with the next line.
    await eventually(async () => {
      (await Wire.open(relay.target())).reset();
      return lines().length + heldBack() >= 300;
    }, 'a number of those that have no line');
    expect(lines().length).toBeLessThan(300);
  });

  it('has one line at level debug, with address, name and reason', async () => {
    const log = new Log();
    const relay = await startRelay(lane, { tls: true, logger: log.logger });
    const { host, port } = relay.target();
    const plain = async (...parts: readonly string[]) => {
      const wire = await Wire.open({ host, port });
      wire.write(...parts);
      await wire.ended();
    };
    await plain('GET / HTTP/1.1\r\n\r\n');
    await Wire.open({ host, port, tls: { ALPNProtocols: ['h2'], servername: 'relay.test' } }).catch(() => undefined);
    const request = await Wire.open(relay.target());
    request.write('GET / HTTP/1.1\r\n\r\n');
    expect((await request.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 400 /);
    const long = await Wire.open(relay.target());
    long.write(`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(40_000)}\r\n\r\n`);
    expect((await long.rest()).toString('latin1')).toMatch(/^HTTP\/1\.1 431 /);
    const client = await DerpClient.dial(relay);
    client.wire.write(client.head, encodeFrame(FrameType.Ping, Buffer.alloc(8)));
    await client.wire.ended();
    await (await DerpClient.connect(relay, { meshKey: '77'.repeat(32) })).close();
    await (await DerpClient.connect(relay, { meshKey: MESH_KEY })).close();

    const peer = '"address":"127.0.0.1","port":\\d+';
    const lines = [
      `debug: a TLS handshake has failed {"reason":"http",${peer}}`,
      `debug: a TLS handshake has failed {"reason":"no_common_protocol",${peer},"serverName":"relay.test"}`,
      `debug: a connection has brought no request {"reason":"bad_request",${peer}}`,
      `debug: a connection has brought no request {"reason":"too_large",${peer}}`,
      `debug: a login has failed {"reason":"no_client_info",${peer}}`,
      `debug: a client shows a mesh key that is not the one of this relay {${peer}}`,
    ];
    for (const line of lines) {
      const pattern = new RegExp(`^${line.replace(/[{}.]/g, '\\$&')}$`);
      await eventually(
        () => log.find(pattern),
        () => `${line}, in ${log.lines.join('\n')}`,
      );
    }
    expect(log.lines.filter((line) => line.includes('mesh key'))).toHaveLength(1);
    const varz = await Wire.open(relay.target());
    varz.write('GET /debug/varz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n');
    const metrics = (await varz.rest()).toString();
    for (const row of [
      'derpkit_handshakes_failed{reason="http"} 1',
      'derpkit_handshakes_failed{reason="no_common_protocol"} 1',
      'derpkit_requests_failed{reason="bad_request"} 1',
      'derpkit_requests_failed{reason="too_large"} 1',
      'derpkit_logins_failed{reason="no_client_info"} 1',
      'derpkit_logins_failed{reason="bad_box"} 0',
      'derpkit_wrong_mesh_keys 1',
    ]) {
      expect(metrics).toContain(`${row}\n`);
    }
  });
});
