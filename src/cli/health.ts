/** `derpkit health`: asks a relay for DERP, as a client does, and says whether it answers. For container health checks. */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Command } from 'commander';
import { reasonOf } from '../errors.js';
import { formatNodeKey, type NodeKey, readNodeKey } from '../protocol/key.js';
import { endOfSwitching, upgradeRequest } from '../protocol/upgrade.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH, MAGIC } from '../protocol/wire.js';

/** Milliseconds from the start to the relay's key. Orchestrators wait a little longer. */
const PATIENCE = 4000;
/** More than a relay's answer to an upgrade has. */
const LONGEST_HEAD = 4096;
const GREETING = HEADER_LENGTH + MAGIC.length + KEY_LENGTH;

export function addHealth(program: Command): void {
  program
    .command('health')
    .description('ask a relay for DERP; exit with 0 if it answers, and with 1 if it does not')
    .option('--url <url>', 'URL of the relay, http:// or https://', 'https://localhost')
    .action(async ({ url }: { readonly url: string }) => {
      process.exitCode = await health(url);
    });
}

async function health(url: string): Promise<number> {
  try {
    const key = await greetingOf(url);
    process.stdout.write(`${url} answers DERP: ${formatNodeKey(key)}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`derpkit health: ${url}: ${reasonOf(error)}\n`);
    return 1;
  }
}

/**
 * The key that the relay greets its clients with. It logs nobody in: whom the relay admits is another question. The
 * certificate of this machine's own relay is not checked, for it may be one that clients pin.
 */
async function greetingOf(text: string): Promise<NodeKey> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:')
    throw new Error('the URL must begin with http:// or https://');
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const tls = url.protocol === 'https:';
  const port = Number(url.port || (tls ? 443 : 80));
  const servername = isIP(host) === 0 ? host : '';
  const isOwn = /^(?:localhost|127\..*|::1)$/.test(host);
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

/** The key of a ServerKey frame: 5 B header, 8 B magic, 32 B key. */
function keyIn(frame: Buffer): NodeKey {
  const magic = frame.subarray(HEADER_LENGTH, HEADER_LENGTH + MAGIC.length);
  if (frame[0] !== FrameType.ServerKey || !magic.equals(MAGIC)) throw new Error('the answer is not DERP');
  return readNodeKey(frame, HEADER_LENGTH + MAGIC.length);
}
