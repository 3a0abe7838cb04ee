import { X509Certificate } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { loadRoots, pemOf, type Roots } from '../../../src/control/roots.js';
import { selfSignedCertificate } from '../../../src/control/x509.js';
import { temporaryDirectory } from '../temp.js';

// Spied upon, and otherwise itself.
vi.mock('node:fs/promises', { spy: true });

interface Certificate {
  readonly name: string;
  readonly pem: string;
}

/** Certificates that are told apart by their names. */
function certificate(name: string): Certificate {
  const { der } = selfSignedCertificate([name], 7, new Date());
  return { name, pem: new X509Certificate(der).toString() };
}

const [ONE, TWO, THREE, FOUR] = ['one.test', 'two.test', 'three.test', 'four.test'].map(certificate) as [
  Certificate,
  Certificate,
  Certificate,
  Certificate,
];

const TEMPORARY = temporaryDirectory();
let made = 0;

function temporary(): string {
  made += 1;
  const path = join(TEMPORARY, String(made));
  mkdirSync(path);
  return path;
}

function file(text: string, name = 'roots.pem'): string {
  const path = join(temporary(), name);
  writeFileSync(path, text);
  return path;
}

/** Which of the certificates of this file are among them. */
function ours({ certificates }: Roots): string[] {
  const names = certificates.flatMap(
    (der) => /DNS:(\S+\.test)/.exec(new X509Certificate(der).subjectAltName ?? '')?.[1] ?? [],
  );
  return names.sort();
}

/** Those that Node brings. */
function hasNodes({ certificates }: Roots): boolean {
  const raw = new X509Certificate(rootCertificates[0] as string).raw;
  return certificates.some((der) => raw.equals(der));
}

describe('trusted roots', () => {
  it('roots are Node’s, and those of the system’s first bundle', async () => {
    const bundles = ['/nonexistent/bundle', file(`${ONE.pem}# text\n${TWO.pem}`), file(THREE.pem)];
    const roots = await loadRoots({}, bundles);
    expect(ours(roots)).toEqual(['one.test', 'two.test']);
    expect(hasNodes(roots)).toBe(true);
    expect(roots.certificates).toHaveLength(new Set(rootCertificates).size + 2);
    expect(roots.problems).toEqual([]);
  });

  it('roots are only Node’s if there is no bundle', async () => {
    const roots = await loadRoots({}, ['/nonexistent/bundle']);
    expect(roots.certificates).toHaveLength(new Set(rootCertificates).size);
    expect(roots.problems).toEqual([]);
  });

  it('roots are looked for where Go looks for them on Linux, in its order', async () => {
    const read = vi.mocked(readFile).mockClear().mockRejectedValue(new Error('none'));
    onTestFinished(() => void read.mockReset());
    await loadRoots({});
    // `certFiles` in Go's `crypto/x509/root_linux.go`.
    expect(read.mock.calls.map(([path]) => path)).toEqual([
      '/etc/ssl/certs/ca-certificates.crt',
      '/etc/pki/tls/certs/ca-bundle.crt',
      '/etc/ssl/ca-bundle.pem',
      '/etc/pki/tls/cacert.pem',
      '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
      '/etc/ssl/cert.pem',
    ]);
  });

  it('NODE_EXTRA_CA_CERTS adds roots', async () => {
    const roots = await loadRoots({ NODE_EXTRA_CA_CERTS: file(TWO.pem) }, [file(ONE.pem)]);
    expect(ours(roots)).toEqual(['one.test', 'two.test']);
    expect(hasNodes(roots)).toBe(true);
  });

  it('SSL_CERT_FILE replaces the bundle', async () => {
    const roots = await loadRoots({ SSL_CERT_FILE: file(TWO.pem) }, [file(ONE.pem)]);
    expect(ours(roots)).toEqual(['two.test']);
    expect(hasNodes(roots)).toBe(true);
  });

  it('SSL_CERT_DIR adds what its directories contain', async () => {
    const [first, second] = [temporary(), temporary()];
    writeFileSync(join(first, 'a.pem'), TWO.pem);
    writeFileSync(join(first, 'README'), 'none');
    mkdirSync(join(first, 'directory'));
    symlinkSync('/nonexistent', join(first, 'dangling'));
    symlinkSync(file(THREE.pem), join(second, '12345678.0'));
    const roots = await loadRoots({ SSL_CERT_DIR: [first, second].join(delimiter) }, [file(ONE.pem)]);
    expect(ours(roots)).toEqual(['one.test', 'three.test', 'two.test']);
    expect(hasNodes(roots)).toBe(true);
    expect(roots.problems).toEqual([]);
  });

  it('SSL_CERT_FILE and SSL_CERT_DIR together replace all but NODE_EXTRA_CA_CERTS', async () => {
    const directory = temporary();
    writeFileSync(join(directory, 'a.pem'), TWO.pem);
    const env = { SSL_CERT_FILE: file(THREE.pem), SSL_CERT_DIR: directory, NODE_EXTRA_CA_CERTS: file(FOUR.pem) };
    const roots = await loadRoots(env, [file(ONE.pem)]);
    expect(ours(roots)).toEqual(['four.test', 'three.test', 'two.test']);
    expect(roots.certificates).toHaveLength(3);
  });

  it('each root appears once', async () => {
    const env = {
      SSL_CERT_FILE: file(ONE.pem + ONE.pem),
      SSL_CERT_DIR: temporary(),
      NODE_EXTRA_CA_CERTS: file(ONE.pem),
    };
    expect((await loadRoots(env, [])).certificates).toHaveLength(1);
  });

  it('roots are read with the line ends of Windows, and with blanks', async () => {
    const odd = ONE.pem.replaceAll('\n', ' \r\n');
    const roots = await loadRoots({ SSL_CERT_FILE: file(odd), SSL_CERT_DIR: temporary() }, []);
    expect(ours(roots)).toEqual(['one.test']);
  });

  it('unreadable files of roots are reported', async () => {
    const env = {
      SSL_CERT_FILE: '/nonexistent/a',
      SSL_CERT_DIR: '/nonexistent/b',
      NODE_EXTRA_CA_CERTS: '/nonexistent/c',
    };
    const roots = await loadRoots(env, []);
    expect(roots.certificates).toEqual([]);
    expect(roots.problems).toEqual([
      'SSL_CERT_FILE: /nonexistent/a: no such file or directory',
      'SSL_CERT_DIR: /nonexistent/b: no such file or directory',
      'NODE_EXTRA_CA_CERTS: /nonexistent/c: no such file or directory',
    ]);
  });
});

describe('roots in PEM', () => {
  it('roots are written in the usual lines of PEM', () => {
    expect(pemOf([ONE, TWO].map(({ pem }) => new X509Certificate(pem).raw))).toEqual([ONE.pem, TWO.pem]);
  });
});
