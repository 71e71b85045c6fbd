//! The talk with one two-wire head: words in, words out, silence and stop. What is asked when, and what it means for a sale, is in
//! `sale.rs` and `ending.rs`.

use super::block::{GradeIndex, GradeTotals, HostBlock, Transaction};
use super::figures;
use super::habits::Habits;
use super::release::MOST_AUTHORISES;
use super::sale::{Phase, Task};
use super::talk::{Answer, Asked, Ear, Heard};
use super::word::{Command, PumpNumber, Status};
use crate::contact::Contact;
use crate::driver::{Driver, Exchange, Expect, Progress, Urgency};
use crate::head::{HeadSettings, NozzleSettings};
use crate::told::Told;
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::pump::{Capabilities, EndRecord, PumpCommand, PumpEvent};
use forecourt::time::Instant;

/// Exchanges in a row for one step of a release or an end; then others have their turn.
const CHASE: u8 = 8;
/// Polls without a good answer until the pump counts as lost, if the time is over too.
const LOST_AFTER: u32 = 3;
/// Stops without effect, or without any answer, until that is an alarm.
const MOST_STOPS: u8 = 5;
/// From a stop to the look whether it had effect (sheet, section 10).
const STOP_SHOWS: Duration = Duration::from_millis(200);
/// A pump that said D takes its block within this time; later it may have given up waiting (our choice).
const BLOCK_WITHIN: Duration = Duration::from_millis(60);
/// After a question that came to nothing.
const REST: Duration = Duration::from_millis(300);

/// Numbers of alarms that are ours and not the pump's.
pub mod alarm {
    /// Volume × price and money differ, or totals and sale: the decimals of the head are set wrong.
    pub const DECIMALS: u16 = 0x200;
    /// A price cannot be written, or does not read back.
    pub const PRICE: u16 = 0x201;
    /// Stop had no effect again and again, and fuel may still flow.
    pub const STOP: u16 = 0x202;
    /// More money was delivered than the limit: the preset was lost.
    pub const OVERRUN: u16 = 0x203;
    /// The head names a grade that is not set for it.
    pub const GRADE: u16 = 0x204;
}

#[derive(Clone, Copy, Debug)]
pub(super) struct StopJob {
    /// To be sent now.
    pub send: bool,
    /// How often it went out.
    pub sent: u8,
    /// When its effect may be judged.
    pub judge_at: Instant,
    /// Nothing was heard since: nobody knows whether one arrived.
    pub unheard: bool,
}

impl StopJob {
    /// A stop that is to be sent now.
    const NEW: Self = Self { send: true, sent: 0, judge_at: Instant::START, unheard: false };
}

/// The driver of one two-wire head.
pub struct TwoWireDriver {
    pub(super) settings: HeadSettings,
    pub(super) habits: Habits,
    pub(super) told: Told,
    pub(super) pump: PumpNumber,
    capabilities: Capabilities,
    ear: Ear,
    asked: Asked,
    /// The pump is to answer this question; `None` while only its state is polled.
    pub(super) task: Option<Task>,
    /// D was heard then: the block of the task follows.
    ready: Option<Instant>,
    /// The last answer to the exchange at hand was a data error.
    data_error: bool,
    contact: Contact,
    pub(super) phase: Phase,
    /// The state, once two polls in a row said the same: one word carries no check.
    pub(super) state: Option<Status>,
    candidate: Option<Status>,
    /// When the state was last said again.
    pub(super) seen_at: Instant,
    pub(super) stop: Option<StopJob>,
    /// So many authorises may yet be tried to let a stopped sale go on.
    pub(super) resumes_left: u8,
    pub(super) resumed_at: Instant,
    pub(super) chase: u8,
    /// After a failure nothing but the state is asked until then.
    pub(super) rest_until: Instant,
    /// No data next before this.
    pub(super) data_next_at: Instant,
    /// The wire is kept quiet until then: nobody asks anything right after an authorise.
    quiet_until: Option<Instant>,
    /// Hose that is out and when that was told.
    pub(super) hose: Option<(u8, Instant)>,
    /// Totals as last read and believed.
    pub(super) totals: Option<Vec<GradeTotals>>,
    /// Totals as last read.
    pub(super) totals_read: Option<Vec<GradeTotals>>,
    /// The record as last read and believed.
    pub(super) record: Option<Transaction>,
    pub(super) prices_due: bool,
    pub(super) price_tries: u8,
    /// Prices were written; they may be read back then.
    pub(super) price_check_at: Option<Instant>,
    /// We reported that an authorise had no effect: one that takes effect late is stopped.
    pub(super) disowned: bool,
    pub(super) examine_due: bool,
}

impl TwoWireDriver {
    /// A driver that has not heard its pump yet.
    #[must_use]
    pub fn new(settings: HeadSettings, habits: Habits) -> Self {
        let capabilities = Capabilities {
            live_volume: false,
            preset_amount: true,
            preset_volume: true,
            reports_call: true,
            price_write: true,
            price_read_back: true,
            totals: true,
            stop: true,
            suspend: settings.suspend,
            end_record: EndRecord::UntilNextSale,
            decimals_known: false,
            sale_number: false,
            volume_step: settings.decimals.volume_step(),
            total_step: settings.decimals.total_step(),
        };
        Self {
            pump: PumpNumber::of_nibble(settings.address),
            capabilities,
            settings,
            habits,
            told: Told::default(),
            ear: Ear::default(),
            asked: Asked::Nothing,
            task: None,
            ready: None,
            data_error: false,
            contact: Contact::default(),
            phase: Phase::read_in(),
            state: None,
            candidate: None,
            seen_at: Instant::START,
            stop: None,
            resumes_left: 0,
            resumed_at: Instant::START,
            chase: 0,
            rest_until: Instant::START,
            data_next_at: Instant::START,
            quiet_until: None,
            hose: None,
            totals: None,
            totals_read: None,
            record: None,
            prices_due: false,
            price_tries: 0,
            price_check_at: None,
            disowned: false,
            examine_due: false,
        }
    }

    pub(super) fn begin_read_in(&mut self) {
        self.phase = Phase::read_in();
        self.told.begin_read_in();
        self.drop_task();
        self.resumes_left = 0;
        self.examine_due = false;
        self.totals = None;
        self.totals_read = None;
        self.hose = None;
        self.prices_due = false;
        self.price_check_at = None;
        self.pursue();
    }

    pub(super) fn pursue(&mut self) {
        self.chase = CHASE;
    }

    /// What was under way is not asked any more.
    pub(super) fn drop_task(&mut self) {
        self.task = None;
        self.ready = None;
    }

    pub(super) fn nozzle(&self, nozzle: NozzleId) -> Option<&NozzleSettings> {
        self.settings.nozzles.iter().find(|n| n.nozzle == nozzle)
    }

    pub(super) fn nozzle_of(&self, grade: GradeIndex) -> Option<NozzleId> {
        figures::nozzle_of(&self.settings, grade)
    }

    pub(super) fn grade_of(&self, nozzle: NozzleId) -> Option<GradeIndex> {
        self.nozzle(nozzle).and_then(|n| n.logical.checked_sub(1)).map(GradeIndex)
    }

    fn stop_is_to_be_sent(&self) -> bool {
        self.stop.is_some_and(|stop| stop.send)
    }

    fn send_stop(&mut self, now: Instant) -> Exchange {
        self.drop_task();
        let mut word = Command::Stop.word(self.pump);
        if let Some(stop) = self.stop.as_mut() {
            if stop.sent == MOST_STOPS {
                word = Command::AllStop.word(self.pump);
            }
            *stop = StopJob { send: false, sent: stop.sent + 1, judge_at: now + STOP_SHOWS, unheard: false };
        }
        self.pursue();
        Exchange { bytes: vec![word], expect: Expect::Nothing }
    }

    /// Whether a stop that went out had effect.
    pub(super) fn judge_stop(&mut self, now: Instant) {
        let seen = self.seen_at;
        let (released, last) = (self.state.is_none_or(Status::is_released), self.habits.all_stop_at_last);
        let Some(stop) = self.stop.as_mut().filter(|stop| !stop.send && stop.sent > 0 && now >= stop.judge_at) else {
            return;
        };
        if seen < stop.judge_at {
            return;
        }
        if !released {
            self.stop = None;
        } else if stop.sent < MOST_STOPS || last && stop.sent == MOST_STOPS {
            stop.send = true;
        } else {
            self.stop = None;
            self.told.raise(alarm::STOP, "stop had no effect: fuel may still flow".into(), true);
        }
    }

    pub(super) fn order_stop(&mut self) {
        let stop = self.stop.get_or_insert(StopJob::NEW);
        stop.send |= stop.sent == 0;
        self.resumes_left = 0;
    }

    fn block_of(&self, task: Task) -> Option<HostBlock> {
        match task {
            Task::Extended => Some(HostBlock::ExtendedStatus),
            Task::Price(at) => self.price_block(at),
            Task::Preset => self.preset_block(),
            Task::Money | Task::Transaction | Task::Totals | Task::Authorise => None,
        }
    }

    /// The exchange that begins a task.
    fn begin(&mut self, task: Task, now: Instant) -> Exchange {
        self.task = Some(task);
        let (command, asked) = match task {
            Task::Money => (Command::RealTimeMoney, Asked::Money),
            Task::Transaction => (Command::Transaction, Asked::Transaction),
            Task::Totals => (Command::Totals, Asked::Totals),
            Task::Extended | Task::Price(_) | Task::Preset => {
                self.data_next_at = now + self.habits.data_next_spacing;
                (Command::DataNext, Asked::DataNext)
            }
            Task::Authorise => {
                self.task = None;
                self.quiet_until = Some(self.note_authorised(now));
                (Command::Authorise, Asked::Nothing)
            }
        };
        self.asked = asked;
        let expect = if asked == Asked::Nothing { Expect::Nothing } else { Expect::Answer };
        Exchange { bytes: vec![command.word(self.pump)], expect }
    }

    /// D was heard: the block. `None` if it is too late for it.
    fn send_block(&mut self, now: Instant) -> Option<Exchange> {
        let since = self.ready.take()?;
        let task = self.task?;
        if now.since(since) > BLOCK_WITHIN {
            self.fail_task(now);
            return None;
        }
        let bytes = self.block_of(task)?.words();
        if task == Task::Extended {
            self.asked = Asked::Extended;
            return Some(Exchange { bytes, expect: Expect::Answer });
        }
        self.task = None;
        self.handle_written(task, now);
        Some(Exchange { bytes, expect: Expect::Nothing })
    }

    fn note_good(&mut self, now: Instant) {
        self.contact.good(now);
        let lost = self.told.is_lost();
        if let Some(stop) = self.stop.as_mut().filter(|stop| lost || stop.unheard) {
            *stop = StopJob::NEW;
        }
        self.told.heard();
    }

    fn handle_status(&mut self, status: Status, now: Instant) {
        if self.candidate.replace(status) == Some(status) && self.state != Some(status) {
            let before = self.state.replace(status);
            self.seen_at = now;
            self.handle_state(status, before, now);
        } else if self.state == Some(status) {
            self.seen_at = now;
        }
        if self.state != Some(status) {
            // seen once: it counts when it is seen again, at once
            self.pursue();
        }
    }

    /// Whether the last poll said something else than the state that counts.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.candidate != self.state
    }

    fn handle_whole(&mut self, answer: Answer, now: Instant) {
        let asked = core::mem::replace(&mut self.asked, Asked::Nothing);
        self.note_good(now);
        match answer {
            Answer::Status(Status::Ready) => self.ready = Some(now),
            Answer::Status(status) => {
                if asked == Asked::DataNext {
                    self.fail_task(now);
                }
                self.handle_status(status, now);
            }
            other => {
                self.task = None;
                self.handle_answered(other, now);
            }
        }
        self.judge_stop(now);
        self.go_on(now);
        self.report(now);
    }

    fn fail_task(&mut self, now: Instant) {
        self.ready = None;
        if let Some(task) = self.task.take() {
            self.rest_until = now + REST;
            self.handle_unanswered(task, now);
        }
    }
}

impl Driver for TwoWireDriver {
    fn fp(&self) -> FuellingPointId {
        self.settings.fp
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn handle_command(&mut self, command: PumpCommand, now: Instant) {
        match command {
            PumpCommand::Authorise(order) => self.authorise(order, now),
            PumpCommand::Withdraw => self.withdraw(),
            PumpCommand::Stop => {
                self.withdraw();
                self.order_stop();
            }
            // a stop holds the sale on heads that take it up again with an authorise
            PumpCommand::Suspend if self.settings.suspend && self.state == Some(Status::Busy) => self.order_stop(),
            PumpCommand::Resume if self.settings.suspend && self.stop.is_none() => self.resumes_left = MOST_AUTHORISES,
            PumpCommand::Suspend | PumpCommand::Resume => {}
            PumpCommand::Stored(token) => self.told.handle_stored(token),
            PumpCommand::SetPrices(prices) => self.set_prices(&prices),
            PumpCommand::Examine => {
                self.told.examine();
                if matches!(self.phase, Phase::Releasing(_) | Phase::Ending(_)) {
                    self.examine_due = true;
                } else {
                    self.begin_read_in();
                }
            }
        }
    }

    fn handle_link(&mut self, up: bool, now: Instant) {
        self.contact.link(up, now);
        self.asked = Asked::Nothing;
        self.quiet_until = None;
        (self.state, self.candidate) = (None, None);
        if let Some(stop) = &mut self.stop {
            stop.unheard = true;
        }
        if up {
            self.told.heard();
        } else {
            self.give_up_release();
            self.told.lose();
        }
        self.begin_read_in();
    }

    fn urgency(&self, now: Instant) -> Urgency {
        if !self.contact.is_up() {
            return Urgency::Silent;
        }
        if self.stop_is_to_be_sent() {
            return Urgency::Stop;
        }
        if self.ready.is_some() {
            return Urgency::Answer;
        }
        if !self.contact.is_heard() || self.contact.misses() > 1 || self.told.is_lost() {
            return Urgency::Idle;
        }
        if self.chase > 0 && (self.is_in_doubt() || self.stop.is_some() || self.is_urgent(now)) {
            return Urgency::Sequence;
        }
        if self.phase.is_active() || self.state == Some(Status::Call) { Urgency::Active } else { Urgency::Idle }
    }

    fn holds_wire_until(&self) -> Option<Instant> {
        self.quiet_until
    }

    fn next_exchange(&mut self, now: Instant) -> Option<Exchange> {
        self.ear.clear();
        self.data_error = false;
        self.asked = Asked::Nothing;
        self.quiet_until = None;
        self.chase = self.chase.saturating_sub(1);
        if self.stop_is_to_be_sent() {
            return Some(self.send_stop(now));
        }
        if let Some(block) = self.send_block(now) {
            return Some(block);
        }
        if !self.is_in_doubt()
            && let Some(task) = self.wanted(now)
        {
            return Some(self.begin(task, now));
        }
        self.asked = Asked::Status;
        Some(Exchange { bytes: vec![Command::Status.word(self.pump)], expect: Expect::Answer })
    }

    /// A state bears the pump's number; blocks do not.
    fn answer_is_marked(&self) -> bool {
        matches!(self.asked, Asked::Status | Asked::DataNext)
    }

    fn handle_answer(&mut self, bytes: &[u8], now: Instant) -> Progress {
        let mut bad = None;
        for (at, word) in bytes.iter().enumerate() {
            match self.ear.take(*word, self.asked, self.pump, self.habits.width.sale()) {
                Heard::Nothing => {}
                Heard::Answer(answer) => {
                    self.handle_whole(answer, now);
                    return Progress::Complete { used: at + 1 };
                }
                Heard::DataError => {
                    self.data_error = true;
                    bad = Some("data error: the pump refused the last command or block".into());
                }
                Heard::Bad(why) => bad = Some(why),
            }
        }
        bad.map_or(Progress::Incomplete, Progress::Garbage)
    }

    fn handle_silence(&mut self, now: Instant) {
        self.contact.miss();
        self.asked = Asked::Nothing;
        self.fail_task(now);
        if core::mem::take(&mut self.data_error) {
            self.handle_data_error(now);
        }
        if let Some(stop) = self.stop.as_mut().filter(|stop| !stop.send && now >= stop.judge_at) {
            // nobody says whether it arrived
            stop.send = stop.sent < MOST_STOPS;
            stop.unheard = true;
        }
        if !self.told.is_lost() && self.contact.is_gone(LOST_AFTER, self.settings.comm_lost, now) {
            self.give_up_release();
            self.told.lose();
            (self.state, self.candidate) = (None, None);
            self.begin_read_in();
        }
    }

    fn handle_unasked(&mut self, bytes: &[u8], _now: Instant) -> bool {
        let own = |word: &u8| PumpNumber::of_nibble(*word) == self.pump;
        bytes.first().is_some_and(|word| own(word) && Status::of_word(*word).is_some_and(|s| s != Status::DataError))
    }

    fn poll_event(&mut self) -> Option<PumpEvent> {
        self.told.poll()
    }
}
