/** Signed DER for a certificate authority: certificate requests, and the certificates that answer TLS-ALPN-01. */
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import { Extension, Extensions, GeneralName, id_ce_subjectAltName, SubjectAlternativeName } from '@peculiar/asn1-x509';

/** The extension `acmeIdentifier` (RFC 8737 §6.1). */
const ACME_IDENTIFIER = '1.3.6.1.5.5.7.1.31';

const SEQUENCE = 0x30;
const SET = 0x31;
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const GENERALIZED_TIME = 0x18;
const OID_EXTENSION_REQUEST = Buffer.from('06092a864886f70d01090e', 'hex');
const OID_ECDSA_WITH_SHA256 = Buffer.from('06082a8648ce3d040302', 'hex');
const OID_SHA256_WITH_RSA = Buffer.from('06092a864886f70d01010b0500', 'hex');

/** A certificate request (PKCS #10) in DER for one name or address, which appears only as an alternative name. */
export function certificateRequest(name: string, key: KeyObject): Uint8Array {
  const extensions = Buffer.from(AsnConvert.serialize(new Extensions([alternativeName(name)])));
  const attribute = der(SEQUENCE, OID_EXTENSION_REQUEST, der(SET, extensions));
  const info = der(SEQUENCE, der(INTEGER, Buffer.of(0)), der(SEQUENCE), spki(key), der(0xa0, attribute));
  return signed(info, key);
}

/** The certificate that answers TLS-ALPN-01 (RFC 8737 §3, RFC 8738 §4), and its key. */
export function alpnCertificate(name: string, keyAuthorization: string): { der: Uint8Array; privateKey: KeyObject } {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const digest = createHash('sha256').update(keyAuthorization).digest();
  const proof = AsnConvert.serialize(new OctetString(digest));
  const identifier = new Extension({ extnID: ACME_IDENTIFIER, critical: true, extnValue: new OctetString(proof) });
  const extensions = Buffer.from(AsnConvert.serialize(new Extensions([identifier, alternativeName(name)])));
  const now = Date.now();
  const validity = der(SEQUENCE, time(now - 86_400_000), time(now + 7 * 86_400_000));
  const serial = randomBytes(16);
  serial[0] = ((serial[0] as number) & 0x7f) | 0x40;
  const info = der(
    SEQUENCE,
    ...[der(0xa0, der(INTEGER, Buffer.of(2))), der(INTEGER, serial), algorithm(privateKey)],
    ...[der(SEQUENCE), validity, der(SEQUENCE), spki(privateKey), der(0xa3, extensions)],
  );
  return { der: signed(info, privateKey), privateKey };
}

/** The server name of a TLS-ALPN-01 handshake: the name itself, or the reverse name of an address (RFC 8738 §6). */
export function challengeName(name: string): string {
  if (isIP(name) === 4) return `${name.split('.').reverse().join('.')}.in-addr.arpa`;
  if (isIP(name) === 6) return `${[...addressBytes(name).toString('hex')].reverse().join('.')}.ip6.arpa`;
  return name;
}

/** The name and value of the TXT record that answers DNS-01 (RFC 8555 §8.4). */
export function dnsRecord(name: string, keyAuthorization: string): { name: string; value: string } {
  const value = createHash('sha256').update(keyAuthorization).digest('base64url');
  return { name: `_acme-challenge.${name.replace(/^\*\./, '')}`, value };
}

function alternativeName(name: string): Extension {
  const general = isIP(name) === 0 ? new GeneralName({ dNSName: name }) : new GeneralName({ iPAddress: name });
  const value = AsnConvert.serialize(new SubjectAlternativeName([general]));
  return new Extension({ extnID: id_ce_subjectAltName, extnValue: new OctetString(value) });
}

function addressBytes(name: string): Buffer {
  const [, bytes] = [0, Buffer.from(AsnConvert.serialize(new GeneralName({ iPAddress: name })))];
  return bytes.subarray(2);
}

function signed(info: Buffer, key: KeyObject): Uint8Array {
  return der(SEQUENCE, info, algorithm(key), der(BIT_STRING, Buffer.of(0), sign('sha256', info, key)));
}

function algorithm({ asymmetricKeyType }: KeyObject): Buffer {
  return der(SEQUENCE, asymmetricKeyType === 'rsa' ? OID_SHA256_WITH_RSA : OID_ECDSA_WITH_SHA256);
}

function spki(key: KeyObject): Buffer {
  return createPublicKey(key as never).export({ type: 'spki', format: 'der' });
}

function time(milliseconds: number): Buffer {
  const text = new Date(milliseconds).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return der(GENERALIZED_TIME, Buffer.from(text));
}

/** Encodes a value in DER, with tag and length. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), body]);
  const bytes = length < 0x100 ? [length] : [length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, 0x80 | bytes.length, ...bytes), body]);
}
