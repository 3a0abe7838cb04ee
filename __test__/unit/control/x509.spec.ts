import { X509Certificate } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import { Certificate, type Extension } from '@peculiar/asn1-x509';
import { describe, expect, it } from 'vitest';
import { metaCertificate, selfSignedCertificate } from '../../../src/control/x509.js';
import { nodeKeyHex } from '../../../src/protocol/key.js';
import { nodeKey, vectors } from '../vectors.js';

const NOW = new Date('2026-11-23T12:34:56.789Z');
const DAY = 24 * 60 * 60 * 1000;
const ED25519 = '1.3.101.112';

describe('the meta certificate', () => {
  const facts = vectors.metaCert.values;
  const der = metaCertificate(nodeKey(facts.serverPublicKey), NOW);
  const parsed = new X509Certificate(der);
  const { tbsCertificate, signatureAlgorithm } = AsnConvert.parse(der, Certificate);

  it('the meta certificate has upstream’s version, serial number and names', () => {
    expect(tbsCertificate.version + 1).toBe(facts.version);
    expect([...new Uint8Array(tbsCertificate.serialNumber)]).toEqual([facts.serial]);
    expect(facts.commonName).toBe(`derpkey${nodeKeyHex(nodeKey(facts.serverPublicKey))}`);
    for (const name of [tbsCertificate.subject, tbsCertificate.issuer]) {
      expect(name).toHaveLength(1);
      expect(name[0]).toHaveLength(1);
      expect(name[0]?.[0]?.type).toBe('2.5.4.3');
      expect(name[0]?.[0]?.value.toString()).toBe(facts.commonName);
    }
  });

  it('the meta certificate’s names equal upstream’s to the byte, except for the string type of the common name', () => {
    // Go writes a PrintableString (0x13), this a UTF8String (0x0c); no client looks.
    const printable = (name: unknown) =>
      Buffer.from(AsnConvert.serialize(name)).toString('hex').replace('0c47', '1347');
    expect(printable(tbsCertificate.subject)).toBe(facts.subjectDer);
    expect(printable(tbsCertificate.issuer)).toBe(facts.issuerDer);
  });

  it('the meta certificate has upstream’s validity', () => {
    const { notBefore, notAfter } = tbsCertificate.validity;
    expect(days(notBefore.getTime().getTime())).toBeCloseTo(facts.notBeforeDays, 4);
    expect(days(notAfter.getTime().getTime())).toBeCloseTo(facts.notAfterDays, 4);
  });

  it('the meta certificate has upstream’s extensions', () => {
    expect(extensionsOf(tbsCertificate.extensions)).toEqual(facts.extensions);
    expect(parsed.ca).toBe(facts.extensions['2.5.29.19'] === undefined);
    expect(parsed.subjectAltName).toBeUndefined();
  });

  it('the meta certificate has upstream’s key type and signature', () => {
    expect(signatureAlgorithm.algorithm).toBe(ED25519);
    expect(tbsCertificate.signature.algorithm).toBe(ED25519);
    expect(tbsCertificate.subjectPublicKeyInfo.algorithm.algorithm).toBe(ED25519);
    // RFC 8410: no parameters, not even NULL.
    expect(signatureAlgorithm.parameters ?? undefined).toBeUndefined();
    expect(parsed.publicKey.asymmetricKeyType).toBe('ed25519');
    expect(parsed.verify(parsed.publicKey)).toBe(true);
  });

  it('each meta certificate has its own key', () => {
    const other = new X509Certificate(metaCertificate(nodeKey(facts.serverPublicKey), NOW));
    expect(other.publicKey.equals(parsed.publicKey)).toBe(false);
  });

  it('the meta certificate names the relay’s key, whichever that is', () => {
    const zeros = new X509Certificate(metaCertificate(nodeKey('00'.repeat(32)), NOW));
    expect(zeros.subject).toBe(`CN=derpkey${'0'.repeat(64)}`);
  });
});

describe('a self-signed certificate', () => {
  const hosts = ['derp.example.com', '192.0.2.1', '2001:db8::1', 'localhost'];
  const { der, privateKey } = selfSignedCertificate(hosts, 10, NOW);
  const parsed = new X509Certificate(der);
  const { tbsCertificate } = AsnConvert.parse(der, Certificate);

  it('a self-signed certificate covers each of its hosts, and no other', () => {
    expect(parsed.checkHost('derp.example.com')).toBe('derp.example.com');
    expect(parsed.checkHost('localhost')).toBe('localhost');
    expect(parsed.checkIP('192.0.2.1')).toBe('192.0.2.1');
    expect(parsed.checkIP('2001:db8::1')).toBe('2001:db8::1');
    expect(parsed.checkHost('example.com')).toBeUndefined();
    expect(parsed.checkHost('192.0.2.1')).toBeUndefined();
    expect(parsed.checkIP('192.0.2.2')).toBeUndefined();
    expect(parsed.subject).toBe('CN=derp.example.com');
    expect(parsed.issuer).toBe(parsed.subject);
  });

  it('a self-signed certificate has its key, and signed itself with it', () => {
    expect(parsed.checkPrivateKey(privateKey)).toBe(true);
    expect(parsed.verify(parsed.publicKey)).toBe(true);
    expect(privateKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
  });

  it('a self-signed certificate is valid from a little before now for the given days', () => {
    expect(days(Date.parse(parsed.validTo))).toBeCloseTo(10, 4);
    expect(days(Date.parse(parsed.validFrom))).toBeCloseTo(-1 / 24, 4);
  });

  it('a self-signed certificate is for a TLS server, and signs no others', () => {
    const extensions = extensionsOf(tbsCertificate.extensions);
    expect(Object.keys(extensions).sort()).toEqual(['2.5.29.15', '2.5.29.17', '2.5.29.19', '2.5.29.37']);
    // Digital signature and key encipherment; server authentication.
    expect(extensions['2.5.29.15']).toEqual({ critical: true, value: '030205a0' });
    expect(extensions['2.5.29.37']).toEqual({ critical: false, value: '300a06082b06010505070301' });
    expect(extensions['2.5.29.17']?.critical).toBe(false);
    expect(extensions['2.5.29.19']).toEqual({ critical: true, value: '3000' });
    expect(parsed.ca).toBe(false);
  });

  it('each self-signed certificate has a positive serial number of its own', () => {
    const serials = Array.from({ length: 40 }, () => {
      const made = AsnConvert.parse(selfSignedCertificate(['x'], 1, NOW).der, Certificate);
      return Buffer.from(made.tbsCertificate.serialNumber).toString('hex');
    });
    expect(new Set(serials).size).toBe(40);
    for (const serial of serials) {
      expect(Number.parseInt(serial.slice(0, 2), 16)).toBeLessThan(0x80);
      // DER has no needless zeros at the front.
      expect(serial).not.toMatch(/^00[0-7]/);
      expect(serial.length).toBeLessThanOrEqual(32);
    }
  });

  it('a self-signed certificate that lasts beyond 2049 has the date form for it', () => {
    const far = new X509Certificate(selfSignedCertificate(['x'], 365 * 30, NOW).der);
    expect(new Date(far.validTo).getUTCFullYear()).toBe(2056);
  });
});

function days(time: number): number {
  return (time - NOW.getTime()) / DAY;
}

function extensionsOf(
  extensions: Iterable<Extension> | undefined,
): Record<string, { critical: boolean; value: string }> {
  const entries = [...(extensions ?? [])].map(
    ({ extnID, critical, extnValue }) =>
      [extnID, { critical, value: Buffer.from(extnValue.buffer).toString('hex') }] as const,
  );
  return Object.fromEntries(entries);
}
