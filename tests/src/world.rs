//! A broker to test, and the authority whose devices it admits.
//!
//! A broker is a process of its own: its memory can be measured, its log is what an operator
//! would read, and it ends with the test process whatever happens there.

use crate::authority::Authority;
use crate::log::Log;
use crate::raw::PATIENCE;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running broker.
pub struct World {
    address: SocketAddr,
    log: Log,
    process: Option<Mutex<Child>>,
    /// What it reads, for as long as it lives.
    files: Option<TempDir>,
}

/// What a broker is started with.
pub struct Settings {
    /// The policy file.
    pub policy: String,
    /// Lines for `[limits]`.
    pub limits: String,
    /// Lines for `[storage]`.
    pub storage: String,
    /// Sections of their own.
    pub more: String,
    /// Whether there is an audit log.
    pub audit: bool,
    /// The oldest version of TLS.
    pub tls_min: &'static str,
    /// The trust domain of the device authority.
    pub trust_domain: &'static str,
    /// Lines for its `[[trust.anchor]]`.
    pub anchor: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: String::from(PERMISSIVE),
            limits: String::new(),
            storage: String::new(),
            more: String::new(),
            audit: false,
            tls_min: "1.3",
            trust_domain: crate::authority::TRUST_DOMAIN,
            anchor: String::new(),
        }
    }
}

/// Devices may do anything but publish under `denied` and subscribe under `hidden`, and open any
/// client id; applications have only client ids of their own.
const PERMISSIVE: &str = r##"
[[rule]]
name = "devices"
groups = ["devices"]
client_ids = "*"
publish = ["#"]
subscribe = ["#", "$SYS/#"]
deny_publish = ["+/denied/#"]
deny_subscribe = ["+/hidden/#"]

[[rule]]
name = "applications"
groups = ["apps"]
publish = ["#"]
subscribe = ["#"]
"##;

impl World {
    /// The broker that tests share: nobody may narrow its policy or fill its quotas.
    ///
    /// `COUNTERSIGN_TEST_BROKER=ADDRESS` names one that somebody else started with the files of
    /// `COUNTERSIGN_TEST_AUTHORITY=DIR`.
    pub fn shared() -> Arc<Self> {
        static SHARED: LazyLock<Arc<World>> = LazyLock::new(|| {
            let given = std::env::var("COUNTERSIGN_TEST_BROKER").ok();
            Arc::new(given.map_or_else(World::start, |address| World::elsewhere(&address)))
        });
        SHARED.clone()
    }

    /// A broker of one's own, like the shared one.
    pub fn start() -> Self {
        Self::start_with(&Settings::default())
    }

    /// A broker of one's own with settings of one's own.
    pub fn start_with(settings: &Settings) -> Self {
        Self::prepared(settings, |_| {})
    }

    /// The same with files that a test adds.
    pub fn prepared(settings: &Settings, add: impl FnOnce(&Path)) -> Self {
        let files = tempfile::tempdir().unwrap();
        write_files(files.path(), settings);
        add(files.path());
        Self::start_in(files)
    }

    /// The same broker again, once this one was killed.
    #[must_use]
    pub fn restart(mut self) -> Self {
        let files = self.files.take().expect("a broker of our own");
        drop(self);
        Self::start_in(files)
    }

    /// A broker of one's own in a directory that has its `broker.toml` and all that this names.
    pub fn start_in(files: TempDir) -> Self {
        let mut child = Command::new(program("test-broker"))
            .arg(files.path().join("broker.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::default();
        log.follow(child.stderr.take().unwrap());
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let address = first.trim().parse();
        let address = address.unwrap_or_else(|_| panic!("no broker:\n{}", log.lines().join("\n")));
        Self {
            address,
            log,
            process: Some(Mutex::new(child)),
            files: Some(files),
        }
    }

    /// With these settings, and its files spoilt in this way, no broker starts. Yields what it
    /// said.
    pub fn expect_no_start(settings: &Settings, spoil: impl FnOnce(&Path)) -> String {
        let files = tempfile::tempdir().unwrap();
        let config = write_files(files.path(), settings);
        spoil(files.path());
        let output = Command::new(program("test-broker"))
            .arg(config)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success(), "it started");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who signs for it.
    pub fn authority(&self) -> &'static Authority {
        Authority::shared()
    }

    /// A file of its own.
    pub fn file(&self, name: &str) -> PathBuf {
        let files = self.files.as_ref().expect("a broker of our own");
        files.path().join(name)
    }

    /// Its audit log, where it keeps one.
    pub fn audit_log(&self) -> PathBuf {
        self.file("audit.jsonl")
    }

    /// Asks what its configuration calls `admin.sock`, and takes the answer.
    pub fn ask(&self, request: &Value) -> Value {
        self.ask_at(&self.file("admin.sock"), request)
    }

    /// Asks the broker's socket at this place.
    pub fn ask_at(&self, socket: &Path, request: &Value) -> Value {
        let mut socket = UnixStream::connect(socket).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let line = json!({ "version": 1, "request": request });
        writeln!(socket, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        answer["answer"].take()
    }

    /// What it has logged.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// A figure of its process, such as `VmRSS:` or `VmHWM:`, in KiB.
    pub fn memory(&self, figure: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(figure));
        let value = line.and_then(|line| line.split_whitespace().next());
        value.expect("a figure").parse().unwrap()
    }

    /// The CPU time its process uses during this.
    pub fn cpu_time_of(&self, work: impl FnOnce()) -> Duration {
        let before = self.cpu_time();
        work();
        self.cpu_time().saturating_sub(before)
    }

    fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        let behind_name = stat.rsplit_once(") ").unwrap().1;
        // Fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms.
        let ticks = behind_name.split(' ').skip(11).take(2);
        ticks
            .map(|ticks| Duration::from_millis(10 * ticks.parse::<u64>().unwrap()))
            .sum()
    }

    fn proc(&self, file: &str) -> String {
        let id = self.process().lock().unwrap().id();
        fs::read_to_string(format!("/proc/{id}/{file}")).expect("a process that lives")
    }

    fn process(&self) -> &Mutex<Child> {
        self.process.as_ref().expect("a broker of our own")
    }

    /// Asks the broker to stop in good order; what it says to its clients can then be read.
    pub fn ask_to_stop(&self) {
        self.process().lock().unwrap().stdin.take();
    }

    /// Ends the broker. Yields how often it has counted this, by the name in its statistics.
    pub fn counted(&self, counter: &str) -> usize {
        self.ask_to_stop();
        let statistics = self.log.expect_line(&["Statistics {", counter]);
        let (_, count) = statistics.split_once(&format!("{counter}: ")).unwrap();
        let digits = count.split(|digit: char| !digit.is_ascii_digit());
        digits.take(1).collect::<String>().parse().unwrap()
    }

    /// The broker has ended, and well.
    pub fn expect_end(&self) {
        expect_end(&mut self.process().lock().unwrap(), &self.log, PATIENCE);
    }

    /// Its process lives, and nothing in it has panicked.
    pub fn expect_health(&self) {
        self.memory("VmRSS:");
        assert_eq!(
            self.log.count(&["panicked"]),
            0,
            "{}",
            self.log.lines().join("\n")
        );
    }

    fn elsewhere(address: &str) -> Self {
        Authority::shared();
        let address = address
            .parse()
            .expect("an address in COUNTERSIGN_TEST_BROKER");
        Self {
            address,
            log: Log::default(),
            process: None,
            files: None,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let mut child = process.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process ends within this time, and well.
pub fn expect_end(process: &mut Child, log: &Log, within: Duration) {
    let deadline = Instant::now() + within;
    let status = loop {
        let status = process.try_wait().unwrap();
        if status.is_some() || Instant::now() > deadline {
            break status;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(
        status.is_some_and(|status| status.success()),
        "{status:?}:\n{}",
        log.lines().join("\n")
    );
}

/// The program of this name that cargo has built beside this test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(name);
    assert!(program.exists(), "{} is not built", program.display());
    program
}

/// Writes all that a broker is started with. Yields where its configuration is.
pub fn write_files(dir: &Path, settings: &Settings) -> PathBuf {
    Authority::shared().write_broker_files(dir);
    fs::write(dir.join("policy.toml"), &settings.policy).unwrap();
    let mut config = String::new();
    write!(
        config,
        "[[listener]]\naddress = '127.0.0.1:0'\ncertificate = 'broker/cert.pem'\n\
         key = 'broker/key.pem'\ntls_min = '{}'\n\n\
         [[trust.anchor]]\nfile = 'device-ca.pem'\ntrust_domain = '{}'\n{}\n\n\
         [policy]\nfile = 'policy.toml'\n\n[limits]\n{}\n\n[storage]\n{}\n\n{}\n",
        settings.tls_min,
        settings.trust_domain,
        settings.anchor,
        settings.limits,
        settings.storage,
        settings.more
    )
    .unwrap();
    if settings.audit {
        config += "[audit]\nfile = 'audit.jsonl'\n";
    }
    let path = dir.join("broker.toml");
    fs::write(&path, config).unwrap();
    path
}
