//! The shell around a [`Line`]: one task that owns one port. The only I/O of this crate.
//!
//! A port that is missing or goes away is reported and tried again; it stops nothing else.

mod rs485;
mod wire;

pub use wire::{Parity, Place, PortFault, PortSettings};

use crate::line::{Line, LineStatistics, TraceFrame};
use core::time::Duration;
use forecourt::ids::FuellingPointId;
use forecourt::pump::{FromPump, PumpCommand};
use forecourt::time::Instant;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time;

/// First wait before a port is tried again; it doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait before a port is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A port that was open for so long begins with the first wait again.
const STEADY: Duration = Duration::from_secs(10);
/// How often the line's counts are reported.
const STATISTICS: Duration = Duration::from_secs(1);
/// A frame that the port does not take within this means that the port hangs.
const STALLED: Duration = Duration::from_secs(2);

/// What a line reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineReport {
    /// Of a dispenser.
    Pump(FromPump),
    /// Of the port.
    Link {
        /// Open, or not.
        up: bool,
        /// Which port, or why not.
        detail: String,
    },
    /// Counts, once a second while the port is open.
    Statistics(LineStatistics),
}

/// Where a line's reports go: one channel for all lines, each report with the line's number.
#[derive(Clone, Debug)]
pub struct Reports {
    line: usize,
    sender: mpsc::Sender<(usize, LineReport)>,
}

impl Reports {
    /// For the line of this number.
    #[must_use]
    pub const fn new(line: usize, sender: mpsc::Sender<(usize, LineReport)>) -> Self {
        Self { line, sender }
    }

    /// False once nobody listens any more.
    async fn send(&self, report: LineReport) -> bool {
        self.sender.send((self.line, report)).await.is_ok()
    }
}

/// The task's ends of its channels.
pub struct Ends {
    /// Words for the dispensers.
    pub commands: mpsc::Receiver<(FuellingPointId, PumpCommand)>,
    /// What is reported.
    pub reports: Reports,
    /// Takes every frame; must not block.
    pub trace: Box<dyn Fn(TraceFrame) + Send>,
}

/// The monotonic clock of the run.
pub type MonoClock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Why the talk on an open port ended.
enum Over {
    /// Nobody listens or commands any more.
    Closed,
    /// The port.
    Gone(PortFault),
}

/// Runs a line until its channels are closed.
pub async fn run(line: Line, settings: PortSettings, ends: Ends, clock: MonoClock) {
    let mut task = Task { line, ends, clock };
    let mut wait = FIRST_WAIT;
    let mut told = None;
    loop {
        let opened = time::Instant::now();
        let fault = match settings.open().await {
            Ok((wire, detail)) => {
                told = None;
                if !task.ends.reports.send(LineReport::Link { up: true, detail }).await {
                    return;
                }
                let over = match wire {
                    wire::Wire::Serial(port) => task.talk(port, &settings).await,
                    wire::Wire::Tcp(stream) => task.talk(stream, &settings).await,
                };
                task.line.handle_link(false, (task.clock)());
                if opened.elapsed() >= STEADY {
                    wait = FIRST_WAIT;
                }
                match over {
                    Over::Closed => return,
                    Over::Gone(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        let detail = fault.to_string();
        if told.as_ref() != Some(&detail) {
            told = Some(detail.clone());
            if !task.ends.reports.send(LineReport::Link { up: false, detail }).await {
                return;
            }
        }
        if !task.pause(wait).await {
            return;
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

struct Task {
    line: Line,
    ends: Ends,
    clock: MonoClock,
}

impl Task {
    fn now(&self) -> Instant {
        (self.clock)()
    }

    /// Hands on what the line has to say. False once nobody listens any more.
    async fn report(&mut self) -> bool {
        while let Some(frame) = self.line.poll_trace() {
            (self.ends.trace)(frame);
        }
        while let Some(event) = self.line.poll_event() {
            if !self.ends.reports.send(LineReport::Pump(event)).await {
                return false;
            }
        }
        true
    }

    /// Serves the core while the port is closed. False once the channels are.
    async fn pause(&mut self, wait: Duration) -> bool {
        let end = time::Instant::now() + wait;
        loop {
            if !self.report().await {
                return false;
            }
            tokio::select! {
                () = time::sleep_until(end) => return true,
                command = self.ends.commands.recv() => {
                    let Some((fp, command)) = command else { return false };
                    let now = self.now();
                    self.line.handle_command(fp, command, now);
                }
            }
        }
    }

    async fn talk(&mut self, mut wire: impl AsyncRead + AsyncWrite + Unpin, settings: &PortSettings) -> Over {
        self.line.handle_link(true, self.now());
        let mut bytes = [0; 512];
        let mut statistics = time::interval(STATISTICS);
        statistics.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            // A stop that has come meanwhile goes before the next poll.
            while let Ok((fp, command)) = self.ends.commands.try_recv() {
                let now = self.now();
                self.line.handle_command(fp, command, now);
            }
            let now = self.now();
            if let Some(frame) = self.line.poll_transmit(now) {
                match time::timeout(STALLED, wire.write_all(&frame)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(why)) => return Over::Gone(settings.lost(&why.to_string())),
                    Err(_) => return Over::Gone(settings.lost("it takes no bytes any more")),
                }
            }
            if !self.report().await {
                return Over::Closed;
            }
            let now = self.now();
            let due = self.line.poll_timeout().map_or(STATISTICS, |(due, _)| due.since(now));
            tokio::select! {
                biased;
                command = self.ends.commands.recv() => {
                    let Some((fp, command)) = command else { return Over::Closed };
                    let now = self.now();
                    self.line.handle_command(fp, command, now);
                }
                read = wire.read(&mut bytes) => match read {
                    // For a serial port as for a socket: there is nobody behind it any more.
                    Ok(0) => return Over::Gone(settings.lost("it was unplugged or closed")),
                    Ok(count) => {
                        let now = self.now();
                        self.line.handle_bytes(&bytes[..count], now);
                    }
                    Err(why) => return Over::Gone(settings.lost(&why.to_string())),
                },
                () = time::sleep(due) => {
                    let now = self.now();
                    self.line.handle_timeout(now);
                }
                _ = statistics.tick() => {
                    let counts = self.line.statistics();
                    if !self.ends.reports.send(LineReport::Statistics(counts)).await {
                        return Over::Closed;
                    }
                }
            }
        }
    }
}
