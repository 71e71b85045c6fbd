//! Faults at system calls of the real process, by `strace`: it counts the calls of each thread and changes the nth.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// What happens at the nth call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Injection {
    /// Names of the calls, with commas between.
    pub calls: String,
    /// As strace has it, such as `signal=SIGKILL` or `error=EIO`.
    pub what: String,
    /// The first call it happens at, of each thread.
    pub at: u64,
    /// Whether it goes on at every call after that.
    pub from_then_on: bool,
    /// Only calls on this file.
    pub on: Option<PathBuf>,
}

/// Finds a program on the path.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    places.map(|directory| directory.join(program)).find(|program| program.is_file())
}

/// A process with its helpers, killed as a whole when dropped.
#[derive(Debug)]
pub struct Life {
    child: Child,
    group: Option<rustix::process::Pid>,
}

impl Life {
    /// Runs `edge-daemon run --config FILE`, with its output appended to `log`, under strace where something is to be injected, and
    /// behind `before`, such as `faketime +1h`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(
        program: &Path,
        config: &Path,
        log: &Path,
        injection: Option<&Injection>,
        before: &[String],
    ) -> std::io::Result<Self> {
        let out = std::fs::File::options().create(true).append(true).open(log)?;
        let mut words: Vec<String> = before.to_vec();
        if let Some(Injection { calls, what, at, from_then_on, on }) = injection {
            let more = if *from_then_on { "+" } else { "" };
            words.extend(["strace", "-f", "-qq", "-o", "/dev/null"].map(str::to_owned));
            if let Some(on) = on {
                words.extend(["-P".into(), on.display().to_string()]);
            }
            words.extend([
                "-e".into(),
                format!("trace={calls}"),
                "-e".into(),
                format!("inject={calls}:{what}:when={at}{more}"),
            ]);
        }
        words.push(program.display().to_string());
        let (first, rest) = words.split_first().ok_or_else(|| std::io::Error::other("nothing to run"))?;
        let child = Command::new(first)
            .args(rest)
            .arg("run")
            .arg("--config")
            .arg(config)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, group })
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The first process: the daemon itself, where nothing is injected.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// If that cannot be waited for.
    pub async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// If that cannot be waited for.
    pub async fn terminate(mut self) -> std::io::Result<std::process::ExitStatus> {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().await
    }

    /// Kills it as a power cut would and waits until it is gone.
    pub async fn kill(mut self) {
        self.signal(rustix::process::Signal::KILL);
        // Gone either way.
        let _ = self.child.wait().await;
        // What strace leaves behind may hold the store's lock for a moment yet.
        while self.group.is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(group) = self.group {
            // It may have ended at the same moment.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.signal(rustix::process::Signal::KILL);
        }
    }
}
