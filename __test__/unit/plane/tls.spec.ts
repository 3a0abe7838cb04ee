/** Which certificate a handshake gets: by its server name or address, the protocols that it offers, and what it can verify. */
import { isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import { parsePair } from '../../../src/control/certificates.js';
import type { ClientHello } from '../../../src/plane/js/client-hello.js';
import { TlsContexts } from '../../../src/plane/js/tls.js';
import type { Certificate, CertificateSet } from '../../../src/plane/plane.js';
import { laneNamed } from '../../helpers/lanes.js';
import { PlaneHarness } from '../../helpers/plane-harness.js';
import { pemPair } from '../../helpers/relay.js';
import { HAS_OPENSSL, rsaPair } from '../../helpers/tls.js';

const ACME = 'acme-tls/1';
const ECDSA = 0x0403;
const RSA_PSS = 0x0804;
const { chain, privateKey } = parsePair(pemPair(['any.test']), []);

function certificate(names: readonly string[], alpn?: string): Certificate {
  return { names, chain, privateKey, ...(alpn && { alpn }) };
}

/** A ClientHello of a client in use, but for what is given. */
function hello(changes: Partial<ClientHello> = {}): ClientHello {
  return { serverName: '', alpn: [], schemes: [ECDSA], ...changes };
}

/** The number of the certificate that is chosen, or what else becomes of the handshake. */
function choices(otherwise: CertificateSet['otherwise'], ...certificates: Certificate[]) {
  const contexts = new TlsContexts({ certificates, otherwise });
  // Each certificate is told by the first choice that can only be it.
  const known = certificates.map(({ names, alpn }) => {
    const [name = ''] = names;
    return contexts.choose(
      hello({ serverName: isIP(name) === 0 ? name.toLowerCase() : '', alpn: alpn ? [alpn] : [] }),
      name,
    );
  });
  return (changes: Partial<ClientHello>, localAddress = '127.0.0.1') => {
    const choice = contexts.choose(hello(changes), localAddress);
    return typeof choice === 'string' ? choice : known.indexOf(choice);
  };
}

describe('the certificate for a server name', () => {
  it('a name gets the certificate that lists it, in any letter case, before one whose pattern covers it', () => {
    const choose = choices('refuse', certificate(['*.a.test']), certificate(['Relay.A.test']));
    expect(choose({ serverName: 'relay.a.test' })).toBe(1);
    expect(choose({ serverName: 'other.a.test' })).toBe(0);
  });

  it('a pattern covers one label, and no name without one', () => {
    const choose = choices('refuse', certificate(['*.a.test']), certificate(['*.test']));
    expect(choose({ serverName: 'a.test' })).toBe(1);
    for (const serverName of ['x.y.a.test', 'test', '.a.test', '.test', 'a']) {
      expect(choose({ serverName }), serverName).toBe('refuse');
    }
  });

  it('a client without a name gets the certificate of the address that it has come to', () => {
    const choose = choices(
      'refuse',
      certificate(['192.0.2.1']),
      certificate(['2001:DB8:0::1']),
      certificate(['a.test']),
    );
    expect(choose({}, '192.0.2.1')).toBe(0);
    expect(choose({}, '::ffff:192.0.2.1')).toBe(0);
    expect(choose({}, '2001:db8::1')).toBe(1);
    expect(choose({}, '192.0.2.2')).toBe('refuse');
    // An address is no name.
    expect(choose({ serverName: '192.0.2.1' }, '192.0.2.1')).toBe('refuse');
  });

  it('the first of several certificates of a name is chosen', () => {
    const choose = choices('refuse', certificate(['a.test', 'b.test']), certificate(['c.test', 'b.test']));
    expect([choose({ serverName: 'a.test' }), choose({ serverName: 'c.test' })]).toEqual([0, 1]);
    expect(choose({ serverName: 'b.test' })).toBe(0);
  });
});

describe('a name without a certificate', () => {
  it.each([
    ['first', 1, 1],
    ['refuse', 'refuse', 'refuse'],
    ['ask', 'ask', 'ask'],
    ['challenge', 'refuse', 'ask'],
  ] as const)(
    'a name without a certificate, where that means %s, gets %s, and an authority gets %s',
    (otherwise, client, authority) => {
      // The first certificate is for authorities alone.
      const choose = choices(
        otherwise,
        certificate(['b.test'], ACME),
        certificate(['a.test']),
        certificate(['c.test']),
      );
      expect(choose({ serverName: 'none.test' })).toBe(client);
      expect(choose({})).toBe(client);
      expect(choose({ serverName: 'none.test', alpn: [ACME] })).toBe(authority);
      // Who offers other protocols too is no authority.
      expect(choose({ serverName: 'none.test', alpn: [ACME, 'h2'] })).toBe(client);
      expect(choose({ serverName: 'none.test', alpn: ['h2'] })).toBe(client);
    },
  );

  it('a name gets none of no certificates', () => {
    expect(choices('first')({ serverName: 'a.test' })).toBe('refuse');
    expect(new TlsContexts({ certificates: [], otherwise: 'first' }).first).toBeUndefined();
  });
});

describe('a certificate for a protocol', () => {
  const choose = choices('refuse', certificate(['a.test']), certificate(['a.test'], ACME));

  it.each<[readonly string[], number]>([
    [[], 0],
    [['http/1.1'], 0],
    [[ACME], 1],
    [[ACME, 'http/1.1'], 1],
  ])('a handshake that offers %j gets the certificate for what it offers', (alpn, chosen) => {
    expect(choose({ serverName: 'a.test', alpn })).toBe(chosen);
  });

  it('a handshake of an authority gets no certificate of clients', () => {
    expect(choices('refuse', certificate(['a.test']))({ serverName: 'a.test', alpn: [ACME] })).toBe('refuse');
  });
});

describe.skipIf(!HAS_OPENSSL)('a certificate that the client can verify', () => {
  const rsa = () => ({
    ...certificate(['a.test', 'rsa.test']),
    ...parsePair(rsaPair(), []),
    names: ['rsa.test', 'a.test'],
  });

  it('a client gets the certificate whose signatures it accepts, or the first one', () => {
    const choose = choices('refuse', certificate(['ecdsa.test', 'a.test']), rsa());
    expect(choose({ serverName: 'rsa.test' })).toBe(1);
    expect(choose({ serverName: 'a.test', schemes: [ECDSA, RSA_PSS] })).toBe(0);
    expect(choose({ serverName: 'a.test', schemes: [RSA_PSS] })).toBe(1);
    expect(choose({ serverName: 'a.test', schemes: [0x0601, 0x0807] })).toBe(1);
    expect(choose({ serverName: 'a.test', schemes: [0x0807] })).toBe(0);
  });
});

describe('the cipher suites of the plane', () => {
  it.each([
    ['TLSv1.3', 'TLS_AES_256_GCM_SHA384'],
    ['TLSv1.3', 'TLS_AES_128_GCM_SHA256'],
    ['TLSv1.3', 'TLS_CHACHA20_POLY1305_SHA256'],
    ['TLSv1.2', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
    ['TLSv1.2', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
    ['TLSv1.2', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
  ] as const)('a client of %s may have %s alone', async (version, suite) => {
    const harness = await PlaneHarness.open(laneNamed('js'), {}, 'tls');
    const { client } = await harness.admitted({ tls: { ciphers: suite, minVersion: version, maxVersion: version } });
    expect(await client.fence()).toEqual([]);
  });
});
