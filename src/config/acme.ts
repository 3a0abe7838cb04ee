/** The settings of certificates by ACME, and the rules that combine them. */
import { isIP } from 'node:net';
import { z } from 'zod';
import type { Problem } from '../errors.js';
import { group } from './groups.js';
import { bool, list, path, text } from './values.js';

/** The certificate modes that use ACME. */
export const ACME_MODES = ['letsencrypt', 'gcp', 'acme'] as const;
export type AcmeMode = (typeof ACME_MODES)[number];

/** The ACME directories of the two CAs that derper knows. */
const DIRECTORIES: Readonly<Record<AcmeMode, string | undefined>> = {
  letsencrypt: 'https://acme-v02.api.letsencrypt.org/directory',
  gcp: 'https://dv.acme-v02.api.pki.goog/directory',
  acme: undefined,
};

const URL_WANTED = 'must be an https:// URL';
const ADDRESSES = 'must be IP addresses, separated by commas';
const EMAIL = 'must be an e-mail address';

export const ACME = group({
  directory: z
    .string(URL_WANTED)
    .refine((value) => URL.canParse(value) && new URL(value).protocol === 'https:', URL_WANTED)
    .optional()
    .describe("URL of the authority's directory, instead of the directory of the mode"),
  agreeTerms: bool.default(false).describe('agree to the terms of that certificate authority'),
  email: z
    .string(EMAIL)
    .regex(/^\S+@\S+$/, EMAIL)
    .optional()
    .describe('e-mail address for the certificate authority'),
  profile: text('must be the name of a profile').optional().describe('profile of the certificates that are ordered'),
  eabKid: text('must be a key id').optional().describe('key id of an external account'),
  eabKeyFile: path.optional().describe('file with the key of the external account, in base64'),
  eabKey: text('must be a key in base64')
    .optional()
    .describe('the key of the external account itself, instead of a file'),
  ipCerts: bool.default(false).describe('get certificates for IP addresses, too'),
  ipAddresses: list(ADDRESSES)
    .transform((entries) => entries.map((entry) => entry.trim()).filter((entry) => entry !== ''))
    .refine((entries) => entries.every((entry) => isIP(entry) !== 0 && !entry.includes('%')), ADDRESSES)
    .default([])
    .describe('IP addresses of certificates (default: those that clients connect to)'),
  atStart: bool.default(true).describe('get certificates when the relay starts'),
  dns: group({
    exec: path.optional().describe('command that sets TXT records for DNS-01: present NAME VALUE, or cleanup'),
  }),
});

export type AcmeSettings = z.output<typeof ACME>;

export function isAcmeMode(mode: string | undefined): mode is AcmeMode {
  return ACME_MODES.some((known) => known === mode);
}

/** The ACME directory of the CA; empty if none is known. */
export function acmeDirectory(mode: AcmeMode, { directory }: AcmeSettings): string {
  return directory ?? DIRECTORIES[mode] ?? '';
}

/** The profile for certificates of IP addresses. Let's Encrypt issues them only with this one. */
export function ipProfile(mode: AcmeMode, { profile }: AcmeSettings): string | undefined {
  return profile ?? (mode === 'letsencrypt' ? 'shortlived' : undefined);
}

/** Reads the key of an external account as derper does: base64url without padding, else standard base64. */
export function parseEabKey(given: string): Uint8Array | undefined {
  const isUrl = /^[A-Za-z0-9_-]+$/.test(given) && given.length % 4 !== 1;
  const isStandard = given.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(given);
  return isUrl || isStandard ? new Uint8Array(Buffer.from(given, 'base64')) : undefined;
}

/** Problems of settings that are valid alone, but not together. */
export function acmeProblems(mode: AcmeMode, hostname: string, acme: AcmeSettings): Problem[] {
  const problems: Problem[] = [];
  const problem = (path: string, message: string) => problems.push({ path, message });
  const { directory, agreeTerms, email, eabKid, eabKeyFile, eabKey, ipCerts, ipAddresses } = acme;
  if (mode === 'acme' && directory === undefined) problem('acme.directory', 'is needed for the mode acme');
  if (directory !== undefined && !agreeTerms) {
    problem('acme.agreeTerms', `must be true, once you have read the terms of ${new URL(directory).host}`);
  }
  const isAddress = isIP(hostname) !== 0;
  if (isAddress && mode === 'gcp') problem('hostname', 'must be a name: gcp issues no certificates for IP addresses');
  else if (isAddress && !ipCerts) {
    problem(
      'hostname',
      'is an IP address: turn IP certificates on, or use the mode manual for a self-signed certificate',
    );
  } else if (!isAddress && !/[^.]\.[^.]/.test(hostname)) {
    problem('hostname', `must be a public name: no certificate authority issues a certificate for ${hostname}`);
  }
  if (ipCerts && mode === 'gcp') problem('acme.ipCerts', 'gcp issues no certificates for IP addresses');
  if (ipAddresses.length > 0 && !ipCerts) problem('acme.ipAddresses', 'has an effect only with IP certificates');
  if (eabKeyFile !== undefined && eabKey !== undefined) problem('acme.eabKey', 'cannot be combined with a file');
  const hasKey = eabKeyFile !== undefined || eabKey !== undefined;
  const needsAccount = mode === 'gcp' && directory === undefined;
  if ((hasKey || needsAccount) && eabKid === undefined) problem('acme.eabKid', 'is needed for the external account');
  if ((eabKid !== undefined || needsAccount) && !hasKey)
    problem('acme.eabKeyFile', 'is needed for the external account');
  if (needsAccount && email === undefined) problem('acme.email', 'is needed for gcp');
  if (eabKey !== undefined && !parseEabKey(eabKey)) problem('acme.eabKey', 'must be base64');
  return problems;
}
