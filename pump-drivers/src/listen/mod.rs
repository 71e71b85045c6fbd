//! One wire that another controller drives. We hear both sides of its talk, report what was heard and never send.
//!
//! That nothing is sent is no promise of this module but of its shape: a [`Listener`] has no way to give bytes away, and
//! [`crate::port::listen`] opens its port without a write half.

mod witness;

pub use witness::{Lifted, Witness};

use crate::decimals::Decimals;
use crate::hex::Direction;
use crate::line::{DeviceStatistics, Health, LineSettings, LineStatistics, TraceFrame, Verdict};
use core::time::Duration;
use forecourt::ids::FuellingPointId;
use forecourt::pump::{Capabilities, EndRecord, FromPump, PumpCommand};
use forecourt::time::Instant;
use std::collections::VecDeque;

/// Trace frames kept until someone takes them.
const TRACE_KEPT: usize = 1_024;
/// Gaps within a frame that end it: adapters hand bytes on in pieces.
const GAPS: u32 = 3;

/// What the dispensers of a listened line can do for us: tell, and nothing else.
#[must_use]
pub fn capabilities(live_volume: bool, end_record: EndRecord, decimals: Decimals) -> Capabilities {
    Capabilities {
        live_volume,
        preset_amount: false,
        preset_volume: false,
        reports_call: true,
        price_write: false,
        price_read_back: true,
        totals: true,
        stop: false,
        suspend: false,
        end_record,
        decimals_known: false,
        sale_number: false,
        volume_step: decimals.volume_step(),
        total_step: decimals.total_step(),
    }
}

/// One frame of somebody else, or bytes that are none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overheard {
    /// Which fuelling point is addressed or speaks, if it is one of ours.
    pub fp: Option<FuellingPointId>,
    /// Who speaks, where that can be told.
    pub speaker: Option<Direction>,
    /// Why it is no good frame.
    pub bad: Option<String>,
    /// As on the wire.
    pub bytes: Vec<u8>,
}

/// What one protocol makes of the bytes of both sides. Pure: time is an argument.
pub trait Ear: Send {
    /// The heads that are followed.
    fn witnesses(&self) -> &[Witness];

    /// The same, to be told of commands, time and the port.
    fn witnesses_mut(&mut self) -> &mut [Witness];

    /// Bytes of whomever. Frames that they complete go to `heard`.
    fn handle_bytes(&mut self, bytes: &[u8], now: Instant, heard: &mut Vec<Overheard>);

    /// The wire is quiet: what is unfinished stays so.
    fn handle_quiet(&mut self, now: Instant, heard: &mut Vec<Overheard>);

    /// The port was opened or is gone: the talk is taken up anew.
    fn handle_link(&mut self);
}

/// The follower of one wire. Pure: bytes, commands and time in; events and a trace out; no bytes.
pub struct Listener {
    settings: LineSettings,
    ear: Box<dyn Ear>,
    up: bool,
    /// Bytes came and no quiet since.
    quiet_at: Option<Instant>,
    event_turn: usize,
    bad_bytes: u64,
    trace: VecDeque<TraceFrame>,
    trace_dropped: u64,
}

impl Listener {
    /// A line whose port is not open yet.
    #[must_use]
    pub fn new(settings: LineSettings, ear: Box<dyn Ear>) -> Self {
        Self {
            settings,
            ear,
            up: false,
            quiet_at: None,
            event_turn: 0,
            bad_bytes: 0,
            trace: VecDeque::new(),
            trace_dropped: 0,
        }
    }

    /// A word of the core for one fuelling point. An authorise is refused; of the rest only what concerns our own books is heeded.
    pub fn handle_command(&mut self, fp: FuellingPointId, command: &PumpCommand, now: Instant) {
        for witness in self.ear.witnesses_mut().iter_mut().filter(|witness| witness.fp() == fp) {
            witness.handle_command(command, now);
        }
    }

    /// The port was opened or is gone.
    pub fn handle_link(&mut self, up: bool, now: Instant) {
        if up == self.up {
            return;
        }
        self.up = up;
        self.quiet_at = None;
        self.ear.handle_link();
        for witness in self.ear.witnesses_mut() {
            witness.handle_link(up, now);
        }
    }

    /// Bytes from the wire, of whomever.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if !self.up || bytes.is_empty() {
            return;
        }
        self.handle_timeout(now);
        let mut heard = Vec::new();
        self.ear.handle_bytes(bytes, now, &mut heard);
        self.quiet_at = Some(now + self.settings.inter_byte_gap * GAPS);
        self.note(heard, now);
    }

    /// Time has come to [`Listener::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.quiet_at.take_if(|at| *at <= now).is_some() {
            let mut heard = Vec::new();
            self.ear.handle_quiet(now, &mut heard);
            self.note(heard, now);
        }
        for witness in self.ear.witnesses_mut() {
            witness.handle_timeout(now);
        }
    }

    /// When to call [`Listener::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ear.witnesses().iter().filter_map(Witness::poll_timeout).chain(self.quiet_at).min()
    }

    fn note(&mut self, heard: Vec<Overheard>, at: Instant) {
        for Overheard { fp, speaker, bad, bytes } in heard {
            let verdict = match (bad, speaker) {
                (Some(why), _) => {
                    self.bad_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    Verdict::Bad(why)
                }
                (None, Some(Direction::Controller)) => Verdict::Overheard,
                (None, Some(Direction::Pump)) => Verdict::Good,
                (None, None) => Verdict::Unasked,
            };
            if self.trace.len() >= TRACE_KEPT {
                self.trace.pop_front();
                self.trace_dropped += 1;
            }
            self.trace.push_back(TraceFrame { at, fp, verdict, bytes });
        }
    }

    /// What the fuelling points report.
    pub fn poll_event(&mut self) -> Option<FromPump> {
        let witnesses = self.ear.witnesses_mut();
        let count = witnesses.len();
        for step in 0..count {
            let index = (self.event_turn + step) % count;
            if let Some(event) = witnesses[index].poll_event() {
                self.event_turn = index;
                return Some(FromPump { fp: witnesses[index].fp(), event });
            }
        }
        None
    }

    /// The next frame of the trace, both directions. The oldest are dropped where nobody asks.
    pub fn poll_trace(&mut self) -> Option<TraceFrame> {
        self.trace.pop_front()
    }

    /// Counts since the start: of a device its good frames, and of the line the bytes that were none.
    #[must_use]
    pub fn statistics(&self) -> LineStatistics {
        LineStatistics {
            up: self.up,
            cycle: Duration::ZERO,
            unasked_bytes: self.bad_bytes,
            babbles: 0,
            babbler: None,
            other_master: false,
            trace_dropped: self.trace_dropped,
            devices: self.ear.witnesses().iter().map(statistics_of).collect(),
        }
    }

    /// What each fuelling point can do.
    pub fn capabilities(&self) -> impl Iterator<Item = (FuellingPointId, &Capabilities)> {
        self.ear.witnesses().iter().map(|witness| (witness.fp(), witness.capabilities()))
    }
}

fn statistics_of(witness: &Witness) -> DeviceStatistics {
    DeviceStatistics {
        fp: witness.fp(),
        health: match witness.last_heard() {
            _ if witness.is_lost() => Health::Dead,
            Some(_) => Health::Good,
            None => Health::Unknown,
        },
        exchanges: witness.words(),
        timeouts: 0,
        bad_frames: 0,
        turnaround: Duration::ZERO,
        turnaround_worst: Duration::ZERO,
        last_good: witness.last_heard(),
        interval_worst: Duration::ZERO,
    }
}
