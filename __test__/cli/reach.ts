/** What a started relay serves, seen from outside. */
import { createHash, type X509Certificate } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { crc32 } from 'node:zlib';
import { onTestFinished } from 'vitest';
import { readNodeKey } from '../../src/protocol/key.js';
import { type ClientOptions, DerpClient } from '../helpers/client.js';
import { PATIENCE } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import type { Command } from './commands.js';

export type Service = 'DERP over TLS' | 'DERP over plain HTTP' | 'HTTP' | 'STUN' | 'metrics';

/** The port of a service, as the log says; waits for it to be said. */
export async function portOf(command: Command, service: Service): Promise<number> {
  const [, port] = await command.printed(new RegExp(`serving ${service} addr=\\S+:(\\d+)$`, 'm'));
  return Number(port);
}

/** The relay's key, as the log says. */
export async function keyOf(command: Command): Promise<string> {
  const [, key = ''] = await command.printed(/key=(nodekey:[0-9a-f]{64})$/m);
  return key;
}

/** Logs in to a relay, and stays. */
export async function logIn(
  port: number,
  nodeKey: string,
  tls?: ConnectionOptions,
  options: ClientOptions = {},
): Promise<DerpClient> {
  const wire = await Wire.open({ host: '127.0.0.1', port, tls });
  const client = new DerpClient(wire, readNodeKey(Buffer.from(nodeKey.replace('nodekey:', ''), 'hex')), options);
  await client.login();
  return client;
}

export interface Handshake {
  readonly leaf: X509Certificate;
  /** Everything that the server sent, the certificates among it in plain sight. */
  readonly bytes: Buffer;
}

/** One handshake, in TLS 1.2: there the certificates of the chain can be looked at as they are sent. */
export async function handshake(port: number, options: ConnectionOptions = {}): Promise<Handshake> {
  const raw = connect({ host: '127.0.0.1', port });
  const received: Buffer[] = [];
  const tapped = new Duplex({
    read: () => {},
    write: (chunk, _encoding, done) => void raw.write(chunk, done),
    final: (done) => void raw.end(done),
    destroy: (error, done) => {
      raw.destroy();
      done(error);
    },
  });
  raw.on('data', (chunk: Buffer) => {
    received.push(chunk);
    tapped.push(chunk);
  });
  raw.on('end', () => tapped.push(null));
  raw.on('error', (error) => tapped.destroy(error));
  onTestFinished(() => void raw.destroy());
  const secure = connectTls({ socket: tapped, rejectUnauthorized: false, maxVersion: 'TLSv1.2', ...options });
  const leaf = await new Promise<X509Certificate>((resolve, reject) => {
    secure.once('error', reject);
    secure.once('close', () => reject(new Error('closed in the handshake')));
    secure.once('secureConnect', () => resolve(secure.getPeerX509Certificate() as X509Certificate));
  });
  secure.destroy();
  return { leaf, bytes: Buffer.concat(received) };
}

export function fingerprintOf(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('hex');
}

/** Asks for our own address, as a Tailscale client does, and returns the answer. */
export async function askStun(port: number): Promise<Buffer> {
  const socket = createSocket('udp4');
  const request = Buffer.concat([
    // A binding request of 20 bytes behind the header, the cookie, and a transaction id.
    Buffer.from('000100142112a442', 'hex'),
    Buffer.from('a transactio'),
    Buffer.from('80220008', 'hex'),
    Buffer.from('tailnode'),
  ]);
  const fingerprint = Buffer.from('8028000400000000', 'hex');
  fingerprint.writeUInt32BE((crc32(request) ^ 0x5354554e) >>> 0, 4);
  return new Promise<Buffer>((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(patience);
      socket.close();
      settle();
    };
    const patience = setTimeout(() => end(() => reject(new Error(`no STUN answer from port ${port}`))), PATIENCE);
    socket.once('error', (error) => end(() => reject(error)));
    socket.once('message', (answer) => end(() => resolve(answer)));
    socket.send(Buffer.concat([request, fingerprint]), port, '127.0.0.1');
  });
}

/** A request over plain HTTP, its redirects not followed. */
export function get(port: number, path: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual', headers: { connection: 'close' } });
}
