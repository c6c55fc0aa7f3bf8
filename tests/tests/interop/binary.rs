//! The real binary: commands that serve, as processes that end with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a condition may take on a busy machine before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running `countersign up`.
pub(crate) struct Up {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    process: Process,
    /// Removed with it.
    #[allow(dead_code, reason = "held for its drop")]
    temporary: Option<TempDir>,
}

impl Up {
    /// Starts in a fresh directory.
    pub(crate) fn start() -> Self {
        let temporary = TempDir::new().unwrap();
        let dir = temporary.path().join("world");
        let mut up = Self::start_in(&dir, &[]);
        up.temporary = Some(temporary);
        up
    }

    /// Starts in `dir`, with more arguments.
    pub(crate) fn start_in(dir: &Path, more: &[&str]) -> Self {
        Self::start_by(countersign(), dir, more)
    }

    /// The same by a command that has what the process needs besides.
    pub(crate) fn start_by(mut command: Command, dir: &Path, more: &[&str]) -> Self {
        command.args(["up", "--json", "--listen", "127.0.0.1:0", "--dir"]);
        let process = Process::start(command.arg(dir).args(more));
        Self {
            dir: dir.to_owned(),
            port: process.port(),
            process,
            temporary: None,
        }
    }

    /// The first line it printed.
    pub(crate) fn ready(&self) -> &serde_json::Value {
        &self.process.ready
    }

    /// Where an identity stands, `devices/dev-1` or `apps/app-1`.
    pub(crate) fn identity(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// An application of ours that hears all that the devices say.
    pub(crate) fn subscriber(&self) -> Child {
        countersign()
            .args(["sub", "--identity"])
            .arg(self.identity("apps/app-1"))
            .args(["--broker", &format!("mqtts://127.0.0.1:{}", self.port)])
            .args(["-t", "devices/+/#"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until the log has a line with all of `words`, and returns it.
    pub(crate) fn log_line(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let found = log
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)));
            if let Some(line) = found {
                return line.to_owned();
            }
            assert!(
                Instant::now() < deadline,
                "no line with {words:?} in the log:\n{log}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = self.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.process.child.wait().unwrap().code()
    }
}

/// A command that serves, killed with the test.
pub(crate) struct Process {
    child: Child,
    /// The line of JSON that it printed when it served.
    ready: serde_json::Value,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts it, and waits until it serves.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = collect(child.stderr.take().unwrap());
        let ready = first_line(child.stdout.take().unwrap());
        let ready = serde_json::from_str(&ready).unwrap_or_else(|_| {
            panic!("no JSON line on stdout; the log:\n{}", log.lock().unwrap())
        });
        Self { child, ready, log }
    }

    /// Where it listens on this machine.
    pub(crate) fn port(&self) -> u16 {
        let listening = self.ready["listening"].as_str().unwrap();
        listening.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been stopped by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test, built by `cargo build --bin countersign` beside this test.
pub(crate) fn countersign() -> Command {
    let beside = || {
        std::env::current_exe()
            .unwrap()
            .ancestors()
            .nth(2)
            .unwrap()
            .join("countersign")
    };
    let path = std::env::var_os("COUNTERSIGN_BIN").map_or_else(beside, PathBuf::from);
    assert!(
        path.exists(),
        "{} is not built: cargo build --bin countersign",
        path.display()
    );
    Command::new(path)
}

/// The first line that a process prints.
fn first_line(stdout: ChildStdout) -> String {
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    // What comes later must not stop the process.
    thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    line
}

/// Reads a stream to its end in the background.
pub(crate) fn collect(mut stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&text);
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut chunk) {
            collected
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&chunk[..len]));
        }
    });
    text
}

/// Waits until `text` holds `words`.
pub(crate) fn wait_for(text: &Mutex<String>, words: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !text.lock().unwrap().contains(words) {
        assert!(
            Instant::now() < deadline,
            "no {words:?} in {:?}",
            text.lock().unwrap()
        );
        thread::sleep(Duration::from_millis(10));
    }
}
