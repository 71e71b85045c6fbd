//! One wire and everything on it: whose turn, deadlines, echo, quiet, and listening out late answers.
//!
//! Bytes, commands and time come in; bytes, events and a trace go out. There is one exchange on the wire at a time.

mod device;
mod echo;
mod masters;
mod settings;
mod statistics;

pub use masters::Watch;
pub use settings::{Echo, LineProblem, LineSettings};
pub use statistics::{DeviceStatistics, Health, LineStatistics, TraceFrame, Verdict};

use crate::driver::{Driver, Expect, Progress, Urgency};
use core::time::Duration;
use device::Device;
use echo::EchoFilter;
use forecourt::ids::FuellingPointId;
use forecourt::pump::{Capabilities, FromPump, PumpCommand, PumpEvent};
use forecourt::time::Instant;
use masters::{Heard, Masters};
use std::collections::VecDeque;

/// Trace frames kept until someone takes them.
const TRACE_KEPT: usize = 1_024;
/// A device that does not fall quiet is listened out no longer than this many gaps.
const QUIET_AT_MOST: u32 = 3;
/// Shortest wait for a device in doubt to answer.
const SHORTEST_LOOK: Duration = Duration::from_millis(25);
/// A device in doubt is waited for so many times as long as answers usually take.
const LOOK: u32 = 3;
/// Dead devices together cost at most such a part of the time, unless each would be asked too rarely then.
const DEAD_SHARE: u32 = 20;

/// Who answered well within this time is not taken for a babbler: its answer only stands amid the noise of another.
const RECENT: Duration = Duration::from_secs(2);

/// Number of the alarm that another master was heard on the wire.
pub const OTHER_MASTER: u16 = 0x300;
/// Quiet of another master before we drive the wire again.
const MASTER_GONE: Duration = Duration::from_secs(5);

/// What a line waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LineTimer {
    /// The next byte of an answer.
    Answer,
    /// Quiet on the wire.
    Quiet,
    /// The moment to send.
    Send,
    /// The time to listen for another master is over.
    Listen,
}

struct Waiting {
    device: usize,
    /// When our last byte has left.
    sent: Instant,
    /// When the next byte must have come.
    due: Instant,
    /// When the answer must be complete, however it trickles.
    end: Instant,
    /// When the exchange began.
    began: Instant,
    /// One in doubt is only looked for: its wait is short, and nobody is kept from the wire by what it may yet say.
    look: bool,
    /// It is given all the time that a device may take.
    patient: bool,
    received: Vec<u8>,
    bad: Option<String>,
}

enum Phase {
    Down,
    /// The wire may be used from then on.
    Free {
        from: Instant,
    },
    Waiting(Waiting),
    /// Someone may still talk.
    Quiet {
        until: Instant,
        at_most: Instant,
    },
    /// Nothing is sent: another master may be there, or is.
    Listening {
        until: Instant,
    },
}

/// The owner of one wire. Pure: time is an argument, and all that goes out is polled.
pub struct Line {
    settings: LineSettings,
    devices: Vec<Device>,
    phase: Phase,
    /// When our last byte has left.
    wire_free: Instant,
    echo: EchoFilter,
    /// Devices still to be asked in this round.
    round: Vec<usize>,
    round_began: Instant,
    cycle: Duration,
    /// Who spoke last, or is to be answered.
    current: usize,
    /// The last turn went to one that had waited far too long, before a sequence.
    gave_way: bool,
    event_turn: usize,
    unasked_bytes: u64,
    babbles: u64,
    babbler: Option<FuellingPointId>,
    trace: VecDeque<TraceFrame>,
    trace_dropped: u64,
    masters: Option<Masters>,
    /// The port is open, whoever drives the wire.
    up: bool,
    /// Another master drives it: the drivers were told that it is gone.
    yielded: bool,
    /// What the line itself reports of its fuelling points.
    reports: VecDeque<FromPump>,
}

impl Line {
    /// A line whose port is not open yet.
    #[must_use]
    pub fn new(settings: LineSettings, drivers: Vec<Box<dyn Driver>>) -> Self {
        Self {
            settings,
            devices: drivers.into_iter().map(Device::new).collect(),
            phase: Phase::Down,
            wire_free: Instant::START,
            echo: EchoFilter::new(settings.echo),
            round: Vec::new(),
            round_began: Instant::START,
            cycle: Duration::ZERO,
            current: 0,
            gave_way: false,
            event_turn: 0,
            unasked_bytes: 0,
            babbles: 0,
            babbler: None,
            trace: VecDeque::new(),
            trace_dropped: 0,
            masters: None,
            up: false,
            yielded: false,
            reports: VecDeque::new(),
        }
    }

    /// The same with an ear for another master. While one is heard, nothing is sent.
    #[must_use]
    pub fn with_watch(mut self, watch: Box<dyn Watch>) -> Self {
        self.masters = Some(Masters::new(watch));
        self
    }

    /// A word of the core for one fuelling point; one that is not on this line is ignored.
    pub fn handle_command(&mut self, fp: FuellingPointId, command: PumpCommand, now: Instant) {
        for device in self.devices.iter_mut().filter(|device| device.fp() == fp) {
            device.driver.handle_command(command.clone(), now);
        }
    }

    /// The port was opened or is gone.
    pub fn handle_link(&mut self, up: bool, now: Instant) {
        if up == self.up {
            return;
        }
        self.up = up;
        self.yielded = false;
        if let Some(masters) = &mut self.masters {
            masters.forget();
        }
        let listens = self.masters.is_some() && !self.settings.listen_before.is_zero();
        self.phase = match up {
            true if listens => Phase::Listening { until: now + self.settings.listen_before },
            true => Phase::Free { from: now },
            false => Phase::Down,
        };
        self.begin_anew(up, now);
    }

    /// The drivers may use the wire from now on, or no longer.
    fn begin_anew(&mut self, up: bool, now: Instant) {
        self.wire_free = now;
        self.echo = EchoFilter::new(self.settings.echo);
        self.round.clear();
        self.round_began = now;
        for device in &mut self.devices {
            device.handle_link(now);
            device.driver.handle_link(up, now);
        }
    }

    /// Bytes from the wire.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.look_out(bytes, now);
        let bytes = self.echo.strip(bytes);
        if bytes.is_empty() {
            return;
        }
        match core::mem::replace(&mut self.phase, Phase::Down) {
            Phase::Down => {}
            Phase::Listening { until } => {
                self.phase = Phase::Listening { until };
                self.note_trace(now, None, Verdict::Unasked, bytes);
            }
            Phase::Waiting(waiting) => self.handle_answer(waiting, &bytes, now),
            Phase::Free { .. } => {
                self.take_unasked(&bytes, now);
                let until = now + self.settings.inter_byte_gap;
                self.phase = Phase::Quiet { until, at_most: now + self.settings.inter_byte_gap * QUIET_AT_MOST };
            }
            Phase::Quiet { at_most, .. } => {
                self.take_unasked(&bytes, now);
                let until = (now + self.settings.inter_byte_gap).min(at_most);
                if until == at_most {
                    self.note_babble(&bytes, now);
                }
                self.phase = Phase::Quiet { until, at_most };
            }
        }
    }

    /// Looks for another master in what comes in, and leaves the wire to one.
    fn look_out(&mut self, bytes: &[u8], now: Instant) {
        let Some(masters) = self.masters.as_mut().filter(|_| self.up) else { return };
        let heard = masters.hear(bytes, self.settings.inter_byte_gap * QUIET_AT_MOST, now);
        match (heard, &mut self.phase) {
            (Heard::Nobody, _) => {}
            (Heard::Perhaps, Phase::Listening { until }) => {
                *until = (*until).max(now + self.settings.listen_before);
            }
            (Heard::Perhaps, _) => {}
            (Heard::Master, _) => {
                self.phase = Phase::Listening { until: now + MASTER_GONE };
                if !self.yielded {
                    self.yielded = true;
                    tracing::warn!(
                        "another master is polling: disconnect it first; this line is silent until it is gone"
                    );
                    for device in &self.devices {
                        let text = "another master is polling: disconnect it first".into();
                        let event = PumpEvent::Alarm { code: OTHER_MASTER, text, holds: false };
                        self.reports.push_back(FromPump { fp: device.fp(), event });
                    }
                    self.begin_anew(false, now);
                }
            }
        }
    }

    fn handle_answer(&mut self, mut waiting: Waiting, bytes: &[u8], now: Instant) {
        let device = &mut self.devices[waiting.device];
        if waiting.received.is_empty() {
            device.note_turnaround(now.since(waiting.sent));
        }
        waiting.received.extend_from_slice(bytes);
        match device.driver.handle_answer(bytes, now) {
            Progress::Complete { used } => {
                device.note_good(now);
                let fp = device.fp();
                if waiting.bad.is_some() {
                    self.look_for_marks(&waiting, now);
                }
                let surplus = bytes.len() - used.min(bytes.len());
                waiting.received.truncate(waiting.received.len() - surplus);
                self.note_trace(now, Some(fp), Verdict::Good, waiting.received);
                self.phase = Phase::Free { from: now + self.settings.pause_before_send };
                self.echo.note_answer();
                if surplus > 0 {
                    self.take_unasked(&bytes[bytes.len() - surplus..], now);
                }
                return;
            }
            Progress::Incomplete => {}
            Progress::Garbage(why) => waiting.bad = Some(why),
        }
        if waiting.received.len() > self.settings.longest_answer || now >= waiting.end {
            self.note_babble(&waiting.received, now);
            waiting.bad = Some(format!("no end within {} bytes", self.settings.longest_answer));
            self.fail(waiting, now);
        } else {
            waiting.due = (now + self.settings.inter_byte_gap).min(waiting.end);
            self.phase = Phase::Waiting(waiting);
        }
    }

    /// Time has come to [`Line::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        match core::mem::replace(&mut self.phase, Phase::Down) {
            Phase::Waiting(waiting) if waiting.due <= now => self.fail(waiting, now),
            Phase::Quiet { until, .. } if until <= now => self.phase = Phase::Free { from: now },
            Phase::Listening { until } if until <= now => {
                self.phase = Phase::Free { from: now };
                if core::mem::take(&mut self.yielded) {
                    self.begin_anew(true, now);
                }
            }
            phase => self.phase = phase,
        }
    }

    fn fail(&mut self, waiting: Waiting, now: Instant) {
        let heard = !waiting.received.is_empty();
        self.look_for_marks(&waiting, now);
        let late_until = waiting.sent + self.settings.answer_window + self.settings.listen_out;
        let device = &mut self.devices[waiting.device];
        device.note_failure(heard, &self.settings, now);
        device.late_until = late_until;
        device.spoke_unasked &= heard || !waiting.patient;
        device.driver.handle_silence(now);
        let fp = device.fp();
        let verdict = match (waiting.bad, heard) {
            (Some(why), _) => Verdict::Bad(why),
            (None, true) => Verdict::Bad("cut".into()),
            (None, false) => Verdict::Silence,
        };
        self.note_trace(now, Some(fp), verdict, waiting.received);
        self.echo.forget();
        // A late answer must not be taken for that of the next one who is asked. After a short look only the device itself is
        // not asked so long: it has said whose its answers are, so the others know them for a stranger's.
        let quiet = if waiting.look { Duration::ZERO } else { self.settings.listen_out };
        let at_most = now + quiet.max(self.settings.inter_byte_gap * QUIET_AT_MOST);
        self.phase = Phase::Quiet { until: now + quiet, at_most };
        self.put_off(waiting.device, waiting.began, waiting.look, heard, now);
    }

    /// When to call [`Line::handle_timeout`] and then [`Line::poll_transmit`], and what for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, LineTimer)> {
        match &self.phase {
            Phase::Down => None,
            Phase::Waiting(waiting) => Some((waiting.due, LineTimer::Answer)),
            Phase::Quiet { until, .. } => Some((*until, LineTimer::Quiet)),
            Phase::Listening { until } => Some((*until, LineTimer::Listen)),
            Phase::Free { from } => self.next_send(*from).map(|at| (at, LineTimer::Send)),
        }
    }

    fn next_send(&self, from: Instant) -> Option<Instant> {
        let held = self.held_until(from).unwrap_or(from);
        self.devices
            .iter()
            .filter_map(|device| match device.driver.urgency(from) {
                Urgency::Silent => device.driver.silent_until().map(|until| until.max(held)),
                Urgency::Stop => Some(from),
                Urgency::Answer => Some(held),
                _ => Some(held.max(device.not_before)),
            })
            .min()
    }

    fn held_until(&self, now: Instant) -> Option<Instant> {
        self.devices.get(self.current)?.driver.holds_wire_until().filter(|until| *until > now)
    }

    /// Whether only polls in their turn would go out now: the wire is free, and every device answers and is at rest. On an invented
    /// clock that time may be passed with fewer of them.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let Phase::Free { from } = self.phase else { return false };
        self.devices.iter().all(|device| device.is_sound() && device.driver.urgency(from) == Urgency::Idle)
    }

    /// Bytes to put on the wire now, all at once.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        let Phase::Free { from } = self.phase else { return None };
        if from > now {
            return None;
        }
        for _ in 0..=self.devices.len() {
            let chosen = self.choose(now)?;
            self.current = chosen;
            self.round.retain(|index| *index != chosen);
            let doubt = self.is_put_off(chosen);
            let device = &mut self.devices[chosen];
            device.note_served(now);
            let Some(exchange) = device.driver.next_exchange(now) else { continue };
            let look = doubt && device.driver.answer_is_marked();
            let fp = device.fp();
            let begins = self.wire_free.max(now);
            self.wire_free = begins + self.settings.wire_time(exchange.bytes.len());
            if let Some(masters) = &mut self.masters {
                masters.note_sent(&exchange.bytes, self.wire_free + self.settings.answer_window);
            }
            self.echo.note_sent(&exchange.bytes);
            self.note_trace(now, Some(fp), Verdict::Sent, exchange.bytes.clone());
            self.phase = match exchange.expect {
                Expect::Answer => {
                    let window = if look { self.look_window(chosen) } else { self.settings.answer_window };
                    self.devices[chosen].statistics.exchanges += 1;
                    Phase::Waiting(Waiting {
                        device: chosen,
                        sent: self.wire_free,
                        due: self.wire_free + window,
                        end: self.wire_free + window + self.settings.wire_time(self.settings.longest_answer),
                        began: begins,
                        look,
                        patient: window >= self.settings.answer_window,
                        received: Vec::new(),
                        bad: None,
                    })
                }
                // without a pause the next frame may queue up behind this one
                Expect::Nothing if self.settings.pause_before_send.is_zero() => Phase::Free { from: now },
                Expect::Nothing => Phase::Free { from: self.wire_free + self.settings.pause_before_send },
            };
            return Some(exchange.bytes);
        }
        None
    }

    /// Who speaks next. Stop goes before everything; then the answer owed to who spoke last, sequences under way in turn with whoever
    /// has waited far too long, devices in doubt that are due, and the round: active devices first, then idle ones.
    fn choose(&mut self, now: Instant) -> Option<usize> {
        let urgency: Vec<Urgency> = self.devices.iter().map(|device| device.driver.urgency(now)).collect();
        let count = self.devices.len();
        let all = (0..count).map(|step| (self.current + step) % count.max(1));
        let of = |wanted: Urgency| all.clone().filter(|i| urgency[*i] == wanted).min_by_key(|i| self.rank(*i));
        if let Some(stop) = of(Urgency::Stop) {
            return Some(stop);
        }
        if let Some(answer) = of(Urgency::Answer) {
            return Some(answer);
        }
        if self.held_until(now).is_some() {
            return None;
        }
        let ready: Vec<bool> =
            (0..count).map(|i| urgency[i] > Urgency::Silent && self.devices[i].not_before <= now).collect();
        let put_off: Vec<bool> = (0..count).map(|i| self.is_put_off(i)).collect();
        let alive = |i: &usize| ready[*i] && !put_off[*i];
        let in_doubt = |i: &usize| ready[*i] && put_off[*i];
        let patience = self.patience();
        let waited = |i: &usize| now.since(self.devices[*i].served.unwrap_or(self.round_began));
        // A look that was due that long goes first too: else devices that are always a little late starve the dead ones.
        let late = |i: &usize| in_doubt(i) && now.since(self.devices[*i].not_before) > patience;
        if let Some(late) = all.clone().filter(late).min_by_key(|i| self.devices[*i].not_before) {
            return Some(late);
        }
        let overdue = all.clone().filter(alive).filter(|i| waited(i) > patience).max_by_key(waited);
        let sequence =
            all.clone().filter(|i| urgency[*i] == Urgency::Sequence && alive(i)).min_by_key(|i| self.rank(*i));
        // A sequence goes on unless someone has waited twice as long, and then every other turn is the sequence's: a customer stands
        // before a release and an end, nobody before an idle pump.
        let starved = overdue.filter(|i| waited(i) > patience * 2 && !self.gave_way);
        let chosen = starved.or(sequence).or(overdue);
        self.gave_way = starved.is_some() && sequence.is_some();
        if chosen.is_some() {
            return chosen;
        }
        let look = all.clone().filter(in_doubt).min_by_key(|i| self.devices[*i].not_before);
        if look.is_some() {
            return look;
        }
        if !self.round.iter().any(alive) {
            let round: Vec<usize> = (0..count).filter(alive).collect();
            if round.is_empty() {
                return None;
            }
            self.cycle = now.since(self.round_began);
            self.round_began = now;
            self.round = round;
        }
        self.round
            .iter()
            .copied()
            .filter(alive)
            .min_by_key(|i| (core::cmp::Reverse(urgency[*i].min(Urgency::Active)), self.devices[*i].served, *i))
    }

    /// Among equals who spoke last goes on, then who has waited longest.
    fn rank(&self, index: usize) -> (bool, Option<Instant>) {
        (index != self.current, self.devices[index].served)
    }

    /// How long a device may wait while others are in a sequence: one and a half of a round without any.
    fn patience(&self) -> Duration {
        let pause = self.settings.pause_before_send;
        let turn = |index: usize| self.devices[index].cost + pause;
        let round: Duration = (0..self.devices.len()).filter(|index| !self.is_put_off(*index)).map(turn).sum();
        (round * 3 / 2).max(Duration::from_millis(50))
    }

    /// Whether others answer while this one may be gone: it is not asked in the round but looked for beside it.
    fn is_put_off(&self, index: usize) -> bool {
        let others = || self.devices.iter().enumerate().any(|(at, other)| at != index && other.is_sound());
        self.devices[index].is_dead() || self.devices[index].is_in_doubt() && others()
    }

    /// How long one in doubt is waited for: by its own habit, else by that of the others; all the time that a device may take where
    /// neither is known, or where it is known to be late.
    fn look_window(&self, index: usize) -> Duration {
        let device = &self.devices[index];
        let others = || self.devices.iter().filter(|other| other.is_sound()).filter_map(|other| other.usual).max();
        let window = match device.usual.or_else(others) {
            Some(usual) if !device.spoke_unasked => usual * LOOK,
            _ => self.settings.answer_window,
        };
        window.clamp(SHORTEST_LOOK.min(self.settings.answer_window), self.settings.answer_window)
    }

    /// When a device that did not answer is asked again. Dead devices together cost at most a twentieth of the time while others
    /// live, and each is asked at least so often; one that has just fallen silent is asked as often as it takes to know that.
    fn put_off(&mut self, index: usize, began: Instant, look: bool, heard: bool, now: Instant) {
        let count =
            u32::try_from((0..self.devices.len()).filter(|at| self.is_put_off(*at)).count()).unwrap_or(u32::MAX);
        let live = self.devices.iter().any(Device::is_sound);
        let device = &self.devices[index];
        let share = (now.since(began) + self.settings.pause_before_send) * DEAD_SHARE * count;
        let wait = match (device.is_dead(), device.babbles) {
            (true, true) => self.settings.probe_at_least,
            (true, false) if live => share.min(self.settings.probe_at_least),
            (true, false) => Duration::from_millis(500),
            (false, _) if look && !heard => {
                let soonest = self.settings.comm_lost / self.settings.offline_after.max(2);
                share.clamp(soonest, self.settings.comm_lost / 2)
            }
            (false, _) => Duration::ZERO,
        };
        let device = &mut self.devices[index];
        device.not_before = if look { device.late_until.max(now + wait) } else { now + wait };
    }

    /// Looks whether what came beside an answer bears the mark of a device in doubt: it lives and is late.
    fn look_for_marks(&mut self, waiting: &Waiting, now: Instant) {
        for (at, device) in self.devices.iter_mut().enumerate() {
            if at != waiting.device && device.is_in_doubt() && device.driver.handle_unasked(&waiting.received, now) {
                device.note_unasked();
            }
        }
    }

    fn take_unasked(&mut self, bytes: &[u8], now: Instant) {
        self.unasked_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut spoke = None;
        for device in &mut self.devices {
            if device.driver.handle_unasked(bytes, now) {
                spoke = Some(device.fp());
                device.note_unasked();
            }
        }
        self.note_trace(now, spoke, Verdict::Unasked, bytes.to_vec());
    }

    /// Counts a talk without end. The culprit is a device whose mark is in it and that gave no good answer lately.
    fn note_babble(&mut self, bytes: &[u8], now: Instant) {
        self.babbles += 1;
        for device in &mut self.devices {
            let recent = device.statistics.last_good.is_some_and(|good| now.since(good) < RECENT);
            if device.driver.handle_unasked(bytes, now) && !recent {
                self.babbler = Some(device.fp());
                device.babbles = true;
            }
        }
    }

    fn note_trace(&mut self, at: Instant, fp: Option<FuellingPointId>, verdict: Verdict, bytes: Vec<u8>) {
        if self.trace.len() >= TRACE_KEPT {
            self.trace.pop_front();
            self.trace_dropped += 1;
        }
        self.trace.push_back(TraceFrame { at, fp, verdict, bytes });
    }

    /// What the fuelling points report.
    pub fn poll_event(&mut self) -> Option<FromPump> {
        if let Some(report) = self.reports.pop_front() {
            return Some(report);
        }
        let count = self.devices.len();
        for step in 0..count {
            let index = (self.event_turn + step) % count;
            let device = &mut self.devices[index];
            if let Some(event) = device.driver.poll_event() {
                self.event_turn = index;
                return Some(FromPump { fp: device.fp(), event });
            }
        }
        None
    }

    /// The next frame of the trace, both directions. The oldest are dropped where nobody asks.
    pub fn poll_trace(&mut self) -> Option<TraceFrame> {
        self.trace.pop_front()
    }

    /// Counts since the start.
    #[must_use]
    pub fn statistics(&self) -> LineStatistics {
        LineStatistics {
            up: self.up,
            cycle: self.cycle,
            unasked_bytes: self.unasked_bytes,
            babbles: self.babbles,
            babbler: self.babbler,
            other_master: self.yielded,
            trace_dropped: self.trace_dropped,
            devices: self.devices.iter().map(Device::statistics).collect(),
        }
    }

    /// What each fuelling point can do.
    pub fn capabilities(&self) -> impl Iterator<Item = (FuellingPointId, &Capabilities)> {
        self.devices.iter().map(|device| (device.fp(), device.driver.capabilities()))
    }
}
