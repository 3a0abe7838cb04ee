/**
 * `derpkit health`: asks a relay for DERP, as a client does, and reports whether it answers. For health checks of
 * containers.
 */
import { connect as connectTcp, isIP, isIPv6, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Command } from 'commander';
import { parseSettings, type Settings } from '../config.js';
import { reasonOf } from '../errors.js';
import { formatNodeKey, type NodeKey, readNodeKey } from '../protocol/key.js';
import { endOfSwitching, upgradeRequest } from '../protocol/upgrade.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH, MAGIC } from '../protocol/wire.js';
import { explain, type Spelling } from './messages.js';
import { gather } from './sources.js';

/** Milliseconds from the start to the relay's key; container runtimes wait a little longer. */
const PATIENCE = 4000;
/** Longest head of a relay's answer to an upgrade, in bytes. */
const LONGEST_HEAD = 4096;
const GREETING = HEADER_LENGTH + MAGIC.length + KEY_LENGTH;

export function addHealth(program: Command): void {
  program
    .command('health')
    .description('ask a relay for DERP; exit with 0 if it answers, and with 1 if it does not')
    .option('--url <url>', 'URL of the relay, http:// or https:// (default: that of serve with these variables)')
    .action(async ({ url }: { readonly url?: string }) => {
      process.exitCode = await health(url);
    });
}

/** A relay, and what it is to be asked as. */
interface Target {
  readonly url: string;
  /** The name of its certificate, where the URL has another. */
  readonly name?: string;
}

async function health(url: string | undefined): Promise<number> {
  let spelling: Spelling = (place) => place;
  let target: Target | undefined = url === undefined ? undefined : { url };
  try {
    if (!target) {
      const gathered = await gather({}, process.env);
      spelling = gathered.spelling;
      target = ownTarget(parseSettings(gathered.config));
    }
    const key = await greetingOf(target);
    process.stdout.write(`${target.url} answers DERP: ${formatNodeKey(key)}\n`);
    return 0;
  } catch (error) {
    const told = target ? `derpkit health: ${target.url}: ${reasonOf(error)}\n` : explain('derpkit', error, spelling);
    process.stderr.write(told);
    return 1;
  }
}

/** The relay that `derpkit serve` runs on this machine with these settings. */
function ownTarget({ listen: { host, port }, certMode, hostname }: Settings): Target {
  // By address: a container may have no resolver for localhost.
  const reached = host === '' || host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const inUrl = isIPv6(reached) ? `[${reached}]` : reached;
  return { url: `${certMode === 'off' ? 'http' : 'https'}://${inUrl}:${port}`, name: hostname };
}

/**
 * The key in the relay's greeting. Does not log in, because admission is another question. Does not verify the
 * certificate: it is this machine's relay, whose certificate may be one that clients pin.
 */
async function greetingOf({ url: text, name }: Target): Promise<NodeKey> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw new Error('the URL must begin with http:// or https://');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const tls = url.protocol === 'https:';
  const port = Number(url.port || (tls ? 443 : 80));
  const shown = name ?? host;
  const servername = isIP(shown) === 0 ? shown : '';
  const isOwn = name !== undefined || /^(?:localhost|127\..*|::1)$/.test(host);
  const socket: Socket = tls
    ? connectTls({ host, port, servername, rejectUnauthorized: !isOwn })
    : connectTcp({ host, port });
  const patience = setTimeout(() => socket.destroy(new Error(`no answer within ${PATIENCE / 1000} s`)), PATIENCE);
  try {
    socket.write(upgradeRequest(url.host));
    let bytes: Buffer = Buffer.alloc(0);
    for await (const chunk of socket) {
      bytes = Buffer.concat([bytes, chunk as Buffer]);
      const start = endOfSwitching(bytes, LONGEST_HEAD);
      if (start !== undefined && bytes.length >= start + GREETING) return keyIn(bytes.subarray(start));
    }
    throw new Error('the relay closed the connection before it sent its key');
  } finally {
    clearTimeout(patience);
    socket.destroy();
  }
}

/** The key in a ServerKey frame: 5 B header, 8 B magic, 32 B key. */
function keyIn(frame: Buffer): NodeKey {
  const magic = frame.subarray(HEADER_LENGTH, HEADER_LENGTH + MAGIC.length);
  if (frame[0] !== FrameType.ServerKey || !magic.equals(MAGIC)) throw new Error('the answer is not DERP');
  return readNodeKey(frame, HEADER_LENGTH + MAGIC.length);
}
