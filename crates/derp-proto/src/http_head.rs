//! The HTTP side of raw DERP: which requests ask for it, decided from the first bytes of a connection, and the answer.
use std::borrow::Cow;

use crate::key::NodeKey;
use crate::wire::PROTOCOL_VERSION;

/// The one path whose requests become DERP.
pub const DERP_PATH: &str = "/derp";
/// `1` where the client knows the server's key from the TLS handshake and wants no HTTP answer.
pub const FAST_START_HEADER: &str = "Derp-Fast-Start";
/// The node of the region that the client would rather be on.
pub const IDEAL_NODE_HEADER: &str = "Ideal-Node";

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Head {
    /// Not all of a request's head: come again with what follows, too.
    More,
    /// No further bytes make a request head of it.
    Bad,
    /// The HTTP server's business, malformed requests included.
    Http,
    /// A raw DERP upgrade.
    Derp(DerpUpgrade),
}

/// A request for `/derp` that is to become raw DERP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DerpUpgrade {
    /// The client wants no HTTP answer.
    pub fast_start: bool,
    /// The client would rather be on another node of the region.
    pub not_ideal: bool,
    /// Where DERP begins in the bytes: after the blank line.
    pub end: usize,
}

/// Reads one request head as it comes. Each byte is looked at once, however late it comes.
///
/// Lines end with LF; a CR before it is not part of them, as in Go. What Go refuses as soon as it has the line is
/// [`Head::Bad`], a request line at the byte that rules it out. Only what is recognised beyond doubt becomes DERP; anything
/// odd (folded lines, control characters) is left to the HTTP server, which knows how to refuse it. As in derper, neither
/// the method nor `Connection` matters. Of several headers with one name the first counts, but for `Host`, which has to be
/// there once, except in HTTP/1.0, and for those that say how long a body is, which have to agree.
#[derive(Debug, Default)]
pub struct HeadReader {
    request_line: RequestLine,
    lines: usize,
    /// Where the first line begins that is not whole.
    line_at: usize,
    looked_to: usize,
    has_bare_line_feeds: bool,
    /// Where the head ends, once it is whole.
    end: usize,
}

impl HeadReader {
    /// Looks at everything that a connection has sent so far; a head may have `limit` bytes.
    pub fn read(&mut self, received: &[u8], limit: usize) -> Head {
        let bytes = &received[..received.len().min(limit)];
        loop {
            let line_feed = if self.lines == 0 {
                match self.request_line.end_in(bytes, self.looked_to) {
                    Ok(line_feed) => line_feed,
                    Err(NoRequestLine) => return Head::Bad,
                }
            } else {
                let behind = bytes.get(self.looked_to..).unwrap_or_default();
                behind.iter().position(|&byte| byte == b'\n').map(|at| self.looked_to + at)
            };
            let Some(line_feed) = line_feed else {
                self.looked_to = bytes.len();
                return if received.len() >= limit { Head::Http } else { Head::More };
            };
            let line = self.take(bytes, line_feed);
            if line.is_empty() {
                self.end = self.line_at;
                let head = self.with_line_ends(&bytes[..self.end]);
                // The line ends of the last header and of the blank line are the same four bytes.
                return match read_lines(&head[..head.len() - 2]) {
                    Some((fast_start, not_ideal)) => Head::Derp(DerpUpgrade { fast_start, not_ideal, end: self.end }),
                    None => Head::Http,
                };
            }
            if self.lines > 0 && !self.may_be_field(line) {
                return Head::Bad;
            }
            self.lines += 1;
        }
    }

    /// What the HTTP server is to have of what came: it takes CR LF alone for the end of a line, and refuses what is no
    /// request at the one byte that it gets for it.
    pub fn for_http(&self, received: Vec<u8>, head: Head) -> Vec<u8> {
        if head == Head::Bad {
            return vec![0];
        }
        if !self.has_bare_line_feeds {
            return received;
        }
        [&*self.with_line_ends(&received[..self.end]), &received[self.end..]].concat()
    }

    fn take<'a>(&mut self, bytes: &'a [u8], line_feed: usize) -> &'a [u8] {
        let line = &bytes[self.line_at..line_feed];
        self.line_at = line_feed + 1;
        self.looked_to = self.line_at;
        line.strip_suffix(b"\r").unwrap_or_else(|| {
            self.has_bare_line_feeds = true;
            line
        })
    }

    /// Without a colon it is none, unless it goes on with the one before it.
    fn may_be_field(&self, line: &[u8]) -> bool {
        let is_folded = matches!(line.first(), Some(b' ' | b'\t'));
        if is_folded { self.lines > 1 } else { line.contains(&b':') }
    }

    fn with_line_ends<'a>(&self, head: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.has_bare_line_feeds {
            return Cow::Borrowed(head);
        }
        let lines = head.split_inclusive(|&byte| byte == b'\n');
        let bare =
            |line: &'a [u8]| line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        Cow::Owned(lines.flat_map(|line| [bare(line), &b"\r\n"[..]]).flatten().copied().collect())
    }
}

/// [`HeadReader::read`] of bytes that have all come.
pub fn read_head(bytes: &[u8], limit: usize) -> Head {
    HeadReader::default().read(bytes, limit)
}

/// Looks for the end of `METHOD target HTTP/1.1`, and for what can be no such line.
#[derive(Debug, Default)]
struct RequestLine {
    part: Part,
    part_at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Part {
    #[default]
    Method,
    Target,
    Version,
}

struct NoRequestLine;

impl RequestLine {
    /// Where its LF is, if that has come.
    fn end_in(&mut self, bytes: &[u8], from: usize) -> Result<Option<usize>, NoRequestLine> {
        for (at, &byte) in bytes.iter().enumerate().skip(from) {
            let within = at - self.part_at;
            let is_fitting = match self.part {
                Part::Version if byte == b'\n' && within >= 8 => return Ok(Some(at)),
                Part::Version => is_version(byte, within),
                Part::Method | Part::Target if byte == b' ' && within > 0 => {
                    self.part = if self.part == Part::Method { Part::Target } else { Part::Version };
                    self.part_at = at + 1;
                    true
                }
                Part::Method => is_token(&[byte]),
                Part::Target => byte > b' ' && byte != 0x7f,
            };
            if !is_fitting {
                return Err(NoRequestLine);
            }
        }
        Ok(None)
    }
}

/// Whether a byte may stand there in `HTTP/1.1` and its CR.
fn is_version(byte: u8, at: usize) -> bool {
    match at {
        5 | 7 => byte.is_ascii_digit(),
        _ => b"HTTP/x.x\r".get(at) == Some(&byte),
    }
}

/// What a TLS listener says, in the clear, to who speaks HTTP to it: Go's words.
pub const HTTP_TO_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
const HTTP_BEGINS: [&[u8]; 5] = [b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO"];

/// Whether what came to a TLS listener is HTTP; `None` if that is not clear yet. As in Go, the first five bytes say so.
pub fn is_http_to_tls(received: &[u8]) -> Option<bool> {
    let first = &received[..received.len().min(5)];
    if HTTP_BEGINS.contains(&first) {
        return Some(true);
    }
    let may_be = HTTP_BEGINS.iter().any(|begin| begin.starts_with(first));
    (!may_be).then_some(false)
}

/// The answer to an upgrade without fast start, byte for byte derper's.
pub fn switching_protocols(server_key: &NodeKey) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: DERP\r\n\
         Connection: Upgrade\r\n\
         Derp-Version: {PROTOCOL_VERSION}\r\n\
         Derp-Public-Key: {server_key:x}\r\n\r\n"
    )
    .into_bytes()
}

/// The request line and the headers, each with its line end. Whether fast start is wanted, and whether the node is not
/// ideal; `None` if this is not to become raw DERP.
fn read_lines(head: &[u8]) -> Option<(bool, bool)> {
    let mut lines = Lines(head);
    let request_line = lines.next()?;
    if !asks_for_derp(request_line) {
        return None;
    }
    let is_version_1_1 = request_line.ends_with(b"1.1");
    let mut hosts = 0;
    let mut body = Body::default();
    let mut upgrade = None;
    let mut web_socket_protocol = None;
    let mut fast_start = None;
    let mut ideal_node = None;
    for line in lines {
        let (name, value) = split_header(line)?;
        let first = if name.eq_ignore_ascii_case(b"Upgrade") {
            &mut upgrade
        } else if name.eq_ignore_ascii_case(b"Sec-WebSocket-Protocol") {
            &mut web_socket_protocol
        } else if name.eq_ignore_ascii_case(FAST_START_HEADER.as_bytes()) {
            &mut fast_start
        } else if name.eq_ignore_ascii_case(IDEAL_NODE_HEADER.as_bytes()) {
            &mut ideal_node
        } else {
            if name.eq_ignore_ascii_case(b"Host") {
                hosts += if is_host(value) { 1 } else { 2 };
            }
            body.header(name, value);
            continue;
        };
        first.get_or_insert(value);
    }
    if hosts > 1 || (hosts == 0 && is_version_1_1) || !body.is_sound(is_version_1_1) {
        return None;
    }
    let raw = asks_for_raw(upgrade?, web_socket_protocol.unwrap_or_default());
    raw.then(|| (fast_start == Some(b"1"), ideal_node.is_some_and(|node| !node.is_empty())))
}

/// What a request says about its body. An upgrade needs none, but a length that two servers would read differently is an
/// attack on one of them.
#[derive(Default)]
struct Body<'a> {
    length: Option<&'a [u8]>,
    lengths_differ: bool,
    codings: usize,
    is_chunked: bool,
}

impl<'a> Body<'a> {
    fn header(&mut self, name: &[u8], value: &'a [u8]) {
        if name.eq_ignore_ascii_case(b"Content-Length") {
            self.lengths_differ |= *self.length.get_or_insert(value) != value;
        } else if name.eq_ignore_ascii_case(b"Transfer-Encoding") {
            self.codings += 1;
            self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
        }
    }

    /// By Go's rules: one coding, `chunked`, which HTTP/1.0 does not know; a length in digits, below 2⁶³.
    fn is_sound(&self, is_version_1_1: bool) -> bool {
        let has_known_coding = self.codings == 0 || (self.codings == 1 && self.is_chunked);
        (has_known_coding || !is_version_1_1) && !self.lengths_differ && self.length.is_none_or(is_length)
    }
}

fn is_length(value: &[u8]) -> bool {
    value.iter().all(u8::is_ascii_digit) && str::from_utf8(value).is_ok_and(|digits| digits.parse::<i64>().is_ok())
}

/// What may stand in a `Host` field: by Go's rule, which is generous.
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte))
}

/// Cuts at CR LF. What has other line ends gives lines with a control character, which nothing takes.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.windows(2).position(|window| window == b"\r\n")?;
        let line = &self.0[..end];
        self.0 = &self.0[end + 2..];
        Some(line)
    }
}

/// `METHOD target HTTP/1.x`, where the target is the upgrade route, the query left aside.
fn asks_for_derp(request_line: &[u8]) -> bool {
    let mut words = request_line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return false;
    };
    is_token(method)
        && target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#')
        && matches!(version, b"HTTP/1.0" | b"HTTP/1.1")
        && path_of(target) == DERP_PATH.as_bytes()
}

/// Without the query; of an absolute target, what follows the host.
fn path_of(target: &[u8]) -> &[u8] {
    let resource = target.split(|&byte| byte == b'?').next().unwrap_or_default();
    let Some(colon) = resource.windows(3).position(|window| window == b"://") else {
        return resource;
    };
    let (scheme, host) = (&resource[..colon], &resource[colon + 3..]);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    if !is_scheme {
        return resource;
    }
    host.iter().position(|&byte| byte == b'/').map_or(b"/", |slash| &host[slash..])
}

/// Name and value, the blanks around the value left aside.
fn split_header(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_value = value.iter().all(|&byte| byte == b'\t' || !byte.is_ascii_control());
    (is_token(name) && is_value).then(|| (name, trim_blanks(value)))
}

fn is_token(word: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !word.is_empty() && word.iter().all(is_part)
}

fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Early clients said WebSocket and spoke raw DERP; real WebSocket ones offer the subprotocol `derp`.
fn asks_for_raw(upgrade: &[u8], web_socket_protocol: &[u8]) -> bool {
    let offers_derp = || web_socket_protocol.windows(4).any(|window| window == b"derp");
    upgrade.eq_ignore_ascii_case(b"derp") || (upgrade.eq_ignore_ascii_case(b"websocket") && !offers_derp())
}

#[cfg(test)]
mod tests;
