import { X509Certificate } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { certificateFile, isFor, manualCertificate, manualPaths } from '../../../src/control/certificates.js';
import { issue } from '../../helpers/issue.js';
import { temporaryDirectory } from '../temp.js';

const root = temporaryDirectory();
const NOW = new Date('2026-11-23T12:00:00Z');

describe('the files of a certificate', () => {
  it('the files of a certificate have the name of the host, without characters that a file name may not have', () => {
    expect(manualPaths('/certs', 'derp.example.com')).toEqual([
      '/certs/derp.example.com.crt',
      '/certs/derp.example.com.key',
    ]);
    expect(manualPaths('/certs', '2001:db8::1')).toEqual(['/certs/2001db81.crt', '/certs/2001db81.key']);
    expect(certificateFile('/certs', '../a.test')).toBe('/certs/..a.test.crt');
  });

  it.each(['crt', 'key'])('an unreadable file of a certificate is named in the error: .%s', async (extension) => {
    const directory = join(root, extension);
    mkdirSync(join(directory, `a.test.${extension}`), { recursive: true });
    await expect(manualCertificate(directory, 'a.test', NOW)).rejects.toThrow(
      `${join(directory, `a.test.${extension}`)}: `,
    );
    await expect(manualCertificate(directory, 'a.test', NOW)).rejects.toMatchObject({ cause: { code: 'EISDIR' } });
  });

  it('a file of a certificate that cannot be made is named in the error', async () => {
    // No user can make a file there, whatever its rights.
    await expect(manualCertificate('/proc/none', '192.0.2.1', NOW)).rejects.toThrow(
      /^\/proc\/none\/192\.0\.2\.1\.crt cannot be made: ./,
    );
    await expect(manualCertificate('/proc/none', '192.0.2.1', NOW)).rejects.toMatchObject({
      cause: { code: 'ENOENT' },
    });
  });
});

describe('hosts of a certificate', () => {
  const leaf = new X509Certificate(
    issue({ subject: 'common.test', names: ['a.test', '*.wild.test', '192.0.2.1'] }).pem,
  );

  it.each(['a.test', 'A.TEST', 'b.wild.test', '192.0.2.1'])('a certificate is for %s, one of its names', (host) => {
    expect(isFor(leaf, host)).toBe(true);
  });

  it.each(['b.test', 'common.test', 'wild.test', 'b.c.wild.test', '192.0.2.2'])(
    'a certificate is not for %s',
    (host) => {
      expect(isFor(leaf, host)).toBe(false);
    },
  );
});
