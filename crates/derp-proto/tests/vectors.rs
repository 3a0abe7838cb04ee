//! `__test__/vectors/protocol.json`, taken from upstream, against this crate: both ways, so that neither has a fact
//! that the other lacks.
use std::collections::BTreeSet;
use std::sync::LazyLock;

use derp_proto::client_info::{ClientInfo, ServerInfo, is_app_name};
use derp_proto::decode::{Decoder, FrameHeader, Step};
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame;
use derp_proto::frame_rules::{Body, check, check_first};
use derp_proto::http_head::{self, DerpUpgrade, Head};
use derp_proto::key::{MeshKey, NodeKey, SecretKey};
use derp_proto::login;
use derp_proto::server_frame::ServerFrame;
use derp_proto::wire::{self, FrameType, HEADER_LENGTH, KEY_LENGTH, PeerGoneReason, PresenceFlags};
use serde_json::{Map, Value, json};

static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/vectors/protocol.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

#[test]
fn the_file_has_these_groups_of_facts() {
    let here = [
        "appNames",
        "clientInfoDepth",
        "clientInfoJson",
        "clientReads",
        "constants",
        "disco",
        "drops",
        "firstFrames",
        "frameTypes",
        "frames",
        "inboundFrames",
        "keyText", // the short form; keys cross the binding as bytes, so that their texts are the control plane's
        "keys",
        "login",
        "meshKeys",
        "peerGoneReasons",
        "peerPresentFlags",
        "serverInfoJson",
        "upgrade",
    ];
    let elsewhere = [
        "documented", // policy, which the control plane sets
        "metaCert",   // the control plane's
        "noContent",  // the control plane's
        "stun",       // in `stun.rs`
        "upstream",
    ];
    assert_eq!(names(&VECTORS), set(here.into_iter().chain(elsewhere)));
}

// Constants.

#[test]
fn constants() {
    let ours = json!({
        "BoxOverhead": wire::BOX_OVERHEAD,
        "DiscoMagic": hex(&wire::DISCO_MAGIC),
        "DiscoMinLen": wire::MIN_DISCO_LENGTH,
        "FastStartHeader": http_head::FAST_START_HEADER,
        "FrameHeaderLen": wire::HEADER_LENGTH,
        "IdealNodeHeader": http_head::IDEAL_NODE_HEADER,
        "KeyLen": wire::KEY_LENGTH,
        "Magic": hex(&wire::MAGIC),
        "MaxAppNameLen": wire::MAX_APP_NAME_LENGTH,
        "MaxInfoLen": wire::MAX_SERVER_INFO_LENGTH,
        "MaxPacketSize": wire::MAX_PACKET_LENGTH,
        "NonceLen": wire::NONCE_LENGTH,
        "ProtocolVersion": wire::PROTOCOL_VERSION,
    });
    // Policy, and what the control plane says over HTTP and in certificates.
    let elsewhere = [
        "DefaultTCPWriteTimeoutSeconds",
        "KeepAliveSeconds",
        "MetaCertCommonNamePrefix",
        "NoContentChallengeHeader",
        "NoContentResponseHeader",
    ];
    let theirs = members(&VECTORS["constants"]).filter(|(name, _)| !elsewhere.contains(name));
    assert_eq!(Value::Object(theirs.map(|(name, fact)| (name.into(), fact["value"].clone())).collect()), ours);
}

#[test]
fn frame_types() {
    let ours: Map<_, _> = FrameType::ALL.iter().map(|kind| (format!("{kind:?}"), json!(*kind as u8))).collect();
    assert_eq!(VECTORS["frameTypes"]["values"], Value::Object(ours));
    for number in 0..=u8::MAX {
        let known = FrameType::ALL.into_iter().find(|kind| *kind as u8 == number);
        assert_eq!(FrameType::from_u8(number), known);
    }
}

#[test]
fn peer_gone_reasons() {
    let ours = [PeerGoneReason::Disconnected, PeerGoneReason::NotHere, PeerGoneReason::MeshConnBroke];
    let ours: Map<_, _> = ours.iter().map(|reason| (format!("{reason:?}"), json!(*reason as u8))).collect();
    assert_eq!(VECTORS["peerGoneReasons"]["values"], Value::Object(ours));
}

#[test]
fn presence_flags() {
    let ours: Map<_, _> = FLAGS.iter().map(|(name, flag)| ((*name).into(), json!(flag.0))).collect();
    assert_eq!(VECTORS["peerPresentFlags"]["values"], Value::Object(ours));
}

#[test]
fn drops() {
    let texts = |name: &str| set(VECTORS["drops"][name].as_array().unwrap().iter().map(text));
    let theirs = DropReason::ALL.iter().filter(|reason| !DropReason::OWN.contains(reason));
    assert_eq!(set(theirs.map(|reason| reason.as_str())), texts("reasons"));
    assert_eq!(set(PacketKind::ALL.iter().map(|kind| kind.as_str())), texts("kinds"));
}

#[test]
fn disco() {
    for (name, case) in values("disco") {
        assert_eq!(wire::looks_like_disco(&bytes(&case["hex"])), case["disco"] == true, "{name}");
    }
}

// Keys.

#[test]
fn public_keys() {
    for (name, case) in values("keys").filter(|(name, _)| *name != "mesh") {
        let public = secret(&case["private"]).public_key();
        assert_eq!(format!("{public:x}"), text(&case["public"]), "{name}");
    }
}

#[test]
fn short_forms() {
    for (name, case) in members(&VECTORS["keyText"]["shortForm"]["values"]) {
        // Upstream's short form of no key is no text, which helps nobody who reads a log.
        let short = if name == "allZero" { "[AAAAA]" } else { text(&case["short"]) };
        assert_eq!(node_key(&case["public"]).to_string(), short, "{name}");
    }
}

#[test]
fn mesh_keys() {
    for (name, case) in values("meshKeys") {
        let parsed = MeshKey::parse(text(&case["text"]));
        assert_eq!(parsed.is_some(), case["ok"] == true, "{name}");
        let Some(key) = parsed else { continue };
        assert_eq!(hex(key.as_bytes()), text(&case["hex"]), "{name}");
        assert_eq!(key.is_zero(), case["zero"] == true, "{name}");
    }
}

// Frames.

#[test]
fn frames_are_encoded_as_upstream_encodes_them() {
    let mut seen = BTreeSet::new();
    for (name, case) in members(&VECTORS["frames"]) {
        seen.insert(text(&case["type"]).to_owned());
        if let Some(ours) = encode(case) {
            assert_eq!(hex(&ours), text(&case["hex"]), "{name}");
        }
    }
    // ClientInfo and ServerInfo are among the logins.
    let all = FrameType::ALL.into_iter().filter(|kind| !matches!(kind, FrameType::ClientInfo | FrameType::ServerInfo));
    assert_eq!(seen, all.map(|kind| format!("{kind:?}")).collect());
}

/// The frame of a vector by our encoder; `None` for the three that a relay's data plane never makes.
fn encode(case: &Value) -> Option<Vec<u8>> {
    let packet = || bytes(&case["payload"]);
    let data = || bytes(&case["data"]).try_into().unwrap();
    let source = || node_key(&case["sourceKey"]);
    let destination = || node_key(&case["destination"]);
    let peer = || node_key(&case["peer"]);
    Some(match text(&case["type"]) {
        "ServerKey" => frame::greeting(&node_key(&case["public"])).to_vec(),
        "SendPacket" => [&frame::send_packet(&destination(), packet().len())[..], &packet()].concat(),
        "RecvPacket" => [&frame::recv_packet(&source(), packet().len())[..], &packet()].concat(),
        "ForwardPacket" => [&frame::forward_packet(&source(), &destination(), packet().len())[..], &packet()].concat(),
        "KeepAlive" => frame::KEEP_ALIVE.to_vec(),
        "NotePreferred" => frame::note_preferred(case["preferred"] == true).to_vec(),
        "PeerGone" => {
            let reason = match text(&case["reason"]) {
                "Disconnected" => PeerGoneReason::Disconnected,
                "NotHere" => PeerGoneReason::NotHere,
                other => panic!("{other}"),
            };
            frame::peer_gone(&peer(), reason).to_vec()
        }
        "WatchConns" => frame::WATCH_CONNS.to_vec(),
        "ClosePeer" => frame::close_peer(&peer()).to_vec(),
        "Ping" => frame::ping(&data()).to_vec(),
        "Pong" => frame::pong(&data()).to_vec(),
        "PeerPresent" | "Health" | "Restarting" => return None,
        other => panic!("{other}"),
    })
}

#[test]
fn frames_are_read_as_they_were_meant() {
    for (name, case) in members(&VECTORS["frames"]).filter(|(_, case)| case["direction"] == "toClient") {
        let frame = bytes(&case["hex"]);
        if case["type"] == "ServerKey" {
            assert_eq!(login::read_greeting(&frame[HEADER_LENGTH..]), Ok(node_key(&case["public"])), "{name}");
            assert_eq!(ServerFrame::read(&frame), None, "{name}");
            continue;
        }
        let mut expected = case.as_object().unwrap().clone();
        for meta in ["direction", "hex", "source"] {
            expected.remove(meta);
        }
        if let Some(reason) = expected.get_mut("reason") {
            *reason = VECTORS["peerGoneReasons"]["values"][text(reason)].clone();
        }
        if let Some(flags) = expected.get_mut("flags") {
            let of = |name: &Value| FLAGS.iter().find(|(ours, _)| name == ours).unwrap().1;
            let all = flags.as_array().unwrap().iter().map(of).reduce(PresenceFlags::union);
            *flags = json!(all.unwrap().0);
        }
        assert_eq!(described(&frame), Value::Object(expected), "{name}");
    }
}

#[test]
fn clients_read_what_upstreams_client_reads() {
    for (name, case) in values("clientReads") {
        assert_eq!(described(&bytes(&case["hex"])), case["reads"], "{name}");
    }
}

/// What a client makes of a frame, in the words of the vectors.
fn described(frame: &[u8]) -> Value {
    let Some(read) = ServerFrame::read(frame) else {
        return json!("ignored");
    };
    match read {
        ServerFrame::RecvPacket { source, packet } => {
            json!({ "type": "RecvPacket", "sourceKey": format!("{source:x}"), "payload": hex(packet) })
        }
        ServerFrame::KeepAlive => json!({ "type": "KeepAlive" }),
        ServerFrame::PeerGone { peer, reason } => {
            json!({ "type": "PeerGone", "peer": format!("{peer:x}"), "reason": reason })
        }
        ServerFrame::PeerPresent(present) => json!({
            "type": "PeerPresent",
            "peer": format!("{:x}", present.peer),
            "address": present.address.map(|address| address.to_string()).unwrap_or_default(),
            "flags": present.flags.0,
            "appName": present.app_name,
        }),
        ServerFrame::Ping(data) => json!({ "type": "Ping", "data": hex(&data) }),
        ServerFrame::Pong(data) => json!({ "type": "Pong", "data": hex(&data) }),
        ServerFrame::Health(problem) => json!({ "type": "Health", "problem": str::from_utf8(problem).unwrap() }),
        ServerFrame::Restarting { reconnect_in, try_for } => json!({
            "type": "Restarting",
            "reconnectInMs": reconnect_in.as_millis() as u64,
            "tryForMs": try_for.as_millis() as u64,
        }),
    }
}

#[test]
fn relayed_packets_are_rewritten_into_what_upstream_sends() {
    let frames = &VECTORS["frames"];
    let mut sent = bytes(&frames["SendPacket"]["hex"]);
    frame::rewrite_send_to_recv(&mut sent, &node_key(&frames["RecvPacket"]["sourceKey"]));
    assert_eq!(hex(&sent), text(&frames["RecvPacket"]["hex"]));

    let mut forwarded = bytes(&frames["ForwardPacket"]["hex"]);
    let start = frame::rewrite_forward_to_recv(&mut forwarded);
    assert_eq!(hex(&forwarded[start..]), text(&frames["RecvPacket"]["hex"]));
}

#[test]
fn a_stream_of_all_frames_comes_apart_wherever_it_is_split() {
    let frames: Vec<_> = members(&VECTORS["frames"]).map(|(_, case)| bytes(&case["hex"])).collect();
    let stream = frames.concat();
    for split in 0..=stream.len() {
        let mut decoder = Decoder::default();
        let mut cut: Vec<&[u8]> = Vec::new();
        let mut at = 0;
        for received in [split, stream.len()] {
            loop {
                match decoder.next(&stream[at..received]) {
                    Step::Header(_) => {}
                    Step::Frame(length) => {
                        cut.push(&stream[at..at + length]);
                        at += length;
                    }
                    Step::Skipped(_) => panic!("nothing is skipped"),
                    Step::More => break,
                }
            }
        }
        assert_eq!(cut, frames);
    }
}

// What a client may send.

#[test]
fn first_frames() {
    for (name, case) in values("firstFrames") {
        assert_eq!(check_first(header(case), wire::MAX_CLIENT_INFO_LENGTH).is_ok(), case["taken"] == true, "{name}");
    }
}

#[test]
fn inbound_frames() {
    let mut wanted = BTreeSet::new();
    let mut tried = BTreeSet::new();
    for (name, case) in values("inboundFrames") {
        let header = header(case);
        tried.insert(header.kind);
        let verdict = check(header, case["mesh"] == true);
        assert_eq!(verdict.is_err(), case["closes"] == true, "{name}");
        if verdict == Ok(Body::Wanted) {
            wanted.insert(header.kind);
        }
    }
    assert!(FrameType::ALL.iter().all(|kind| tried.contains(&(*kind as u8))));
    assert_eq!(wanted, BTreeSet::from([0x04, 0x07, 0x0a, 0x10, 0x11, 0x12]));
}

#[test]
fn lengths_are_upstreams_longest() {
    let longest = |group: &str, kind: u8, taken: &str, value: bool| {
        let taken = values(group).filter(|(_, case)| case["type"] == kind && case[taken] == value);
        taken.map(|(_, case)| case["length"].as_u64().unwrap() as usize).max()
    };
    assert_eq!(longest("inboundFrames", 0x04, "closes", false), Some(wire::MAX_BODY_LENGTH));
    assert_eq!(longest("inboundFrames", 0x0a, "closes", false), Some(wire::MAX_FORWARD_LENGTH));
    assert_eq!(longest("inboundFrames", 0x12, "closes", false), Some(wire::MAX_PING_LENGTH));
    assert_eq!(longest("inboundFrames", 0x7f, "closes", false), Some(wire::MAX_BODY_LENGTH));
    assert_eq!(longest("firstFrames", 0x02, "taken", true), Some(wire::MAX_CLIENT_INFO_LENGTH));
    let body = |name: &str| bytes(&VECTORS["frames"][name]["hex"]).len() - HEADER_LENGTH;
    assert_eq!(body("PeerPresent"), wire::PEER_PRESENT_LENGTH);
    assert_eq!(body("PeerGone"), wire::PEER_GONE_LENGTH);
}

// The login.

#[test]
fn logins() {
    for (name, case) in values("login") {
        let (sent, answered) = (&case["ClientInfo"], &case["ServerInfo"]);
        let (client, server) = (secret(&sent["privateKey"]), secret(&answered["privateKey"]));
        let json = text(&sent["json"]);

        let shared = client.agree(&node_key(&sent["peerPublicKey"])).unwrap();
        let nonce = bytes(&sent["nonce"]).try_into().unwrap();
        let frame = login::seal_client_info(&client.public_key(), &shared, json.as_bytes(), &nonce);
        assert_eq!(hex(&frame), text(&sent["frame"]), "{name}");
        assert_eq!(hex(&frame[..HEADER_LENGTH]), text(&sent["frameHeader"]), "{name}");
        assert_eq!(hex(&frame[HEADER_LENGTH + KEY_LENGTH + nonce.len()..]), text(&sent["box"]), "{name}");

        let opened = login::open_client_info(&mut bytes(&sent["frame"])[HEADER_LENGTH..], &server).unwrap();
        assert_eq!(opened.key, node_key(&answered["peerPublicKey"]), "{name}");
        assert_eq!(opened.info.to_json(), json, "{name}");

        let nonce = bytes(&answered["nonce"]).try_into().unwrap();
        let frame = login::seal_server_info(&opened.shared, &nonce);
        assert_eq!(hex(&frame), text(&answered["frame"]), "{name}");
        assert_eq!(hex(&frame[..HEADER_LENGTH]), text(&answered["frameHeader"]), "{name}");
        assert_eq!(hex(&frame[HEADER_LENGTH + nonce.len()..]), text(&answered["box"]), "{name}");

        let info = login::open_server_info(&mut bytes(&answered["frame"])[HEADER_LENGTH..], &shared).unwrap();
        assert_eq!(info, ServerInfo::parse(text(&answered["json"]).as_bytes()).unwrap(), "{name}");
    }
}

#[test]
fn client_info() {
    for (name, case) in values("clientInfoJson") {
        let parsed = ClientInfo::parse(&bytes(&case["hex"]));
        assert_eq!(parsed.is_ok(), case["accepted"] == true, "{name}: {parsed:?}");
        let Ok(info) = parsed else { continue };
        let mesh_key = info.mesh_key.filter(|key| !key.is_zero());
        let ours = json!({
            "meshKey": mesh_key.map(|key| hex(key.as_bytes())).unwrap_or_default(),
            "version": info.version,
            "canAckPings": info.can_ack_pings,
            "isProber": info.is_prober,
            "appName": info.app_name,
        });
        assert_eq!(ours, case["decoded"], "{name}");
    }
}

#[test]
fn a_regular_client_says_what_tailscaled_says() {
    let ours = ClientInfo::regular().to_json();
    assert_eq!(hex(ours.as_bytes()), text(&VECTORS["clientInfoJson"]["values"]["tailscaled"]["hex"]));
}

#[test]
fn client_info_depth() {
    let deepest = VECTORS["clientInfoDepth"]["deepestListInUnknownField"].as_u64().unwrap() as usize;
    let parse = |depth| ClientInfo::parse(format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
    assert!(parse(deepest).is_ok());
    assert!(parse(deepest + 1).is_err());
}

#[test]
fn server_info() {
    for (name, case) in values("serverInfoJson") {
        let parsed = ServerInfo::parse(text(&case["json"]).as_bytes());
        assert_eq!(parsed.is_ok(), case["accepted"] == true, "{name}");
        let Ok(info) = parsed else { continue };
        assert_eq!(info.version, case["version"], "{name}");
        assert_eq!(info.token_bucket_bytes_per_second, case["tokenBucketBytesPerSecond"], "{name}");
        assert_eq!(info.token_bucket_bytes_burst, case["tokenBucketBytesBurst"], "{name}");
    }
}

#[test]
fn app_names() {
    for (name, case) in values("appNames") {
        assert_eq!(is_app_name(text(&case["text"])), case["valid"] == true, "{name}");
    }
}

// The HTTP side.

#[test]
fn upgrades() {
    let expected = ["request", "requestFastStart", "requestTLS12", "response", "responseFastStart"];
    assert_eq!(names(&VECTORS["upgrade"]), set(expected));
    for (name, case) in members(&VECTORS["upgrade"]).filter(|(name, _)| name.starts_with("request")) {
        let request = text(&case["text"]).as_bytes();
        let fast_start = name == "requestFastStart";
        let upgrade = DerpUpgrade { fast_start, not_ideal: false, end: request.len() };
        assert_eq!(http_head::read_head(request, request.len()), Head::Derp(upgrade), "{name}");
    }
    let response = http_head::switching_protocols(&node_key(&VECTORS["keys"]["values"]["server"]["public"]));
    assert_eq!(response, text(&VECTORS["upgrade"]["response"]["text"]).as_bytes());
    assert_eq!(VECTORS["upgrade"]["responseFastStart"]["text"], "");
}

// Reading the file.

const FLAGS: [(&str, PresenceFlags); 4] = [
    ("IsRegular", PresenceFlags::REGULAR),
    ("IsMeshPeer", PresenceFlags::MESH_PEER),
    ("IsProber", PresenceFlags::PROBER),
    ("NotIdeal", PresenceFlags::NOT_IDEAL),
];

/// Name and value of each case of a group.
fn values(group: &str) -> impl Iterator<Item = (&'static str, &'static Value)> {
    members(&VECTORS[group]["values"])
}

fn members(group: &'static Value) -> impl Iterator<Item = (&'static str, &'static Value)> {
    let group = group.as_object().unwrap();
    assert!(!group.is_empty());
    group.iter().map(|(name, value)| (name.as_str(), value))
}

fn names(group: &Value) -> BTreeSet<&str> {
    set(group.as_object().unwrap().keys().map(String::as_str))
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = text(value).as_bytes();
    assert!(digits.len().is_multiple_of(2));
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn node_key(value: &Value) -> NodeKey {
    NodeKey::from_bytes(bytes(value).try_into().unwrap())
}

fn secret(value: &Value) -> SecretKey {
    SecretKey::from_bytes(bytes(value).try_into().unwrap())
}

fn header(case: &Value) -> FrameHeader {
    let number = |name: &str| case[name].as_u64().unwrap();
    FrameHeader { kind: number("type").try_into().unwrap(), length: number("length").try_into().unwrap() }
}
