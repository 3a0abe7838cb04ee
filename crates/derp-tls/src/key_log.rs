//! Takes the traffic secrets of a TLS 1.3 handshake from rustls.
//!
//! rustls gives out the first keys only; the next ones, after a KeyUpdate, come from the secrets. It would derive them for us
//! out of an object that costs 0.8 KB a connection. So it is asked, for the time of one handshake, to log them to us.
use std::fmt;
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;
use zeroize::Zeroizing;

/// A traffic secret, as long as the hash of its suite: 32 or 48 bytes.
pub(crate) type TrafficSecret = Zeroizing<Vec<u8>>;

/// The secrets of one handshake.
#[derive(Default)]
pub(crate) struct HandshakeKeyLog(Mutex<Secrets>);

#[derive(Default)]
struct Secrets {
    client: Option<TrafficSecret>,
    server: Option<TrafficSecret>,
}

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

impl HandshakeKeyLog {
    /// The client's and the server's secret; `None` if the handshake has not made them.
    pub(crate) fn take(&self) -> Option<(TrafficSecret, TrafficSecret)> {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.client.take().zip(secrets.server.take())
    }
}

impl KeyLog for HandshakeKeyLog {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let secret = Some(Zeroizing::new(secret.to_vec()));
        match label {
            CLIENT => secrets.client = secret,
            SERVER => secrets.server = secret,
            _ => {}
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == CLIENT || label == SERVER
    }
}

impl fmt::Debug for HandshakeKeyLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeKeyLog(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: [&str; 3] = ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "EXPORTER_SECRET", "CLIENT_RANDOM"];

    #[test]
    fn the_two_traffic_secrets_are_taken_once_and_no_others() {
        let log = HandshakeKeyLog::default();
        for label in OTHERS {
            assert!(!log.will_log(label), "{label}");
            log.log(label, &[], &[3; 32]);
        }
        assert!(log.will_log(CLIENT) && log.will_log(SERVER));
        log.log(CLIENT, &[], &[1; 32]);
        assert!(log.take().is_none(), "one of them is not enough");
        log.log(CLIENT, &[], &[1; 32]);
        log.log(SERVER, &[], &[2; 48]);
        let (client, server) = log.take().unwrap();
        assert_eq!((&client[..], &server[..]), (&[1; 32][..], &[2; 48][..]));
        assert!(log.take().is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let log = HandshakeKeyLog::default();
        log.log(CLIENT, &[], &[1; 32]);
        assert_eq!(format!("{log:?}"), "HandshakeKeyLog(..)");
    }
}
