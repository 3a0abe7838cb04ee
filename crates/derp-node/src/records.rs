//! The events that come with every login, and those of keys that have no connection here, as bytes: JavaScript decodes bytes
//! in a fraction of the time in which the binding makes an object of named fields. `src/plane/event-records.ts` reads them.
//!
//! ```text
//! count of the records (u16), whether more events wait (u8), then for each record, little-endian:
//! kind (u8)        0: the next of the events that cross as objects; it has nothing behind its kind
//!                  1 login, 2 closed, 3 active, 4 prefer, 5 lookup, 6 heard
//! id (f64); 0 for those that are about a key alone
//!   login          key (32), port (u16), flags (u8), version (f64), address (text), app name (text), mesh key (32) if a
//!                  flag says so
//!   closed         reason (text)
//!   active         key (32), sequence (f64)
//!   prefer         home (u8), moves (u32)
//!   lookup, heard  key (32)
//! text             length (u8), then bytes of ASCII
//! ```

use std::collections::VecDeque;

use derp_net::Event;
use derp_tls::Version;

use crate::convert::address_of;

const HEAD: usize = 3;
/// No record is longer: a login with the longest address and app name has less than 256 bytes.
const LONGEST: usize = 256;

const NOT_IDEAL: u8 = 1;
const CAN_ACK_PINGS: u8 = 2;
const IS_PROBER: u8 = 4;
const TLS_12: u8 = 8;
const TLS_13: u8 = 16;
const MESH_KEY: u8 = 32;

/// Writes as many of the first `events` as `into` has room for, and takes them out. Returns those that have no record.
pub(crate) fn write(into: &mut [u8], events: &mut VecDeque<Event>) -> Vec<Event> {
    let mut records = Records { into, at: HEAD };
    let mut others = Vec::new();
    let mut count: u16 = 0;
    while records.has_room()
        && count < u16::MAX
        && let Some(event) = events.pop_front()
    {
        count += 1;
        others.extend(records.record(event));
    }
    let Records { into, .. } = records;
    if let Some(head) = into.first_chunk_mut() {
        let [low, high] = count.to_le_bytes();
        *head = [low, high, u8::from(!events.is_empty())];
    }
    others
}

struct Records<'a> {
    into: &'a mut [u8],
    at: usize,
}

impl Records<'_> {
    fn has_room(&self) -> bool {
        self.at + LONGEST <= self.into.len()
    }

    /// Returns an event that crosses as an object.
    fn record(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Login { id, key, info, peer, tls, not_ideal } => {
                self.begin(1, id);
                self.bytes(key.as_bytes());
                self.bytes(&peer.port().to_le_bytes());
                let flags = [
                    (not_ideal, NOT_IDEAL),
                    (info.can_ack_pings, CAN_ACK_PINGS),
                    (info.is_prober, IS_PROBER),
                    (tls == Some(Version::Tls12), TLS_12),
                    (tls == Some(Version::Tls13), TLS_13),
                    (info.mesh_key.is_some(), MESH_KEY),
                ];
                self.bytes(&[flags.iter().filter(|(is, _)| *is).map(|(_, flag)| flag).sum()]);
                self.number(info.version as f64);
                self.text(&address_of(peer));
                self.text(&info.app_name);
                if let Some(key) = info.mesh_key {
                    self.bytes(key.as_bytes());
                }
            }
            Event::Closed { id, reason } => {
                self.begin(2, id);
                self.text(reason.as_str());
            }
            Event::Active { key, id, sequence } => {
                self.begin(3, id);
                self.bytes(key.as_bytes());
                self.number(sequence as f64);
            }
            Event::Prefer { id, home, changes } => {
                self.begin(4, id);
                self.bytes(&[u8::from(home)]);
                self.bytes(&changes.to_le_bytes());
            }
            Event::Lookup { key } => {
                self.begin(5, 0);
                self.bytes(key.as_bytes());
            }
            Event::Heard { key } => {
                self.begin(6, 0);
                self.bytes(key.as_bytes());
            }
            other => {
                self.bytes(&[0]);
                return Some(other);
            }
        }
        None
    }

    fn begin(&mut self, kind: u8, id: u64) {
        self.bytes(&[kind]);
        self.number(id as f64);
    }

    fn number(&mut self, number: f64) {
        self.bytes(&number.to_le_bytes());
    }

    /// The texts here have at most 64 bytes; a longer one is cut.
    fn text(&mut self, text: &str) {
        let bytes = &text.as_bytes()[..text.len().min(64)];
        self.bytes(&[bytes.len() as u8]);
        self.bytes(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.into[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr, SocketAddr};

    use derp_net::CloseReason;
    use derp_proto::client_info::ClientInfo;
    use derp_proto::key::{MeshKey, NodeKey};

    use super::*;

    fn login(id: u64) -> Event {
        let info = ClientInfo {
            version: i64::MAX,
            mesh_key: MeshKey::from_hex(&"ab".repeat(32)),
            can_ack_pings: true,
            is_prober: true,
            app_name: "a".repeat(32),
        };
        let peer = SocketAddr::new(IpAddr::V6(Ipv6Addr::from(u128::MAX)), u16::MAX);
        let key = NodeKey::first_of(&[7; 32]).unwrap();
        Event::Login { id, key, info, peer, tls: Some(Version::Tls13), not_ideal: true }
    }

    #[test]
    fn the_longest_record_has_room() {
        let mut bytes = [0; HEAD + LONGEST];
        let mut events = VecDeque::from([login(1)]);
        assert!(write(&mut bytes, &mut events).is_empty());
        assert_eq!((bytes[..HEAD].to_vec(), events.len()), (vec![1, 0, 0], 0));
    }

    #[test]
    fn events_beyond_the_room_wait_in_order() {
        let mut bytes = [0; HEAD + 2 * LONGEST];
        let closed = |id| Event::Closed { id, reason: CloseReason::Disconnected };
        let mut events: VecDeque<Event> = [login(1), Event::Watch { id: 2 }, login(3), closed(4)].into();
        let others = write(&mut bytes, &mut events);
        assert!(matches!(others[..], [Event::Watch { id: 2 }]));
        assert_eq!(bytes[..HEAD], [3, 0, 1]);
        assert!(matches!(events.make_contiguous(), [Event::Closed { id: 4, .. }]));
    }

    #[test]
    fn a_buffer_without_room_takes_nothing() {
        let mut events = VecDeque::from([login(1)]);
        for length in 0..HEAD + LONGEST {
            assert!(write(&mut vec![0; length], &mut events).is_empty());
            assert_eq!(events.len(), 1);
        }
    }
}
