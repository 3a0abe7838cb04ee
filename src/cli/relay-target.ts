/** The relay that a command asks: which one it is, and a connection to it. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, isIP, isIPv6, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type TLSSocket } from 'node:tls';
import { parseSettings, type Settings } from '../config.js';
import { adviceOn } from './connect-advice.js';
import { explain, type Spelling } from './messages.js';
import { gather } from './sources.js';
import type { TargetOptions } from './target-options.js';

/** A relay, and what it is to be asked as. */
export interface Target {
  readonly url: string;
  /** The settings of the relay, if it is the one that `derpkit serve` runs on this machine. */
  readonly own?: Settings;
  /** The name or address that its certificate is for, if that is neither the host of the URL nor that of the settings. */
  readonly name?: string | undefined;
}

/** Where a target listens. */
export interface Place {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** The name or address that the certificate has to be for. */
  readonly name: string;
  /** The name that the certificate is asked for; empty for an address. */
  readonly servername: string;
  /** Host and port, as a request names them. */
  readonly authority: string;
  /** On this machine, where the certificate proves nothing. */
  readonly isLoopback: boolean;
}

/** How a certificate is judged: by the roots, not at all, or by the SHA-256 of its bytes in hex. */
export type Trust = 'roots' | 'any' | { readonly pin: string };

/**
 * Calls `act` with the relay of `url`, or without one with that of `derpkit serve` with these variables and this settings file,
 * and returns its exit code. Prints why it failed, and returns 1.
 */
export async function withTarget(
  command: string,
  { url, config, name }: TargetOptions,
  act: (target: Target) => Promise<number>,
): Promise<number> {
  let spelling: Spelling = (place) => place;
  let target: Target | undefined = url === undefined ? undefined : { url, name };
  try {
    if (!target) {
      const gathered = await gather({ config }, process.env);
      spelling = gathered.spelling;
      target = { ...ownTarget(parseSettings(gathered.config)), name };
    }
    return await act(target);
  } catch (error) {
    process.stderr.write(target ? `derpkit ${command}: ${told(error, target)}\n` : explain('derpkit', error, spelling));
    return 1;
  }
}

function told(error: unknown, target: Target): string {
  const asked = { url: target.url, isOwn: target.own !== undefined, servername: () => placeOf(target).servername };
  return `${target.url}: ${adviceOn(error, asked)}`;
}

function ownTarget(own: Settings): Target {
  const { listen, certMode } = own;
  const { host, port } = listen;
  // By address: a container may have no resolver for localhost.
  const reached = host === '' || host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return { url: `${certMode === 'off' ? 'http' : 'https'}://${inUrl(reached)}:${port}`, own };
}

function inUrl(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** Throws if the URL is none of a relay. */
export function placeOf({ url: text, own, name }: Target): Place {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw new Error('the URL must begin with http:// or https://');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const tls = url.protocol === 'https:';
  if (name !== undefined && !tls) throw new Error('--name is for https://');
  const shown = name ?? own?.hostname ?? host;
  return {
    host,
    port: Number(url.port || (tls ? 443 : 80)),
    tls,
    name: shown,
    servername: isIP(shown) === 0 ? shown : '',
    // The relay answers under names of its certificate, and the host of the URL may be none.
    authority: name === undefined ? url.host : inUrl(name) + (url.port && `:${url.port}`),
    isLoopback: /^(?:localhost|127\..*|::1)$/.test(host),
  };
}

/** Connects, and judges the certificate. Rejects with the reason of the signal when that ends. */
export async function connectTo(
  { host, port, tls, name, servername }: Place,
  trust: Trust,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = tls
    ? connectTls({
        ...{ host, port, servername, rejectUnauthorized: trust === 'roots' },
        checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
      })
    : connectTcp({ host, port });
  try {
    await once(socket, tls ? 'secureConnect' : 'connect', { signal });
    if (typeof trust === 'object') verifyPin(socket as TLSSocket, trust.pin);
    return socket;
  } catch (error) {
    // What comes later is of no interest.
    socket.on('error', () => {});
    socket.destroy();
    if (signal.aborted) throw signal.reason;
    // A name with several addresses: each has its error.
    throw error instanceof AggregateError ? error.errors[0] : error;
  }
}

function verifyPin(socket: TLSSocket, pin: string): void {
  const certificate = socket.getPeerX509Certificate();
  const hash = certificate && createHash('sha256').update(certificate.raw).digest('hex');
  if (hash !== pin) throw new Error(`the certificate is not the one of --pin; its fingerprint is sha256-raw:${hash}`);
}

/** The hex of a fingerprint as DERP maps, logs and openssl have it; `undefined` if it is none. */
export function parsePin(text: string): string | undefined {
  const hex = text
    .replace(/^sha256-raw:/i, '')
    .replaceAll(':', '')
    .toLowerCase();
  return /^[0-9a-f]{64}$/.test(hex) ? hex : undefined;
}
