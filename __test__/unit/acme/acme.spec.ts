/** ACME's formats, by the examples of the RFCs and by what OpenSSL makes of ours. */
import {
  createHash,
  createHmac,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  verify,
  X509Certificate,
} from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import { Certificate } from '@peculiar/asn1-x509';
import { describe, expect, it } from 'vitest';
import { externalAccountBinding, jwkOf, keyAuthorization, signed, thumbprint } from '../../../src/acme/jws.js';
import { acmeError, refusal, retryAt } from '../../../src/acme/problem.js';
import { certificateId, renewalTime, suggestionOf } from '../../../src/acme/renewal.js';
import { alpnCertificate, certificateRequest, challengeName, dnsRecord } from '../../../src/acme/request.js';

const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const DAY = 24 * 60 * 60 * 1000;

function parts(text: string): { header: Record<string, unknown>; payload: string; signature: Buffer; input: Buffer } {
  const { protected: head, payload, signature } = JSON.parse(text);
  const decoded = (part: string) => Buffer.from(part, 'base64url').toString();
  return {
    header: JSON.parse(decoded(head)),
    payload: decoded(payload),
    signature: Buffer.from(signature, 'base64url'),
    input: Buffer.from(`${head}.${payload}`),
  };
}

describe('signed requests', () => {
  it('the thumbprint of a key equals that of RFC 7638', () => {
    const n =
      '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw';
    const key = createPublicKey({ key: { kty: 'RSA', n, e: 'AQAB' }, format: 'jwk' });
    // A public key stands in for the private one, whose thumbprint is the same.
    expect(
      createHash('sha256')
        .update(JSON.stringify(jwkFrom(key)))
        .digest('base64url'),
    ).toBe('NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs');
    expect(Object.keys(jwkOf(ec))).toEqual(['crv', 'kty', 'x', 'y']);
    expect(keyAuthorization('token', ec)).toBe(`token.${thumbprint(ec)}`);
  });

  it.each([
    ['ES256', 'sha256', () => ec],
    ['ES384', 'sha384', () => generateKeyPairSync('ec', { namedCurve: 'secp384r1' }).privateKey],
    ['RS256', 'sha256', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
  ] as const)('a signed request verifies: %s', (alg, hash, make) => {
    const key = make();
    const { header, payload, signature, input } = parts(signed(key, { nonce: 'n', url: 'u' }, '{"a":1}'));
    expect(header).toEqual({ alg, nonce: 'n', url: 'u' });
    expect(payload).toBe('{"a":1}');
    const publicKey = createPublicKey(key as never);
    expect(verify(hash, input, { key: publicKey, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
  });

  it('requests are signed with keys that CAs accept', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    expect(() => signed(privateKey, {}, '')).toThrow('neither RSA nor of the curves');
  });

  it('a request binds an external account', () => {
    const key = Buffer.from('secret');
    const bound = externalAccountBinding({ kid: 'kid', key }, ec, 'https://ca/new');
    const { header, payload, signature, input } = parts(JSON.stringify(bound));
    expect(header).toEqual({ alg: 'HS256', kid: 'kid', url: 'https://ca/new' });
    expect(JSON.parse(payload)).toEqual(jwkOf(ec));
    expect(signature).toEqual(createHmac('sha256', key).update(input).digest());
  });
});

describe('challenges', () => {
  it('the DNS challenge has the record of RFC 8555', () => {
    const value = createHash('sha256').update('t.k').digest('base64url');
    expect(dnsRecord('example.com', 't.k')).toEqual({ name: '_acme-challenge.example.com', value });
    expect(dnsRecord('*.example.com', 't.k').name).toBe('_acme-challenge.example.com');
  });

  it.each([
    ['example.com', 'example.com'],
    ['127.0.0.2', '2.0.0.127.in-addr.arpa'],
    ['2001:db8::1', '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa'],
  ])('the TLS-ALPN-01 name of %s is %s', (name, asked) => {
    expect(challengeName(name)).toBe(asked);
  });

  it.each(['example.com', '192.0.2.1', '2001:db8::1'])(
    'the TLS-ALPN-01 certificate for %s has the form of RFC 8737',
    (name) => {
      const { der, privateKey } = alpnCertificate(name, 't.k');
      const certificate = new X509Certificate(der);
      expect(certificate.checkPrivateKey(privateKey)).toBe(true);
      expect(certificate.verify(certificate.publicKey)).toBe(true);
      expect(certificate.checkHost(name) ?? certificate.checkIP(name)).toBe(name);
      const { extensions = [] } = AsnConvert.parse(der, Certificate).tbsCertificate;
      const [found] = extensions.filter(({ extnID }) => extnID === '1.3.6.1.5.5.7.1.31');
      const digest = createHash('sha256').update('t.k').digest();
      expect(found?.critical).toBe(true);
      expect(Buffer.from(found?.extnValue.buffer as ArrayBuffer)).toEqual(Buffer.concat([Buffer.of(4, 32), digest]));
    },
  );
});

describe('certificate requests', () => {
  it.each([
    ['example.com', ec],
    ['192.0.2.1', ec],
    ['2001:db8::1', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey],
  ] as const)('a certificate request for %s verifies, and has the name', (name, key) => {
    const der = Buffer.from(certificateRequest(name, key as KeyObject));
    const [info, , signature] = children(der);
    const spki = children(info as Buffer)[2] as Buffer;
    const publicKey = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    const bits = (signature as Buffer).subarray((signature as Buffer).length > 131 ? 5 : 3);
    expect(verify('sha256', info as Buffer, publicKey, bits)).toBe(true);
    expect(spki).toEqual(createPublicKey(key as never).export({ type: 'spki', format: 'der' }));
    if (name === 'example.com') expect(der.includes(name)).toBe(true);
    if (name === '192.0.2.1') expect(der.includes(Buffer.of(0x87, 4, 192, 0, 2, 1))).toBe(true);
  });
});

describe('renewal', () => {
  it('a certificate is renewed a third of its lifetime before it expires, at most 30 days, with a small delay', () => {
    const until = 1000 * DAY;
    expect(renewalTime({ from: until - 90 * DAY, until }, () => 0)).toBe(until - 30 * DAY);
    expect(renewalTime({ from: until - 45 * DAY, until }, () => 0)).toBe(until - 15 * DAY);
    expect(renewalTime({ from: until - 6 * DAY, until }, () => 0)).toBe(until - 2 * DAY);
    expect(renewalTime({ from: until - 365 * DAY, until }, () => 0)).toBe(until - 30 * DAY);
    expect(renewalTime({ from: until - 90 * DAY, until }, () => 1)).toBe(until - 30 * DAY + DAY / 24);
    expect(renewalTime({ from: until - 30_000, until }, () => 1)).toBe(until - 9_000);
  });

  it('a certificate has the name of RFC 9773', () => {
    const pem = `-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----`;
    expect(certificateId({ raw: Buffer.from(pem.replace(/-----.*-----|\n/g, ''), 'base64') })).toBe(
      'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE',
    );
  });

  it('the CA suggests when to renew, and is polled within bounds', () => {
    const answer = (body: unknown, after?: string) => ({
      status: 200,
      headers: { 'retry-after': after },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    const window = { start: '2026-01-02T00:00:00Z', end: '2026-01-04T00:00:00Z' };
    const start = Date.parse(window.start);
    const page = { suggestedWindow: window, explanationURL: 'https://x/' };
    expect(suggestionOf(answer(page, '21600'), start, 0.5)).toEqual({
      at: start + DAY,
      askAt: start + DAY / 4,
      explanation: 'https://x/',
    });
    expect(suggestionOf(answer(page, '1'), start, 0)?.askAt).toBe(start + 60_000);
    expect(suggestionOf(answer(page, '99999999'), start, 0)?.askAt).toBe(start + DAY);
    for (const body of ['', 'null', '[]', {}, { suggestedWindow: { start: 'x', end: 'y' } }]) {
      expect(suggestionOf(answer(body), start, 0)).toBeUndefined();
    }
    const backwards = { suggestedWindow: { start: window.end, end: window.start } };
    expect(suggestionOf(answer(backwards), start, 0)).toBeUndefined();
  });
});

describe('errors of a CA', () => {
  it('an error of a CA is quoted on one line, with the time for the next attempt', () => {
    const body = JSON.stringify({
      type: 'urn:ietf:params:acme:error:rateLimited',
      detail: 'too many\n\u001b[31mcertificates',
      subproblems: [{ detail: 'for a.example.com' }],
    });
    const error = refusal('ordering', { status: 429, headers: { 'retry-after': '60' }, body }, 1000);
    expect(error).toMatchObject({ type: 'rateLimited', retryAt: 61_000 });
    expect(error.message).toBe('ordering: too many [31mcertificates; for a.example.com');
  });

  it.each([['<html>'], ['null'], ['[]'], ['{}'], ['{"detail": 5}']])(
    'an error may lack a problem document: %s',
    (body) => {
      expect(refusal('ordering', { status: 502, headers: {}, body }, 0).message).toBe('ordering: HTTP status 502');
    },
  );

  it('a long error is cut', () => {
    expect(acmeError('x', { detail: 'y'.repeat(10_000) }).message.length).toBeLessThan(600);
  });

  it('Retry-After may be a date', () => {
    const at = (value: string) => retryAt({ headers: { 'retry-after': value } }, 0);
    expect(at('Thu, 01 Jan 1970 00:01:00 GMT')).toBe(60_000);
    expect(at('soon')).toBeUndefined();
  });
});

function jwkFrom(key: KeyObject): object {
  const { e, kty, n } = key.export({ format: 'jwk' });
  return { e, kty, n };
}

/** The elements of a sequence in DER, each with its head. */
function children(der: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let at = header(der);
  while (at < der.length) {
    const element = der.subarray(at);
    const length = header(element) + lengthOf(element);
    found.push(element.subarray(0, length));
    at += length;
  }
  return found;
}

function header(der: Buffer): number {
  const first = der[1] as number;
  return first < 0x80 ? 2 : 2 + (first & 0x7f);
}

function lengthOf(der: Buffer): number {
  const first = der[1] as number;
  return first < 0x80 ? first : der.readUIntBE(2, first & 0x7f);
}
