//! The real daemon as its own process.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{oneshot, watch};

/// What a graceful stop may take (the daemon promises 15 s).
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Log lines shown when the daemon ends by itself.
const LOG_TAIL: usize = 20;

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Not built.
    #[error(
        "there is no edge-daemon beside {0}: run `cargo build -p edge-daemon` (with --release if this is a release build) first"
    )]
    Missing(PathBuf),
    /// It could not be started or watched.
    #[error("edge-daemon: {0}")]
    Io(#[from] io::Error),
    /// It ended by itself.
    #[error("edge-daemon ended by itself with {status}; the end of its log {}:\n{tail}", log.display())]
    Ended {
        /// How.
        status: ExitStatus,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// It did not stop when told.
    #[error("edge-daemon did not stop within {STOP_LIMIT:?} of SIGTERM and was killed")]
    Stuck,
}

/// Resources a process has used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Resident memory, KiB.
    pub rss_kib: u64,
    /// Most ever resident, KiB.
    pub peak_kib: u64,
    /// Processor time in user and kernel mode since it began.
    pub cpu: Duration,
    /// Threads.
    pub threads: u64,
}

/// A running daemon. Killed when dropped; [`Daemon::stop`] ends it gracefully.
#[derive(Debug)]
pub struct Daemon {
    id: u32,
    /// How it ended, once it has.
    ended: watch::Receiver<Option<ExitStatus>>,
    /// Kills it when dropped.
    _life: oneshot::Sender<()>,
    log: PathBuf,
}

/// Finds a program of this workspace: beside this executable, or one level up for a test.
///
/// # Errors
/// [`DaemonError::Missing`] with what to do.
pub fn find(name: &str) -> Result<PathBuf, DaemonError> {
    let this = std::env::current_exe()?;
    let mut places = this.ancestors().skip(1).take(2).map(|directory| directory.join(name));
    places.find(|program| program.is_file()).ok_or(DaemonError::Missing(this))
}

impl Daemon {
    /// Runs `edge-daemon run --config FILE` with its output in `log`, which is appended to. All three paths must be
    /// absolute: it runs in the directory of its configuration.
    ///
    /// # Errors
    /// [`DaemonError::Io`] if it cannot be started.
    pub fn start(program: &Path, config: &Path, log: &Path) -> Result<Self, DaemonError> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(config)
            .current_dir(config.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            // Ctrl-C at the terminal is for us alone: the daemon is told by SIGTERM.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        let (tell, ended) = watch::channel(None);
        let (life, over) = oneshot::channel();
        tokio::spawn(attend(child, tell, over));
        Ok(Self { id, ended, _life: life, log: log.to_owned() })
    }

    /// Process id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Waits for it to end by itself, and says how, as an error. Safe to drop half-way.
    pub async fn died(&self) -> DaemonError {
        match self.wait().await {
            Ok(status) => DaemonError::Ended { status, log: self.log.clone(), tail: tail(&self.log) },
            Err(error) => error.into(),
        }
    }

    async fn wait(&self) -> io::Result<ExitStatus> {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        status.ok_or_else(|| io::Error::other("its end could not be waited for"))
    }

    /// Asks it to stop and waits until it has.
    ///
    /// # Errors
    /// [`DaemonError::Ended`] if it ended with an error, [`DaemonError::Stuck`] if it did not end.
    pub async fn stop(self) -> Result<(), DaemonError> {
        let pid = i32::try_from(self.id).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.ended.borrow().is_none()) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).map_err(io::Error::from)?;
        }
        match tokio::time::timeout(STOP_LIMIT, self.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(DaemonError::Ended { status, tail: tail(&self.log), log: self.log }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(DaemonError::Stuck),
        }
    }

    /// Kills it as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// If its end cannot be waited for.
    pub async fn kill(self) -> io::Result<()> {
        let Self { mut ended, _life: life, .. } = self;
        drop(life);
        ended.wait_for(Option::is_some).await.map(|_| ()).map_err(io::Error::other)
    }

    /// The same without giving it up, so that another can take its place.
    ///
    /// # Errors
    /// If it cannot be killed, or its end cannot be waited for.
    pub async fn cut_power(&self) -> io::Result<()> {
        let pid = i32::try_from(self.id).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.ended.borrow().is_none()) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        }
        self.wait().await.map(|_| ())
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// If it has ended.
    pub fn usage(&self) -> io::Result<Usage> {
        usage_of(self.id)
    }
}

/// Holds the process: tells its end, and kills it when nobody wants it any more.
async fn attend(mut child: Child, tell: watch::Sender<Option<ExitStatus>>, over: oneshot::Receiver<()>) {
    let status = tokio::select! {
        status = child.wait() => status.ok(),
        _ = over => {
            // It may have ended at the same moment.
            let _ = child.kill().await;
            child.wait().await.ok()
        }
    };
    tell.send_replace(status);
}

/// What a process has used so far, from `/proc`.
///
/// # Errors
/// If there is no such process.
pub fn usage_of(id: u32) -> io::Result<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let field = |name: &str| -> io::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("/proc/{id}/status tells no {name}")))
    };
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // proc_pid_stat(5): fields 14 and 15, counted after the name in brackets, which may hold spaces.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
    let cpu = Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second().max(1));
    Ok(Usage { rss_kib: field("VmRSS")?, peak_kib: field("VmHWM")?, cpu, threads: field("Threads")? })
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for the daemon: the shell, which reads its script from the file "run" beside the configuration.
    fn start(directory: &Path, script: &str) -> Daemon {
        std::fs::write(directory.join("run"), script).expect("written");
        Daemon::start(Path::new("/bin/sh"), &directory.join("edge.toml"), &directory.join("log")).expect("starts")
    }

    #[tokio::test]
    async fn a_daemon_that_dies_is_reported_with_the_end_of_its_log() {
        let directory = tempfile::tempdir().expect("a directory");
        let daemon = start(directory.path(), "echo \"$1 ${2##*/}\"; echo no such port >&2; exit 69");
        let text = daemon.died().await.to_string();
        assert!(text.contains("69") && text.contains("--config edge.toml\nno such port"), "{text}");
    }

    #[tokio::test]
    async fn a_daemon_is_stopped_by_sigterm() {
        let directory = tempfile::tempdir().expect("a directory");
        let daemon = start(directory.path(), "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done");
        while std::fs::read_to_string(&daemon.log).expect("a log").is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(daemon.usage().expect("runs").rss_kib > 0);
        daemon.stop().await.expect("stops by itself");
    }

    #[tokio::test]
    async fn a_daemon_that_does_not_listen_is_gone_after_a_kill() {
        let directory = tempfile::tempdir().expect("a directory");
        let daemon = start(directory.path(), "trap '' TERM; while :; do sleep 0.01; done");
        let id = daemon.id();
        daemon.kill().await.expect("killed");
        assert!(usage_of(id).is_err(), "process {id} is gone");
    }
}
