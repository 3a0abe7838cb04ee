/** Finds out whether a relay with our key is this one, or another that has a copy of the key. */
import { randomBytes } from 'node:crypto';
import { isIP, type Socket } from 'node:net';
import { connect } from 'node:tls';
import { reasonOf } from '../../errors.js';
import type { DialTarget } from '../../plane/plane.js';
import { type NodeKey, nodeKeyHex } from '../../protocol/key.js';
import { upgradeRequest } from '../../protocol/upgrade.js';

/** `unclear`: why nothing is known, in words. */
export type SelfVerdict = 'self' | 'twin' | { readonly unclear: string };

/** The parameter of a request that a relay makes to itself. */
const PARAMETER = 'derpkit-self';
/** Milliseconds for the whole check. */
const PATIENCE = 10_000;
/** The longest answers that are read, in bytes. */
const LONGEST = 16_384;

/**
 * A key says that two relays are one, or that they share a file. A random number in a request to the relay says which: if
 * this relay sees the request arrive, it has asked itself.
 */
export class SelfCheck {
  /** Numbers that were sent, and whether they have arrived here. */
  private readonly sent = new Map<string, boolean>();

  constructor(private readonly ownKey: NodeKey) {}

  /** A request of a client has this query. */
  saw(query: string): void {
    if (this.sent.size === 0) return;
    const number = new URLSearchParams(query).get(PARAMETER);
    if (number !== null && this.sent.has(number)) this.sent.set(number, true);
  }

  /**
   * Asks a target that has answered with our key. The certificate is not verified again: the requests carry no secret, and
   * a wrong answer leads to a line in the log.
   */
  async ask({ address: { address, port }, host, authority }: DialTarget): Promise<SelfVerdict> {
    const number = randomBytes(16).toString('hex');
    this.sent.set(number, false);
    const servername = isIP(host) === 0 ? host : '';
    const socket: Socket = connect({ host: address, port, servername, rejectUnauthorized: false });
    // Errors after the verdict change nothing.
    socket.on('error', () => {});
    const patience = setTimeout(() => socket.destroy(new Error('no answer in time')), PATIENCE).unref();
    try {
      socket.write(`GET /derp/probe?${PARAMETER}=${number} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
      const key = await keyIn(socket, () => socket.write(upgradeRequest(authority)));
      if (this.sent.get(number) === true) return 'self';
      if (key === nodeKeyHex(this.ownKey)) return 'twin';
      return { unclear: 'its address leads to more than one relay: name each relay by an address of its own' };
    } catch (error) {
      return { unclear: reasonOf(error) };
    } finally {
      clearTimeout(patience);
      this.sent.delete(number);
      socket.destroy();
    }
  }
}

/** The key in the head of the answer to an upgrade, which both planes and derper send. Another answer comes before it. */
async function keyIn(socket: Socket, ask: () => void): Promise<string> {
  let text = '';
  let hasAsked = false;
  for await (const chunk of socket) {
    text += (chunk as Buffer).toString('latin1');
    if (!hasAsked && text.includes('\r\n\r\n')) ask();
    hasAsked ||= text.includes('\r\n\r\n');
    const [, key] = /^derp-public-key: ([0-9a-f]{64})\r$/im.exec(text) ?? [];
    if (key !== undefined) return key;
    if (text.length > LONGEST) break;
  }
  throw new Error('it has not said which key it has');
}
