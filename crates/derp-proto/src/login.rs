//! The login: ClientInfo and ServerInfo in NaCl boxes. Opening a ClientInfo proves that the client holds its key.
//!
//! Randomness is an argument: every nonce has to be fresh.
use std::fmt;

use crate::client_info::{ClientInfo, InfoError, ServerInfo};
use crate::frame::header;
use crate::key::{LowOrderKey, NodeKey, Nonce, SecretKey, SharedKey};
use crate::wire::{
    BOX_OVERHEAD, FrameType, HEADER_LENGTH, KEY_LENGTH, MAGIC, MAX_GREETING_LENGTH, MIN_CLIENT_INFO_LENGTH,
    NONCE_LENGTH, PROTOCOL_VERSION,
};

/// A ClientInfo that opened, and the shared key that seals the answer.
#[derive(Debug)]
pub struct OpenedLogin {
    /// The client's, proven.
    pub key: NodeKey,
    /// What it says of itself.
    pub info: ClientInfo,
    /// Its and ours.
    pub shared: SharedKey,
}

/// The peer's login is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LoginError {
    /// The client's key is zero.
    ZeroKey,
    /// The peer's key is a point of low order.
    LowOrderKey,
    /// The box is cut short, damaged, or not meant for us.
    BoxDoesNotOpen,
    /// The greeting is too short or long, or has another magic: this is no DERP server.
    NoGreeting,
    /// The box opened, on something that we cannot read.
    Info(InfoError),
}

/// Opens, in place, the body of a ClientInfo frame.
///
/// # Errors
/// If the login has to fail; the connection is to be closed without a word.
pub fn open_client_info(body: &mut [u8], server: &SecretKey) -> Result<OpenedLogin, LoginError> {
    let (key, sealed) = body.split_first_chunk_mut::<KEY_LENGTH>().ok_or(LoginError::BoxDoesNotOpen)?;
    let key = NodeKey::from_bytes(*key);
    if key.is_zero() {
        return Err(LoginError::ZeroKey);
    }
    let shared = server.agree(&key)?;
    let json = shared.open(sealed).ok_or(LoginError::BoxDoesNotOpen)?;
    let info = ClientInfo::parse(json)?;
    Ok(OpenedLogin { key, info, shared })
}

/// The ServerInfo frame that answers an [`OpenedLogin`].
pub fn seal_server_info(shared: &SharedKey, nonce: &Nonce) -> Vec<u8> {
    let json = format!("{{\"version\":{PROTOCOL_VERSION}}}");
    let length = NONCE_LENGTH + BOX_OVERHEAD + json.len();
    let mut frame = Vec::with_capacity(HEADER_LENGTH + length);
    frame.extend(header(FrameType::ServerInfo, length as u32));
    shared.seal(nonce, json.as_bytes(), &mut frame);
    frame
}

/// The client's side: the server's key, from the body of a greeting.
///
/// # Errors
/// If it is none.
pub fn read_greeting(body: &[u8]) -> Result<NodeKey, LoginError> {
    let key = body.strip_prefix(&MAGIC).filter(|_| body.len() <= MAX_GREETING_LENGTH);
    key.and_then(NodeKey::first_of).ok_or(LoginError::NoGreeting)
}

/// The client's side: a ClientInfo frame. `shared` is the client's secret key agreed with the server's public one;
/// `json`, mostly of [`ClientInfo::to_json`], is sent as it is.
pub fn seal_client_info(client: &NodeKey, shared: &SharedKey, json: &[u8], nonce: &Nonce) -> Vec<u8> {
    let length = MIN_CLIENT_INFO_LENGTH + BOX_OVERHEAD + json.len();
    let mut frame = Vec::with_capacity(HEADER_LENGTH + length);
    frame.extend(header(FrameType::ClientInfo, length as u32));
    frame.extend(client.as_bytes());
    shared.seal(nonce, json, &mut frame);
    frame
}

/// The client's side: opens, in place, the body of a ServerInfo frame.
///
/// # Errors
/// If the box does not open, or on something that is no ServerInfo.
pub fn open_server_info(body: &mut [u8], shared: &SharedKey) -> Result<ServerInfo, LoginError> {
    let json = shared.open(body).ok_or(LoginError::BoxDoesNotOpen)?;
    Ok(ServerInfo::parse(json)?)
}

impl From<LowOrderKey> for LoginError {
    fn from(LowOrderKey: LowOrderKey) -> Self {
        Self::LowOrderKey
    }
}

impl From<InfoError> for LoginError {
    fn from(error: InfoError) -> Self {
        Self::Info(error)
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroKey => "the client key is zero",
            Self::LowOrderKey => "the key is of low order",
            Self::BoxDoesNotOpen => "the box does not open",
            Self::NoGreeting => "the greeting is not DERP's",
            Self::Info(_) => "the box opens on something else",
        })
    }
}

impl std::error::Error for LoginError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Info(error) => Some(error),
            Self::ZeroKey | Self::LowOrderKey | Self::BoxDoesNotOpen | Self::NoGreeting => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(byte: u8) -> SecretKey {
        SecretKey::from_bytes([byte; KEY_LENGTH])
    }

    /// The body of a ClientInfo frame from client 1 to server 2.
    fn client_info(json: &[u8]) -> Vec<u8> {
        let shared = secret(1).agree(&secret(2).public_key()).unwrap();
        seal_client_info(&secret(1).public_key(), &shared, json, &[3; NONCE_LENGTH]).split_off(HEADER_LENGTH)
    }

    fn fault(mut body: Vec<u8>) -> Option<LoginError> {
        open_client_info(&mut body, &secret(2)).err()
    }

    #[test]
    fn both_sides_of_a_login() {
        let mut body = client_info(ClientInfo::regular().to_json().as_bytes());
        let opened = open_client_info(&mut body, &secret(2)).unwrap();
        assert_eq!(opened.key, secret(1).public_key());
        assert_eq!(opened.info, ClientInfo::regular());

        let mut answer = seal_server_info(&opened.shared, &[4; NONCE_LENGTH]);
        let shared = secret(1).agree(&secret(2).public_key()).unwrap();
        let info = open_server_info(&mut answer[HEADER_LENGTH..], &shared).unwrap();
        assert_eq!(info, ServerInfo { version: 2, ..ServerInfo::default() });
    }

    #[test]
    fn logins_that_fail() {
        assert_eq!(fault(client_info(b"[]")), Some(LoginError::Info(InfoError::NotAnObject)));
        let mut body = client_info(b"{}");
        body[..KEY_LENGTH].fill(0);
        assert_eq!(fault(body.clone()), Some(LoginError::ZeroKey));
        body[0] = 1;
        assert_eq!(fault(body.clone()), Some(LoginError::LowOrderKey));
        // Somebody else's key.
        body[..KEY_LENGTH].copy_from_slice(secret(9).public_key().as_bytes());
        assert_eq!(fault(body), Some(LoginError::BoxDoesNotOpen));
        let mut for_another = client_info(b"{}");
        assert!(open_client_info(&mut for_another, &secret(5)).is_err());
    }

    #[test]
    fn errors_say_whose_fault_it_is() {
        let error = fault(client_info(b"[]")).unwrap();
        assert_eq!(error.to_string(), "the box opens on something else");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "it is not a JSON object");
        assert_eq!(LoginError::from(LowOrderKey).to_string(), LowOrderKey.to_string());
    }

    #[test]
    fn a_body_cut_anywhere_fails() {
        let body = client_info(b"{}");
        for length in 0..body.len() {
            assert_eq!(fault(body[..length].to_vec()), Some(LoginError::BoxDoesNotOpen), "{length}");
        }
    }

    #[test]
    fn greetings() {
        let key = secret(2).public_key();
        let body = &crate::frame::greeting(&key)[HEADER_LENGTH..];
        assert_eq!(read_greeting(body), Ok(key));
        assert_eq!(read_greeting(&[body, &[9; MAX_GREETING_LENGTH - 40]].concat()), Ok(key));
        assert_eq!(read_greeting(&[body, &[9; MAX_GREETING_LENGTH - 39]].concat()), Err(LoginError::NoGreeting));
        assert_eq!(read_greeting(&body[..39]), Err(LoginError::NoGreeting));
        assert_eq!(read_greeting(&[7; 40]), Err(LoginError::NoGreeting));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_changed_body_fails(at: prop::sample::Index, bit in 0..8_u8) {
            let mut body = client_info(b"{}");
            let at = at.index(body.len());
            // X25519 does not look at the key's top bit; then it is a key that the box was not made for, and it opens.
            prop_assume!((at, bit) != (KEY_LENGTH - 1, 7));
            body[at] ^= 1 << bit;
            prop_assert!(fault(body).is_some());
        }
    }
}
