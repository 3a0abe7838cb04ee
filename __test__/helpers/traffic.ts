import { formatNodeKey } from '../../src/protocol/key.js';
import type { DerpClient } from './client.js';
import type { TestRelay } from './relay.js';

/** The depth of a queue, as long as no setting says otherwise. */
export const QUEUE_DEPTH = 32;

/** A packet that carries its number. */
export function numbered(number: number, length = 65536): Buffer {
  const packet = Buffer.alloc(length);
  packet.writeUInt32BE(number);
  return packet;
}

/**
 * Sends numbered packets to somebody who does not read, until so many in a row had to push another one out: a socket that
 * is full for a moment only would take some of them. Returns how many were sent; stops early if the receiver is cut off.
 */
export async function fill(relay: TestRelay, from: DerpClient, to: DerpClient, row = QUEUE_DEPTH): Promise<number> {
  const evicted = () => relay.drops().queue_head ?? 0;
  const key = formatNodeKey(to.key);
  let sent = 0;
  for (let inARow = 0; inARow < row; sent++) {
    if (relay.disconnected.some((end) => end.key === key)) break;
    const before = evicted();
    from.sendPacket(to.key, numbered(sent));
    await from.fence();
    inARow = evicted() > before ? inARow + 1 : 0;
    if (sent > 2000) throw new Error(`room for ${sent} packets: ${JSON.stringify(relay.drops())}`);
  }
  return sent;
}
