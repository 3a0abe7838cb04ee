//! JavaScript's objects and ours.

use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::time::Duration;

use derp_net::{Event, Figures, Policy, Prefix, Target};
use derp_proto::key::{MeshKey, NodeKey};
use derp_proto::token_bucket::Rate;
use derp_tls::{Certificate, CertificateError, CertificateSet, ClientSettings, Otherwise, Version};
use napi::bindgen_prelude::{Buffer, Float64Array, Uint8Array};
use napi_derive::napi;

/// `PlanePolicy`, flat. Milliseconds and bytes.
#[napi(object)]
pub struct BindingPolicy {
    pub head_bytes: u32,
    pub client_info_bytes: u32,
    pub connections: u32,
    pub handshakes: u32,
    pub parked_handshakes: u32,
    pub pending_logins: u32,
    pub login_bytes: u32,
    pub duplexes: u32,
    pub per_address: u32,
    pub exempt: Vec<String>,
    pub control_bytes: u32,
    pub leftover_bytes: u32,
    pub peer_gone_subscriptions: u32,
    pub partial_bytes: f64,
    pub queued_bytes: f64,
    pub peer_gone_pairs: f64,
    pub head: f64,
    pub client_info: f64,
    pub handshake: f64,
    pub certificate: f64,
    pub admission: f64,
    pub write: f64,
    pub mesh_write: f64,
    pub link_write: f64,
    pub link_silence: f64,
    pub queue_depth: u32,
    pub link_queue_depth: u32,
    pub keep_alive: f64,
    pub keep_alive_jitter: f64,
    pub not_here_burst: f64,
    pub not_here_per_second: f64,
    pub accept_burst: Option<f64>,
    pub accept_per_second: Option<f64>,
    pub receive_burst: Option<f64>,
    pub receive_per_second: Option<f64>,
    pub receive_epoch: u32,
    pub tcp_keep_alive: f64,
    pub tcp_user_timeout: f64,
    pub round_trips: f64,
    pub tell_failures: bool,
    pub watched_drops: Vec<Uint8Array>,
}

impl From<BindingPolicy> for Policy {
    fn from(policy: BindingPolicy) -> Self {
        Self {
            head_bytes: policy.head_bytes as usize,
            client_info_bytes: policy.client_info_bytes as usize,
            connections: policy.connections as usize,
            handshakes: policy.handshakes as usize,
            parked_handshakes: policy.parked_handshakes as usize,
            pending_logins: policy.pending_logins as usize,
            login_bytes: policy.login_bytes as usize,
            duplexes: policy.duplexes as usize,
            per_address: policy.per_address as usize,
            // They have been read before.
            exempt: policy.exempt.iter().filter_map(|prefix| Prefix::parse(prefix)).collect(),
            control_bytes: policy.control_bytes as usize,
            leftover_bytes: policy.leftover_bytes as usize,
            peer_gone_subscriptions: policy.peer_gone_subscriptions as usize,
            partial_bytes: policy.partial_bytes as usize,
            queued_bytes: policy.queued_bytes as usize,
            peer_gone_pairs: policy.peer_gone_pairs as usize,
            handshake_deadline: millis(policy.handshake),
            certificate_deadline: millis(policy.certificate),
            head_deadline: millis(policy.head),
            client_info_deadline: millis(policy.client_info),
            admission_deadline: millis(policy.admission),
            write_deadline: some_millis(policy.write),
            mesh_write_deadline: some_millis(policy.mesh_write),
            link_write_deadline: some_millis(policy.link_write),
            link_silence: millis(policy.link_silence),
            queue_depth: policy.queue_depth as usize,
            link_queue_depth: policy.link_queue_depth as usize,
            keep_alive: millis(policy.keep_alive),
            keep_alive_jitter: millis(policy.keep_alive_jitter),
            not_here: Rate { per_second: policy.not_here_per_second, burst: policy.not_here_burst },
            accept: rate(policy.accept_per_second, policy.accept_burst),
            receive: rate(policy.receive_per_second, policy.receive_burst),
            receive_epoch: policy.receive_epoch,
            tcp_keep_alive: some_millis(policy.tcp_keep_alive),
            tcp_user_timeout: some_millis(policy.tcp_user_timeout),
            round_trips: some_millis(policy.round_trips),
            tell_failures: policy.tell_failures,
            watched_drops: policy.watched_drops.iter().filter_map(|key| NodeKey::first_of(key)).collect(),
        }
    }
}

pub(crate) fn rate(per_second: Option<f64>, burst: Option<f64>) -> Option<Rate> {
    Some(Rate { per_second: per_second?, burst: burst? })
}

fn millis(value: f64) -> Duration {
    Duration::from_secs_f64(value.clamp(0.0, 1e12) / 1000.0)
}

fn some_millis(value: f64) -> Option<Duration> {
    (value > 0.0).then(|| millis(value))
}

/// `Certificate`.
#[napi(object)]
pub struct BindingCertificate {
    pub names: Vec<String>,
    pub alpn: Option<String>,
    pub chain: Vec<Uint8Array>,
    pub private_key: Uint8Array,
}

/// A `CertificateSet` of these; `otherwise` is what it says there.
pub(crate) fn certificate_set(
    certificates: Vec<BindingCertificate>,
    otherwise: &str,
) -> Result<CertificateSet, CertificateError> {
    let certificates = certificates.into_iter().map(|certificate| Certificate {
        names: certificate.names,
        alpn: certificate.alpn,
        chain: certificate.chain.iter().map(|der| der.to_vec()).collect(),
        private_key: certificate.private_key.to_vec().into(),
    });
    let otherwise = match otherwise {
        "first" => Otherwise::First,
        "ask" => Otherwise::Ask,
        "challenge" => Otherwise::Challenge,
        _ => Otherwise::Refuse,
    };
    CertificateSet::new(certificates.collect(), otherwise)
}

/// `DialTarget`.
#[napi(object)]
pub struct BindingTarget {
    pub address: String,
    pub port: u16,
    pub host: String,
    pub authority: String,
    pub roots: Option<Vec<Uint8Array>>,
    pub mesh_key: String,
    pub timeout: f64,
}

/// An error is the reason for which it cannot be dialled.
impl TryFrom<BindingTarget> for Target {
    type Error = &'static str;

    fn try_from(target: BindingTarget) -> Result<Self, Self::Error> {
        let ip = target.address.parse().map_err(|_| "not an address")?;
        let roots = target.roots.map(|roots| ClientSettings::from_der(roots.iter().map(|der| der.to_vec())));
        Ok(Self {
            address: SocketAddr::new(ip, target.port),
            host: target.host,
            authority: target.authority,
            roots: roots.transpose().map_err(|_| "none of the certificates to trust can be used")?,
            mesh_key: MeshKey::from_hex(&target.mesh_key).ok_or("not a mesh key")?,
            timeout: millis(target.timeout),
        })
    }
}

/// One event; which fields are there depends on `kind`, the name of the event in `PlaneEvents`.
#[napi(object)]
#[derive(Default)]
pub struct BindingEvent {
    pub kind: String,
    pub id: f64,
    pub key: Option<Buffer>,
    pub reason: Option<String>,
    pub sequence: Option<f64>,
    pub home: Option<bool>,
    pub address: Option<String>,
    pub port: Option<u16>,
    pub not_ideal: Option<bool>,
    pub tls_version: Option<String>,
    pub info: Option<BindingClientInfo>,
    pub listener: Option<f64>,
    pub fd: Option<i32>,
    pub received: Option<Buffer>,
    /// 33 bytes for each: the key, and whether it is there.
    pub changes: Option<Buffer>,
    pub server_name: Option<String>,
    pub local_address: Option<String>,
    pub alpn: Option<Vec<String>>,
    pub drops: Option<Vec<BindingDrop>>,
    pub failures: Option<Vec<BindingFailure>>,
    /// How many more there were.
    pub untold: Option<f64>,
}

/// `Failure`.
#[napi(object)]
pub struct BindingFailure {
    pub what: String,
    pub address: String,
    pub port: u16,
    pub server_name: String,
    pub alert: String,
}

/// `PacketDrop`.
#[napi(object)]
pub struct BindingDrop {
    pub source: Buffer,
    pub destination: Buffer,
    pub reason: String,
    pub packets: f64,
}

/// `ClientInfo`.
#[napi(object)]
pub struct BindingClientInfo {
    pub version: f64,
    pub mesh_key: Option<String>,
    pub can_ack_pings: bool,
    pub is_prober: bool,
    pub app_name: String,
}

impl From<Event> for BindingEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Login { id, key, info, peer, tls, not_ideal } => Self {
                tls_version: tls.map(version_name),
                key: Some(key_buffer(&key)),
                address: Some(address_of(peer)),
                port: Some(peer.port()),
                not_ideal: Some(not_ideal),
                info: Some(BindingClientInfo {
                    version: info.version as f64,
                    mesh_key: info.mesh_key.map(|key| hex(key.as_bytes())),
                    can_ack_pings: info.can_ack_pings,
                    is_prober: info.is_prober,
                    app_name: info.app_name,
                }),
                ..Self::new("login", id)
            },
            Event::Closed { id, reason } => Self { reason: Some(reason.as_str().into()), ..Self::new("closed", id) },
            Event::Active { key, id, sequence } => {
                Self { key: Some(key_buffer(&key)), sequence: Some(sequence as f64), ..Self::new("active", id) }
            }
            Event::Watch { id } => Self::new("watch", id),
            Event::ClosePeer { id, target } => Self { key: Some(key_buffer(&target)), ..Self::new("closePeer", id) },
            Event::Prefer { id, home } => Self { home: Some(home), ..Self::new("prefer", id) },
            Event::Pulled { id } => Self::new("pulled", id),
            Event::Duplex { id, listener, peer, tls, stream, received } => Self {
                tls_version: tls.map(version_name),
                listener: Some(listener as f64),
                address: Some(address_of(peer)),
                port: Some(peer.port()),
                fd: Some(stream.into_raw_fd()),
                received: Some(received.into()),
                ..Self::new("duplex", id)
            },
            Event::Pulse { id } => Self::new("pulse", id),
            Event::LinkOpen { link, server } => Self { key: Some(key_buffer(&server)), ..Self::new("linkOpen", link) },
            Event::LinkPeers { link, changes } => {
                let bytes = changes
                    .iter()
                    .flat_map(|change| change.key.as_bytes().iter().copied().chain([u8::from(change.present)]));
                Self { changes: Some(bytes.collect::<Vec<_>>().into()), ..Self::new("linkPeers", link) }
            }
            Event::LinkClosed { link, reason } => Self { reason: Some(reason), ..Self::new("linkClosed", link) },
            Event::CertificateNeeded { id, need, local } => Self {
                server_name: Some(need.server_name),
                local_address: Some(local.to_canonical().to_string()),
                alpn: Some(need.alpn),
                ..Self::new("certificateNeeded", id)
            },
            Event::Drops(drops) => {
                let drops = drops.iter().map(|dropped| BindingDrop {
                    source: key_buffer(&dropped.source),
                    destination: key_buffer(&dropped.destination),
                    reason: dropped.reason.as_str().into(),
                    packets: dropped.packets as f64,
                });
                Self { drops: Some(drops.collect()), ..Self::new("drops", 0) }
            }
            Event::Failures(failures, untold) => {
                let failures = failures.into_iter().map(|failure| BindingFailure {
                    what: failure.what.to_string(),
                    address: address_of(failure.peer),
                    port: failure.peer.port(),
                    server_name: failure.server_name,
                    alert: failure.alert.map_or_else(String::new, |alert| alert.to_string()),
                });
                Self { failures: Some(failures.collect()), untold: Some(untold as f64), ..Self::new("failures", 0) }
            }
            Event::Crowded { address } => {
                Self { address: Some(address.to_canonical().to_string()), ..Self::new("crowded", 0) }
            }
            Event::Trouble { message } => Self { reason: Some(message), ..Self::new("trouble", 0) },
            Event::Fault { message } => Self { reason: Some(message), ..Self::new("fault", 0) },
        }
    }
}

impl BindingEvent {
    fn new(kind: &str, id: u64) -> Self {
        Self { kind: kind.into(), id: id as f64, ..Self::default() }
    }
}

/// `Snapshot`: rows of the columns that `SNAPSHOT_COLUMNS` and `LINK_COLUMNS` name.
#[napi(object)]
pub struct BindingSnapshot {
    pub total: u32,
    pub rows: Float64Array,
    pub links: Float64Array,
}

impl BindingSnapshot {
    pub fn new(total: usize, figures: &[Figures], links: &[Figures]) -> Self {
        let rows: Vec<f64> = figures
            .iter()
            .flat_map(|row| {
                [
                    row.id,
                    row.packets_received,
                    row.bytes_received,
                    row.packets_sent,
                    row.bytes_sent,
                    row.packets_dropped,
                    row.queued_packets,
                ]
            })
            .map(|figure| figure as f64)
            .collect();
        let links: Vec<f64> = links
            .iter()
            .flat_map(|row| {
                // What a link receives is what its relay says of others.
                let changes = row.packets_received;
                [row.id, row.packets_sent, row.bytes_sent, row.packets_dropped, row.queued_packets, changes]
            })
            .map(|figure| figure as f64)
            .collect();
        Self { total: total as u32, rows: rows.into(), links: links.into() }
    }
}

fn version_name(version: Version) -> String {
    match version {
        Version::Tls12 => "1.2",
        Version::Tls13 => "1.3",
    }
    .into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_buffer(key: &NodeKey) -> Buffer {
    key.as_bytes().to_vec().into()
}

/// IPv4 addresses that a dual-stack socket reports in their mapped form are ordinary IPv4 addresses to everyone else.
/// Nobody connects from the unspecified address: it stands for one that is not known.
fn address_of(peer: SocketAddr) -> String {
    let ip = peer.ip().to_canonical();
    if ip.is_unspecified() { String::new() } else { ip.to_string() }
}
