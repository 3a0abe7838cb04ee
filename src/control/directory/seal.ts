/** Seals messages of the directory: only relays with the mesh key can write and read them. Pure, except for random numbers. */
import { createHash, hkdfSync, randomBytes } from 'node:crypto';
import nacl from 'tweetnacl';

const { nonceLength, overheadLength } = nacl.secretbox;
/** In the box: the kind, the time, and what the message is bound to. */
const TIME_AT = 1;
const BOUND_AT = TIME_AT + 8;
const BOUND_LENGTH = 16;
const BODY_AT = BOUND_AT + BOUND_LENGTH;
/** The longest message; those of relays about their settings are the longest that there are. */
const LONGEST = 1 << 18;

/** What a message belongs to: under another subject it does not open. */
export type Bound = Uint8Array & { readonly length: 16 };

export interface Opened {
  readonly kind: number;
  /** When it was sealed: milliseconds since 1970, by the clock of the sender. */
  readonly time: number;
  readonly body: Buffer;
}

export class Seal {
  private readonly key: Uint8Array;

  /** `meshKey` is 64 hex digits. */
  constructor(meshKey: string) {
    this.key = new Uint8Array(hkdfSync('sha256', Buffer.from(meshKey, 'hex'), '', 'derpkit/seal/1', 32));
  }

  /** Seals a message. `now` is milliseconds since 1970. */
  seal(kind: number, bound: Bound, body: Uint8Array, now: number): Uint8Array {
    const plain = Buffer.alloc(BODY_AT + body.length);
    plain[0] = kind;
    plain.writeDoubleBE(now, TIME_AT);
    plain.set(bound, BOUND_AT);
    plain.set(body, BODY_AT);
    const nonce = randomBytes(nonceLength);
    const box = nacl.secretbox(plain, nonce, this.key);
    const sealed = new Uint8Array(nonceLength + box.length);
    sealed.set(nonce);
    sealed.set(box, nonceLength);
    return sealed;
  }

  /** Opens a message; `undefined` if it was not sealed with the mesh key, or belongs to another subject. */
  open(sealed: Uint8Array, bound: Bound): Opened | undefined {
    if (sealed.length < nonceLength + overheadLength + BODY_AT || sealed.length > LONGEST) return undefined;
    const opened = nacl.secretbox.open(sealed.subarray(nonceLength), sealed.subarray(0, nonceLength), this.key);
    if (!opened) return undefined;
    const plain = Buffer.from(opened.buffer, opened.byteOffset, opened.length);
    const time = plain.readDoubleBE(TIME_AT);
    if (!Number.isSafeInteger(time) || !plain.subarray(BOUND_AT, BODY_AT).equals(bound)) return undefined;
    return { kind: plain[0] as number, time, body: plain.subarray(BODY_AT) };
  }
}

/** What a message under any other subject than that of a key belongs to. */
export function boundTo(subject: string): Bound {
  return asBound(createHash('sha256').update(subject).digest());
}

/** The first bytes of a hash. */
export function asBound(hash: Uint8Array): Bound {
  return hash.subarray(0, BOUND_LENGTH) as Bound;
}
