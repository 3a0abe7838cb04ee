/** The types of settings: the accepted forms of each, and its value. */
import { z } from 'zod';
import { parseDuration } from '../protocol/duration.js';
import { isHostname } from '../protocol/host-name.js';
import { parseAddress } from '../protocol/host-port.js';
import { parseNodeKeyHex } from '../protocol/key.js';
import { parseMeshPeer } from '../protocol/mesh-peer.js';
import { isNetwork } from '../protocol/network.js';

const BOOL = 'must be true or false';
const DURATION = 'must be a duration such as 1m30s, 2s or 500ms, and not negative';
const ADDRESS = 'must be host:port, :port or [address]:port';
const PORT = 'must be host:port, with a port from 0 to 65535';
const HOME = 'must be empty, "blank", or an http:// or https:// URL';
const HOSTNAME = 'must be a host name or an IP address';

export const text = (wrong: string) => z.string(wrong).min(1, wrong);

const HOME_DIRECTORY = 'must be a path without ~, which only a shell expands: write the directory itself';

export const path = text('must be a path').refine((given) => !/^~[^/]*(?:\/|$)/.test(given), HOME_DIRECTORY);

export const bool = z.union(
  [z.boolean(), z.string().transform((text, context) => parseBool(text) ?? bad(context, BOOL))],
  BOOL,
);

/** A whole number, or its text. */
export const whole = (least: number, most: number, wrong: string) =>
  z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^-?\d+$/, wrong)
          .transform(Number),
      ],
      wrong,
    )
    .pipe(z.int(wrong).min(least, wrong).max(most, wrong));

/** Milliseconds that a timer of Node can wait; a longer one ends at once. */
const LONGEST = 2 ** 31 - 1;

/** Milliseconds: a number, or text in Go's form of durations. More than 24 days are 24 days. */
export const duration = z
  .union(
    [
      z.number().nonnegative(DURATION),
      z.string().transform((text, context) => parseDuration(text) ?? bad(context, DURATION)),
    ],
    DURATION,
  )
  .transform((milliseconds) => Math.min(milliseconds, LONGEST));

export const address = z.string(ADDRESS).transform((text, context) => {
  const isOfPort = parseAddress(text.replace(/:-?\d+$/, ':1')) !== undefined;
  return parseAddress(text) ?? bad(context, isOfPort ? PORT : ADDRESS);
});

const METRICS_ADDRESS = 'must be a port, host:port or [address]:port';

/** An address whose host is this machine, if none is named. */
export const localAddress = z.union([z.number(), z.string()], METRICS_ADDRESS).transform((given, context) => {
  const text = String(given);
  const address = parseAddress(/^\d+$/.test(text) ? `:${text}` : text);
  return address ? { ...address, host: address.host || '127.0.0.1' } : bad(context, METRICS_ADDRESS);
});

export const home = z.string(HOME).regex(/^(?:blank|https?:\/\/[^\s\p{Cc}]+)?$/u, HOME);

export const hostname = z.string(HOSTNAME).refine(isHostname, HOSTNAME);

/** A list, or text with commas between the entries. Blanks belong to the entries. */
export const list = (wrong: string) =>
  z.union([z.array(z.string(wrong)), z.string(wrong).transform((text) => (text === '' ? [] : text.split(',')))], wrong);

export const NAMES = 'must be names, separated by commas';
const NETWORKS = 'must be networks such as 192.0.2.0/24, separated by commas';
const MESH_WITH = 'must be relays as host or host/dialhost, separated by commas without blanks';
const RATE = 'must be a number of connections per second, or Inf';

const BURST = 'must be a number of connections, 0 or more';

/** zod's own number type refuses Infinity. */
export const rate = z
  .union([z.string(), z.custom<number>((value) => typeof value === 'number')], RATE)
  .transform((given, context) => {
    const value = typeof given === 'number' ? given : parseFloatAsGo(given);
    return value !== undefined && value >= 0 ? value : bad(context, RATE);
  });

/** Go accepts larger numbers than JavaScript represents exactly; for a burst, the difference does not matter. */
export const burst = z
  .union([z.int(BURST).nonnegative(BURST), z.string().regex(/^\+?\d+$/, BURST)], BURST)
  .transform((given) => Math.min(Number(given), Number.MAX_SAFE_INTEGER));

export const meshPeers = list(MESH_WITH).transform((entries, context) =>
  // An empty entry, such as one behind a final comma, is skipped.
  entries.filter((entry) => entry !== '').map((entry) => parseMeshPeer(entry) ?? bad(context, MESH_WITH)),
);

export const networks = list(NETWORKS)
  .transform((entries) => entries.map((entry) => entry.trim()).filter((entry) => entry !== ''))
  .refine((entries) => entries.every(isNetwork), NETWORKS);

const NODE_KEYS = 'must be node keys of 64 hex digits, separated by commas';

export const nodeKeys = list(NODE_KEYS).transform((entries, context) => {
  const keys = entries.map((entry) => parseNodeKeyHex(entry.trim()));
  return keys.every((key) => key !== undefined) ? keys : bad(context, NODE_KEYS);
});

export const oneOf = <const Choices extends readonly string[]>(choices: Choices, shown: readonly string[] = choices) =>
  z.enum(choices, `must be ${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`);

export const PRIVATE_KEY = 'must be privkey: and 64 hex digits, not all of them 0';
export const MESH_KEY = 'must be 64 hex digits';
const PEM = 'must be text in PEM';
export const certificate = z.object({ chain: z.string(PEM), key: z.string(PEM) }, 'must be an object of chain and key');

const BYTES = 'must be a number of bytes, such as 64MiB or 65536';
const BYTE_UNITS: Record<string, number> = { '': 1, KiB: 1 << 10, MiB: 1 << 20, GiB: 1 << 30 };

/** Bytes: a number, or text with a binary unit. */
export const bytes = z
  .union([z.number(), z.string().transform((text, context) => parseBytes(text) ?? bad(context, BYTES))], BYTES)
  .pipe(z.int(BYTES).min(1, BYTES));

/**
 * A list of objects; a variable holds it as JSON. It has no flag: its values are too long for a command line, and some
 * are secret.
 */
export function objects<Element extends z.ZodType>(element: Element, wrong: string) {
  const given = z.union(
    // The second schema checks the elements; this type documents what to write.
    [
      z.array(z.custom<z.input<Element>>()),
      z.string().transform((text, context) => parseJson(text) ?? bad(context, wrong)),
    ],
    wrong,
  );
  return given.pipe(z.array(element, wrong)).meta({ [OBJECTS]: true });
}

/** Marks schemas of lists of objects. */
export const OBJECTS = 'objects';

function parseJson(text: string): unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The bytes that a text such as `64MiB` stands for; `undefined` for any other text. */
export function parseBytes(text: string): number | undefined {
  const [, amount, unit = ''] = /^(\d+)(KiB|MiB|GiB)?$/.exec(text) ?? [];
  return amount === undefined ? undefined : Number(amount) * (BYTE_UNITS[unit] as number);
}

/** Go's ParseBool, which derper's flags and variables use. */
export function parseBool(text: string): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  return undefined;
}

/** Go's ParseFloat, for the numbers that a rate can be. */
export function parseFloatAsGo(text: string): number | undefined {
  if (/^\+?inf(?:inity)?$/i.test(text)) return Number.POSITIVE_INFINITY;
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
}

export function bad(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
