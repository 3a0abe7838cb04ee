/** What becomes of connections that come to nothing: a count, a reason, and an event where that is wanted. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WritableCounters } from '../../../src/plane/counters.js';
import { EventQueue } from '../../../src/plane/js/events.js';
import { Failures, handshakeFault } from '../../../src/plane/js/failures.js';
import type { Failure, PlaneEvents } from '../../../src/plane/plane.js';
import { policyWith } from './context.js';

const PEER = { address: '192.0.2.1', port: 5 };

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

function failing(tellFailures: boolean) {
  const told: Failure[] = [];
  const crowded: string[] = [];
  const events = {
    failures: (failures: readonly Failure[]) => void told.push(...failures),
    crowded: (address: string) => void crowded.push(address),
  } as Partial<PlaneEvents> as PlaneEvents;
  const counters = new WritableCounters();
  const policy = { ...policyWith(), tellFailures };
  return { failures: new Failures(counters, new EventQueue(events), () => policy), counters, told, crowded };
}

describe('the reason of a handshake that fails', () => {
  it.each([
    ['ECONNRESET', { reason: 'hung_up' }],
    [undefined, { reason: 'hung_up' }],
    ['X_ERR_SSL_VERSION_TOO_LOW', { reason: 'hung_up' }],
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN', { reason: 'client_alert', alert: 'certificate_unknown' }],
    ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', { reason: 'client_alert', alert: 'unknown_ca' }],
    ['ERR_SSL_TLSV1_UNRECOGNIZED_NAME', { reason: 'client_alert', alert: 'unrecognized_name' }],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', { reason: 'client_alert', alert: 'certificate_required' }],
    ['ERR_SSL_NOT_TLSV1_ALERT_UNKNOWN_CA', { reason: 'malformed' }],
    ['ERR_SSL_NO_APPLICATION_PROTOCOL', { reason: 'no_common_protocol' }],
    ['ERR_SSL_NO_SHARED_CIPHER', { reason: 'no_common_cipher' }],
    ['ERR_SSL_NO_SHARED_GROUPS', { reason: 'no_common_cipher' }],
    ['ERR_SSL_NO_SHARED_SIGNATURE_ALGORITHMS', { reason: 'no_common_cipher' }],
    ['ERR_SSL_NO_SUITABLE_GROUPS', { reason: 'no_common_cipher' }],
    ['ERR_SSL_NO_SUITABLE_KEY_SHARE', { reason: 'no_common_cipher' }],
    ['ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM', { reason: 'no_common_cipher' }],
    ['ERR_SSL_UNSUPPORTED_PROTOCOL', { reason: 'no_common_version' }],
    ['ERR_SSL_VERSION_TOO_LOW', { reason: 'no_common_version' }],
    ['ERR_SSL_WRONG_VERSION_NUMBER', { reason: 'malformed' }],
  ])('the code %s of an error gives the reason', (code, fault) => {
    expect(handshakeFault(Object.assign(new Error('no'), code && { code }))).toEqual(fault);
  });
});

describe('connections that come to nothing', () => {
  it('a failure is counted and told, with the first 255 characters of the server name', async () => {
    const { failures, counters, told } = failing(true);
    failures.failed('handshakes_failed:client_alert', PEER, 'x'.repeat(256), 'unknown_ca');
    failures.failed('requests_failed:timeout', PEER);
    await vi.advanceTimersByTimeAsync(10);
    expect(counters.read('handshakes_failed:client_alert')).toBe(1);
    expect(told).toEqual([
      { what: 'handshakes_failed:client_alert', peer: PEER, serverName: 'x'.repeat(255), alert: 'unknown_ca' },
      { what: 'requests_failed:timeout', peer: PEER, serverName: '', alert: '' },
    ]);
  });

  it('a failure is counted and not told where reports are off', async () => {
    const { failures, counters, told } = failing(false);
    failures.failed('requests_failed:timeout', PEER);
    await vi.advanceTimersByTimeAsync(1000);
    expect(counters.read('requests_failed:timeout')).toBe(1);
    expect(told).toEqual([]);
  });

  it('a refusal counts once among all refusals', async () => {
    const { failures, counters, told } = failing(true);
    failures.refused('connections_refused', PEER);
    expect(counters.read('connections_refused')).toBe(1);
    failures.refused('strangers_refused:address', PEER);
    expect(counters.read('connections_refused')).toBe(2);
    expect(counters.read('strangers_refused:address')).toBe(1);
    await vi.advanceTimersByTimeAsync(10);
    expect(told.map(({ what }) => what)).toEqual(['connections_refused', 'strangers_refused:address']);
  });

  it('one full share of an address is told of in five seconds', async () => {
    const { failures, crowded } = failing(false);
    failures.crowded('192.0.2.1');
    failures.crowded('192.0.2.2');
    vi.advanceTimersByTime(4999);
    failures.crowded('192.0.2.3');
    vi.advanceTimersByTime(1);
    failures.crowded('192.0.2.4');
    await vi.advanceTimersByTimeAsync(0);
    expect(crowded).toEqual(['192.0.2.1', '192.0.2.4']);
  });
});
