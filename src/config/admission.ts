/** The settings of admission. */
import { z } from 'zod';
import { group } from './groups.js';
import { bad, bool, duration, list, objects, oneOf, path, whole } from './values.js';

const VERIFIERS = 'must be a list of objects, each with tailscaled, url or keys';
const URL_WRONG = 'must be an http:// or https:// URL';
const SOCKETS = 'must be true, the path of a socket, or a list of paths';
const HEADERS = 'must be an object of header names and values';
const ONE_OF = 'must be an object with one of tailscaled, url and keys';
const OF_URL = 'must be left out: only a verifier with url has this setting';

const isHeader = (name: string, value: string) => /^[!#$%&'*+.^_`|~\w-]+$/.test(name) && !/[\0\r\n]/.test(value);

const verifier = z
  .strictObject(
    {
      tailscaled: z
        .union([z.literal(true), path.transform((one) => [one]), z.array(path).min(1, SOCKETS)], SOCKETS)
        .optional(),
      url: z
        .string(URL_WRONG)
        .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), URL_WRONG)
        .optional(),
      keys: path.optional(),
      headers: z
        .record(z.string(), z.string(HEADERS), HEADERS)
        .refine((all) => Object.entries(all).every(([name, value]) => isHeader(name, value)), HEADERS)
        .optional(),
      headersFile: path.optional(),
      failOpen: bool.optional(),
      timeout: duration.optional(),
    },
    {
      error: (issue) => (issue.code === 'unrecognized_keys' ? `${ONE_OF}; there is no field ${issue.keys}` : VERIFIERS),
    },
  )
  .superRefine((given, context) => {
    const { tailscaled, url, keys } = given;
    // A field that is misspelt is the one that is missing.
    const isTold = context.issues.length > 0;
    if (!isTold && [tailscaled, url, keys].filter((one) => one !== undefined).length !== 1) bad(context, ONE_OF);
    for (const name of ['headers', 'headersFile', 'failOpen'] as const) {
      if (url === undefined && given[name] !== undefined) {
        context.addIssue({ code: 'custom', message: OF_URL, path: [name] });
      }
    }
  });

/** The number of verifiers is bounded, because each one has a bit in a number. */
const MOST_VERIFIERS = 30;
const TOO_MANY = `must be at most ${MOST_VERIFIERS}`;

export const admission = group({
  policy: oneOf(['any', 'all']).default('any').describe('how many verifiers have to admit a client: any, all'),
  verifiers: objects(verifier, VERIFIERS)
    .refine((all) => all.length <= MOST_VERIFIERS, TOO_MANY)
    .default([])
    .describe('verifiers, which say whether a client is admitted'),
  deny: group({
    keys: path.optional().describe('file with node keys of clients that are refused'),
    apps: list('must be app names, separated by commas')
      .default([])
      .describe('app names whose clients are refused, separated by commas'),
  }),
  cache: group({
    allow: duration.prefault('5m').describe('how long an admission is remembered'),
    deny: duration.prefault('30s').describe('how long a refusal is remembered'),
    grace: duration.prefault('15m').describe('how long the last admission holds while a verifier fails'),
  }),
  recheck: duration.prefault('10m').describe('how often connected clients are verified again; 0 for never'),
  questions: whole(1, 10_000, 'must be a number from 1 to 10000')
    .default(64)
    .describe('questions to one verifier at once'),
});
