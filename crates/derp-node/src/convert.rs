//! JavaScript's objects and ours.

use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::time::Duration;

use derp_net::{Event, Figures, Policy, Prefix, Target};
use derp_proto::key::{MeshKey, NodeKey};
use derp_proto::token_bucket::Rate;
use derp_tls::{Certificate, CertificateError, CertificateSet, ClientSettings, Otherwise};
use napi::bindgen_prelude::{Buffer, Float64Array, Uint8Array};
use napi_derive::napi;

use crate::words::{EventKind, Words};

/// `PlanePolicy`: the numbers in the order of `policyRows`, and what is no number.
#[napi(object)]
pub struct BindingPolicy {
    /// Milliseconds, bytes and counts. `NaN` stands for a rate that there is none of.
    pub numbers: Float64Array,
    /// Networks, `address/bits`.
    pub exempt: Vec<String>,
    /// Another number with every receive rate that is given.
    pub receive_epoch: u32,
    /// Node keys, 32 bytes each.
    pub watched_drops: Vec<Uint8Array>,
}

/// An error is what is wrong with it.
impl TryFrom<BindingPolicy> for Policy {
    type Error = &'static str;

    fn try_from(policy: BindingPolicy) -> Result<Self, Self::Error> {
        let numbers = Self::from_numbers(&policy.numbers).ok_or("a policy has as many numbers as there are rows")?;
        Ok(Self {
            // They have been read before.
            exempt: policy.exempt.iter().filter_map(|prefix| Prefix::parse(prefix)).collect(),
            receive_epoch: policy.receive_epoch,
            watched_drops: policy.watched_drops.iter().filter_map(|key| NodeKey::first_of(key)).collect(),
            ..numbers
        })
    }
}

/// Only for the tests that compare what has arrived with what was sent.
#[cfg(feature = "fault-injection")]
impl From<&Policy> for BindingPolicy {
    fn from(policy: &Policy) -> Self {
        Self {
            numbers: policy.numbers().into(),
            exempt: policy.exempt.iter().map(ToString::to_string).collect(),
            receive_epoch: policy.receive_epoch,
            watched_drops: policy.watched_drops.iter().map(|key| key.as_bytes().to_vec().into()).collect(),
        }
    }
}

pub(crate) fn rate(per_second: Option<f64>, burst: Option<f64>) -> Option<Rate> {
    Some(Rate { per_second: per_second?, burst: burst? })
}

fn millis(value: f64) -> Duration {
    Duration::from_secs_f64(value.clamp(0.0, 1e12) / 1000.0)
}

/// `Certificate`.
#[napi(object)]
pub struct BindingCertificate {
    pub names: Vec<String>,
    pub alpn: Option<String>,
    pub chain: Vec<Uint8Array>,
    pub private_key: Uint8Array,
}

/// A `CertificateSet` of these.
pub(crate) fn certificate_set(
    certificates: Vec<BindingCertificate>,
    otherwise: Otherwise,
) -> Result<CertificateSet, CertificateError> {
    let certificates = certificates.into_iter().map(|certificate| Certificate {
        names: certificate.names,
        alpn: certificate.alpn,
        chain: certificate.chain.iter().map(|der| der.to_vec()).collect(),
        private_key: certificate.private_key.to_vec().into(),
    });
    CertificateSet::new(certificates.collect(), otherwise)
}

/// `Adoption`, with what is known of the connection.
#[napi(object)]
pub struct BindingAdoption {
    /// The listener that it came to.
    pub listener: f64,
    /// The address of the other end; empty if it is not known.
    pub address: String,
    /// The port of the other end.
    pub port: u16,
    /// What was read of it beyond the request.
    pub leftover: Buffer,
    /// The client said with `Ideal-Node` that it would rather be on another node of the region.
    pub not_ideal: bool,
    /// DERP lies in the messages of a WebSocket.
    pub web_socket: bool,
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
    pub watch: bool,
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
            watch: target.watch,
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
    pub address: Option<String>,
    pub port: Option<u16>,
    pub tls_version: Option<String>,
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

impl BindingEvent {
    /// `None` for the events that cross as records.
    pub(crate) fn of(event: Event) -> Option<Self> {
        Some(match event {
            Event::Login { .. }
            | Event::Closed { .. }
            | Event::Active { .. }
            | Event::Prefer { .. }
            | Event::Lookup { .. }
            | Event::Heard { .. } => return None,
            Event::Watch { id } => Self::new(EventKind::Watch, id),
            Event::ClosePeer { id, target } => {
                Self { key: Some(key_buffer(&target)), ..Self::new(EventKind::ClosePeer, id) }
            }
            Event::Pulled { id } => Self::new(EventKind::Pulled, id),
            Event::Duplex { id, listener, peer, tls, stream, received } => Self {
                tls_version: tls.map(|version| version.word().into()),
                listener: Some(listener as f64),
                address: Some(address_of(peer)),
                port: Some(peer.port()),
                fd: Some(stream.into_raw_fd()),
                received: Some(received.into()),
                ..Self::new(EventKind::Duplex, id)
            },
            Event::Pulse { id } => Self::new(EventKind::Pulse, id),
            Event::LinkOpen { link, server } => {
                Self { key: Some(key_buffer(&server)), ..Self::new(EventKind::LinkOpen, link) }
            }
            Event::LinkPeers { link, changes } => {
                let bytes = changes
                    .iter()
                    .flat_map(|change| change.key.as_bytes().iter().copied().chain([u8::from(change.present)]));
                Self { changes: Some(bytes.collect::<Vec<_>>().into()), ..Self::new(EventKind::LinkPeers, link) }
            }
            Event::LinkClosed { link, reason } => {
                Self { reason: Some(reason), ..Self::new(EventKind::LinkClosed, link) }
            }
            Event::CertificateNeeded { id, need, local } => Self {
                server_name: Some(need.server_name),
                local_address: Some(local.to_canonical().to_string()),
                alpn: Some(need.alpn),
                ..Self::new(EventKind::CertificateNeeded, id)
            },
            Event::Drops(drops) => {
                let drops = drops.iter().map(|dropped| BindingDrop {
                    source: key_buffer(&dropped.source),
                    destination: key_buffer(&dropped.destination),
                    reason: dropped.reason.as_str().into(),
                    packets: dropped.packets as f64,
                });
                Self { drops: Some(drops.collect()), ..Self::new(EventKind::Drops, 0) }
            }
            Event::Failures(failures, untold) => {
                let failures = failures.into_iter().map(|failure| BindingFailure {
                    what: failure.what.to_string(),
                    address: address_of(failure.peer),
                    port: failure.peer.port(),
                    server_name: failure.server_name,
                    alert: failure.alert.map_or_else(String::new, |alert| alert.to_string()),
                });
                Self {
                    failures: Some(failures.collect()),
                    untold: Some(untold as f64),
                    ..Self::new(EventKind::Failures, 0)
                }
            }
            Event::Crowded { address } => {
                Self { address: Some(address.to_canonical().to_string()), ..Self::new(EventKind::Crowded, 0) }
            }
            Event::Trouble { message } => Self { reason: Some(message), ..Self::new(EventKind::Trouble, 0) },
            Event::Fault { message } => Self { reason: Some(message), ..Self::new(EventKind::Fault, 0) },
        })
    }

    fn new(kind: EventKind, id: u64) -> Self {
        Self { kind: kind.word().into(), id: id as f64, ..Self::default() }
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
                let counts = [
                    row.id,
                    row.packets_received,
                    row.bytes_received,
                    row.packets_sent,
                    row.bytes_sent,
                    row.packets_dropped,
                    row.queued_packets,
                    row.senders,
                ];
                let drops = [row.dropped_head, row.dropped_tail, row.dropped_age, row.dropped_over_budget];
                let round_trip = row.round_trip.map_or(f64::NAN, |length| length.as_secs_f64() * 1000.0);
                let waits = [row.mean_wait, row.longest_wait].map(|wait| wait.as_secs_f64() * 1e3);
                let counts = counts.map(|count| count as f64).into_iter().chain([round_trip]);
                counts.chain(drops.map(|count| count as f64)).chain(waits)
            })
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

fn key_buffer(key: &NodeKey) -> Buffer {
    key.as_bytes().to_vec().into()
}

/// IPv4 addresses that a dual-stack socket reports in their mapped form are ordinary IPv4 addresses to everyone else.
/// No client connects from the unspecified address: it stands for one that is not known.
pub(crate) fn address_of(peer: SocketAddr) -> String {
    let ip = peer.ip().to_canonical();
    if ip.is_unspecified() { String::new() } else { ip.to_string() }
}
