/** Settings of certificates by ACME that contradict each other, and some that only seem to. */
import { describe, expect, it } from 'vitest';
import { parseEabKey, parseSettings, type RelayConfig } from '../../src/config.js';
import { ConfigError } from '../../src/errors.js';

const ACME = { certMode: 'letsencrypt', hostname: 'a.example.com' };
const GCP = { ...ACME, certMode: 'gcp', acme: { eabKid: 'k', eabKey: 'aaaa', email: 'a@example.com' } };

function problemsOf(config: object): readonly string[] {
  try {
    parseSettings(config as RelayConfig);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ path }) => path);
  }
}

describe('settings of ACME', () => {
  it.each<[string, object, string]>([
    ['a name that no authority vouches for', { certMode: 'letsencrypt' }, 'hostname'],
    ['an address without IP certificates', { certMode: 'letsencrypt', hostname: '192.0.2.1' }, 'hostname'],
    ['another authority without a directory', { certMode: 'acme', hostname: 'a.example.com' }, 'acme.directory'],
    ['terms that are not agreed to', { ...ACME, acme: { directory: 'https://ca.example.com/' } }, 'acme.agreeTerms'],
    ['an external account without a key', { ...ACME, acme: { eabKid: 'k' } }, 'acme.eabKeyFile'],
    ['a key without an external account', { ...ACME, acme: { eabKey: 'aaaa' } }, 'acme.eabKid'],
    ['two keys', { ...ACME, acme: { eabKid: 'k', eabKey: 'aaaa', eabKeyFile: '/k' } }, 'acme.eabKey'],
    ['a key that is none', { ...ACME, acme: { eabKid: 'k', eabKey: 'a b' } }, 'acme.eabKey'],
    ['gcp with addresses', { ...GCP, acme: { ...GCP.acme, ipCerts: true } }, 'acme.ipCerts'],
    ['gcp for an address', { ...GCP, hostname: '192.0.2.1' }, 'hostname'],
    ['gcp without an e-mail address', { ...GCP, acme: { eabKid: 'k', eabKey: 'aaaa' } }, 'acme.email'],
    ['addresses without IP certificates', { ...ACME, acme: { ipAddresses: '192.0.2.1' } }, 'acme.ipAddresses'],
    ['IP certificates from no authority', { certMode: 'manual', acme: { ipCerts: true } }, 'acme.ipCerts'],
  ])('a contradiction is reported: %s', (_name, config, path) => {
    expect(problemsOf(config)).toEqual([path]);
  });

  it.each<[string, object]>([
    ['a certificate authority that needs nothing', ACME],
    [
      'another one, whose terms are agreed to',
      { ...ACME, acme: { directory: 'https://ca.example.com/', agreeTerms: true } },
    ],
    ['an address with IP certificates', { certMode: 'letsencrypt', hostname: '192.0.2.1', acme: { ipCerts: true } }],
    ['an external account', GCP],
  ])('no contradiction is reported: %s', (_name, config) => {
    expect(problemsOf(config)).toEqual([]);
  });
});

describe('the key of an external account', () => {
  it.each(['-_8', 'AAEC', '++//', '+/8='])('%s is a key in one of the two alphabets', (text) => {
    expect(Buffer.from(parseEabKey(text) as Uint8Array)).toEqual(Buffer.from(text, 'base64'));
  });

  it.each(['', 'a', 'a b', '+/', 'a=', '-/AA', 'AAA=A'])('%j is not a key', (text) => {
    expect(parseEabKey(text)).toBeUndefined();
  });
});
