/** Makes the relay's own two kinds of certificates. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import { AsnConvert, AsnIntegerBigIntConverter, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_kp_serverAuth,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';
import { type NodeKey, nodeKeyHex } from '../protocol/key.js';
import { PROTOCOL_VERSION } from '../protocol/wire.js';

const DAY = 24 * 60 * 60 * 1000;
const COMMON_NAME = '2.5.4.3';
const ED25519 = '1.3.101.112';
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';

/** A self-signed certificate and its key. */
export interface SelfSigned {
  readonly der: Uint8Array;
  readonly privateKey: KeyObject;
}

/**
 * The certificate at the end of every chain that the relay sends. It carries the relay's DERP key and protocol version
 * in the handshake, which saves a TLS 1.3 client a round trip. Its own key signs it and is discarded. Clients expect
 * this exact form, down to the single extension and the common name of 71 characters.
 */
export function metaCertificate(serverKey: NodeKey, now: Date): Uint8Array {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const name = commonName(`derpkey${nodeKeyHex(serverKey)}`);
  return signed({
    serial: BigInt(PROTOCOL_VERSION),
    name,
    from: new Date(now.getTime() - 30 * DAY),
    until: new Date(now.getTime() + 30 * DAY),
    extensions: [extension(id_ce_basicConstraints, new BasicConstraints(), true)],
    algorithm: ED25519,
    publicKey,
    privateKey,
  });
}

/** A self-signed ECDSA P-256 server certificate for `hosts` (names and addresses); the first one is its common name. */
export function selfSignedCertificate(hosts: readonly string[], days: number, now: Date): SelfSigned {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const names = hosts.map((host) =>
    isIP(host) === 0 ? new GeneralName({ dNSName: host }) : new GeneralName({ iPAddress: host }),
  );
  const der = signed({
    // Positive, with 127 random bits.
    serial: BigInt(`0x${randomBytes(16).toString('hex')}`) >> 1n,
    name: commonName(hosts[0] as string),
    // Clocks may differ a little.
    from: new Date(now.getTime() - DAY / 24),
    until: new Date(now.getTime() + days * DAY),
    extensions: [
      extension(id_ce_keyUsage, new KeyUsage(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyEncipherment), true),
      extension(id_ce_extKeyUsage, new ExtendedKeyUsage([id_kp_serverAuth])),
      extension(id_ce_basicConstraints, new BasicConstraints(), true),
      extension(id_ce_subjectAltName, new SubjectAlternativeName(names)),
    ],
    algorithm: ECDSA_WITH_SHA256,
    publicKey,
    privateKey,
  });
  return { der, privateKey };
}

interface Template {
  readonly serial: bigint;
  readonly name: Name;
  readonly from: Date;
  readonly until: Date;
  readonly extensions: Extension[];
  readonly algorithm: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

function signed(template: Template): Uint8Array {
  const algorithm = new AlgorithmIdentifier({ algorithm: template.algorithm });
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: AsnIntegerBigIntConverter.toASN(template.serial).valueBlock.valueHexView.slice().buffer,
    signature: algorithm,
    issuer: template.name,
    validity: new Validity({ notBefore: template.from, notAfter: template.until }),
    subject: template.name,
    subjectPublicKeyInfo: AsnConvert.parse(
      template.publicKey.export({ type: 'spki', format: 'der' }),
      SubjectPublicKeyInfo,
    ),
    extensions: new Extensions(template.extensions),
  });
  const hash = template.algorithm === ED25519 ? null : 'sha256';
  const signature = sign(hash, Buffer.from(AsnConvert.serialize(tbsCertificate)), template.privateKey);
  const certificate = new Certificate({
    tbsCertificate,
    signatureAlgorithm: algorithm,
    signatureValue: new Uint8Array(signature).buffer,
  });
  return new Uint8Array(AsnConvert.serialize(certificate));
}

function commonName(text: string): Name {
  const value = new AttributeValue({ utf8String: text });
  return new Name([new RelativeDistinguishedName([new AttributeTypeAndValue({ type: COMMON_NAME, value })])]);
}

function extension(id: string, value: unknown, critical = false): Extension {
  return new Extension({ extnID: id, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}
