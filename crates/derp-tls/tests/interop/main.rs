//! Other implementations as the other end, on loopback, where their programs are installed: OpenSSL, Node (which is OpenSSL
//! with other habits), Go's crypto/tls, which DERP's clients and servers are built with.
#[path = "../common/mod.rs"]
mod common;
mod go;
mod node;
mod openssl;
mod ours;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// For hangs, not for figures.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether there is such a program. If not, that is said even where the output of tests is not shown.
fn is_there(program: &str, version: &str) -> bool {
    let mut command = Command::new(program);
    let found = command.arg(version).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no `{program}` to talk to");
    }
    is_there
}

/// A file for the programs to read: a new one each time, as tests run side by side.
fn file(name: &str, content: &str) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("derp-tls-interop").join(number);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// A program that runs, and the lines that it has written, of both kinds.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it was there");
        let (sender, lines) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                    let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
                }
            });
        }
        Self { input: child.stdin.take(), child, lines, seen: Vec::new() }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line with this text.
    fn wait_for(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no `{text}` in {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Closes its input; gives whether it succeeded, and everything that it has written.
    fn end(&mut self) -> (bool, String) {
        self.input = None;
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen.push(line);
        }
        (self.child.wait().unwrap().success(), self.seen.join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
