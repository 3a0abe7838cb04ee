//! The JSON of a login: what a client says of itself, and the server's answer. Read as Go's decoder reads it: names
//! match in any case, of several with one name each is checked and the last wins, unknown ones are passed over, `null`
//! leaves a field alone, and a wrong type fails the login.
pub use crate::json::InfoError;
use crate::json::{Value, members};
use crate::key::MeshKey;
use crate::wire::{MAX_APP_NAME_LENGTH, PROTOCOL_VERSION};

/// What a client says of itself, checked. The default is what an empty object means.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientInfo {
    /// Of the protocol, as the client knows it. Nothing depends on it.
    pub version: i64,
    /// If the client presented one at all: right or wrong is admission's business.
    pub mesh_key: Option<MeshKey>,
    /// The client answers pings. (The relay sends none.)
    pub can_ack_pings: bool,
    /// The client measures the relay.
    pub is_prober: bool,
    /// Printable ASCII, at most 32 characters; empty if the client gave none.
    pub app_name: String,
}

impl ClientInfo {
    /// What a regular client of today says.
    pub fn regular() -> Self {
        Self { version: PROTOCOL_VERSION.into(), can_ack_pings: true, ..Self::default() }
    }

    /// Reads the text of a ClientInfo box.
    ///
    /// # Errors
    /// If the login has to fail.
    pub fn parse(json: &[u8]) -> Result<Self, InfoError> {
        let mut info = Self::default();
        members(json, |name, value| {
            if name.names("meshKey") {
                info.mesh_key = Some(mesh_key(value)?);
            } else if name.names("version") {
                integer("version", value, &mut info.version)?;
            } else if name.names("CanAckPings") {
                boolean("CanAckPings", value, &mut info.can_ack_pings)?;
            } else if name.names("IsProber") {
                boolean("IsProber", value, &mut info.is_prober)?;
            } else if name.names("AppName") {
                string("AppName", value, &mut info.app_name)?;
            }
            Ok(())
        })?;
        // Of several names, only the one that counts has to be fit to be relayed.
        if is_app_name(&info.app_name) { Ok(info) } else { Err(InfoError::Field("AppName")) }
    }

    /// The inverse of [`ClientInfo::parse`], in the shape that Go's client gives it.
    pub fn to_json(&self) -> String {
        let Self { version, mesh_key, can_ack_pings, is_prober, app_name } = self;
        let mut json = String::from("{");
        if let Some(key) = mesh_key {
            let hex = key.to_hex();
            json += &format!("\"meshKey\":\"{hex}\",");
        }
        json += &format!("\"version\":{version},\"CanAckPings\":{can_ack_pings}");
        if *is_prober {
            json += ",\"IsProber\":true";
        }
        if !app_name.is_empty() {
            // Printable ASCII: nothing else can need an escape.
            let escaped = app_name.replace('\\', "\\\\").replace('"', "\\\"");
            json += &format!(",\"AppName\":\"{escaped}\"");
        }
        json + "}"
    }
}

/// What a server says of itself. Ours sends the version alone; a client obeys the rest, should another send it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServerInfo {
    /// Of the protocol, as the server knows it.
    pub version: i64,
    /// How fast the client may send; 0 is no limit.
    pub token_bucket_bytes_per_second: i64,
    /// How much it may send at once.
    pub token_bucket_bytes_burst: i64,
}

impl ServerInfo {
    /// Reads the text of a ServerInfo box.
    ///
    /// # Errors
    /// If the client has to hang up.
    pub fn parse(json: &[u8]) -> Result<Self, InfoError> {
        let mut info = Self::default();
        members(json, |name, value| {
            if name.names("version") {
                integer("version", value, &mut info.version)?;
            } else if name.names("TokenBucketBytesPerSecond") {
                integer("TokenBucketBytesPerSecond", value, &mut info.token_bucket_bytes_per_second)?;
            } else if name.names("TokenBucketBytesBurst") {
                integer("TokenBucketBytesBurst", value, &mut info.token_bucket_bytes_burst)?;
            }
            Ok(())
        })?;
        Ok(info)
    }
}

/// Whether an app name may be relayed to watchers: at most 32 printable ASCII characters, or none.
pub fn is_app_name(text: &str) -> bool {
    text.len() <= MAX_APP_NAME_LENGTH && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Unlike the other fields, this one does not take `null`.
fn mesh_key(value: Value<'_>) -> Result<MeshKey, InfoError> {
    let Value::Text(text) = value else {
        return Err(InfoError::Field("meshKey"));
    };
    MeshKey::from_hex(&text.decode()).ok_or(InfoError::Field("meshKey"))
}

/// As Go's `int` takes it: neither fraction nor exponent, and no more than 64 bits.
fn integer(name: &'static str, value: Value<'_>, field: &mut i64) -> Result<(), InfoError> {
    match value {
        Value::Null => {}
        Value::Number(number) => *field = number.parse().map_err(|_| InfoError::Field(name))?,
        Value::Boolean(_) | Value::Text(_) | Value::Nested => return Err(InfoError::Field(name)),
    }
    Ok(())
}

fn boolean(name: &'static str, value: Value<'_>, field: &mut bool) -> Result<(), InfoError> {
    match value {
        Value::Null => {}
        Value::Boolean(boolean) => *field = boolean,
        Value::Number(_) | Value::Text(_) | Value::Nested => return Err(InfoError::Field(name)),
    }
    Ok(())
}

fn string(name: &'static str, value: Value<'_>, field: &mut String) -> Result<(), InfoError> {
    match value {
        Value::Null => {}
        Value::Text(text) => *field = text.decode().into_owned(),
        Value::Number(_) | Value::Boolean(_) | Value::Nested => return Err(InfoError::Field(name)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_regular_client_speaks_this_version_and_answers_pings() {
        assert_eq!(ClientInfo::regular().to_json(), r#"{"version":2,"CanAckPings":true}"#);
    }

    #[test]
    fn errors_name_the_field() {
        let fault = |json: &[u8]| ClientInfo::parse(json).unwrap_err().to_string();
        assert_eq!(fault(br#"{"ISPROBER":1}"#), "IsProber has a wrong type or value");
        assert_eq!(fault(b"[]"), "it is not a JSON object");
        assert_eq!(fault(b"{"), "it is not JSON");
    }

    #[test]
    fn only_the_app_name_that_counts_is_checked() {
        let parse = |json: &[u8]| ClientInfo::parse(json).map(|info| info.app_name);
        assert_eq!(parse(br#"{"AppName":"\n","AppName":"a"}"#).as_deref(), Ok("a"));
        assert_eq!(parse(br#"{"AppName":"a","AppName":"\n"}"#), Err(InfoError::Field("AppName")));
        assert_eq!(parse(br#"{"AppName":"\n","AppName":null}"#), Err(InfoError::Field("AppName")));
    }

    #[test]
    fn a_lone_surrogate_in_a_name_is_just_another_name() {
        assert_eq!(ClientInfo::parse(br#"{"\ud800":1,"version":2}"#).unwrap().version, 2);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            version: i64, can_ack_pings: bool, is_prober: bool, app_name in "[ -~]{0,32}", key: Option<[u8; 32]>,
        ) {
            let hex = |key: [u8; 32]| key.map(|byte| format!("{byte:02X}")).concat();
            let mesh_key = key.map(|key| MeshKey::from_hex(&hex(key)).unwrap());
            let info = ClientInfo { version, mesh_key, can_ack_pings, is_prober, app_name };
            prop_assert_eq!(ClientInfo::parse(info.to_json().as_bytes()), Ok(info));
        }
    }
}
