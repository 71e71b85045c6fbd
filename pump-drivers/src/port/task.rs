//! One task a line: reads, writes, waits; all decisions are the [`Line`]'s.

use super::transport::{HearOnly, PortFault, Transport, Wire};
use crate::line::{Line, LineStatistics, TraceFrame};
use crate::listen::Listener;
use core::time::Duration;
use forecourt::ids::FuellingPointId;
use forecourt::pump::{FromPump, PumpCommand, PumpEvent};
use forecourt::time::Instant;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// A port that does not take a frame for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);
/// Reports that wait for the core before running figures are thinned out.
const REPORTS_KEPT: usize = 256;
const STATISTICS_EVERY: Duration = Duration::from_millis(500);

/// The monotonic clock of this run.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Takes trace frames. Must not block: drop and count instead.
pub trait TraceSink: Send + Sync {
    /// One frame, either direction.
    fn take(&self, frame: TraceFrame);
}

/// What a line reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineReport {
    /// From a fuelling point.
    Pump(FromPump),
    /// The port was opened or is gone.
    Link {
        /// Open.
        up: bool,
        /// Which port, or what is wrong with it.
        detail: String,
    },
}

/// All that a line's task is given: a [`Line`], which drives its wire, or a [`Listener`], which only hears it.
pub struct LineTask<C = Line> {
    /// What the line hangs on.
    pub transport: Transport,
    /// The line.
    pub line: C,
    /// The monotonic clock.
    pub clock: Clock,
    /// Words of the core. The task ends when all senders are gone.
    pub commands: mpsc::Receiver<(FuellingPointId, PumpCommand)>,
    /// Reports to the core. A slow core never holds up the wire; only running figures are thinned.
    pub reports: mpsc::Sender<LineReport>,
    /// Every frame.
    pub trace: Arc<dyn TraceSink>,
    /// Counts, twice a second; also the sign of life of this task.
    pub statistics: watch::Sender<LineStatistics>,
}

enum Ended {
    Shutdown,
    Fault(PortFault),
}

/// What a task does with its line and its wire. The wire of a [`Listener`] has no write half, so nothing can be sent on it.
trait Core {
    type Wire: AsyncRead + Unpin + Send;
    async fn open(transport: Transport) -> Result<Self::Wire, PortFault>;
    /// Sends what is to be sent now. False if there is nothing.
    async fn send(&mut self, wire: &mut Self::Wire, now: Instant) -> io::Result<bool>;
    fn handle_command(&mut self, fp: FuellingPointId, command: PumpCommand, now: Instant);
    fn handle_link(&mut self, up: bool, now: Instant);
    fn handle_bytes(&mut self, bytes: &[u8], now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn due(&self) -> Option<Instant>;
    fn poll_event(&mut self) -> Option<FromPump>;
    fn poll_trace(&mut self) -> Option<TraceFrame>;
    fn statistics(&self) -> LineStatistics;
}

/// The verbs that both kinds of line share.
macro_rules! shared_verbs {
    () => {
        fn handle_link(&mut self, up: bool, now: Instant) {
            self.handle_link(up, now);
        }

        fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
            self.handle_bytes(bytes, now);
        }

        fn handle_timeout(&mut self, now: Instant) {
            self.handle_timeout(now);
        }

        fn poll_event(&mut self) -> Option<FromPump> {
            self.poll_event()
        }

        fn poll_trace(&mut self) -> Option<TraceFrame> {
            self.poll_trace()
        }

        fn statistics(&self) -> LineStatistics {
            self.statistics()
        }
    };
}

impl Core for Line {
    type Wire = Box<dyn Wire>;

    async fn open(transport: Transport) -> Result<Self::Wire, PortFault> {
        transport.open().await
    }

    async fn send(&mut self, wire: &mut Self::Wire, now: Instant) -> io::Result<bool> {
        let Some(bytes) = self.poll_transmit(now) else { return Ok(false) };
        match tokio::time::timeout(WRITE_TIMEOUT, wire.write_all(&bytes)).await {
            Ok(written) => written.map(|()| true),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn handle_command(&mut self, fp: FuellingPointId, command: PumpCommand, now: Instant) {
        self.handle_command(fp, command, now);
    }

    fn due(&self) -> Option<Instant> {
        self.poll_timeout().map(|(due, _)| due)
    }

    shared_verbs!();
}

impl Core for Listener {
    type Wire = HearOnly;

    async fn open(transport: Transport) -> Result<Self::Wire, PortFault> {
        transport.open_to_listen().await
    }

    async fn send(&mut self, _wire: &mut Self::Wire, _now: Instant) -> io::Result<bool> {
        Ok(false)
    }

    fn handle_command(&mut self, fp: FuellingPointId, command: PumpCommand, now: Instant) {
        self.handle_command(fp, &command, now);
    }

    fn due(&self) -> Option<Instant> {
        self.poll_timeout()
    }

    shared_verbs!();
}

/// Runs a line until all senders of commands are gone. A port that is missing or goes is reported and tried again.
pub async fn run(task: LineTask) {
    run_any(task).await;
}

/// Runs a line that another controller drives, as [`run`] does one of ours. Its port is opened for reading alone: nothing is ever sent.
pub async fn listen(task: LineTask<Listener>) {
    run_any(task).await;
}

async fn run_any<C: Core>(mut task: LineTask<C>) {
    let mut reports = VecDeque::new();
    let mut retry = FIRST_RETRY;
    let mut told = None;
    loop {
        let fault = match open(&mut task, &mut reports).await {
            Opened::Wire(mut wire) => {
                retry = FIRST_RETRY;
                told = None;
                reports.push_back(LineReport::Link { up: true, detail: task.transport.name() });
                tracing::info!(port = task.transport.name(), "line is up");
                task.line.handle_link(true, (task.clock)());
                let ended = serve(&mut task, &mut wire, &mut reports).await;
                task.line.handle_link(false, (task.clock)());
                match ended {
                    Ended::Shutdown => break,
                    Ended::Fault(fault) => fault,
                }
            }
            Opened::Fault(fault) => fault,
            Opened::Shutdown => break,
        };
        let detail = fault.to_string();
        if told.as_ref() != Some(&detail) {
            tracing::warn!(port = task.transport.name(), "{detail}; tried again by itself");
            reports.push_back(LineReport::Link { up: false, detail: detail.clone() });
            told = Some(detail);
        }
        if wait(&mut task, &mut reports, retry).await {
            break;
        }
        retry = (retry * 2).min(LONGEST_RETRY);
    }
    drain(&mut task, &mut reports);
    for report in reports {
        if task.reports.try_send(report).is_err() {
            break;
        }
    }
}

enum Opened<W> {
    Wire(W),
    Fault(PortFault),
    Shutdown,
}

/// Opens the port; commands and reports go on meanwhile.
async fn open<C: Core>(task: &mut LineTask<C>, reports: &mut VecDeque<LineReport>) -> Opened<C::Wire> {
    let mut opening = core::pin::pin!(C::open(task.transport.clone()));
    loop {
        drain(task, reports);
        tokio::select! {
            biased;
            opened = &mut opening => return match opened {
                Ok(wire) => Opened::Wire(wire),
                Err(fault) => Opened::Fault(fault),
            },
            command = task.commands.recv() => match command {
                Some((fp, command)) => task.line.handle_command(fp, command, (task.clock)()),
                None => return Opened::Shutdown,
            },
            permit = task.reports.reserve(), if !reports.is_empty() => send(permit, reports),
        }
    }
}

/// Waits with the port closed. True if it is time to end.
async fn wait<C: Core>(task: &mut LineTask<C>, reports: &mut VecDeque<LineReport>, time: Duration) -> bool {
    let mut over = core::pin::pin!(tokio::time::sleep(time));
    loop {
        drain(task, reports);
        let _ = task.statistics.send_replace(task.line.statistics());
        tokio::select! {
            biased;
            () = &mut over => return false,
            command = task.commands.recv() => match command {
                Some((fp, command)) => task.line.handle_command(fp, command, (task.clock)()),
                None => return true,
            },
            permit = task.reports.reserve(), if !reports.is_empty() => send(permit, reports),
        }
    }
}

async fn serve<C: Core>(task: &mut LineTask<C>, wire: &mut C::Wire, reports: &mut VecDeque<LineReport>) -> Ended {
    let name = task.transport.name();
    let failed = |source| Ended::Fault(PortFault::Failed { name: name.clone(), source });
    let mut buffer = [0; 512];
    let mut statistics_at = Instant::START;
    loop {
        // a stop that came meanwhile goes before the next frame
        loop {
            match task.commands.try_recv() {
                Ok((fp, command)) => task.line.handle_command(fp, command, (task.clock)()),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => return Ended::Shutdown,
            }
        }
        let now = (task.clock)();
        match task.line.send(wire, now).await {
            Ok(false) => {}
            Ok(true) => {
                drain(task, reports);
                continue;
            }
            Err(source) => return failed(source),
        }
        drain(task, reports);
        if now >= statistics_at {
            let _ = task.statistics.send_replace(task.line.statistics());
            statistics_at = now + STATISTICS_EVERY;
        }
        let due = task.line.due().map_or(statistics_at, |due| due.min(statistics_at));
        tokio::select! {
            biased;
            command = task.commands.recv() => match command {
                Some((fp, command)) => task.line.handle_command(fp, command, (task.clock)()),
                None => return Ended::Shutdown,
            },
            read = wire.read(&mut buffer) => match read {
                // at once and for ever, once the device is unplugged
                Ok(0) => return Ended::Fault(PortFault::Gone(name)),
                Ok(count) => task.line.handle_bytes(&buffer[..count], (task.clock)()),
                Err(source) => return failed(source),
            },
            permit = task.reports.reserve(), if !reports.is_empty() => send(permit, reports),
            () = tokio::time::sleep(due.since(now)) => task.line.handle_timeout((task.clock)()),
        }
    }
}

fn send(permit: Result<mpsc::Permit<'_, LineReport>, mpsc::error::SendError<()>>, reports: &mut VecDeque<LineReport>) {
    match permit {
        Ok(permit) => {
            if let Some(report) = reports.pop_front() {
                permit.send(report);
            }
        }
        // the core is gone; the commands will end too
        Err(_) => reports.clear(),
    }
}

/// Takes events and traces from the line.
fn drain<C: Core>(task: &mut LineTask<C>, reports: &mut VecDeque<LineReport>) {
    while let Some(frame) = task.line.poll_trace() {
        task.trace.take(frame);
    }
    while let Some(from) = task.line.poll_event() {
        if reports.len() >= REPORTS_KEPT
            && matches!(from.event, PumpEvent::Running { .. } | PumpEvent::RunningAmount { .. })
        {
            continue;
        }
        reports.push_back(LineReport::Pump(from));
    }
    while let Some(report) = reports.pop_front() {
        if let Err(mpsc::error::TrySendError::Full(report)) = task.reports.try_send(report) {
            reports.push_front(report);
            break;
        }
    }
}
