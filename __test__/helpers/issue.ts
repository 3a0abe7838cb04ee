/** Makes certificates as authorities do, good ones and others. */
import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  BasicConstraints,
  Certificate,
  CertificatePolicies,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  id_ce_basicConstraints,
  id_ce_certificatePolicies,
  id_ce_extKeyUsage,
  id_ce_subjectAltName,
  Name,
  PolicyInformation,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';

const DAY = 24 * 60 * 60 * 1000;
const COMMON_NAME = '2.5.4.3';
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';

/** A certificate, its key, and what has to be sent behind it. */
export interface Issued {
  readonly pem: string;
  readonly key: string;
  readonly subject: string;
  readonly privateKey: KeyObject;
}

export interface Wanted {
  readonly subject: string;
  /** Who signs it; itself, if left out. */
  readonly by?: Issued;
  /** Names and addresses. */
  readonly names?: readonly string[];
  readonly ca?: boolean;
  readonly pathLength?: number;
  /** An identifier of what it may be used for alone. */
  readonly usage?: string;
  readonly criticalPolicies?: boolean;
  /** An extension that must be understood, and that nobody does. */
  readonly criticalNonsense?: boolean;
  /** Days from now. */
  readonly from?: number;
  readonly until?: number;
}

/** Signs with ECDSA P-256. */
export function issue(wanted: Wanted): Issued {
  const { subject, by, names = [], ca, pathLength, usage, from = -1, until = 30 } = wanted;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const algorithm = new AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 });
  const extensions = [
    ...(ca === undefined ? [] : [extension(id_ce_basicConstraints, constraints(ca, pathLength), true)]),
    ...(names.length === 0
      ? []
      : [extension(id_ce_subjectAltName, new SubjectAlternativeName(names.map(generalName)))]),
    ...(usage === undefined ? [] : [extension(id_ce_extKeyUsage, new ExtendedKeyUsage([usage]))]),
    ...(wanted.criticalPolicies ? [extension(id_ce_certificatePolicies, policies(), true)] : []),
    ...(wanted.criticalNonsense ? [extension('1.3.6.1.4.1.99999.1', new OctetString(1), true)] : []),
  ];
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: new Uint8Array([1, ...randomBytes(8)]).buffer,
    signature: algorithm,
    issuer: nameOf(by?.subject ?? subject),
    validity: new Validity({
      notBefore: new Date(Date.now() + from * DAY),
      notAfter: new Date(Date.now() + until * DAY),
    }),
    subject: nameOf(subject),
    subjectPublicKeyInfo: AsnConvert.parse(publicKey.export({ type: 'spki', format: 'der' }), SubjectPublicKeyInfo),
    ...(extensions.length > 0 && { extensions: new Extensions(extensions) }),
  });
  const signature = sign('sha256', Buffer.from(AsnConvert.serialize(tbsCertificate)), by?.privateKey ?? privateKey);
  const signatureValue = new Uint8Array(signature).buffer;
  const der = AsnConvert.serialize(new Certificate({ tbsCertificate, signatureAlgorithm: algorithm, signatureValue }));
  const pem = new X509Certificate(Buffer.from(der)).toString();
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { pem, key, subject, privateKey };
}

function constraints(cA: boolean, pathLenConstraint: number | undefined): BasicConstraints {
  return new BasicConstraints({ cA, ...(pathLenConstraint !== undefined && { pathLenConstraint }) });
}

function policies(): CertificatePolicies {
  return new CertificatePolicies([new PolicyInformation({ policyIdentifier: '1.3.6.1.4.1.99999.2' })]);
}

function generalName(host: string): GeneralName {
  return isIP(host) === 0 ? new GeneralName({ dNSName: host }) : new GeneralName({ iPAddress: host });
}

function nameOf(text: string): Name {
  const value = new AttributeValue({ utf8String: text });
  return new Name([new RelativeDistinguishedName([new AttributeTypeAndValue({ type: COMMON_NAME, value })])]);
}

function extension(id: string, value: unknown, critical = false): Extension {
  return new Extension({ extnID: id, critical, extnValue: new OctetString(AsnConvert.serialize(value)) });
}
