//! Go's crypto/tls: `peer.go` is its side. Go chooses suites of TLS 1.3 itself.
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use derp_tls::{End, Version};

use crate::common::{AUTHORITY, NAME, SUITES, Suite};
use crate::{Program, file, is_there, ours};

/// Built once for all tests, if there is Go.
static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    if !is_there("go", "version") {
        return None;
    }
    let built = file("go-peer", "");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer.go");
    let mut command = Command::new("go");
    command.envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local"), ("GOFLAGS", "")]);
    let output = command.args(["build", "-o"]).arg(&built).arg(source).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(built)
});

fn peer(role: &str, port: u16, suite: Suite) -> Option<Program> {
    let kind = if suite.rsa { "rsa" } else { "ecdsa" };
    let mut command = Command::new(BUILT.as_ref()?);
    let id = if suite.is_13() { 0 } else { u16::from(suite.name) };
    command.args([role, &port.to_string(), NAME, &id.to_string()]);
    command.arg(file("go-root.pem", &AUTHORITY.root));
    command.arg(file(&format!("go-{kind}.pem"), &suite.pem().chain));
    command.arg(file(&format!("go-{kind}.key"), &suite.pem().key));
    Some(Program::start(&mut command))
}

#[test]
fn go_hears_its_echo() {
    for suite in SUITES {
        let (port, server) = ours::serve(suite);
        let Some(mut peer) = peer("client", port, suite) else { return };
        let (succeeded, output) = peer.end();
        assert!(succeeded, "{output}");
        let heard = server.join().unwrap().unwrap();
        assert_eq!((heard.version == Version::Tls13, heard.end), (suite.is_13(), End::Closed), "{output}");
        assert!(suite.is_13() || heard.suite == suite.name.as_str().unwrap());
    }
}

#[test]
fn go_is_called() {
    for suite in SUITES {
        let Some(mut peer) = peer("server", 0, suite) else { return };
        let line = peer.wait_for("port ");
        let heard = ours::call(line[5..].parse().unwrap(), &[7; 200_000]);
        assert_eq!((heard.version == Version::Tls13, heard.end), (suite.is_13(), End::Closed));
        assert!(suite.is_13() || heard.suite == suite.name.as_str().unwrap());
        let (succeeded, output) = peer.end();
        assert!(succeeded, "{output}");
    }
}
