/**
 * The argument of `createRelay`, documented. The schema in `../config.ts` checks it; tests keep the fields, their types
 * and the defaults in the comments equal to the schema.
 */

import type { MeshConfig, NatsConfig } from './mesh-config.js';
import type { BooleanSetting, ByteSetting, DurationSetting, ListSetting, NumberSetting } from './setting-types.js';

/**
 * The settings of a relay. Every field is optional, and `undefined` is the default.
 *
 * `createRelay` checks all fields and throws one `ConfigError` that lists every problem: a value outside of its range, an
 * unknown field, fields that contradict each other. `start` reads the files that the settings name; it rejects with a
 * `ConfigError` if it cannot use one of them. A relative path is relative to the working directory of the process, and `~` is
 * an error.
 */
export interface RelayConfig {
  /**
   * Address of the relay's own listener: `host:port`, `:port` or `[address]:port`. Without a host it is every address;
   * port 0 is any free port. Default `:443`.
   */
  readonly listen?: string | undefined;
  /** Name or IP address that clients connect to; the certificate must cover it. Default `localhost`. */
  readonly hostname?: string | undefined;
  /**
   * Where the certificate comes from. Default `self-signed`.
   *
   * - `self-signed`: the relay makes one, and clients pin its fingerprint.
   * - `manual`: `HOSTNAME.crt` and `HOSTNAME.key` in {@link certDir}, or {@link certificate}.
   * - `letsencrypt`, `gcp`: from that authority, by ACME.
   * - `acme`: from the authority of `acme.directory`.
   * - `off`: no TLS; the listener speaks plain HTTP.
   *
   * An authority needs a public {@link hostname}; an IP address needs `acme.ipCerts`, and `gcp` serves none.
   */
  readonly certMode?: 'self-signed' | 'manual' | 'off' | 'letsencrypt' | 'gcp' | 'acme' | undefined;
  /** Directory of certificates. Default: `certs` in {@link dataDir}. */
  readonly certDir?: string | undefined;
  /**
   * More certificates, chosen by server name. Default: none. Cannot be combined with {@link certificate}; at most one
   * may be `default`.
   */
  readonly certificates?: readonly CertificateFilesConfig[] | string | undefined;
  /** Settings of the certificate modes `letsencrypt`, `gcp` and `acme`. */
  readonly acme?: AcmeConfig | undefined;
  /**
   * File of the relay's private key; the relay makes it if it is missing. Default: `derper.key` in {@link dataDir}.
   * Cannot be combined with {@link privateKey}.
   */
  readonly keyFile?: string | undefined;
  /** Directory for files that the relay makes. Default: `/var/lib/derpkit` for root, else `derpkit` in `$XDG_DATA_HOME` or in `~/.local/share`; `start` rejects if it needs the directory and the user has no home. */
  readonly dataDir?: string | undefined;
  /**
   * TCP port of plain HTTP beside TLS, 0 to 65535; 0 is any free port, -1 disables it. Default 80. Must differ from the
   * port of {@link listen}. Unused with `certMode: 'off'`.
   */
  readonly httpPort?: NumberSetting | undefined;
  /** Whether the relay answers STUN requests. Default `true`. */
  readonly stun?: BooleanSetting | undefined;
  /** UDP port of STUN, 0 to 65535; 0 is any free port. Default 3478. */
  readonly stunPort?: NumberSetting | undefined;
  /** Whether the relay forwards packets. With `false`, it serves only STUN and HTTP. Default `true`. */
  readonly derp?: BooleanSetting | undefined;
  /**
   * What the page `/` shows: empty text for the usual page, `blank` for an empty page, or an http:// or https:// URL to
   * redirect to. Default: empty.
   */
  readonly home?: string | undefined;
  /** Names that `/bootstrap-dns` resolves for every client. Default: none. */
  readonly bootstrapDnsNames?: ListSetting | undefined;
  /** Names that `/bootstrap-dns` resolves only for clients that ask for them: `name`, or `name/txt-name` for a gradual rollout. Default: none. */
  readonly unpublishedBootstrapDnsNames?: ListSetting | undefined;
  /** App names whose clients the relay refuses. Default: none. `admission.deny.apps` adds to them. */
  readonly disallowAppNames?: ListSetting | undefined;
  /**
   * Connections per second that the TLS listener accepts: 0 or more, may be a fraction. It closes any more at once.
   * Default `Infinity` (as text `Inf`): no limit.
   */
  readonly acceptConnectionLimit?: NumberSetting | undefined;
  /**
   * Connections that the TLS listener accepts at once before {@link acceptConnectionLimit} applies: a whole number, 0
   * or more. Default: no limit.
   */
  readonly acceptConnectionBurst?: NumberSetting | undefined;
  /** JSON file with the receive limit of clients, in derper's form. `reload` reads it again. Default: no limit. */
  readonly rateConfig?: string | undefined;
  /** IP address with access to `/debug/`, besides loopback and Tailscale addresses. Default: none. */
  readonly debugAllowIp?: string | undefined;
  /** Networks with access to `/debug/`, such as `192.0.2.0/24`. Default: none. */
  readonly debugTrustedCidrs?: ListSetting | undefined;
  /** File with a key that gives access to `/debug/` as `?debugkey=`. Default: none. */
  readonly debugKeyFile?: string | undefined;
  /** Further host names under which `/debug/` answers. Default: none. */
  readonly debugHosts?: ListSetting | undefined;
  /** Whether a client without access to `/debug/` is told how to get it. Default `false`. */
  readonly debugHint?: BooleanSetting | undefined;
  /** File with the mesh key, 64 hex digits. Default: none. Cannot be combined with {@link meshKey}. */
  readonly meshKeyFile?: string | undefined;
  /**
   * Relays to mesh with: `host` or `host:port`, each optionally followed by `/dialhost`. Default: none. Requires a mesh
   * key.
   */
  readonly meshWith?: ListSetting | undefined;
  /** How the relay finds others to mesh with, and how it leaves them. */
  readonly mesh?: MeshConfig | undefined;
  /** The servers of NATS in which relays of a region find each other, and how to connect to them. */
  readonly nats?: NatsConfig | undefined;
  /** Idle time before TCP probes a connection. 0 keeps the system's. Default 10 minutes. */
  readonly tcpKeepaliveTime?: DurationSetting | undefined;
  /**
   * How long sent data may stay unacknowledged before the relay closes the connection. 0 keeps the system's limit.
   * Default 15 s.
   */
  readonly tcpUserTimeout?: DurationSetting | undefined;
  /** How long a write may make no progress before the relay closes the connection. 0 for no limit. Default 2 s. */
  readonly tcpWriteTimeout?: DurationSetting | undefined;
  /**
   * Packets in each of a client's two queues, 1 to 65536; a full queue drops the oldest packet of the sender with the most
   * bytes. Default 32.
   */
  readonly queueDepth?: NumberSetting | undefined;
  /** Whether the relay samples TCP round trips, where the data plane can measure them. Default `true`. */
  readonly roundTrips?: BooleanSetting | undefined;
  /**
   * Whether the relay estimates how many peers send packets to each client, for `clients()`, `/debug/clients/` and
   * `/debug/traffic`. It takes up to 4 KiB for each client that gets packets. Default `false`.
   */
  readonly senderCardinality?: BooleanSetting | undefined;
  /** Node keys, 64 hex digits each. The relay logs packets to these keys that it drops. Default: none. */
  readonly verboseDrops?: ListSetting | undefined;
  /** Whether the relay logs the events of every client. Default `false`. */
  readonly debugLogs?: BooleanSetting | undefined;
  /** Whether the relay logs the events of probers. Default `false`. */
  readonly proberDebugLogs?: BooleanSetting | undefined;
  /** The listener for metrics and health checks. */
  readonly metrics?: MetricsConfig | undefined;
  /** Limits over all connections. */
  readonly limits?: LimitsConfig | undefined;
  /** Which clients may use the relay. Default: every client. */
  readonly admission?: AdmissionConfig | undefined;
  /**
   * The data plane. Default `auto`: `native` if it can be loaded and can serve the settings, else `js`. With `native`,
   * `createRelay` throws `ERR_NATIVE_UNAVAILABLE` if it cannot be loaded.
   */
  readonly plane?: 'auto' | 'native' | 'js' | undefined;
  /** Worker threads of the native data plane, 0 to 256; 0 is one per core. Default 0. */
  readonly workers?: NumberSetting | undefined;
  /** Format of the relay's own log. Default `text`. Unused if the program passes a `logger`. */
  readonly logFormat?: 'text' | 'json' | undefined;
  /** Lowest level of the relay's own log. Default `info`. Unused if the program passes a `logger`. */
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent' | undefined;
  /** The relay's private key itself: `privkey:` and 64 hex digits, not all 0. Default: read from {@link keyFile}. */
  readonly privateKey?: string | undefined;
  /** The mesh key itself, 64 hex digits. Default: read from {@link meshKeyFile}. */
  readonly meshKey?: string | undefined;
  /** The certificate itself, instead of a directory. Default: read from {@link certDir}. */
  readonly certificate?: CertificateConfig | undefined;
}

/** A certificate as PEM text. */
export interface CertificateConfig {
  /** The chain in PEM: the leaf first, then the intermediates. Required. */
  readonly chain: string;
  /** The private key of the leaf in PEM, without a passphrase. Required. */
  readonly key: string;
}

/** A certificate in two files. Clients that ask for one of its names get it; `reload` reads it again. */
export interface CertificateFilesConfig {
  /** File of the chain in PEM: the leaf first, then the intermediates. Required. */
  readonly chainFile: string;
  /** File of the leaf's private key in PEM, without a passphrase. Required. */
  readonly keyFile: string;
  /**
   * Whether the certificate also serves clients that send no server name, or one that no certificate covers. Default
   * `false`.
   */
  readonly default?: BooleanSetting | undefined;
}

/** Settings of certificates by ACME. */
export interface AcmeConfig {
  /**
   * The https:// URL of the authority's ACME directory. Default: the certificate mode's; the mode `acme` requires one.
   */
  readonly directory?: string | undefined;
  /** Whether you agree to the authority's terms. Default `false`; {@link directory} requires `true`. */
  readonly agreeTerms?: BooleanSetting | undefined;
  /** E-mail address for messages from the authority. Default: none; `gcp` requires one. */
  readonly email?: string | undefined;
  /** Certificate profile for orders. Default: the authority's. */
  readonly profile?: string | undefined;
  /** Key id of an external account. Default: none; `gcp` requires one. */
  readonly eabKid?: string | undefined;
  /** File with the key of the external account, in base64. Default: none. Cannot be combined with {@link eabKey}. */
  readonly eabKeyFile?: string | undefined;
  /** The key of the external account itself, in base64. Default: none. Requires {@link eabKid}. */
  readonly eabKey?: string | undefined;
  /** Whether the relay also gets certificates for IP addresses. Default `false`. `gcp` issues none. */
  readonly ipCerts?: BooleanSetting | undefined;
  /** The IP addresses of {@link ipCerts}. Default: those of this machine that clients connect to. */
  readonly ipAddresses?: ListSetting | undefined;
  /**
   * Whether the relay orders certificates when it starts; with `false`, when a client first asks for one.
   * Default `true`.
   */
  readonly atStart?: BooleanSetting | undefined;
  /** Settings of DNS-01. */
  readonly dns?: AcmeDnsConfig | undefined;
}

/** Settings of the challenge DNS-01. The `dnsHook` of `RelayOptions` replaces them. */
export interface AcmeDnsConfig {
  /**
   * Command that sets a TXT record: the relay runs `COMMAND present NAME VALUE`, and later `COMMAND cleanup NAME
   * VALUE`. Default: none.
   */
  readonly exec?: string | undefined;
}

/** The listener for metrics and health checks, which speaks plain HTTP. */
export interface MetricsConfig {
  /**
   * Its address: a port, `host:port` or `[address]:port`. Without a host it is `127.0.0.1`; port 0 is any free port.
   * Default: none, and there is no such listener.
   */
  readonly listen?: NumberSetting | undefined;
  /**
   * File with the token that `/metrics` asks for: `Authorization: Bearer TOKEN`. The relay watches it. Default: none, and
   * every client that reaches the listener may read the metrics.
   */
  readonly tokenFile?: string | undefined;
}

/** Limits over all connections. Above a limit of memory, the connection that holds the most pays. */
export interface LimitsConfig {
  /** Connections at once, 1 to 2^31. Default: what the limit of file descriptors allows. */
  readonly connections?: NumberSetting | undefined;
  /** Unadmitted or HTTP connections of one IPv4 address, or of one IPv6 /64, 1 to 2^31. Default 256. */
  readonly perAddress?: NumberSetting | undefined;
  /** Networks that are exempt from {@link perAddress}. Default `127.0.0.0/8,::1/128`. */
  readonly exempt?: ListSetting | undefined;
  /** Memory for incomplete frames. Above it, the relay closes the connection that holds the most. Default 64 MiB. */
  readonly partialBytes?: ByteSetting | undefined;
  /**
   * Memory for data that waits to be sent. Above it, the connection that holds the most loses its oldest packets.
   * Default 256 MiB.
   */
  readonly queuedBytes?: ByteSetting | undefined;
  /**
   * Pairs of a client and a peer whose departure it is told, 1 to 2^31. Above it, the client with the most pairs
   * forgets its oldest peer. Default 1,000,000.
   */
  readonly peerGonePairs?: NumberSetting | undefined;
  /**
   * Keys that the relays of the mesh may announce, 1 to 2^31. Above it, the relay ignores keys of the mesh peer that
   * announces the most. Default 1,000,000.
   */
  readonly meshKeys?: NumberSetting | undefined;
}

/** Which clients may use the relay. Without a verifier, it admits every client that no deny list has. */
export interface AdmissionConfig {
  /** Whether one verifier is enough to admit a client, or all must agree. Default `any`. */
  readonly policy?: 'any' | 'all' | undefined;
  /** The verifiers, at most 30; as text, the list in JSON. Default: none. */
  readonly verifiers?: readonly VerifierConfig[] | string | undefined;
  /** Clients that the relay refuses, whatever a verifier says. */
  readonly deny?: AdmissionDenyConfig | undefined;
  /** How long the relay keeps a verifier's answer. */
  readonly cache?: AdmissionCacheConfig | undefined;
  /** How often the verifiers are asked again about a connected client. 0 is never. Default 10 minutes. */
  readonly recheck?: DurationSetting | undefined;
  /** Concurrent questions to one verifier, 1 to 10000; further ones wait. Default 64. */
  readonly questions?: NumberSetting | undefined;
}

/** One verifier. Exactly one of {@link tailscaled}, {@link url} and {@link keys} is required. */
export interface VerifierConfig {
  /**
   * A tailscaled that has to know the client: `true` is that of this machine, at its usual place; a path is another socket of
   * one, or a list of at least one.
   */
  readonly tailscaled?: true | string | readonly string[] | undefined;
  /** The http:// or https:// URL of an admission controller. */
  readonly url?: string | undefined;
  /** File with the node keys to admit, one on each line. The relay watches it. */
  readonly keys?: string | undefined;
  /** Headers of requests to {@link url}, by name. Default: none. An error without `url`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * File with headers of requests to {@link url}: `Name: value` on each line. Default: none. An error without `url`.
   */
  readonly headersFile?: string | undefined;
  /** Whether clients are admitted if {@link url} cannot be reached. Default `false`. An error without `url`. */
  readonly failOpen?: BooleanSetting | undefined;
  /** How long an answer may take. 0 is as long as the client waits: 15 s. Default 5 s. */
  readonly timeout?: DurationSetting | undefined;
}

/** Clients that the relay refuses, whatever a verifier says. */
export interface AdmissionDenyConfig {
  /** File with the node keys to refuse, one on each line. The relay watches it. Default: none. */
  readonly keys?: string | undefined;
  /** App names to refuse, in addition to `disallowAppNames`. Default: none. */
  readonly apps?: ListSetting | undefined;
}

/** How long the relay keeps a verifier's answer. It does not keep answers of key lists. */
export interface AdmissionCacheConfig {
  /** How long it keeps a yes. 0 is not at all. Default 5 minutes. */
  readonly allow?: DurationSetting | undefined;
  /** How long it keeps a no. 0 is not at all. Default 30 s. */
  readonly deny?: DurationSetting | undefined;
  /** How long the last yes counts while a verifier fails. 0 is not at all. Default 15 minutes. */
  readonly grace?: DurationSetting | undefined;
}

/**
 * The name of a setting; inside a group it has a dot: `limits.connections`. {@link CertificateConfig} is not a setting.
 */
export type SettingName<Group = Omit<RelayConfig, 'certificate'>> = {
  [Name in keyof Group & string]-?: NonNullable<Group[Name]> extends string | number | boolean | readonly unknown[]
    ? Name
    : `${Name}.${SettingName<NonNullable<Group[Name]>>}`;
}[keyof Group & string];
