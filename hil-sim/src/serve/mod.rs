//! The real-time shell: one wire on a pty, a TCP port or a serial port, in a thread of its own that keeps the line's pace.

mod state;
mod transport;

pub use state::{StateFault, StateFile};
pub use transport::{Endpoint, Parity, ServeFault};

use crate::dispenser::record::{Fuelling, Violation};
use crate::dispenser::{Action, View};
use crate::wire::{Counters, DeviceId, Marked, Wire};
use core::num::NonZeroU64;
use core::time::Duration;
use forecourt::time::Instant;
use rustix::event::{EventfdFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// How often moved totalisers are written to the state file while the line runs.
const KEEP_EVERY: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut Wire, Instant) + Send>;

enum Request {
    Job(Job),
    /// Takes the endpoint away, or makes it anew.
    Plug(bool, mpsc::SyncSender<Result<(), ServeFault>>),
    Leave,
}

/// Maps the line's own time to that of the process.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(std::time::Instant);

impl Epoch {
    /// Now, as the beginning of time. Lines that share one can be compared to the microsecond.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The present on this clock.
    #[must_use]
    pub fn now(self) -> Instant {
        Instant::START + self.0.elapsed()
    }

    /// A moment of this clock on that of the process.
    #[must_use]
    pub fn process_time(self, at: Instant) -> std::time::Instant {
        self.0 + at.since(Instant::START)
    }
}

/// A served line. Dropping it takes the line down.
#[derive(Debug)]
pub struct Served {
    handle: LineHandle,
    listens_on: Option<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Puts a wire on an endpoint, in a thread of its own.
    ///
    /// # Errors
    /// [`ServeFault`] if the endpoint or the thread cannot be had.
    pub fn start(wire: Wire, endpoint: &Endpoint, epoch: Epoch, keep: Option<StateFile>) -> Result<Self, ServeFault> {
        let transport = transport::Transport::open(endpoint)?;
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|cause| ServeFault::Thread(cause.into()))?;
        let wake = Arc::new(wake);
        let (requests, inbox) = mpsc::channel();
        let listens_on = transport.listens_on();
        let shell = Shell {
            wire,
            endpoint: endpoint.clone(),
            transport: Some(transport),
            inbox,
            wake: Arc::clone(&wake),
            epoch,
            keep,
            keep_due: epoch.now(),
        };
        let thread =
            std::thread::Builder::new().name("line".into()).spawn(move || shell.run()).map_err(ServeFault::Thread)?;
        Ok(Self { handle: LineHandle { requests, wake, epoch }, listens_on, thread: Some(thread) })
    }

    /// Where callers reach a TCP line; `None` for the others.
    #[must_use]
    pub const fn listens_on(&self) -> Option<SocketAddr> {
        self.listens_on
    }

    /// A handle for other threads.
    #[must_use]
    pub fn handle(&self) -> LineHandle {
        self.handle.clone()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.handle.send(Request::Leave);
        if let Some(thread) = self.thread.take() {
            // A line that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// Lets other threads act on the dispensers of a served line. Everything happens on the line's thread, between two bytes.
#[derive(Clone, Debug)]
pub struct LineHandle {
    requests: mpsc::Sender<Request>,
    wake: Arc<OwnedFd>,
    epoch: Epoch,
}

impl LineHandle {
    /// The line's clock.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn send(&self, request: Request) {
        if self.requests.send(request).is_ok() {
            // The counter cannot be full: each wait of the line empties it.
            let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        }
    }

    /// Does something with the wire and waits for its answer. `None` if the line is down.
    pub fn with<T: Send + 'static>(&self, job: impl FnOnce(&mut Wire, Instant) -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.send(Request::Job(Box::new(move |wire, now| {
            // Whoever asked may have gone.
            let _ = answer.send(job(wire, now));
        })));
        answered.recv().ok()
    }

    /// Someone does something at a device.
    pub fn act(&self, device: DeviceId, action: Action) {
        self.send(Request::Job(Box::new(move |wire, now| wire.act(device, action, now))));
    }

    /// Takes a device off the line or puts it back.
    pub fn unplug(&self, device: DeviceId, unplugged: bool) {
        self.send(Request::Job(Box::new(move |wire, _| wire.unplug(device, unplugged))));
    }

    /// Pulls the adapter of the whole line out: its pty is closed and its link removed. The devices work on.
    ///
    /// # Errors
    /// [`ServeFault::Down`] if the line is down.
    pub fn pull_out(&self) -> Result<(), ServeFault> {
        self.plug(false)
    }

    /// Puts the adapter back as [`Served::start`] made it. The system gives the new pty its lowest free number, which need not be
    /// the last one; the link leads to it.
    ///
    /// # Errors
    /// [`ServeFault`] if the endpoint cannot be had, or the line is down.
    pub fn put_back(&self) -> Result<(), ServeFault> {
        self.plug(true)
    }

    fn plug(&self, plugged: bool) -> Result<(), ServeFault> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.send(Request::Plug(plugged, answer));
        answered.recv().unwrap_or(Err(ServeFault::Down))
    }

    /// What a customer sees of a device. `None` if there is none by that number, or the line is down.
    #[must_use]
    pub fn view(&self, device: DeviceId) -> Option<View> {
        self.with(move |wire, now| wire.device(device).map(|device| device.view(now)))?
    }

    /// The totalisers of a device.
    #[must_use]
    pub fn totalisers(&self, device: DeviceId) -> Option<crate::dispenser::physics::Totalisers> {
        self.with(move |wire, now| wire.device(device).map(|device| device.pump().totalisers(now)))?
    }

    /// Every release of a device that has ended.
    #[must_use]
    pub fn fuellings(&self, device: DeviceId) -> Vec<Fuelling> {
        self.with(move |wire, _| wire.device(device).map(|device| device.pump().fuellings().to_vec()))
            .flatten()
            .unwrap_or_default()
    }

    /// What the controller did wrong at a device.
    #[must_use]
    pub fn violations(&self, device: DeviceId) -> Vec<Violation> {
        self.with(move |wire, _| wire.device(device).map(|device| device.violations().to_vec()))
            .flatten()
            .unwrap_or_default()
    }

    /// Moments since this was last asked.
    #[must_use]
    pub fn take_moments(&self) -> Vec<Marked> {
        self.with(|wire, _| wire.take_moments()).unwrap_or_default()
    }

    /// What went over the line. `None` if it is down.
    #[must_use]
    pub fn counters(&self) -> Option<Counters> {
        self.with(|wire, _| wire.counters())
    }
}

struct Shell {
    wire: Wire,
    endpoint: Endpoint,
    /// `None` while it is pulled out.
    transport: Option<transport::Transport>,
    inbox: mpsc::Receiver<Request>,
    wake: Arc<OwnedFd>,
    epoch: Epoch,
    keep: Option<StateFile>,
    keep_due: Instant,
}

impl Shell {
    fn run(mut self) {
        // Without this the kernel may wake us 50 us late for every character.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        while self.turn() {}
        self.keep_totalisers();
    }

    /// One look at everything. Whether to go on.
    fn turn(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Request::Job(job)) => job(&mut self.wire, self.epoch.now()),
                Ok(Request::Plug(plugged, answer)) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.plug(plugged));
                }
                Ok(Request::Leave) | Err(mpsc::TryRecvError::Disconnected) => return false,
                Err(mpsc::TryRecvError::Empty) => break,
            }
        }
        let now = self.epoch.now();
        let bytes = self.wire.poll_bytes_to_controller(now);
        if let (Some(bytes), Some(transport)) = (bytes, &mut self.transport) {
            transport.write(&bytes);
        }
        let sent = self.transport.as_mut().map(transport::Transport::read).unwrap_or_default();
        if !sent.is_empty() {
            self.wire.handle_bytes_from_controller(&sent, self.epoch.now());
        }
        if self.keep.is_some() && now >= self.keep_due {
            self.keep_totalisers();
            self.keep_due = now + KEEP_EVERY;
        }
        let due = [self.wire.poll_timeout(), self.keep.as_ref().map(|_| self.keep_due)].into_iter().flatten().min();
        let timeout = due.map(|due| due.since(self.epoch.now()));
        if timeout.is_none_or(|timeout| !timeout.is_zero()) {
            let timeout = timeout.as_ref().and_then(timespec);
            transport::wait(self.transport.as_ref(), self.wake.as_fd(), timeout.as_ref());
            let mut count = [0; 8];
            let _ = rustix::io::read(&*self.wake, &mut count);
        }
        true
    }

    fn plug(&mut self, plugged: bool) -> Result<(), ServeFault> {
        // The old link is removed before a new one is made.
        self.transport = None;
        if plugged {
            self.transport = Some(transport::Transport::open(&self.endpoint)?);
        }
        Ok(())
    }

    fn keep_totalisers(&mut self) {
        if let Some(file) = &mut self.keep
            && let Err(fault) = file.keep(&self.wire, self.epoch.now())
        {
            tracing::warn!(%fault, "totalisers not kept");
        }
    }
}

fn timespec(duration: &Duration) -> Option<Timespec> {
    Some(Timespec { tv_sec: i64::try_from(duration.as_secs()).ok()?, tv_nsec: i64::from(duration.subsec_nanos()) })
}
