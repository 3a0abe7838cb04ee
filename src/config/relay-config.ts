/**
 * What `createRelay` takes, in writing. `../config.ts` has the schema that checks it: tests hold the fields, their types and the
 * defaults that the comments name equal to the schema's.
 */

/** `true` or `false`; as text also `1`, `t`, `T`, `TRUE`, `True`, and `0`, `f`, `F`, `FALSE`, `False`. */
export type BooleanSetting = boolean | string;

/** A number, or the same number as decimal digits in text. */
export type NumberSetting = number | string;

/** Milliseconds as a number, or text as Go writes durations: `1m30s`, `2s`, `500ms`. Never negative. */
export type DurationSetting = number | string;

/** Bytes as a whole number, or text with a binary unit: `64MiB`, `512KiB`, `1GiB`. At least 1. */
export type ByteSetting = number | string;

/** A list, or text with commas between its entries; empty text is an empty list. */
export type ListSetting = readonly string[] | string;

/**
 * The settings of a relay. Every field is optional, and `undefined` is the default.
 *
 * `createRelay` checks all fields and throws one `ConfigError` that lists every problem: a value outside of its range, an
 * unknown field, fields that contradict each other. `start` reads the files that the settings name; it rejects with a
 * `ConfigError` if it cannot use one of them. A relative path is relative to the working directory of the process, and `~` is
 * an error.
 */
export interface RelayConfig {
  /** Address of the relay's own listener: `host:port`, `:port` or `[address]:port`. No host is every address; port 0 is any free port. Default `:443`. */
  readonly listen?: string | undefined;
  /** Name or IP address that clients use; the certificate has to be for it. Default `localhost`. */
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
  /** More certificates, chosen by server name. Default: none. Cannot be given together with {@link certificate}; at most one has `default`. */
  readonly certificates?: readonly CertificateFilesConfig[] | string | undefined;
  /** Settings of the certificate modes `letsencrypt`, `gcp` and `acme`. */
  readonly acme?: AcmeConfig | undefined;
  /** File of the relay's private key; the relay makes it if it is missing. Default: `derper.key` in {@link dataDir}. Cannot be given together with {@link privateKey}. */
  readonly keyFile?: string | undefined;
  /** Directory of the files that the relay makes. Default: `/var/lib/derpkit` for root, else `derpkit` in `$XDG_DATA_HOME` or in `~/.local/share`; `start` rejects if it needs the directory and the user has no home. */
  readonly dataDir?: string | undefined;
  /** TCP port of plain HTTP beside TLS, 0 to 65535; 0 is any free port, -1 is none. Default 80. Cannot be the port of {@link listen}. Unused with `certMode: 'off'`. */
  readonly httpPort?: NumberSetting | undefined;
  /** Whether the relay answers STUN requests. Default `true`. */
  readonly stun?: BooleanSetting | undefined;
  /** UDP port of STUN, 0 to 65535; 0 is any free port. Default 3478. */
  readonly stunPort?: NumberSetting | undefined;
  /** Whether the relay relays packets. With `false`, it serves STUN and HTTP only. Default `true`. */
  readonly derp?: BooleanSetting | undefined;
  /** What the page `/` shows: empty text for the usual page, `blank` for an empty one, or an http:// or https:// URL that it redirects to. Default: empty. */
  readonly home?: string | undefined;
  /** Names that `/bootstrap-dns` resolves for every client. Default: none. */
  readonly bootstrapDnsNames?: ListSetting | undefined;
  /** Names that `/bootstrap-dns` resolves only for clients that ask for them: `name`, or `name/txt-name` for a gradual rollout. Default: none. */
  readonly unpublishedBootstrapDnsNames?: ListSetting | undefined;
  /** App names whose clients the relay refuses. Default: none. `admission.deny.apps` adds to them. */
  readonly disallowAppNames?: ListSetting | undefined;
  /** Connections per second that the TLS listener takes, 0 or more, fractions too; it closes further ones at once. Default `Infinity` (as text `Inf`): no limit. */
  readonly acceptConnectionLimit?: NumberSetting | undefined;
  /** Connections that may come at once before {@link acceptConnectionLimit} holds: a whole number, 0 or more. Default: no limit. */
  readonly acceptConnectionBurst?: NumberSetting | undefined;
  /** JSON file with the receive rate limit of clients, as of derper. `reload` reads it again. Default: no limit. */
  readonly rateConfig?: string | undefined;
  /** IP address that may see `/debug/`, beside loopback and Tailscale addresses. Default: none. */
  readonly debugAllowIp?: string | undefined;
  /** Networks that may see `/debug/`, such as `192.0.2.0/24`. Default: none. */
  readonly debugTrustedCidrs?: ListSetting | undefined;
  /** File with a key that opens `/debug/` as `?debugkey=`. Default: none. */
  readonly debugKeyFile?: string | undefined;
  /** Further host names that `/debug/` may be asked for by. Default: none. */
  readonly debugHosts?: ListSetting | undefined;
  /** Whether a client that may not see `/debug/` is told how it could. Default `false`. */
  readonly debugHint?: BooleanSetting | undefined;
  /** File with the mesh key, 64 hex digits. Default: none. Cannot be given together with {@link meshKey}. */
  readonly meshKeyFile?: string | undefined;
  /** Relays to mesh with: `host`, `host:port`, or either with `/dialhost` behind it. Default: none. Needs a mesh key. */
  readonly meshWith?: ListSetting | undefined;
  /** Idle time before TCP probes a connection. 0 is the system's. Default 10 minutes. */
  readonly tcpKeepaliveTime?: DurationSetting | undefined;
  /** How long sent data may stay unacknowledged before the relay closes the connection. 0 is the system's. Default 15 s. */
  readonly tcpUserTimeout?: DurationSetting | undefined;
  /** How long a write may make no progress before the relay closes the connection. 0 is for ever. Default 2 s. */
  readonly tcpWriteTimeout?: DurationSetting | undefined;
  /** Packets queued for each client and each of the two kinds, 1 to 65536; beyond them the oldest is dropped. Default 32. */
  readonly queueDepth?: NumberSetting | undefined;
  /** Whether the relay counts round trips of TCP, where the data plane can tell them. Default `true`. */
  readonly roundTrips?: BooleanSetting | undefined;
  /** Node keys (64 hex digits each); the relay logs packets that it drops on their way to these. Default: none. */
  readonly verboseDrops?: ListSetting | undefined;
  /** Whether the relay logs what every client does. Default `false`. */
  readonly debugLogs?: BooleanSetting | undefined;
  /** Whether the relay logs what clients that are probers do. Default `false`. */
  readonly proberDebugLogs?: BooleanSetting | undefined;
  /** Limits over all connections. */
  readonly limits?: LimitsConfig | undefined;
  /** Which clients may use the relay. Default: every client. */
  readonly admission?: AdmissionConfig | undefined;
  /**
   * The data plane. Default `auto`: `native` where it can be loaded and can serve the settings, else `js`. With `native`,
   * `createRelay` throws `ERR_NATIVE_UNAVAILABLE` where it cannot be loaded.
   */
  readonly plane?: 'auto' | 'native' | 'js' | undefined;
  /** Threads of the native data plane, 0 to 256; 0 is one per core. Default 0. */
  readonly workers?: NumberSetting | undefined;
  /** Format of the relay's own log. Default `text`. Unused with a `logger` of the embedder. */
  readonly logFormat?: 'text' | 'json' | undefined;
  /** Lowest level of the relay's own log. Default `info`. Unused with a `logger` of the embedder. */
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent' | undefined;
  /** The relay's private key itself: `privkey:` and 64 hex digits, not all of them 0. Default: from {@link keyFile}. */
  readonly privateKey?: string | undefined;
  /** The mesh key itself, 64 hex digits. Default: from {@link meshKeyFile}. */
  readonly meshKey?: string | undefined;
  /** The certificate itself, instead of a directory. Default: from {@link certDir}. */
  readonly certificate?: CertificateConfig | undefined;
}

/** A certificate as text. */
export interface CertificateConfig {
  /** The chain in PEM: the leaf first, then the intermediates. Required. */
  readonly chain: string;
  /** The private key of the leaf in PEM, without a passphrase. Required. */
  readonly key: string;
}

/** A certificate in two files. It is served to clients that ask for one of its names; `reload` reads it again. */
export interface CertificateFilesConfig {
  /** File of the chain in PEM: the leaf first, then the intermediates. Required. */
  readonly chainFile: string;
  /** File of the leaf's private key in PEM, without a passphrase. Required. */
  readonly keyFile: string;
  /** Whether clients get this certificate that name no server, or one that no certificate is for. Default `false`. */
  readonly default?: BooleanSetting | undefined;
}

/** Settings of certificates by ACME. */
export interface AcmeConfig {
  /** The https:// URL of the authority's directory. Default: that of the certificate mode; the mode `acme` needs one. */
  readonly directory?: string | undefined;
  /** Whether you agree to the authority's terms. Default `false`; has to be `true` with {@link directory}. */
  readonly agreeTerms?: BooleanSetting | undefined;
  /** E-mail address that the authority can reach you at. Default: none; `gcp` needs one. */
  readonly email?: string | undefined;
  /** Profile that certificates are ordered by. Default: the authority's. */
  readonly profile?: string | undefined;
  /** Key id of an external account. Default: none; `gcp` needs one. */
  readonly eabKid?: string | undefined;
  /** File with the key of the external account, in base64. Default: none. Cannot be given together with {@link eabKey}. */
  readonly eabKeyFile?: string | undefined;
  /** The key of the external account itself, in base64. Default: none. Needs {@link eabKid}. */
  readonly eabKey?: string | undefined;
  /** Whether the relay gets certificates for IP addresses, too. Default `false`. `gcp` has none. */
  readonly ipCerts?: BooleanSetting | undefined;
  /** The IP addresses of {@link ipCerts}. Default: those of this machine that clients connect to. */
  readonly ipAddresses?: ListSetting | undefined;
  /** Whether the relay gets certificates when it starts; `false` is when the first client asks. Default `true`. */
  readonly atStart?: BooleanSetting | undefined;
  /** Settings of DNS-01. */
  readonly dns?: AcmeDnsConfig | undefined;
}

/** Settings of the challenge DNS-01. The `dnsHook` of `RelayOptions` takes its place. */
export interface AcmeDnsConfig {
  /** Command that sets a TXT record: the relay runs `COMMAND present NAME VALUE`, and later `COMMAND cleanup NAME VALUE`. Default: none. */
  readonly exec?: string | undefined;
}

/** Limits over all connections. Over a limit of memory the connection that holds the most pays for it. */
export interface LimitsConfig {
  /** Connections at once, 1 to 2^31. Default: what the limit of file descriptors leaves. */
  readonly connections?: NumberSetting | undefined;
  /** Unadmitted or HTTP connections of one IPv4 address, or of one IPv6 /64, 1 to 2^31. Default 256. */
  readonly perAddress?: NumberSetting | undefined;
  /** Networks without a limit per address. Default `127.0.0.0/8,::1/128`. */
  readonly exempt?: ListSetting | undefined;
  /** Memory for frames that are not whole yet. Over it the relay closes the connection that holds the most. Default 64 MiB. */
  readonly partialBytes?: ByteSetting | undefined;
  /** Memory for what waits to be sent. Over it the connection that holds the most loses its oldest packets. Default 256 MiB. */
  readonly queuedBytes?: ByteSetting | undefined;
  /** Pairs of clients, one of which is told when the other leaves, 1 to 2^31. Over it the client with the most forgets its oldest peer. Default 1,000,000. */
  readonly peerGonePairs?: NumberSetting | undefined;
  /** Keys that the relays of the mesh may announce, 1 to 2^31. Over it keys of the relay that announces the most are passed over. Default 1,000,000. */
  readonly meshKeys?: NumberSetting | undefined;
}

/** Which clients may use the relay. Without a verifier every client may that no list denies. */
export interface AdmissionConfig {
  /** How many verifiers have to let a client in. Default `any`. */
  readonly policy?: 'any' | 'all' | undefined;
  /** Who says which clients are let in, at most 30; as text, the list in JSON. Default: none. */
  readonly verifiers?: readonly VerifierConfig[] | string | undefined;
  /** Clients that are refused whatever a verifier says. */
  readonly deny?: AdmissionDenyConfig | undefined;
  /** How long an answer of a verifier counts. */
  readonly cache?: AdmissionCacheConfig | undefined;
  /** How often each connected client is asked about again. 0 is never. Default 10 minutes. */
  readonly recheck?: DurationSetting | undefined;
  /** Questions to one verifier at once, 1 to 10000; further ones wait. Default 64. */
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
  /** File with the node keys of clients that are let in, one a line. The relay watches it. */
  readonly keys?: string | undefined;
  /** Headers of requests to {@link url}, by name. Default: none. An error without `url`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** File with headers of requests to {@link url}, `Name: value` each line. Default: none. An error without `url`. */
  readonly headersFile?: string | undefined;
  /** Whether clients are let in when {@link url} cannot be reached at all. Default `false`. An error without `url`. */
  readonly failOpen?: BooleanSetting | undefined;
  /** How long an answer may take. 0 is as long as the client waits, 15 s. Default 5 s. */
  readonly timeout?: DurationSetting | undefined;
}

/** Clients that are refused whatever a verifier says. */
export interface AdmissionDenyConfig {
  /** File with the node keys of clients that are refused, one a line. The relay watches it. Default: none. */
  readonly keys?: string | undefined;
  /** App names whose clients are refused, beside `disallowAppNames`. Default: none. */
  readonly apps?: ListSetting | undefined;
}

/** How long an answer of a verifier counts. Answers of lists of keys are not kept. */
export interface AdmissionCacheConfig {
  /** How long a yes counts. 0 is not at all. Default 5 minutes. */
  readonly allow?: DurationSetting | undefined;
  /** How long a no counts. 0 is not at all. Default 30 s. */
  readonly deny?: DurationSetting | undefined;
  /** How long the last yes counts while a verifier fails. 0 is not at all. Default 15 minutes. */
  readonly grace?: DurationSetting | undefined;
}

/** The name of a setting; one in a group has a dot in it, such as `limits.connections`. {@link CertificateConfig} is none. */
export type SettingName<Group = Omit<RelayConfig, 'certificate'>> = {
  [Name in keyof Group & string]-?: NonNullable<Group[Name]> extends string | number | boolean | readonly unknown[]
    ? Name
    : `${Name}.${SettingName<NonNullable<Group[Name]>>}`;
}[keyof Group & string];
