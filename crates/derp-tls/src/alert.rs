//! Alerts, and what a peer can do to deserve one.
use std::fmt;

/// The code of an alert. `Display` gives its name in the TLS registry, or its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Alert(pub u8);

impl Alert {
    /// The end of what its sender has to say; no fault.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A record of a kind that has no place here.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record that is not what the key holder sent.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record that is longer than the protocol permits.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// A value that the protocol does not know.
    pub const ILLEGAL_PARAMETER: Self = Self(47);
    /// A message that does not have its form.
    pub const DECODE_ERROR: Self = Self(50);
    /// Another version than the one agreed on.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// A fault of the sender of the alert.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The user does not want the connection; `close_notify` follows.
    pub const USER_CANCELED: Self = Self(90);
    /// The answer of TLS 1.2 to a new handshake in a connection.
    pub const NO_RENEGOTIATION: Self = Self(100);
    /// The server has no certificate for the name.
    pub const UNRECOGNIZED_NAME: Self = Self(112);

    /// The level that it is sent with: 1, a warning, or 2, fatal.
    pub(crate) fn level(self) -> u8 {
        if matches!(self, Self::CLOSE_NOTIFY | Self::USER_CANCELED | Self::NO_RENEGOTIATION) { 1 } else { 2 }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            22 => "record_overflow",
            40 => "handshake_failure",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            116 => "certificate_required",
            120 => "no_application_protocol",
            number => return write!(f, "alert {number}"),
        };
        f.write_str(name)
    }
}

impl fmt::Debug for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a peer did in an established connection that ends it. `Display` gives a text for logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A record that does not open: tampered with, replayed, out of order, cut, or of other keys.
    BadRecord,
    /// A record that is longer than 16 KiB and what protecting it costs.
    Oversize,
    /// A record header with another version than 3.3.
    RecordVersion,
    /// A record of a type that has no place in an established connection.
    RecordType,
    /// A TLS 1.3 record of nothing but padding.
    NoContentType,
    /// An alert that is not two bytes, or has a level that there is none of.
    BadAlert,
    /// A handshake message that has no place in an established connection.
    Handshake,
    /// A KeyUpdate that is not whole, or not the last of its record.
    KeyUpdateForm,
    /// A KeyUpdate that asks for what there is none of.
    KeyUpdateValue,
    /// A NewSessionTicket that is longer than a client puts up with.
    Ticket,
    /// Records in a row without data.
    Idling,
    /// A new handshake in a connection of TLS 1.2.
    Renegotiation,
    /// Not the peer's fault: a cipher could not be set up, or 2⁶⁴ records have been opened with one key.
    Internal,
}

impl Violation {
    /// The alert to answer with.
    pub fn alert(self) -> Alert {
        match self {
            Self::BadRecord => Alert::BAD_RECORD_MAC,
            Self::Oversize => Alert::RECORD_OVERFLOW,
            Self::RecordVersion => Alert::PROTOCOL_VERSION,
            Self::RecordType | Self::NoContentType | Self::Handshake | Self::KeyUpdateForm | Self::Idling => {
                Alert::UNEXPECTED_MESSAGE
            }
            Self::BadAlert | Self::Ticket => Alert::DECODE_ERROR,
            Self::KeyUpdateValue => Alert::ILLEGAL_PARAMETER,
            Self::Renegotiation => Alert::NO_RENEGOTIATION,
            Self::Internal => Alert::INTERNAL_ERROR,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadRecord => "a record does not open",
            Self::Oversize => "a record is too long",
            Self::RecordVersion => "a record is of another version",
            Self::RecordType => "a record of this type is out of place",
            Self::NoContentType => "a record is all padding",
            Self::BadAlert => "an alert does not have its form",
            Self::Handshake => "a handshake message is out of place",
            Self::KeyUpdateForm => "a KeyUpdate is not alone at the end of its record",
            Self::KeyUpdateValue => "a KeyUpdate asks for nothing known",
            Self::Ticket => "a session ticket is too long",
            Self::Idling => "too many records in a row without data",
            Self::Renegotiation => "renegotiation is not supported",
            Self::Internal => "the cipher failed",
        })
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rustls::AlertDescription;

    use super::*;

    /// What rustls calls `UnknownCA` is `unknown_ca` in the registry.
    fn registered(name: &str) -> String {
        let mut registered = String::new();
        let mut before = 'A';
        for letter in name.chars() {
            if letter.is_uppercase() && before.is_lowercase() {
                registered.push('_');
            }
            registered.push(letter.to_ascii_lowercase());
            before = letter;
        }
        registered.replace("unrecognised", "unrecognized")
    }

    #[test]
    fn alerts_have_their_names_in_the_registry_or_their_numbers() {
        let mut named = 0;
        for code in 0..=255 {
            let name = Alert(code).to_string();
            if name != format!("alert {code}") {
                named += 1;
                assert_eq!(name, registered(AlertDescription::from(code).as_str().unwrap()));
            }
            assert_eq!(format!("{:?}", Alert(code)), name);
        }
        assert_eq!(named, 26);
    }

    #[test]
    fn a_violation_is_a_text_for_logs() {
        use Violation::*;
        let all = [
            BadRecord,
            Oversize,
            RecordVersion,
            RecordType,
            NoContentType,
            BadAlert,
            Handshake,
            KeyUpdateForm,
            KeyUpdateValue,
            Ticket,
            Idling,
            Renegotiation,
            Internal,
        ];
        let texts: HashSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), all.len());
        assert!(texts.contains("a record does not open"));
    }
}
