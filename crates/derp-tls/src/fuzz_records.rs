//! What has to hold for whatever a peer that has the keys may send, and for whatever gets between. The fuzz target looks for
//! bytes that break it; the test replays those that were worth keeping.
use std::mem;

use crate::keys::{Cipher, Keys, Version};
use crate::receive::{End, Receiver};
use crate::record::{HEADER_LENGTH, MAX_PLAINTEXT, content};
use crate::send::Sender;

/// The longest record of TLS 1.2.
const MAX_RECORD: usize = HEADER_LENGTH + MAX_PLAINTEXT + 2048;

/// A byte of choices, one of a chunk's size, and what is sent: of each record a byte of choices, one of its length, and it.
///
/// # Panics
/// If something does not hold.
pub fn records(bytes: &[u8]) {
    let Some((&[choices, size], script)) = bytes.split_first_chunk() else {
        return;
    };
    let version = if choices & 1 == 0 { Version::Tls13 } else { Version::Tls12 };
    let cipher = [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305][usize::from(choices >> 1) % 3];
    let keys = || match version {
        Version::Tls12 => Keys::tls12(cipher, &[7; 32][..cipher.key_length()], &[8; 12], 1),
        Version::Tls13 => Keys::tls13(cipher, &[9; 48][..cipher.secret_length()], 0).expect("it has this length"),
    };
    let sent = Sent::new(script, Sender::new(keys()));
    let receive = |chunk| Received::new(Receiver::new(keys(), choices & 0x80 != 0), sent.stream.chunks(chunk));
    let whole = receive(sent.stream.len().max(1));
    assert!(receive(usize::from(size) + 1) == whole, "cuts change nothing");
    assert!(sent.data.starts_with(&whole.data), "nothing comes that was not sent");
    if whole.end.is_none() && sent.is_genuine {
        assert!(whole.data == sent.data && whole.left == 0, "everything comes");
    }
}

/// A stream, and the data in it.
struct Sent {
    stream: Vec<u8>,
    data: Vec<u8>,
    is_genuine: bool,
}

impl Sent {
    fn new(mut script: &[u8], mut sender: Sender) -> Self {
        let mut sent = Self { stream: Vec::new(), data: Vec::new(), is_genuine: true };
        let mut out = vec![0; MAX_RECORD];
        while let Some((&[kind, length], rest)) = script.split_first_chunk() {
            let (message, rest) = rest.split_at(usize::from(length).min(rest.len()));
            script = rest;
            let sealed = match kind % 8 {
                // As it is, from somebody who does not have the keys.
                0 => {
                    sent.is_genuine &= message.is_empty();
                    sent.stream.extend(message);
                    continue;
                }
                1 => {
                    sender.owe_key_update();
                    sender.seal::<&[u8]>(&[], &mut out).ok()
                }
                2 => sender.seal_short(content::HANDSHAKE, message, &mut out).ok(),
                3 => sender.seal_short(content::ALERT, message, &mut out).ok(),
                // In TLS 1.3, a whole inner plaintext of the peer's own making.
                4 => {
                    let end = message.iter().rposition(|&byte| byte != 0);
                    if let Some(end) = end.filter(|&end| message[end] == content::APPLICATION_DATA) {
                        sent.data.extend(&message[..end]);
                    }
                    sender.seal_short(0, message, &mut out).ok()
                }
                // About as long as a record may be, and a bit longer.
                5 => {
                    let long = vec![length; MAX_PLAINTEXT - 100 + usize::from(length)];
                    sent.data.extend(&long);
                    sender.seal_short(content::APPLICATION_DATA, &long, &mut out).ok()
                }
                _ => {
                    sent.data.extend(message);
                    sender.seal_short(content::APPLICATION_DATA, message, &mut out).ok()
                }
            };
            sent.stream.extend(&out[..sealed.expect("there is room")]);
        }
        sent
    }
}

/// What comes out of a stream.
#[derive(PartialEq)]
struct Received {
    data: Vec<u8>,
    end: Option<End>,
    key_update_requested: bool,
    /// Bytes that wait for the rest of their record.
    left: usize,
}

impl Received {
    fn new<'a>(mut receiver: Receiver, chunks: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut received = Self { data: Vec::new(), end: None, key_update_requested: false, left: 0 };
        let (mut buffer, mut kept) = (Vec::new(), 0);
        for (at, chunk) in chunks.enumerate() {
            buffer.extend_from_slice(chunk);
            let opened = receiver.open(&mut buffer, kept);
            assert!(opened.plaintext.end <= opened.rest && opened.rest <= buffer.len());
            received.key_update_requested |= opened.key_update_requested;
            received.end = opened.end;
            if let Some(end) = opened.end {
                received.left = 0;
                received.data.extend(&buffer[opened.plaintext]);
                let again = receiver.open(&mut buffer, 0);
                assert_eq!((again.plaintext, again.rest, again.end), (0..0, 0, Some(end)), "the end is the end");
                return received;
            }
            received.left = buffer.len() - opened.rest;
            assert!(received.left < MAX_RECORD);
            // Taken, or kept for what follows.
            let rest = buffer.split_off(opened.rest);
            let mut plaintext = mem::replace(&mut buffer, rest);
            plaintext.truncate(opened.plaintext.end);
            plaintext.drain(..opened.plaintext.start);
            kept = 0;
            if at % 3 == 0 {
                kept = plaintext.len();
                buffer.splice(0..0, plaintext);
            } else {
                received.data.extend(plaintext);
                receiver.quiet();
            }
        }
        received.data.extend(&buffer[..kept]);
        received
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn the_corpus() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tls_records");
        let mut count = 0;
        for file in fs::read_dir(corpus).unwrap() {
            let path = file.unwrap().path();
            println!("{}", path.display());
            super::records(&fs::read(path).unwrap());
            count += 1;
        }
        assert_ne!(count, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn random_scripts(choices: [u8; 2], script in vec((any::<u8>(), vec(any::<u8>(), 0..60)), 0..20)) {
            let mut bytes = choices.to_vec();
            for (kind, message) in script {
                bytes.extend([kind, message.len() as u8]);
                bytes.extend(message);
            }
            super::records(&bytes);
        }
    }
}
