/**
 * `derpkit health`: asks a relay for DERP, as a client does, and reports whether it answers. For health checks of
 * containers.
 */
import type { Command } from 'commander';
import { formatNodeKey, type NodeKey, readNodeKey } from '../protocol/key.js';
import { endOfSwitching, upgradeRequest } from '../protocol/upgrade.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH, MAGIC } from '../protocol/wire.js';
import { connectTo, placeOf, type Target, withTarget } from './relay-target.js';
import { addTargetOptions, type TargetOptions } from './target-options.js';

/** Milliseconds from the start to the relay's key; container runtimes wait a little longer. */
const PATIENCE = 4000;
/** Longest head of a relay's answer to an upgrade, in bytes. */
const LONGEST_HEAD = 4096;
const GREETING = HEADER_LENGTH + MAGIC.length + KEY_LENGTH;

export function addHealth(program: Command): void {
  const command = program
    .command('health')
    .description('ask a relay for DERP; exit with 0 if it answers, and with 1 if it does not');
  addTargetOptions(command).action(async (options: TargetOptions) => {
    process.exitCode = await withTarget('health', options, health);
  });
}

async function health(target: Target): Promise<number> {
  const key = await greetingOf(target);
  process.stdout.write(`${target.url} answers DERP: ${formatNodeKey(key)}\n`);
  return 0;
}

/**
 * The key in the relay's greeting. Does not log in, because admission is another question. Does not verify the
 * certificate of this machine's relay, because it may be one that clients pin.
 */
async function greetingOf(target: Target): Promise<NodeKey> {
  const place = placeOf(target);
  const late = new AbortController();
  const error = new Error(`no answer within ${PATIENCE / 1000} s`);
  const patience = setTimeout(() => late.abort(error), PATIENCE);
  try {
    const socket = await connectTo(place, target.own || place.isLoopback ? 'any' : 'roots', late.signal);
    try {
      late.signal.addEventListener('abort', () => socket.destroy(error));
      socket.write(upgradeRequest(place.authority));
      let bytes: Buffer = Buffer.alloc(0);
      for await (const chunk of socket) {
        bytes = Buffer.concat([bytes, chunk as Buffer]);
        const start = endOfSwitching(bytes, LONGEST_HEAD);
        if (start !== undefined && bytes.length >= start + GREETING) return keyIn(bytes.subarray(start));
      }
      throw new Error('the relay closed the connection before it sent its key');
    } finally {
      socket.destroy();
    }
  } finally {
    clearTimeout(patience);
  }
}

/** The key in a ServerKey frame: 5 B header, 8 B magic, 32 B key. */
function keyIn(frame: Buffer): NodeKey {
  const magic = frame.subarray(HEADER_LENGTH, HEADER_LENGTH + MAGIC.length);
  if (frame[0] !== FrameType.ServerKey || !magic.equals(MAGIC)) throw new Error('the answer is not DERP');
  return readNodeKey(frame, HEADER_LENGTH + MAGIC.length);
}
