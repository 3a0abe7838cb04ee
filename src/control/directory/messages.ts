/** What messages of the directory say, inside of their seal. Pure. */

import { type NodeKey, readNodeKey, writeNodeKey } from '../../protocol/key.js';
import { KEY_LENGTH } from '../../protocol/wire.js';
import type { Place } from './directory.js';

/** The kind of a message: its first byte. */
export const Kind = {
  /** "Do you have this key?" The body is the subject for the answer. */
  Find: 1,
  /** The answer: a relay, and its generation of the key. */
  Place: 2,
  /** A relay has the key: a place, and whether the key has just come to it. */
  Claim: 3,
  /** To a relay that has claimed a key: another relay has it with a later generation. A place, and the relay it is for. */
  Held: 4,
  /** A relay no longer has the key: the place that ends. */
  Left: 5,
  /** A relay announces itself, in JSON. */
  Relay: 6,
  /** A relay ends. The body is its key. */
  Leaving: 7,
  /** "What do you do, and with which settings?" The body is the subject for the answer. */
  Ask: 8,
  /** The answer, in JSON. */
  Facts: 9,
} as const;

const GENERATION_AT = KEY_LENGTH;
const PLACE_LENGTH = GENERATION_AT + 8;
/** Generations are milliseconds since 1970. No clock is that wrong. */
const LATEST = 2 ** 52;

export interface Claim {
  readonly place: Place;
  /** Whether the key has just come to the relay; otherwise the relay says again what it has said before. */
  readonly isNew: boolean;
}

export interface Held {
  readonly place: Place;
  readonly to: NodeKey;
}

export function writePlace(place: Place): Buffer {
  return placeWith(place, 0);
}

/** The place of an answer, or of a key that has left. */
export function readPlace(body: Buffer): Place | undefined {
  return body.length === PLACE_LENGTH ? placeIn(body) : undefined;
}

export function writeClaim({ place, isNew }: Claim): Buffer {
  const body = placeWith(place, 1);
  body[PLACE_LENGTH] = Number(isNew);
  return body;
}

export function readClaim(body: Buffer): Claim | undefined {
  const isNew = body[PLACE_LENGTH];
  if (body.length !== PLACE_LENGTH + 1 || (isNew !== 0 && isNew !== 1)) return undefined;
  const place = placeIn(body);
  return place && { place, isNew: isNew === 1 };
}

export function writeHeld({ place, to }: Held): Buffer {
  const body = placeWith(place, KEY_LENGTH);
  writeNodeKey(to, body, PLACE_LENGTH);
  return body;
}

export function readHeld(body: Buffer): Held | undefined {
  if (body.length !== PLACE_LENGTH + KEY_LENGTH) return undefined;
  const place = placeIn(body);
  return place && { place, to: readNodeKey(body, PLACE_LENGTH) };
}

/** The key of a relay that leaves. */
export function readLeaving(body: Buffer): NodeKey | undefined {
  return body.length === KEY_LENGTH ? readNodeKey(body) : undefined;
}

function placeWith({ relay, generation }: Place, more: number): Buffer {
  const body = Buffer.alloc(PLACE_LENGTH + more);
  writeNodeKey(relay, body, 0);
  body.writeDoubleBE(generation, GENERATION_AT);
  return body;
}

function placeIn(body: Buffer): Place | undefined {
  const generation = body.readDoubleBE(GENERATION_AT);
  if (!Number.isInteger(generation) || generation < 0 || generation > LATEST) return undefined;
  return { relay: readNodeKey(body), generation };
}
