/** Clients that come to nothing before they are admitted, and what each comes to. */
import { connect as connectTcp } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import type { CertificateSet, Failure } from '../../src/plane/plane.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { sealClientInfo } from '../../src/protocol/login.js';
import { FrameType } from '../../src/protocol/wire.js';
import { DerpClient, upgradeRequest } from './client.js';
import type { PlaneHarness } from './plane-harness.js';
import type { PolicyChanges } from './relay.js';
import { clientHello } from './tls.js';
import { eventually } from './wait.js';
import { Wire } from './wire.js';

export const NAME = 'relay.test';
const SOON = { handshake: 200, head: 200, clientInfo: 200, admission: 200, certificate: 200 };
/** The alert `unknown_ca`, fatal, as a client of TLS 1.2 sends it. */
const UNKNOWN_CA = Buffer.from('15030300020230', 'hex');

type Expected = Partial<Pick<Failure, 'serverName' | 'alert'>> & { readonly what: Failure['what'] };
type Visit = (harness: PlaneHarness) => Promise<Wire | undefined>;
type Otherwise = CertificateSet['otherwise'];

/** One client, what it is to come to, and what of the plane has to be different for that. */
export interface Case {
  readonly name: string;
  readonly visit: Visit;
  readonly expected: Expected;
  readonly policy?: PolicyChanges;
  readonly otherwise?: Otherwise;
}

const raw = (harness: PlaneHarness) => Wire.open({ host: '127.0.0.1', port: harness.port });

export function sends(...parts: readonly (Uint8Array | string)[]): Visit {
  return async (harness) => {
    const wire = await raw(harness);
    wire.write(...parts);
    return wire;
  };
}

/** A handshake with these options, which fails. The wire is the socket below it. */
function handshake(options: ConnectionOptions): Visit {
  return (harness) => {
    const socket = connectTcp({ host: '127.0.0.1', port: harness.port, noDelay: true });
    const wire = new Wire(socket);
    const stream = connectTls({ socket, rejectUnauthorized: false, servername: NAME, ...options });
    stream.on('error', () => undefined);
    return new Promise((resolve) => stream.once('close', () => resolve(wire)));
  };
}

export const HANDSHAKES: Case[] = [
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
    visit: async (harness) => {
      const wire = await raw(harness);
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
    visit: async (harness) => {
      const wire = await raw(harness);
      wire.write(await clientHello(NAME));
      await wire.take(5);
      wire.end();
      return wire;
    },
    expected: { what: 'handshakes_failed:hung_up', serverName: NAME },
  },
  {
    name: 'that ends with a reset',
    visit: async (harness) => {
      const wire = await raw(harness);
      wire.write(await clientHello(NAME));
      await wire.take(5);
      wire.reset();
      return undefined;
    },
    expected: { what: 'handshakes_failed:hung_up', serverName: NAME },
  },
  {
    name: 'of which nothing comes',
    visit: async (harness) => {
      const wire = await raw(harness);
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
    visit: async (harness) => {
      const wire = await raw(harness);
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
    visit: async (harness) => {
      const over = handshake({ servername: 'wanted.test' })(harness);
      const need = await eventually(() => harness.needs[0], 'a certificate to be asked for');
      harness.plane.close(need.id, 'closed');
      return over;
    },
    expected: { what: 'handshakes_failed:no_certificate', serverName: 'wanted.test' },
    otherwise: 'ask',
  },
  {
    name: 'beyond those that may wait for a certificate',
    visit: handshake({ servername: 'wanted.test' }),
    expected: { what: 'strangers_refused:pool' },
    policy: { limits: { parkedHandshakes: 0 } },
    otherwise: 'ask',
  },
  {
    name: 'beyond the rate',
    visit: async (harness) => {
      await raw(harness);
      return raw(harness);
    },
    expected: { what: 'tls_rejects' },
    policy: { acceptRate: { perSecond: 0.001, burst: 1 } },
  },
];

export const REQUESTS: Case[] = [
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
    visit: async (harness) => {
      const wire = await raw(harness);
      wire.end();
      return wire;
    },
    expected: { what: 'requests_failed:hung_up' },
  },
];

/** Logs in with this frame, made of the relay's public key and of the client's keys. */
function logsIn(frame: (harness: PlaneHarness, client: DerpClient) => Uint8Array): Visit {
  return async (harness) => {
    const wire = await raw(harness);
    const client = new DerpClient(wire, harness.keys.publicKey);
    wire.write(client.head, frame(harness, client));
    return wire;
  };
}

function withText(text: string): Visit {
  return logsIn(({ keys }, client) => sealClientInfo(client.keys, keys.publicKey, text));
}

export const LOGINS: Case[] = [
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
    visit: async (harness) => {
      const wire = await raw(harness);
      wire.write(upgradeRequest());
      await wire.takeThrough('\r\n\r\n');
      wire.end();
      return wire;
    },
    expected: { what: 'logins_failed:hung_up' },
  },
  {
    name: 'that is refused',
    visit: async (harness) => {
      const { client, login } = await harness.loggingIn();
      harness.plane.refuse(login.id);
      return client.wire;
    },
    expected: { what: 'logins_failed:refused' },
  },
  {
    name: 'that nobody decides about',
    visit: async (harness) => (await harness.loggingIn()).client.wire,
    expected: { what: 'logins_failed:admission_timeout' },
    policy: { deadlines: SOON },
  },
];

/** Each makes room for, or is in the way of, another of its own address. */
export const LIMITS: Case[] = [
  {
    name: 'beyond all connections',
    visit: raw,
    expected: { what: 'connections_refused' },
    policy: { limits: { connections: 0 } },
  },
  {
    name: 'beyond the share of its address',
    visit: async (harness) => {
      await raw(harness);
      return raw(harness);
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
    visit: async (harness) => {
      const first = await raw(harness);
      await raw(harness);
      return first;
    },
    expected: { what: 'requests_failed:evicted' },
    policy: { limits: { handshakes: 1 } },
  },
  {
    name: 'that makes room before its login',
    visit: async (harness) => {
      const first = await sends(upgradeRequest())(harness);
      await first?.takeThrough('\r\n\r\n');
      await sends(upgradeRequest())(harness);
      return first;
    },
    expected: { what: 'logins_failed:evicted' },
    policy: { limits: { pendingLogins: 1 } },
  },
];

export const EVICTED: Case = {
  name: 'that makes room',
  visit: async (harness) => {
    const first = await sends(Buffer.from('1603010200', 'hex'))(harness);
    await raw(harness);
    return first;
  },
  expected: { what: 'handshakes_failed:evicted' },
  policy: { limits: { handshakes: 1 } },
};
