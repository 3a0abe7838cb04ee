//! What a peer that has the keys, or that is in the middle, can do to a receiver.
use crate::alert::{Alert, Violation};
use crate::keys::{Cipher, Keys, Version};
use crate::receive::{End, Receiver};
use crate::record::{MAX_PLAINTEXT, TAG_LENGTH, body_length, content};
use crate::send::{SealError, Sender};

const CIPHERS: [Cipher; 3] = [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];

fn keys(version: Version, cipher: Cipher) -> Keys {
    match version {
        Version::Tls12 => Keys::tls12(cipher, &[7; 32][..cipher.key_length()], &[8; 12], 1),
        Version::Tls13 => Keys::tls13(cipher, &[9; 48][..cipher.secret_length()], 0).unwrap(),
    }
}

fn pair(version: Version, cipher: Cipher) -> (Sender, Receiver) {
    (Sender::new(keys(version, cipher)), Receiver::new(keys(version, cipher), false))
}

fn all() -> impl Iterator<Item = (Version, Cipher)> {
    [Version::Tls12, Version::Tls13].into_iter().flat_map(|version| CIPHERS.map(|cipher| (version, cipher)))
}

fn record(sender: &mut Sender, content_type: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![0; message.len() + 64];
    let length = sender.seal_short(content_type, message, &mut out).unwrap();
    out.truncate(length);
    out
}

fn data(sender: &mut Sender, text: &[u8]) -> Vec<u8> {
    record(sender, content::APPLICATION_DATA, text)
}

/// The plaintext before the end, and the end.
fn open(receiver: &mut Receiver, bytes: &[u8]) -> (Vec<u8>, Option<End>) {
    let mut buffer = bytes.to_vec();
    let opened = receiver.open(&mut buffer, 0);
    (buffer[opened.plaintext].to_vec(), opened.end)
}

/// How much is in each of the records, of a cipher that sends no part of its nonce.
fn contents(version: Version, mut records: &[u8]) -> Vec<usize> {
    let overhead = TAG_LENGTH + usize::from(version == Version::Tls13);
    let mut contents = Vec::new();
    while let Some((&header, rest)) = records.split_first_chunk() {
        let body = body_length(header, version).unwrap();
        contents.push(body - overhead);
        records = &rest[body..];
    }
    contents
}

fn refused(version: Version, content_type: u8, message: &[u8], why: Violation) {
    let (mut sender, mut receiver) = pair(version, Cipher::Aes128Gcm);
    let bytes = [data(&mut sender, b"good"), record(&mut sender, content_type, message)].concat();
    let end = Some(End::Violation(why));
    assert_eq!(open(&mut receiver, &bytes), (b"good".to_vec(), end), "{version:?} {content_type} {message:?}");
    // And it stays so.
    assert_eq!(open(&mut receiver, &data(&mut sender, b"more")), (vec![], end));
}

#[test]
fn a_flipped_bit_anywhere_ends_the_connection_after_what_was_good() {
    for (version, cipher) in all() {
        let (mut sender, _) = pair(version, cipher);
        let (first, second) = (data(&mut sender, b"first"), data(&mut sender, b"second"));
        for bit in 0..second.len() * 8 {
            let mut bad = second.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let (_, mut receiver) = pair(version, cipher);
            let (plaintext, end) = open(&mut receiver, &[&first[..], &bad].concat());
            assert_eq!(plaintext, b"first");
            // A length that grew makes it a part of a record; what follows is never plaintext.
            assert!(matches!(end, None | Some(End::Violation(_))), "{version:?} {cipher:?} {bit}: {end:?}");
            assert!(end.is_some() || [3, 4].contains(&(bit / 8)));
        }
    }
}

#[test]
fn replayed_reordered_dropped_and_cut_records_do_not_open() {
    for (version, cipher) in all() {
        let (mut sender, _) = pair(version, cipher);
        let (a, b) = (data(&mut sender, b"a"), data(&mut sender, b"b"));
        let bad = Some(End::Violation(Violation::BadRecord));
        for (bytes, before) in [([&a[..], &a], &b"a"[..]), ([&b, &a], b""), ([&b, &[]], b"")] {
            assert_eq!(open(&mut pair(version, cipher).1, &bytes.concat()), (before.to_vec(), bad));
        }
        let mut cut = a.clone();
        cut.pop();
        assert_eq!(open(&mut pair(version, cipher).1, &cut), (vec![], None));
        cut[4] -= 1;
        assert_eq!(open(&mut pair(version, cipher).1, &cut), (vec![], bad));
        // Too short for a tag, and a body of nothing.
        for body in 0..16 {
            let short = [&[23, 3, 3, 0, body][..], &[0; 16][..usize::from(body)]].concat();
            assert_eq!(open(&mut pair(version, cipher).1, &short), (vec![], bad));
        }
    }
}

#[test]
fn headers_are_refused_before_their_bodies_come() {
    for (version, longest) in [(Version::Tls12, 18432_u16), (Version::Tls13, 16640)] {
        let header = |length: u16| [23, 3, 3, (length >> 8) as u8, length as u8];
        let new = || pair(version, Cipher::Aes128Gcm).1;
        assert_eq!(open(&mut new(), &header(longest)).1, None);
        assert_eq!(open(&mut new(), &header(longest + 1)).1, Some(End::Violation(Violation::Oversize)));
        assert_eq!(open(&mut new(), &[23, 3, 1, 0, 9]).1, Some(End::Violation(Violation::RecordVersion)));
        assert_eq!(open(&mut new(), &[24, 3, 3, 0, 9]).1, Some(End::Violation(Violation::RecordType)));
    }
    // In TLS 1.3 nothing is in the clear any more.
    for content_type in [20, 21, 22] {
        let end = open(&mut pair(Version::Tls13, Cipher::Aes128Gcm).1, &[content_type, 3, 3, 0, 1, 1]).1;
        assert_eq!(end, Some(End::Violation(Violation::RecordType)));
    }
}

#[test]
fn content_of_more_than_16_kib_is_refused() {
    for version in [Version::Tls12, Version::Tls13] {
        let (mut sender, mut receiver) = pair(version, Cipher::Aes256Gcm);
        let most = vec![1; MAX_PLAINTEXT];
        assert_eq!(open(&mut receiver, &data(&mut sender, &most)), (most, None));
        refused(version, 23, &[1; MAX_PLAINTEXT + 1], Violation::Oversize);
    }
    // Padding counts.
    refused(Version::Tls13, 0, &[&[1; MAX_PLAINTEXT - 1][..], &[23, 0]].concat(), Violation::Oversize);
}

#[test]
fn padding_is_taken_off_and_is_not_all_there_may_be() {
    let (mut sender, mut receiver) = pair(Version::Tls13, Cipher::Aes128Gcm);
    let padded = record(&mut sender, 0, b"text\x17\0\0\0");
    assert_eq!(open(&mut receiver, &padded), (b"text".to_vec(), None));
    refused(Version::Tls13, 0, &[0; 9], Violation::NoContentType);
    refused(Version::Tls13, 0, &[], Violation::NoContentType);
    refused(Version::Tls13, 99, b"x", Violation::RecordType);
}

#[test]
fn of_handshake_messages_only_a_whole_key_update_at_the_end_of_a_record_is_taken() {
    let handshake = |message: &[u8], why| refused(Version::Tls13, content::HANDSHAKE, message, why);
    for cut in 1..5 {
        handshake(&[24, 0, 0, 1, 0][..cut], Violation::KeyUpdateForm);
    }
    handshake(&[24, 0, 0, 2, 0, 0], Violation::KeyUpdateForm);
    handshake(&[24, 0, 0, 1, 0, 24, 0, 0, 1, 0], Violation::KeyUpdateForm);
    handshake(&[24, 0, 0, 1, 2], Violation::KeyUpdateValue);
    handshake(&[], Violation::Handshake);
    // ClientHello, NewSessionTicket (to a server), Finished.
    for kind in [1, 4, 20] {
        handshake(&[kind, 0, 0, 1, 0], Violation::Handshake);
    }
    refused(Version::Tls12, content::HANDSHAKE, &[1, 0, 0, 0], Violation::Renegotiation);
    refused(Version::Tls12, content::CHANGE_CIPHER_SPEC, &[1], Violation::RecordType);
    refused(Version::Tls13, content::CHANGE_CIPHER_SPEC, &[1], Violation::RecordType);
}

#[test]
fn records_without_data_are_bounded_in_a_row() {
    for (version, content_type, message) in [
        (Version::Tls12, content::APPLICATION_DATA, &[][..]),
        (Version::Tls13, content::APPLICATION_DATA, &[]),
        (Version::Tls13, content::ALERT, &[1, 90]),
        (Version::Tls12, content::ALERT, &[1, 100]),
    ] {
        let (mut sender, mut receiver) = pair(version, Cipher::ChaCha20Poly1305);
        for _ in 0..2 {
            for _ in 0..32 {
                assert_eq!(open(&mut receiver, &record(&mut sender, content_type, message)), (vec![], None));
            }
            assert_eq!(open(&mut receiver, &data(&mut sender, b"x")), (b"x".to_vec(), None));
        }
        let row: Vec<u8> = (0..33).flat_map(|_| record(&mut sender, content_type, message)).collect();
        assert_eq!(open(&mut receiver, &row).1, Some(End::Violation(Violation::Idling)));
        for (last, end) in [(0, End::Closed), (20, End::Alert(Alert::BAD_RECORD_MAC))] {
            let (mut sender, mut receiver) = pair(version, Cipher::ChaCha20Poly1305);
            let mut row: Vec<u8> = (0..32).flat_map(|_| record(&mut sender, content_type, message)).collect();
            row.extend(record(&mut sender, content::ALERT, &[2, last]));
            assert_eq!(open(&mut receiver, &row).1, Some(end), "the end is no idling");
        }
    }
    let (mut sender, mut receiver) = pair(Version::Tls13, Cipher::Aes128Gcm);
    let mut updates = Vec::new();
    for _ in 0..33 {
        sender.owe_key_update();
        let mut out = [0; 64];
        let length = sender.seal::<&[u8]>(&[], &mut out).unwrap();
        updates.extend_from_slice(&out[..length]);
    }
    assert_eq!(open(&mut receiver, &updates).1, Some(End::Violation(Violation::Idling)));
}

#[test]
fn alerts_end_connections_and_stay_the_last_word() {
    for (version, cipher) in all() {
        let (mut sender, mut receiver) = pair(version, cipher);
        let mut out = [0; Sender::ALERT_ROOM];
        let length = sender.alert(Alert::CLOSE_NOTIFY, &mut out);
        assert_eq!(open(&mut receiver, &out[..length]).1, Some(End::Closed));
        assert_eq!(sender.alert(Alert::INTERNAL_ERROR, &mut out), 0);
        assert_eq!(sender.seal(&[&b"x"[..]], &mut [0; 99]), Err(SealError::Closed));

        let (mut sender, mut receiver) = pair(version, cipher);
        let length = sender.alert(Alert::BAD_RECORD_MAC, &mut out);
        assert_eq!(open(&mut receiver, &out[..length]).1, Some(End::Alert(Alert::BAD_RECORD_MAC)));
        for message in [&[][..], &[2], &[2, 0, 0], &[3, 0], &[0, 0]] {
            refused(version, content::ALERT, message, Violation::BadAlert);
        }
    }
}

#[test]
fn plaintext_slides_down_behind_what_is_kept() {
    for (version, cipher) in all() {
        let (mut sender, mut receiver) = pair(version, cipher);
        let sealed: Vec<u8> =
            [&b"one "[..], b"two ", b"three"].iter().flat_map(|text| data(&mut sender, text)).collect();
        let part = data(&mut sender, b"four");
        let mut buffer = [b"zero ", &sealed[..], &part[..9]].concat();
        let opened = receiver.open(&mut buffer, 5);
        assert_eq!(&buffer[opened.plaintext], b"zero one two three");
        assert_eq!(buffer[opened.rest..], part[..9]);
    }
}

#[test]
fn keys_change_before_their_limit_and_tls_12_ends_there() {
    for (version, cipher) in all() {
        let (mut sender, mut receiver) = pair(version, cipher);
        sender.limit_records(4);
        let long: Vec<u8> = (0..10 * MAX_PLAINTEXT + 1).map(|at| at as u8).collect();
        let mut out = vec![0; sender.room_for(long.len())];
        match (version, cipher) {
            (Version::Tls12, Cipher::Aes128Gcm | Cipher::Aes256Gcm) => {
                // One record has gone in the handshake, one is for close_notify.
                let mut seal = |sender: &mut Sender| sender.seal(&[&b"x"[..]], &mut out);
                assert!(seal(&mut sender).is_ok() && seal(&mut sender).is_ok());
                assert_eq!(seal(&mut sender), Err(SealError::WornOut));
                assert_ne!(sender.alert(Alert::CLOSE_NOTIFY, &mut out), 0);
            }
            _ => {
                let length = sender.seal(&[&long[..5], &[], &long[5..]], &mut out).unwrap();
                let mut expected = vec![MAX_PLAINTEXT; 10];
                expected.push(1);
                if version == Version::Tls13 {
                    // The fourth record of each key is a KeyUpdate, of five bytes.
                    for at in [3, 7, 11] {
                        expected.insert(at, 5);
                    }
                }
                assert_eq!(contents(version, &out[..length]), expected);
                assert_eq!(open(&mut receiver, &out[..length]), (long, None));
            }
        }
    }
}

#[test]
fn a_sealer_without_room_does_nothing() {
    let (mut sender, mut receiver) = pair(Version::Tls13, Cipher::Aes128Gcm);
    let mut out = vec![0; sender.room_for(1)];
    let short = out.len() - 1;
    assert_eq!(sender.seal(&[&b"x"[..]], &mut out[..short]), Err(SealError::NoRoom));
    let length = sender.seal(&[&b"x"[..]], &mut out).unwrap();
    assert_eq!(open(&mut receiver, &out[..length]), (b"x".to_vec(), None));
}

#[test]
fn an_idle_connection_holds_what_the_crate_says() {
    assert_eq!(size_of::<Receiver>() + size_of::<Sender>(), crate::IDLE_BYTES);
    let (mut sender, mut receiver) = pair(Version::Tls13, Cipher::Aes256Gcm);
    for _ in 0..3 {
        assert_eq!(open(&mut receiver, &data(&mut sender, b"x")), (b"x".to_vec(), None));
        assert!(sender.is_warm());
        sender.quiet();
        receiver.quiet();
        assert!(!sender.is_warm());
        // It was used since it was asked last, so that this lets go of nothing.
        assert!(!receiver.cool());
    }
}

#[test]
fn a_cipher_is_let_go_of_when_nothing_has_used_it_between_two_looks() {
    let (mut sender, mut receiver) = pair(Version::Tls13, Cipher::Aes128Gcm);
    assert_eq!((sender.cool(), receiver.cool()), (false, false));
    for _ in 0..3 {
        assert_eq!(open(&mut receiver, &data(&mut sender, b"x")), (b"x".to_vec(), None));
        assert_eq!((sender.cool(), receiver.cool(), sender.is_warm()), (true, true, true));
    }
    assert_eq!((sender.cool(), receiver.cool(), sender.is_warm()), (false, false, false));
    assert_eq!(open(&mut receiver, &data(&mut sender, b"x")), (b"x".to_vec(), None));
}

#[test]
fn a_client_skips_tickets_in_any_records_but_nothing_may_come_within_one() {
    let ticket = [&[4, 0, 0, 9][..], &[7; 9]].concat();
    let client = || {
        let (sender, _) = pair(Version::Tls13, Cipher::Aes128Gcm);
        (sender, Receiver::new(keys(Version::Tls13, Cipher::Aes128Gcm), true))
    };
    for cut in 1..ticket.len() {
        let (head, tail) = ticket.split_at(cut);
        let (mut sender, mut receiver) = client();
        let mut part = |message: &[u8]| record(&mut sender, content::HANDSHAKE, message);
        let bytes = [part(head), part(&[tail, &ticket].concat()), part(&ticket)].concat();
        assert_eq!(open(&mut receiver, &bytes), (vec![], None), "{cut}");
        assert_eq!(open(&mut receiver, &data(&mut sender, b"data")), (b"data".to_vec(), None), "{cut}");

        for within in [content::APPLICATION_DATA, content::ALERT] {
            let (mut sender, mut receiver) = client();
            let bytes = [record(&mut sender, content::HANDSHAKE, head), record(&mut sender, within, &[1, 0])].concat();
            let end = Some(End::Violation(Violation::Handshake));
            assert_eq!(open(&mut receiver, &bytes), (vec![], end), "{cut}");
        }
    }
}
