//! What a line counts, and what it traces.

use core::time::Duration;
use forecourt::ids::FuellingPointId;
use forecourt::time::Instant;

/// How well a device answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Not heard yet.
    Unknown,
    /// Answers.
    Good,
    /// Answers, but three or more of the last 32 exchanges failed.
    Degraded,
    /// Silent: asked rarely.
    Dead,
}

/// Counts of one device since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceStatistics {
    /// Which.
    pub fp: FuellingPointId,
    /// How well it answers.
    pub health: Health,
    /// Exchanges that expect an answer.
    pub exchanges: u64,
    /// Those without a byte of answer.
    pub timeouts: u64,
    /// Those with an answer that was not good.
    pub bad_frames: u64,
    /// From our last byte to its first, last time.
    pub turnaround: Duration,
    /// The same at its longest.
    pub turnaround_worst: Duration,
    /// When it last gave a good answer.
    pub last_good: Option<Instant>,
    /// Longest time between two exchanges with it.
    pub interval_worst: Duration,
}

/// Counts of one line since the start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineStatistics {
    /// Whether the port is open.
    pub up: bool,
    /// How long the last round over all answering devices took.
    pub cycle: Duration,
    /// Bytes that nobody was asked for.
    pub unasked_bytes: u64,
    /// How often a device talked without end or over the quiet time.
    pub babbles: u64,
    /// The device whose mark the last such talk bore.
    pub babbler: Option<FuellingPointId>,
    /// Another master drives the wire, and we are silent.
    pub other_master: bool,
    /// Trace frames that nobody took in time.
    pub trace_dropped: u64,
    /// One a device, in the order of the drivers.
    pub devices: Vec<DeviceStatistics>,
}

/// What became of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Ours.
    Sent,
    /// A good answer.
    Good,
    /// A bad one, and why.
    Bad(String),
    /// Nothing came in time; no bytes.
    Silence,
    /// Bytes that nobody was asked for.
    Unasked,
    /// A good frame of another controller, on a line where we only listen.
    Overheard,
}

/// Bytes of one frame, or of what came instead of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceFrame {
    /// When it was sent, or was complete.
    pub at: Instant,
    /// With whom we talked.
    pub fp: Option<FuellingPointId>,
    /// What became of it; [`Verdict::Sent`] and [`Verdict::Overheard`] go towards the devices, all others
    /// come from them.
    pub verdict: Verdict,
    /// As on the wire; an echo that was stripped is left out.
    pub bytes: Vec<u8>,
}
