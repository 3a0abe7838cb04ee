//! `openssl s_client`, and `s_server`, which sends lines back, reversed. Of what is said to `s_client`, a line is data, unless it is `K` (new keys, and the peer's too), `k` (new keys) or `R` (a new
//! handshake).
use std::process::Command;

use derp_tls::{End, HandshakeError, Version, Violation};

use crate::common::{AUTHORITY, NAME, SUITES, Suite};
use crate::{Program, file, is_there, ours};

/// What OpenSSL calls a suite.
pub(crate) fn name(suite: Suite) -> String {
    let name = suite.name.as_str().unwrap();
    match name.strip_prefix("TLS13_") {
        Some(name) => format!("TLS_{name}"),
        None => {
            let name = name.replace("TLS_", "").replace("_WITH", "").replace("AES_", "AES");
            name.replace("_POLY1305_SHA256", "_POLY1305").replace('_', "-")
        }
    }
}

fn client(port: u16, suite: Suite, server_name: &str) -> Program {
    let root = file("openssl-root.pem", &AUTHORITY.root);
    let mut command = Command::new("openssl");
    command.args(["s_client", "-verify_return_error", "-alpn", "h2,http/1.1", "-servername", server_name]);
    command.args(["-verify_hostname", NAME, "-connect", &format!("127.0.0.1:{port}")]).arg("-CAfile").arg(root);
    if suite.is_13() {
        command.args(["-tls1_3", "-ciphersuites", &name(suite)]);
    } else {
        command.args(["-tls1_2", "-cipher", &name(suite)]);
    }
    Program::start(&mut command)
}

#[test]
fn openssl_hears_its_echo_whoever_takes_new_keys() {
    if !is_there("openssl", "version") {
        return;
    }
    for suite in SUITES {
        let (port, server) = ours::serve(suite);
        let mut client = client(port, suite, NAME);
        client.wait_for("Verify return code: 0 (ok)");
        for round in 0..8 {
            // A command has to come alone: it is one only at the beginning of what s_client reads.
            if suite.is_13() {
                client.say(if round % 2 == 0 { "K" } else { "k" });
                client.wait_for("KEYUPDATE");
            }
            client.say(&format!("this is line {round}"));
            client.wait_for(&format!("this is line {round}"));
        }
        let (_, output) = client.end();
        assert!(output.contains(&format!("Cipher is {}", name(suite))), "{output}");
        assert!(output.contains("ALPN protocol: http/1.1"), "{output}");
        let heard = server.join().unwrap().unwrap();
        assert_eq!((heard.suite, heard.end), (suite.name.as_str().unwrap(), End::Closed));
        assert_eq!(heard.requests, if suite.is_13() { 4 } else { 0 });
    }
}

#[test]
fn openssl_is_called() {
    if !is_there("openssl", "version") {
        return;
    }
    // Lines that are the same from behind.
    let said = [[b'a'; 999].as_slice(), b"\n"].concat().repeat(150);
    for suite in SUITES {
        let kind = if suite.rsa { "rsa" } else { "ecdsa" };
        let mut command = Command::new("openssl");
        command.args(["s_server", "-rev", "-naccept", "1", "-accept", "127.0.0.1:0"]);
        command.arg("-cert").arg(file(&format!("openssl-{kind}.pem"), &suite.pem().chain));
        command.arg("-key").arg(file(&format!("openssl-{kind}.key"), &suite.pem().key));
        if suite.is_13() {
            command.args(["-tls1_3", "-ciphersuites", &name(suite)]);
        } else {
            command.args(["-tls1_2", "-cipher", &name(suite)]);
        }
        let mut server = Program::start(&mut command);
        let line = server.wait_for("ACCEPT");
        let port = line.rsplit(':').next().unwrap().parse().unwrap();
        let heard = ours::call(port, &said);
        assert_eq!((heard.suite, heard.end), (suite.name.as_str().unwrap(), End::Closed));
        assert_eq!(heard.version == Version::Tls13, suite.is_13());
    }
}

#[test]
fn openssl_is_told_that_there_is_no_new_handshake() {
    if !is_there("openssl", "version") {
        return;
    }
    let (port, server) = ours::serve(SUITES[3]);
    let mut client = client(port, SUITES[3], NAME);
    client.wait_for("Verify return code: 0 (ok)");
    client.say("R");
    client.wait_for("RENEGOTIATING");
    let (_, output) = client.end();
    assert!(output.contains("no renegotiation"), "{output}");
    assert_eq!(server.join().unwrap().unwrap().end, End::Violation(Violation::Renegotiation));
}

#[test]
fn openssl_is_told_that_a_name_is_not_known() {
    if !is_there("openssl", "version") {
        return;
    }
    for suite in [SUITES[0], SUITES[3]] {
        let (port, server) = ours::serve(suite);
        let (succeeded, output) = client(port, suite, "other.test").end();
        assert!(!succeeded && output.contains("unrecognized name"), "{output}");
        assert_eq!(server.join().unwrap().unwrap_err(), HandshakeError::UnknownName);
    }
}
