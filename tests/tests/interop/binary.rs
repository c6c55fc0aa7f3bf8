//! The real binary: `countersign up` as a process that ends with the test.

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
    /// The first line it printed.
    pub(crate) ready: serde_json::Value,
    process: Child,
    log: Arc<Mutex<String>>,
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
        let mut process = countersign()
            .args(["up", "--json", "--listen", "127.0.0.1:0", "--dir"])
            .arg(dir)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = collect(process.stderr.take().unwrap());
        let ready = first_line(process.stdout.take().unwrap());
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap_or_else(|_| {
            panic!("no JSON line on stdout; the log:\n{}", log.lock().unwrap())
        });
        let listening = ready["listening"].as_str().unwrap();
        let port = listening.rsplit_once(':').unwrap().1.parse().unwrap();
        Self {
            dir: dir.to_owned(),
            port,
            ready,
            process,
            log,
            temporary: None,
        }
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
        self.log.lock().unwrap().clone()
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
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.process.wait().unwrap().code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have been stopped by the test.
        let _ = self.process.kill();
        let _ = self.process.wait();
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
pub(crate) fn first_line(stdout: ChildStdout) -> String {
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
