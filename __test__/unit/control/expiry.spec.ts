import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { parsePair } from '../../../src/control/certificates.js';
import { type CertificateState, ExpiryWarnings, leafState } from '../../../src/control/expiry.js';
import { issue } from '../../helpers/issue.js';

const DAY = 24 * 60 * 60 * 1000;

function state(days: number, changes: Partial<CertificateState> = {}): CertificateState {
  const some = { names: ['a.test'], issuer: 'CA', origin: 'from files', next: '', renewed: false, trouble: '' };
  return { ...some, failures: undefined, from: 0, until: days * DAY, ...changes };
}

/** The days before the end on which there is a line. */
function days(of: CertificateState, lifetime: number): number[] {
  const warnings = new ExpiryWarnings();
  const found: number[] = [];
  for (let left = lifetime; left >= -1; left--) {
    if (warnings.lines([of], of.until - left * DAY).length > 0) found.push(left);
  }
  return found;
}

describe('a certificate that expires', () => {
  it('a certificate is warned about 14 and 3 days before it expires, once each', () => {
    expect(days(state(90), 90)).toEqual([14, 3]);
  });

  it('a certificate with a short lifetime is warned about at a third of it', () => {
    expect(days(state(6), 6)).toEqual([2]);
    expect(days(state(30), 30)).toEqual([10, 3]);
    // The lifetime begins where the certificate says.
    expect(days(state(90, { from: 60 * DAY }), 30)).toEqual([10, 3]);
  });

  it('a certificate is warned about with all its names, and the time at which it expires', () => {
    const both = state(90, { names: ['a.test', 'b.test'] });
    const end = '1970-04-01T00:00:00.000Z';
    for (const now of [80 * DAY, 90 * DAY]) {
      expect(new ExpiryWarnings().lines([both], now)).toEqual([
        `the certificate for a.test, b.test: it expires on ${end}`,
      ]);
    }
    // The watch of the served certificates says that it has expired.
    expect(new ExpiryWarnings().lines([both], 90 * DAY + 1)).toEqual([]);
  });

  it('certificates are told apart by their names and by their end', () => {
    const warnings = new ExpiryWarnings();
    const all = [state(90), state(90, { names: ['b.test'] }), state(91)];
    expect(warnings.lines(all, 80 * DAY)).toHaveLength(3);
    expect(warnings.lines(all, 80 * DAY)).toEqual([]);
  });

  it('a certificate is warned about with the reason why its renewal failed, and not while it is in progress', () => {
    expect(days(state(90, { renewed: true, failures: 0 }), 90)).toEqual([]);
    const failing = state(90, { renewed: true, failures: 2, trouble: 'no answer in time' });
    expect(days(failing, 90)).toEqual([14, 3]);
    const [line] = new ExpiryWarnings().lines([failing], 80 * DAY);
    expect(line).toBe(
      'the certificate for a.test: it expires on 1970-04-01T00:00:00.000Z, and it cannot be renewed: no answer in time',
    );
  });

  it('a certificate is warned about after it has expired', () => {
    expect(new ExpiryWarnings().lines([state(90, { renewed: true, failures: 1, trouble: 'no' })], 91 * DAY)).toEqual([
      'the certificate for a.test: it expired on 1970-04-01T00:00:00.000Z, and it cannot be renewed: no',
    ]);
  });

  it('a certificate from files is warned about as if they could be used, with the reason why they cannot', () => {
    const files = state(90, { failures: 3, trouble: 'a.key: no private key' });
    expect(days(files, 90)).toEqual([14, 3]);
    const [line] = new ExpiryWarnings().lines([files], 80 * DAY);
    expect(line).toMatch(/Z, and its files cannot be used: a\.key: no private key$/);
  });

  it('a certificate that does not exist yet causes no warning', () => {
    expect(new ExpiryWarnings().lines([state(0)], 5 * DAY)).toEqual([]);
    const failing = state(0, { renewed: true, failures: 2, trouble: 'no answer in time' });
    expect(new ExpiryWarnings().lines([failing], 5 * DAY)).toEqual([]);
  });
});

describe('the state of a certificate', () => {
  it('the state of a certificate has names, issuer, and both ends of its time', () => {
    const authority = issue({ subject: 'the authority', ca: true });
    const { pem, key } = issue({
      subject: 'a.test',
      names: ['a.test', '192.0.2.1'],
      by: authority,
      from: -1,
      until: 1,
    });
    const state = leafState(parsePair({ chain: pem, key }, ['a.test']));
    expect(state).toMatchObject({ names: ['a.test', '192.0.2.1'], issuer: 'CN=the authority' });
    expect(state.until - state.from).toBe(2 * DAY);
    expect(Math.abs(state.from + DAY - Date.now())).toBeLessThan(DAY / 2);
  });

  it('an issuer of several parts is one line', () => {
    const root = rootCertificates.map((pem) => new X509Certificate(pem)).find(({ issuer }) => /^C=.*\nO=/.test(issuer));
    const { chain, ...rest } = parsePair(pair(), []);
    const { issuer } = leafState({ ...rest, chain: [root?.raw ?? new Uint8Array()] });
    expect(issuer).toMatch(/^C=[A-Z]{2}, O=[^\n]+$/);
  });

  function pair() {
    const { pem: chain, key } = issue({ subject: 'a.test' });
    return { chain, key };
  }
});
