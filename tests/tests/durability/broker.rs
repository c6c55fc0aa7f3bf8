//! A broker whose data directory outlives it.
//!
//! It runs from the same files each time and is ended by SIGKILL: nobody asks it to stop.

use countersign_tests::faulty_disk::{FAULT, Fault};
use countersign_tests::log::Log;
use countersign_tests::world::{Settings, program, write_files};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// The files that a broker reads, and where it keeps its own.
pub(crate) struct Home {
    files: TempDir,
    config: PathBuf,
    /// What runs the broker, where it is not run by us.
    runner: Vec<OsString>,
}

/// Which broker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// The one that everybody runs.
    Real,
    /// The same with a disk that fails.
    Faulty(Fault),
}

/// A broker that serves.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    process: Child,
}

/// A broker that has ended before it served.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// All that it said.
    pub(crate) words: String,
}

impl Home {
    /// With these lines in `[storage]` and `[limits]`, and its data in a folder of its own.
    pub(crate) fn new(storage: &str, limits: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let data = files.path().join("data");
        Self::with_data(files, &data, (storage, limits))
    }

    /// The same with its data at `data`.
    pub(crate) fn with_data(files: TempDir, data: &Path, lines: (&str, &str)) -> Self {
        let settings = Settings {
            storage: format!("directory = '{}'\n{}", data.display(), lines.0),
            limits: lines.1.to_owned(),
            ..Settings::default()
        };
        let config = write_files(files.path(), &settings);
        Self {
            files,
            config,
            runner: Vec::new(),
        }
    }

    /// Run by this program with these arguments.
    pub(crate) fn run_by(self, runner: Vec<OsString>) -> Self {
        Self { runner, ..self }
    }

    /// Where the broker keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.files.path().join("data")
    }

    /// A broker that must start.
    pub(crate) fn start(&self) -> Broker {
        let started = self.try_start(Program::Real);
        started.unwrap_or_else(|ended| panic!("it does not start: {ended:#?}"))
    }

    /// Starts a broker and waits until it serves or has ended.
    pub(crate) fn try_start(&self, which: Program) -> Result<Broker, Ended> {
        let mut process = self.command(which).spawn().unwrap();
        let log = Log::default();
        let following = log.follow(process.stderr.take().unwrap());
        let mut first = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut first).unwrap();
        let Some(address) = address(&first) else {
            let status = process.wait().unwrap();
            following.join().unwrap();
            let words = log.lines().join("\n");
            return Err(Ended { status, words });
        };
        Ok(Broker {
            address,
            log,
            process,
        })
    }

    fn command(&self, which: Program) -> Command {
        let mut line = self.runner.clone();
        line.push(match which {
            Program::Real => program("countersign").into(),
            Program::Faulty(_) => program("faulty-broker").into(),
        });
        if let Program::Real = which {
            line.extend(["broker", "run", "--json", "--config"].map(OsString::from));
        }
        line.push(self.config.clone().into());
        let mut command = Command::new(&line[0]);
        if let Program::Faulty(fault) = which {
            command.env(FAULT, fault.to_string());
        }
        command.args(&line[1..]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Where a broker says that it listens, in plain words or in JSON.
fn address(line: &str) -> Option<SocketAddr> {
    let quoted = line.split('"').nth(3);
    quoted.unwrap_or(line.trim()).parse().ok()
}

impl Broker {
    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// Kills it with SIGKILL and does not wait for it.
    pub(crate) fn end(&mut self) {
        // It may be gone.
        let _ = self.process.kill();
    }

    /// Kills it with SIGKILL, unless that has happened already.
    pub(crate) fn kill(&mut self) {
        self.end();
        let status = self.process.wait().unwrap();
        let words = || self.log.lines().join("\n");
        assert_eq!(status.signal(), Some(9), "it ended by itself:\n{}", words());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
        let _ = self.process.wait();
    }
}
