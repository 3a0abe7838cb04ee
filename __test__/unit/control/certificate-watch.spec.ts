import { X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { CertificateWatch } from '../../../src/control/certificate-watch.js';
import { parsePair, type ServerCertificate } from '../../../src/control/certificates.js';
import { selfSignedCertificate } from '../../../src/control/x509.js';

const NOW = new Date('2026-11-23T12:00:00Z');
const DAY = 24 * 60 * 60 * 1000;

function made(at: Date): ServerCertificate {
  const { der, privateKey } = selfSignedCertificate(['derp.test'], 30, at);
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return parsePair({ chain: new X509Certificate(der).toString(), key }, []);
}

const inDays = (days: number) => new Date(NOW.getTime() + days * DAY);

it('the watch replaces a self-made certificate that expires, or that a wrong clock made', async () => {
  let current = made(NOW);
  let now = NOW;
  const replaced: string[] = [];
  const watch = new CertificateWatch({
    current: () => current,
    renew: async () => made(now),
    replaced: (certificate) => {
      current = certificate;
      replaced.push(certificate.fingerprint);
    },
    warn: (text) => expect.unreachable(text),
  });
  for (const [days, changes] of [
    [0, 0],
    [29, 0],
    [31, 1],
    [32, 1],
    [-400, 2],
    [-400, 2],
  ] as const) {
    now = inDays(days);
    await watch.look(now);
    expect(replaced, `after ${days} days`).toHaveLength(changes);
  }
  expect(current.fingerprint).toBe(replaced[1]);
});

it('the watch warns about the operator’s certificate, once for each problem', async () => {
  const current = made(NOW);
  const warnings: string[] = [];
  const watch = new CertificateWatch({
    current: () => current,
    replaced: () => expect.unreachable('it is not ours'),
    warn: (text) => warnings.push(text),
  });
  for (const days of [0, 31, 32, 1, 33, -1]) await watch.look(inDays(days));
  expect(warnings).toEqual([
    expect.stringMatching(/^the certificate has expired, on 2026-12-23T12:00:00\.000Z: clients refuse it; replace it/),
    expect.stringMatching(/^the certificate has expired/),
    expect.stringMatching(/^the certificate is not valid before 2026-11-23T11:00:00\.000Z: one of the clocks is wrong/),
  ]);
});

it('the watch warns if it cannot make a new certificate, and goes on', async () => {
  const current = made(NOW);
  const warnings: string[] = [];
  const watch = new CertificateWatch({
    current: () => current,
    renew: async () => {
      throw new Error('no room');
    },
    replaced: () => expect.unreachable('there is none'),
    warn: (text) => warnings.push(text),
  });
  for (const days of [31, 32]) await watch.look(inDays(days));
  expect(warnings).toEqual([expect.stringMatching(/has expired, on .*, and cannot be replaced: no room$/)]);
});
