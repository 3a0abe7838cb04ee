/** Certificates from files: which files, which names, and what becomes of the served one when they change. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  CertificateSource,
  filesSource,
  manualSource,
  type SourceOptions,
} from '../../../src/control/certificate-source.js';
import { type PemPair, parsePair } from '../../../src/control/certificates.js';
import { issue, type Wanted } from '../../helpers/issue.js';
import { temporaryDirectory } from '../temp.js';

const root = temporaryDirectory();
let count = 0;

function pairOf({ pem, key }: { readonly pem: string; readonly key: string }): PemPair {
  return { chain: pem, key };
}

const pairFor = (...names: string[]) => pairOf(issue({ subject: 'some.test', names }));

/** The files of a certificate, and what writes another pair into them. */
function filesWith(pair: PemPair) {
  count += 1;
  const directory = join(root, String(count));
  mkdirSync(directory);
  const [chainFile, keyFile] = [join(directory, 'chain.pem'), join(directory, 'key.pem')];
  const write = ({ chain, key }: PemPair) => {
    writeFileSync(chainFile, chain);
    writeFileSync(keyFile, key);
  };
  write(pair);
  return { chainFile, keyFile, write };
}

async function opened(pair: PemPair, isDefault = false) {
  const files = filesWith(pair);
  const source = await CertificateSource.open('certificates.0', filesSource({ ...files, default: isDefault }));
  return { ...files, source };
}

describe('a certificate from files', () => {
  it('a certificate from files serves the names that it covers, and is neither made nor renewed', async () => {
    const pair = pairFor('a.test', '*.b.test');
    const { chainFile, keyFile, source } = await opened(pair);
    expect(source.place).toBe('certificates.0');
    expect(source.options).toMatchObject({ name: chainFile, origin: 'from files', paths: [chainFile, keyFile] });
    expect(source.options).toMatchObject({ isDefault: false, renews: false, makes: false });
    const { fingerprint, names } = source.certificate;
    expect(fingerprint).toBe(parsePair(pair, []).fingerprint);
    expect(names).toEqual(['a.test', '*.b.test']);
  });

  it('one file may have both, and is watched once', () => {
    const { paths, isDefault } = filesSource({ chainFile: '/one.pem', keyFile: '/one.pem', default: true });
    expect([paths, isDefault]).toEqual([['/one.pem'], true]);
  });

  it.each(['chain.pem', 'key.pem'])('a missing file is named with the reason: %s', async (name) => {
    const { chainFile, keyFile } = filesWith(pairFor('a.test'));
    const files = { chainFile, keyFile, [name === 'chain.pem' ? 'chainFile' : 'keyFile']: `/nonexistent/${name}` };
    await expect(filesSource({ ...files, default: false }).load()).rejects.toMatchObject({
      message: `/nonexistent/${name}: no such file or directory`,
      cause: { code: 'ENOENT' },
    });
  });

  it.each([
    ['chainFile', 'there is no certificate in the chain, or none in PEM', { ...pairFor('a.test'), chain: 'none' }],
    ['keyFile', 'there is no private key in PEM, or it is broken', { ...pairFor('a.test'), key: 'none' }],
    ['keyFile', 'the private key does not belong to the certificate', { ...pairFor('a.test'), key: pairFor('b').key }],
  ] as const)('a file that cannot be used is named with the reason: %s, %s', async (file, reason, pair) => {
    const { write, ...files } = filesWith(pair);
    const part = file === 'chainFile' ? 'chain' : 'key';
    await expect(filesSource({ ...files, default: false }).load()).rejects.toMatchObject({
      message: `${files[file]}: ${reason}`,
      cause: { name: 'PemError', part },
    });
  });

  it('a certificate without names is refused with what helps, and serves as the default', async () => {
    const { chainFile, keyFile } = filesWith(pairFor());
    await expect(filesSource({ chainFile, keyFile, default: false }).load()).rejects.toThrow(
      `${chainFile}: it has no alternative names, so no client would get it; set "default": true`,
    );
    await expect(filesSource({ chainFile, keyFile, default: true }).load()).resolves.toMatchObject({ names: [] });
  });
});

describe('a certificate of the manual mode', () => {
  const load: SourceOptions['load'] = () => Promise.reject(new Error('not asked'));

  it('a certificate of the manual mode has the files of derper, and none is made for a name', () => {
    expect(manualSource('/certs', 'derp.test', load)).toEqual({
      ...{
        name: '/certs/derp.test.crt',
        origin: 'from files',
        paths: ['/certs/derp.test.crt', '/certs/derp.test.key'],
      },
      ...{ isDefault: false, load, renews: false, makes: false },
    });
  });

  it('a certificate of the manual mode is the default for an address, and is made if there is none', () => {
    expect(manualSource('/certs', '2001:db8::1', load)).toMatchObject({
      ...{ name: '/certs/2001db81.crt', isDefault: true, renews: false, makes: true },
    });
  });
});

describe('a certificate that is read again', () => {
  it('a certificate that has not changed stays the one that it is', async () => {
    const { source } = await opened(pairFor('a.test'));
    const { certificate } = source;
    expect(await source.reload(new Date())).toBe(false);
    expect(source.certificate).toBe(certificate);
  });

  it('a certificate that has changed replaces the old one, which can be restored', async () => {
    const { source, write } = await opened(pairFor('a.test', 'b.test'));
    const old = source.certificate;
    const next = pairFor('b.test', 'c.test');
    write(next);
    expect(await source.reload(new Date())).toBe(true);
    const { fingerprint } = parsePair(next, []);
    expect(source.certificate).toMatchObject({ fingerprint, names: ['b.test', 'c.test'] });
    source.restore(old);
    expect(source.certificate).toBe(old);
  });

  it.each<[string, Wanted, RegExp]>([
    ['has expired', { subject: 'x', names: ['a.test'], from: -3, until: -2 }, /^ has expired, on /],
    [
      'is not valid yet',
      { subject: 'x', names: ['a.test'], from: 2, until: 3 },
      /^ is not valid before .*clocks is wrong$/,
    ],
    [
      'is for other names',
      { subject: 'x', names: ['c.test', 'd.test'] },
      /^: it is for c\.test, d\.test, and none of a\.test, b\.test$/,
    ],
  ])('a certificate that %s is refused, and the old one stays', async (_what, wanted, reason) => {
    const { chainFile, source, write } = await opened(pairFor('a.test', 'b.test'));
    const { certificate } = source;
    write(pairOf(issue(wanted)));
    const error: Error = await source.reload(new Date()).catch((caught) => caught);
    expect(error.message.slice(0, chainFile.length)).toBe(chainFile);
    expect(error.message.slice(chainFile.length)).toMatch(reason);
    expect(source.certificate).toBe(certificate);
  });

  it.each<[string, boolean, string[]]>([
    ['the default certificate', true, ['a.test']],
    ['a certificate that serves any name', true, []],
  ])('%s may change its names', async (_what, isDefault, names) => {
    const { source, write } = await opened(pairFor(...names), isDefault);
    write(pairFor('c.test'));
    expect(await source.reload(new Date())).toBe(true);
    expect(source.certificate.validFor).toEqual(['c.test']);
  });

  it('a certificate of any name that is not the default may change its names, too', async () => {
    const [old, next] = [parsePair(pairFor('a.test'), []), parsePair(pairFor('b.test'), [])];
    const loads = [old, next];
    const load = async () => loads.shift() ?? next;
    const options = { ...filesSource({ chainFile: '/c', keyFile: '/k', default: false }), load };
    const source = await CertificateSource.open('certDir', options);
    expect(await source.reload(new Date())).toBe(true);
    expect(source.certificate).toBe(next);
  });

  it('a certificate that comes from no file is not read again', async () => {
    let loads = 0;
    const load = async () => {
      loads += 1;
      return parsePair(pairFor('a.test'), []);
    };
    const options = { ...manualSource('/certs', 'a.test', load), paths: [] };
    const source = await CertificateSource.open('certificate', options);
    expect(await source.reload(new Date())).toBe(false);
    expect(loads).toBe(1);
  });

  it('failures in a row are counted, and a success ends them', async () => {
    const { source } = await opened(pairFor('a.test'));
    const states: [string, number][] = [];
    for (const trouble of ['', 'no file', 'no key', '', 'no file']) {
      source.note(trouble);
      states.push([source.trouble, source.failures]);
    }
    expect(states).toEqual([
      ['', 0],
      ['no file', 1],
      ['no key', 2],
      ['', 0],
      ['no file', 1],
    ]);
  });

  it('a certificate has no trouble at first', async () => {
    const { source } = await opened(pairFor('a.test'));
    expect([source.trouble, source.failures]).toEqual(['', 0]);
  });
});
