import { selfSignedCertificate } from '../../src/control/x509.js';

/** A certificate for these hosts, which signs itself, and its key. */
export function pemPair(hosts: readonly string[]): { chain: string; key: string } {
  const { der, privateKey } = selfSignedCertificate(hosts, 7, new Date());
  const base64 = Buffer.from(der).toString('base64');
  const chain = `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`;
  return { chain, key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
}
