import { describe, expect, it } from 'vitest';
import { type Failed, FailureLog } from '../../../src/control/failure-log.js';

const PEER = { address: '192.0.2.7', port: 4711 };
const ADDR = { addr: '192.0.2.7:4711' };

function failed(what: string, more: Partial<Failed> = {}): Failed {
  return { what, peer: PEER, serverName: '', alert: '', ...more };
}

function logWith(): { readonly log: FailureLog; readonly said: [facts: object, text: string][] } {
  const said: [object, string][] = [];
  return { log: new FailureLog((facts, text) => said.push([facts, text])), said };
}

describe('the log of failures', () => {
  it.each([
    ['handshakes_failed:timeout', 'a TLS handshake has failed', 'timeout'],
    ['requests_failed:bad_request', 'a connection has brought no request', 'bad_request'],
    ['logins_failed:bad_box', 'a login has failed', 'bad_box'],
    ['strangers_refused:pool', 'a connection was refused', 'pool'],
    ['connections_refused', 'a connection was refused', 'connections'],
    ['tls_rejects', 'a connection was refused', 'accept_rate'],
    ['wrong_mesh_keys', 'a client shows a mesh key that is not the one of this relay', 'wrong_mesh_key'],
    // One that has no words yet.
    ['some_counter:some_reason', 'some_counter', 'some_reason'],
  ])('the log explains %s', (what, text, reason) => {
    const { log, said } = logWith();
    log.tell([failed(what)], 0, 0);
    expect(said).toEqual([[{ reason, ...ADDR }, text]]);
  });

  it('the log shows a server name in a bounded number of printable characters', () => {
    const { log, said } = logWith();
    const name = `a b\u001b[2J\u202e\n${'x'.repeat(1000)}`;
    log.tell([failed('handshakes_failed:client_alert', { serverName: name, alert: 'unknown_ca' })], 0, 0);
    const shown = `a\\u{20}b\\u{1b}[2J\\u{202e}\\u{a}${'x'.repeat(246)}`;
    expect(said[0]?.[0]).toEqual({ reason: 'client_alert', ...ADDR, serverName: shown, alert: 'unknown_ca' });
  });

  it('the log has fifty lines at once, then one each 20 ms, with the number of lines left out', () => {
    const { log, said } = logWith();
    const flood = [...Array(100)].map(() => failed('logins_failed:hung_up'));
    log.tell(flood, 7, 1000);
    expect(said).toHaveLength(50);
    log.tell(flood, 0, 1019);
    expect(said).toHaveLength(50);
    log.tell([failed('logins_failed:timeout')], 0, 1020);
    expect(said).toHaveLength(51);
    expect(said[50]?.[0]).toMatchObject({ reason: 'timeout', heldBack: 157 });
    log.tell([failed('logins_failed:timeout')], 0, 5000);
    expect(said[51]?.[0]).not.toHaveProperty('heldBack');
  });
});
