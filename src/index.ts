/** derpkit as a library: a relay to embed. */
export type { RelayConfig, Settings } from './config.js';
export { ConfigError, DerpkitError, ERROR_CODES, type ErrorCode, ListenError, type Problem } from './errors.js';
export type { CounterName } from './plane/counters.js';
export type { CloseReason, PeerAddress, PlaneKind } from './plane/plane.js';
export {
  type AdmitClient,
  type AdmitDecision,
  createRelay,
  type DnsHook,
  type Endpoint,
  type MeshStatus,
  type OnAdmit,
  type Relay,
  type RelayAddress,
  type RelayEvents,
  type RelayOptions,
} from './relay.js';
export { VERSION } from './version.js';
