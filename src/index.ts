/** derpkit as a library: a relay to embed. */
export type {
  AdvertiseConfig,
  DiscoverConfig,
  DnsSourceConfig,
  MeshConfig,
  NatsConfig,
  NatsTlsConfig,
  SrvSourceConfig,
} from './config/mesh-config.js';
export type {
  AcmeConfig,
  AcmeDnsConfig,
  AdmissionCacheConfig,
  AdmissionConfig,
  AdmissionDenyConfig,
  CertificateConfig,
  CertificateFilesConfig,
  LimitsConfig,
  MetricsConfig,
  RelayConfig,
  SettingName,
  VerifierConfig,
} from './config/relay-config.js';
export type {
  BooleanSetting,
  ByteSetting,
  DurationSetting,
  ListSetting,
  NumberSetting,
} from './config/setting-types.js';
export { SETTINGS, type SettingInfo } from './config.js';
export type { DnsHook } from './control/acme/dns-hook.js';
export type { AdmissionFigures, AdmissionOutcome, AdmissionTimes } from './control/admission/figures.js';
export type { AdmitClient, AdmitDecision, AdmitRefusal, AdmitWithLimit, OnAdmit } from './control/admission/hook.js';
export type { DirectoryCounts, DirectoryStatus } from './control/directory/directory.js';
export type { MeshSourceStatus } from './control/mesh/discovery.js';
export type { MeshStatus } from './control/mesh.js';
export type { RelayLinkStatus } from './control/on-demand/relay-link.js';
export type { OnDemandCounts, OnDemandStatus } from './control/on-demand/remote-keys.js';
export {
  ConfigError,
  DerpkitError,
  ERROR_CODES,
  type ErrorCode,
  ListenError,
  type ListenSetting,
  type Problem,
} from './errors.js';
export type { Logger } from './logger.js';
export type { CounterName, Counters } from './plane/counter-figures.js';
export {
  DROP_REASONS,
  type DropCounter,
  type DropReason,
  type FailureCounter,
  HANDSHAKE_FAILURES,
  type HandshakeFailure,
  LOGIN_FAILURES,
  type LoginFailure,
  PACKET_KINDS,
  type PacketKind,
  REQUEST_FAILURES,
  type RequestFailure,
} from './plane/counters.js';
export type { CloseReason, PeerAddress, PlaneKind, TlsVersion } from './plane/plane.js';
export type { ClientStatus, QueueDelay, QueueDrops, TrafficFigures } from './registry/client-status.js';
export type { HistogramFigures, RelayFigures } from './registry/figures.js';
export type {
  ClientConnected,
  ClientDisconnected,
  Endpoint,
  InheritedSockets,
  Relay,
  RelayAddress,
  RelayEvents,
  RelayOptions,
  RelayPlane,
  ReloadReport,
} from './relay/api.js';
export type { RegionStatus } from './relay/on-demand.js';
export { createRelay } from './relay.js';
export { VERSION } from './version.js';
