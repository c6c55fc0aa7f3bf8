//! How many system calls a process makes, counted by `perf stat`.
//!
//! Counting costs the process some time, so that it is done in a run of its own. perf needs the
//! right to trace: root, or `CAP_PERFMON`.

use crate::load::LoadError;
use std::io;
use std::process::Stdio;
use tokio::process::{Child, Command};

const EVENT: &str = "raw_syscalls:sys_enter";

/// A count under way.
#[derive(Debug)]
pub(crate) struct SystemCallCount {
    perf: Child,
}

impl SystemCallCount {
    /// Begins to count.
    pub(crate) fn begin(pid: u32) -> Result<Self, LoadError> {
        let perf = Command::new("perf")
            .args(["stat", "-x", ",", "-e", EVENT, "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        perf.map(|perf| Self { perf }).map_err(failed)
    }

    /// Ends, and says how many there were.
    pub(crate) async fn end(self) -> Result<u64, LoadError> {
        // perf prints what it counted when it is interrupted.
        let pid = self.perf.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::INT)
                .map_err(|error| failed(error.into()))?;
        }
        let output = self.perf.wait_with_output().await.map_err(failed)?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        parse(&words).ok_or_else(|| failed(io::Error::other(words)))
    }
}

/// The line reads `1234,,raw_syscalls:sys_enter,…`.
fn parse(output: &str) -> Option<u64> {
    let line = output.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

fn failed(source: io::Error) -> LoadError {
    LoadError::SystemCalls { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_first_field_of_its_line() {
        let output = "warning\n1234,,raw_syscalls:sys_enter,2000,100.00,0.5,M/sec\n";
        assert_eq!(parse(output), Some(1234));
        assert_eq!(
            parse("<not supported>,,raw_syscalls:sys_enter,0,100.00,,"),
            None
        );
    }
}
