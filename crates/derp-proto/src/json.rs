//! Reads a JSON object as Go's `encoding/json` does, in as much as one can see from outside: strict syntax, invalid
//! UTF-8 and lone surrogates replaced, nesting up to 10 000, names in any case, and every member of a name reported.
//!
//! Hand-written because the difference matters: what Go refuses must not log in here, and what it takes must.
use std::borrow::Cow;
use std::fmt;

/// Go's decoder goes no deeper.
const MAX_DEPTH: usize = 10_000;

/// The peer's JSON is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum InfoError {
    /// It is not JSON, or something follows it.
    NotJson,
    /// It is nested deeper than Go would follow.
    TooDeep,
    /// It is neither an object nor `null`.
    NotAnObject,
    /// The field of this name has a wrong type, or a value that it cannot have.
    Field(&'static str),
}

impl fmt::Display for InfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("it is not JSON"),
            Self::TooDeep => f.write_str("it is nested too deeply"),
            Self::NotAnObject => f.write_str("it is not a JSON object"),
            Self::Field(name) => write!(f, "{name} has a wrong type or value"),
        }
    }
}

impl std::error::Error for InfoError {}

/// The value of a member. `Nested` is an array or object, of which nothing but the syntax is looked at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(Text<'a>),
    Nested,
}

/// A string between its quotes, escapes and all; its syntax has been checked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Text<'a>(&'a [u8]);

/// Calls `each` for the members of an object, in their order. `null` is an object without any.
pub(crate) fn members<'a>(
    json: &'a [u8],
    mut each: impl FnMut(Text<'a>, Value<'a>) -> Result<(), InfoError>,
) -> Result<(), InfoError> {
    let mut reader = Reader { rest: json };
    reader.blanks();
    if reader.take(b'{') {
        reader.members(1, &mut each)?;
    } else if reader.value(0)? != Value::Null {
        return Err(InfoError::NotAnObject);
    }
    reader.blanks();
    if reader.rest.is_empty() { Ok(()) } else { Err(InfoError::NotJson) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Behind the opening brace.
    fn members(
        &mut self,
        depth: usize,
        each: &mut impl FnMut(Text<'a>, Value<'a>) -> Result<(), InfoError>,
    ) -> Result<(), InfoError> {
        self.blanks();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            self.blanks();
            let value = self.value(depth)?;
            each(name, value)?;
            self.blanks();
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn name(&mut self) -> Result<Text<'a>, InfoError> {
        self.blanks();
        self.expect(b'"')?;
        let name = self.text()?;
        self.blanks();
        self.expect(b':')?;
        Ok(name)
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, InfoError> {
        match self.rest.first() {
            Some(b'{' | b'[') => self.nested(depth),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Result<Value<'a>, InfoError> {
        match self.rest.first() {
            Some(b'"') => {
                self.rest = &self.rest[1..];
                Ok(Value::Text(self.text()?))
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => [("null", Value::Null), ("true", Value::Boolean(true)), ("false", Value::Boolean(false))]
                .into_iter()
                .find_map(|(word, value)| {
                    self.rest = self.rest.strip_prefix(word.as_bytes())?;
                    Some(value)
                })
                .ok_or(InfoError::NotJson),
        }
    }

    /// An array or object, and whatever is in it. Not recursive: the depth is the peer's choice, the stack is ours.
    fn nested(&mut self, outside: usize) -> Result<Value<'a>, InfoError> {
        let mut open = Vec::new();
        loop {
            // Here a value begins.
            let opened = match self.rest.first() {
                Some(b'{') => Some(b'}'),
                Some(b'[') => Some(b']'),
                _ => None,
            };
            if let Some(end) = opened {
                self.rest = &self.rest[1..];
                open.push(end);
                if outside + open.len() > MAX_DEPTH {
                    return Err(InfoError::TooDeep);
                }
                self.blanks();
                if !self.take(end) {
                    if end == b'}' {
                        self.name()?;
                        self.blanks();
                    }
                    continue;
                }
                open.pop();
            } else {
                self.scalar()?;
            }
            // Here one has ended, and with it perhaps what it is in.
            loop {
                let Some(&end) = open.last() else {
                    return Ok(Value::Nested);
                };
                self.blanks();
                if self.take(end) {
                    open.pop();
                    continue;
                }
                self.expect(b',')?;
                if end == b'}' {
                    self.name()?;
                }
                self.blanks();
                break;
            }
        }
    }

    fn number(&mut self) -> Result<Value<'a>, InfoError> {
        let start = self.rest;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let number = &start[..start.len() - self.rest.len()];
        Ok(Value::Number(str::from_utf8(number).map_err(|_| InfoError::NotJson)?))
    }

    /// One or more.
    fn digits(&mut self) -> Result<(), InfoError> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = &self.rest[count..];
        if count > 0 { Ok(()) } else { Err(InfoError::NotJson) }
    }

    /// Behind the opening quote; moves past the closing one.
    fn text(&mut self) -> Result<Text<'a>, InfoError> {
        let mut end = 0;
        loop {
            match self.rest.get(end).ok_or(InfoError::NotJson)? {
                b'"' => break,
                b'\\' => match self.rest.get(end + 1).ok_or(InfoError::NotJson)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => end += 2,
                    b'u' => {
                        let digits = self.rest.get(end + 2..end + 6).ok_or(InfoError::NotJson)?;
                        if !digits.iter().all(u8::is_ascii_hexdigit) {
                            return Err(InfoError::NotJson);
                        }
                        end += 6;
                    }
                    _ => return Err(InfoError::NotJson),
                },
                0x00..0x20 => return Err(InfoError::NotJson),
                _ => end += 1,
            }
        }
        let text = Text(&self.rest[..end]);
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    fn blanks(&mut self) {
        let count = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
        self.rest = &self.rest[count..];
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(found)..];
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), InfoError> {
        if self.take(byte) { Ok(()) } else { Err(InfoError::NotJson) }
    }
}

impl<'a> Text<'a> {
    /// What the string says.
    pub(crate) fn decode(self) -> Cow<'a, str> {
        if !self.0.contains(&b'\\') {
            return String::from_utf8_lossy(self.0);
        }
        let mut decoded = String::new();
        let mut rest = self.0;
        while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
            decoded.push_str(&String::from_utf8_lossy(&rest[..at]));
            let (character, length) = unescape(&rest[at..]);
            decoded.push(character);
            rest = &rest[at + length..];
        }
        decoded.push_str(&String::from_utf8_lossy(rest));
        Cow::Owned(decoded)
    }

    /// Whether this is the name of `field`, which is ASCII, in any case. Unicode's simple folding, as in Go: besides
    /// capital letters, two others fold to ASCII ones.
    pub(crate) fn names(self, field: &str) -> bool {
        let fold = |character: char| match character {
            'ſ' => 's',
            '\u{212a}' => 'k', // the Kelvin sign
            other => other.to_ascii_lowercase(),
        };
        self.decode().chars().map(fold).eq(field.chars().map(fold))
    }
}

/// The character that the escape at the beginning of `text` stands for, and how long the escape is.
fn unescape(text: &[u8]) -> (char, usize) {
    let simple = match text[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_unicode(text),
        other => other as char,
    };
    (simple, 2)
}

fn unescape_unicode(text: &[u8]) -> (char, usize) {
    let unit = code_unit(text).unwrap_or_default();
    if let Some(character) = char::from_u32(unit.into()) {
        return (character, 6);
    }
    // Half of a surrogate pair; without the other half, it stands for nothing.
    let pair = char::decode_utf16([Some(unit), code_unit(&text[6..])].into_iter().flatten()).next();
    match pair {
        Some(Ok(character)) => (character, 12),
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// Of the `\uXXXX` that `text` begins with, if it does.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Parsed;

    use super::*;

    fn is_valid(json: &[u8]) -> bool {
        members(json, |_, _| Ok(())).is_ok()
    }

    /// The text of a member named `t`.
    fn text_of(json: &[u8]) -> String {
        let mut found = None;
        members(json, |name, value| {
            let Value::Text(text) = value else { panic!("{value:?}") };
            assert!(name.names("t"));
            found = Some(text.decode().into_owned());
            Ok(())
        })
        .unwrap();
        found.unwrap()
    }

    #[test]
    fn surrogates_pair_up_or_are_replaced() {
        let cases = [
            (r#"\ud83d\udd11"#, "\u{1f511}"),
            (r#"\ud83d"#, "\u{fffd}"),
            (r#"\udd11"#, "\u{fffd}"),
            (r#"\ud83d\ud83d\udd11"#, "\u{fffd}\u{1f511}"),
            (r#"\ud83d\u0041"#, "\u{fffd}A"),
            (r#"\ud83dA"#, "\u{fffd}A"),
            (r#"\ud83d\n"#, "\u{fffd}\n"),
            (r#"\u0000\b\f\n\r\t\/\\\""#, "\0\u{8}\u{c}\n\r\t/\\\""),
        ];
        for (escaped, decoded) in cases {
            assert_eq!(text_of(format!("{{\"t\":\"{escaped}\"}}").as_bytes()), decoded, "{escaped}");
        }
        assert_eq!(text_of(b"{\"t\":\"a\xff\\nb\xfe\"}"), "a\u{fffd}\nb\u{fffd}");
    }

    #[test]
    fn numbers() {
        let number = |text: &str| {
            let mut found = None;
            members(format!("{{\"x\":{text}}}").as_bytes(), |_, value| {
                found = Some(value == Value::Number(text));
                Ok(())
            })
            .map(|()| found.unwrap())
        };
        for text in ["0", "-0", "7", "10", "-12", "0.5", "1.05", "1e5", "1E+05", "0e-0", "-1.5e400"] {
            assert_eq!(number(text), Ok(true), "{text}");
        }
        for text in
            ["-", "+1", "01", "-01", ".5", "1.", "-.5", "1.e5", "1e", "1e+", "1e-", "e5", "0x1", "1_0", "--1", "NaN"]
        {
            assert_eq!(number(text), Err(InfoError::NotJson), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_ten_thousand() {
        let nested = |depth: usize, open: &str, close: &str| {
            let json = format!("{{\"x\":{}1{}}}", open.repeat(depth), close.repeat(depth));
            members(json.as_bytes(), |_, _| Ok(()))
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[ 1 , ", " ]")] {
            assert_eq!(nested(9_999, open, close), Ok(()));
            assert_eq!(nested(10_000, open, close), Err(InfoError::TooDeep));
        }
        assert_eq!(members("[".repeat(1 << 18).as_bytes(), |_, _| Ok(())), Err(InfoError::TooDeep));
    }

    /// Pieces of JSON in any order: mostly wrong, and wrong in interesting places.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"", "1", "-", "0", ".5", "e", "E+2", "null", "true", "false", " ",
            "\n", "\t", "\\", "\\n", "\\u00e9", "\\u12", "é", "\u{0}", "x",
        ]);
        prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    fn tree() -> impl Strategy<Value = Parsed> {
        let leaf = prop_oneof![
            Just(Parsed::Null),
            any::<bool>().prop_map(Parsed::from),
            any::<i64>().prop_map(Parsed::from),
            any::<f64>().prop_map(Parsed::from),
            any::<String>().prop_map(Parsed::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Parsed::from),
                prop::collection::hash_map(any::<String>(), inner, 0..5)
                    .prop_map(|members| Parsed::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_json_is_agreed_upon(value in pieces()) {
            let json = format!("{{\"x\":{value}}}");
            let oracle = serde_json::from_str::<Parsed>(&json).is_ok();
            prop_assert_eq!(is_valid(json.as_bytes()), oracle, "{}", json);
        }

        #[test]
        fn what_is_cut_off_is_not_json(value in tree(), at: prop::sample::Index) {
            let json = format!("{{\"x\":{value}}}");
            prop_assert!(is_valid(json.as_bytes()));
            prop_assert!(!is_valid(&json.as_bytes()[..at.index(json.len())]));
        }

        #[test]
        fn members_come_as_they_stand(sent in prop::collection::vec((any::<String>(), tree()), 0..6), pretty: bool) {
            let print = |value: &Parsed| if pretty { format!(" {value:#}\n") } else { value.to_string() };
            let member = |(name, value): &(String, Parsed)| format!("{}:{}", Parsed::from(name.as_str()), print(value));
            let body: Vec<_> = sent.iter().map(member).collect();
            let mut left = sent.iter();
            members(format!("{{{}}}", body.join(",")).as_bytes(), |name, value| {
                let (expected_name, expected) = left.next().unwrap();
                assert_eq!(name.decode(), expected_name.as_str());
                match expected {
                    Parsed::Null => assert_eq!(value, Value::Null),
                    Parsed::Bool(boolean) => assert_eq!(value, Value::Boolean(*boolean)),
                    Parsed::Number(number) => assert_eq!(value, Value::Number(&number.to_string())),
                    Parsed::String(expected) => {
                        let Value::Text(text) = value else { panic!("{value:?}") };
                        assert_eq!(text.decode(), expected.as_str());
                    }
                    Parsed::Array(_) | Parsed::Object(_) => assert_eq!(value, Value::Nested),
                }
                Ok(())
            }).unwrap();
            prop_assert!(left.next().is_none());
        }

        #[test]
        fn nothing_panics(json in prop::collection::vec(any::<u8>(), 0..100), value in pieces()) {
            let _ = members(&json, |name, _| { name.decode(); Ok(()) });
            let _ = members(value.as_bytes(), |name, _| { name.decode(); Ok(()) });
        }
    }
}
