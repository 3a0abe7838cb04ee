//! Node's `tls`: `peer.mjs` is its side.
use std::process::Command;

use derp_tls::{End, Version};

use crate::common::{AUTHORITY, NAME, SUITES, Suite};
use crate::{Program, file, is_there, openssl, ours};

fn peer(role: &str, port: u16, suite: Suite) -> Program {
    let version = if suite.is_13() { "TLSv1.3" } else { "TLSv1.2" };
    let kind = if suite.rsa { "rsa" } else { "ecdsa" };
    let mut command = Command::new("node");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer.mjs"));
    command.args([role, &port.to_string(), NAME, version, &openssl::name(suite)]);
    command.arg(file("node-root.pem", &AUTHORITY.root));
    command.arg(file(&format!("node-{kind}.pem"), &suite.pem().chain));
    command.arg(file(&format!("node-{kind}.key"), &suite.pem().key));
    Program::start(&mut command)
}

#[test]
fn node_hears_its_echo() {
    if !is_there("node", "--version") {
        return;
    }
    for suite in SUITES {
        let (port, server) = ours::serve(suite);
        let (succeeded, output) = peer("client", port, suite).end();
        assert!(succeeded, "{output}");
        let heard = server.join().unwrap().unwrap();
        assert_eq!((heard.suite, heard.end), (suite.name.as_str().unwrap(), End::Closed), "{output}");
        assert_eq!(heard.alpn.as_deref(), Some(&b"http/1.1"[..]));
        assert!(output.contains(&format!("agreed on {}", openssl::name(suite))), "{output}");
    }
}

#[test]
fn node_is_called() {
    if !is_there("node", "--version") {
        return;
    }
    for suite in SUITES {
        let mut peer = peer("server", 0, suite);
        let line = peer.wait_for("port ");
        let heard = ours::call(line[5..].parse().unwrap(), &[7; 200_000]);
        assert_eq!((heard.suite, heard.end), (suite.name.as_str().unwrap(), End::Closed));
        assert_eq!(heard.version == Version::Tls13, suite.is_13());
        let (succeeded, output) = peer.end();
        assert!(succeeded, "{output}");
    }
}
