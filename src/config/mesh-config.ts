/** The settings of the mesh and of NATS, as files, variables and programs give them. */
import type { DurationSetting, ListSetting, NumberSetting } from './setting-types.js';

/** Relays that find each other, beside those of `meshWith`. */
export interface MeshConfig {
  /**
   * Sources of relays; as text, the list in JSON. The relay meshes with every relay that one of them names, and with no other.
   * Default: none. Requires a mesh key.
   */
  readonly discover?: readonly DiscoverConfig[] | string | undefined;
  /**
   * `full`: every relay keeps the keys of the clients of all others. `on-demand`: a relay asks NATS for a key when a client
   * first sends a packet to it, and dials the relay that has it; requires `nats.servers`. Relays of `meshWith` and `discover`
   * are meshed with in full, so that they can be derpers. Default `full`.
   */
  readonly mode?: 'full' | 'on-demand' | undefined;
  /** How long a link stays that was dialled on demand and on which no packet leaves. Default 5 minutes. */
  readonly idle?: DurationSetting | undefined;
  /**
   * The name of the region: relays with one name and one mesh key find each other in NATS. Up to 64 letters, digits, `-` and
   * `_`. Default `default`.
   */
  readonly region?: string | undefined;
  /** How this relay tells others in NATS to dial it. */
  readonly advertise?: AdvertiseConfig | undefined;
  /**
   * How long a relay with a source, or with keys on demand, goes on serving after `drain` or SIGTERM, so that balancers and DNS
   * servers send no more clients. Default 2 s.
   */
  readonly drainDelay?: DurationSetting | undefined;
}

/** How other relays dial this one. */
export interface AdvertiseConfig {
  /** An address or a name. Default: the address from which the relay has connected to NATS, as NATS sees it. */
  readonly address?: string | undefined;
  /** The port, 1 to 65535. Default: the port of the relay's own listener; 443 where it serves no TLS. */
  readonly port?: NumberSetting | undefined;
  /** The name that the relay's certificate covers. Default: the `hostname`. */
  readonly tlsName?: string | undefined;
}

/** How the relay connects to NATS. */
export interface NatsConfig {
  /**
   * Servers of one NATS cluster: `host`, `host:port`, `nats://host:port` or `tls://host:port`, with `user:password@` or
   * `token@` before the host; other characters than letters and digits there as `%` and two hex digits. `tls` insists on
   * encryption, the other forms use it if the server has it. The relay connects to one of them. Default: none. Requires a mesh
   * key.
   */
  readonly servers?: ListSetting | undefined;
  /** File with the credentials of a user (`nsc generate creds`). The relay reads it at each connection. Default: none. */
  readonly credsFile?: string | undefined;
  /** TLS to the servers. */
  readonly tls?: NatsTlsConfig | undefined;
}

/** How the relay checks the certificates of NATS. */
export interface NatsTlsConfig {
  /**
   * File with the authorities that sign the servers' certificates, in PEM, instead of those of Node. With it, the relay insists
   * on encryption. It reads the file at each connection. Default: none.
   */
  readonly caFile?: string | undefined;
}

/** A source of relays: exactly one of the fields. */
export interface DiscoverConfig {
  /** A name with the addresses of all relays. The relay looks it up again as its TTL says, every 2 s to 60 s. */
  readonly dns?: DnsSourceConfig | undefined;
  /** A name with SRV records: a host and a port for each relay. It is looked up every 10 s. As text, the name alone. */
  readonly srv?: SrvSourceConfig | string | undefined;
  /** A file with a relay on each line, as in `meshWith`; `#` begins a comment. The relay reads it again when it changes. */
  readonly file?: string | undefined;
  /** Relays that announce themselves in NATS, as this one then does. Requires `nats.servers`. */
  readonly nats?: true | undefined;
}

/** A name whose A and AAAA records are relays. */
export interface DnsSourceConfig {
  /** The whole name; search domains are not tried. Required. */
  readonly name: string;
  /** The port of every relay, 1 to 65535. Default 443. */
  readonly port?: NumberSetting | undefined;
  /** The name that the certificate of every relay must cover. Default: {@link name}. */
  readonly tlsName?: string | undefined;
  /** The DNS server to ask: an address, or `address:port`. Default: those of the system. */
  readonly server?: string | undefined;
}

/** A name whose SRV records are relays. */
export interface SrvSourceConfig {
  /** The whole name; search domains are not tried. Required. */
  readonly name: string;
  /** The name that the certificate of every relay must cover. Default: the host that its record names. */
  readonly tlsName?: string | undefined;
  /** The DNS server to ask: an address, or `address:port`. Default: those of the system. */
  readonly server?: string | undefined;
}
