import { describe, expect, it } from 'vitest';
import type { CertificateState } from '../../../src/control/expiry.js';
import { Readiness, type ReadinessParts } from '../../../src/relay/readiness.js';

const NOW = Date.parse('2026-01-15T00:00:00Z');
const DAY = 86_400_000;

function certificate(more: Partial<CertificateState> = {}): CertificateState {
  const about = { renewed: false, issuer: '', origin: '', next: '', trouble: '', failures: undefined };
  return { names: ['a.test'], from: NOW - DAY, until: NOW + DAY, ...about, ...more };
}

const NONE = { from: 0, until: 0 };
const SELF_SIGNED: ReadinessParts['settings'] = { certMode: 'self-signed', acme: { atStart: true } as never };
const AT_START: ReadinessParts['settings'] = { certMode: 'letsencrypt', acme: { atStart: true } as never };
const ON_DEMAND: ReadinessParts['settings'] = { certMode: 'letsencrypt', acme: { atStart: false } as never };

function reasons(settings: ReadinessParts['settings'], states: readonly CertificateState[], trouble?: string) {
  const dataPath = { trouble: () => trouble };
  const readiness = new Readiness({
    settings,
    certificates: { states: () => states },
    isDraining: () => false,
    dataPath,
  });
  readiness.phase = 'open';
  return readiness.reasons(NOW);
}

describe('a relay', () => {
  it('is not ready before its listeners are open, while it drains, and when it closes', () => {
    let isDraining = false;
    const parts = { settings: SELF_SIGNED, certificates: { states: () => [certificate()] }, dataPath: undefined };
    const readiness = new Readiness({ ...parts, isDraining: () => isDraining });
    expect(readiness.reasons(NOW)).toEqual(['the relay is starting']);
    readiness.phase = 'open';
    expect(readiness.reasons(NOW)).toEqual([]);
    isDraining = true;
    expect(readiness.reasons(NOW)).toEqual(['the relay is draining']);
    readiness.phase = 'closing';
    expect(readiness.reasons(NOW)).toEqual(['the relay is closing']);
  });

  it('is not ready after its plane has failed', () => {
    const parts = { settings: SELF_SIGNED, certificates: { states: () => [certificate()] }, dataPath: undefined };
    const readiness = new Readiness({ ...parts, isDraining: () => false });
    readiness.phase = 'open';
    readiness.failure = 'a worker has ended';
    expect(readiness.reasons(NOW)).toEqual(['the data plane has failed: a worker has ended']);
  });

  it('is not ready for every reason that there is', () => {
    expect(reasons(SELF_SIGNED, [], 'no packet has passed')).toEqual([
      'there is no certificate',
      'no packet has passed',
    ]);
  });
});

describe('certificates', () => {
  it('one valid certificate of several is enough', () => {
    expect(reasons(SELF_SIGNED, [certificate({ until: NOW - 1 }), certificate()])).toEqual([]);
  });

  it('a relay without TLS needs none', () => {
    expect(reasons({ ...SELF_SIGNED, certMode: 'off' }, [])).toEqual([]);
  });

  it('none is needed yet where the first client of a name brings it about', () => {
    expect(reasons(ON_DEMAND, [])).toEqual([]);
    expect(reasons(ON_DEMAND, [certificate(NONE)])).toEqual([]);
  });

  it.each<[string, ReadinessParts['settings'], CertificateState, string]>([
    ['one that is ordered at the start', AT_START, certificate(NONE), 'there is none yet'],
    ['one whose order has failed', ON_DEMAND, certificate({ ...NONE, trouble: 'no' }), 'there is none yet: no'],
    [
      'one that has expired',
      ON_DEMAND,
      certificate({ until: NOW - 1, trouble: 'busy' }),
      'it has expired on 2026-01-14T23:59:59.999Z: busy',
    ],
    [
      'one of the future',
      SELF_SIGNED,
      certificate({ from: NOW + 1 }),
      'it is not valid before 2026-01-15T00:00:00.001Z',
    ],
  ])('a relay is not ready with %s alone', (_what, settings, state, fault) => {
    expect(reasons(settings, [state])).toEqual([`the certificate for a.test: ${fault}`]);
  });
});
