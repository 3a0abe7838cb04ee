/** Connections that come to nothing before they are admitted: why, in words that logs and metrics share. */
import type { PeerAddress } from './ids.js';

/** Why a TLS handshake failed. */
export const HANDSHAKE_FAILURES = [
  /** There is no certificate for the server name that the client asked for. */
  'unknown_name',
  /** The client named no server, and there is no certificate for clients without a name. */
  'no_name',
  /** There was no certificate at all, or the one that the handshake waited for did not come. */
  'no_certificate',
  /** The client speaks neither TLS 1.2 nor 1.3. */
  'no_common_version',
  /** No cipher suite, group or signature scheme of the client is one of the relay's. */
  'no_common_cipher',
  /** The client offers protocols (ALPN) without HTTP/1.1. */
  'no_common_protocol',
  /** The client said with an alert that it will not go on: mostly, that it does not trust the certificate. */
  'client_alert',
  /** The client spoke HTTP without TLS. */
  'http',
  /** What came is no TLS, or breaks its rules. */
  'malformed',
  /** The client hung up. A check that only connects does. */
  'hung_up',
  /** The handshake was not done by its deadline. */
  'timeout',
  /** It made room for a newcomer. */
  'evicted',
] as const;
/** Why a TLS handshake failed. */
export type HandshakeFailure = (typeof HANDSHAKE_FAILURES)[number];

/** Why no request head came to its end. */
export const REQUEST_FAILURES = [
  /** The client hung up. A check that only connects does. */
  'hung_up',
  /** The head was not whole by its deadline. */
  'timeout',
  /** The connection made room for a newcomer. */
  'evicted',
] as const;
/** Why no request head came to its end. */
export type RequestFailure = (typeof REQUEST_FAILURES)[number];

/** Why a login failed. */
export const LOGIN_FAILURES = [
  /** The first frame was not ClientInfo. */
  'no_client_info',
  /** The ClientInfo frame was shorter or longer than one can be. */
  'bad_length',
  /** The client's key was zero, or of low order. */
  'bad_key',
  /** The box did not open: the client has another key of this relay, or does not hold its own. */
  'bad_box',
  /** What was in the box is no ClientInfo: no JSON, or a field with a wrong type or value. */
  'bad_info',
  /** The logins that were not whole held more bytes than they may together. */
  'over_budget',
  /** The client hung up. */
  'hung_up',
  /** The login was not whole by its deadline. */
  'timeout',
  /** The connection made room for a newcomer. */
  'evicted',
  /** Admission did not let the client in. */
  'refused',
  /** Admission had not decided by its deadline. */
  'admission_timeout',
  /** The relay ended the connection: it closes, or has failed. */
  'closed',
] as const;
/** Why a login failed. */
export type LoginFailure = (typeof LOGIN_FAILURES)[number];

/** A counter of failures: `handshakes_failed:unknown_name`. */
export type FailureCounter =
  | `handshakes_failed:${HandshakeFailure}`
  | `requests_failed:${RequestFailure}`
  | `logins_failed:${LoginFailure}`;

export const FAILURE_COUNTERS: readonly FailureCounter[] = [
  ...HANDSHAKE_FAILURES.map((reason): FailureCounter => `handshakes_failed:${reason}`),
  ...REQUEST_FAILURES.map((reason): FailureCounter => `requests_failed:${reason}`),
  ...LOGIN_FAILURES.map((reason): FailureCounter => `logins_failed:${reason}`),
];

/** A counter of connections that were refused because a limit was reached. */
export type RefusalCounter =
  | 'tls_rejects'
  | 'connections_refused'
  | 'strangers_refused:address'
  | 'strangers_refused:pool';

/** A connection that came to nothing. */
export interface Failure {
  /** The counter that has counted it. */
  readonly what: FailureCounter | RefusalCounter;
  /** Where it came from. */
  readonly peer: PeerAddress;
  /** Of handshakes: the name that the client asked for, as it came, but for its case; empty if there was none. */
  readonly serverName: string;
  /** The name of the alert, where the client has sent one; empty otherwise. */
  readonly alert: string;
}
