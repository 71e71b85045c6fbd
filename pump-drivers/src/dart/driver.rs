//! The talk with one DART head: frames in, frames out, what is owed, and silence. What is asked when, and what it means for a
//! fuelling, is in `sale.rs`.

use super::frame::{Control, Found, Frame, Receiver};
use super::head::{Block, Head};
use super::link::{Link, Outcome};
use super::message::{Status, alarm_text};
use super::sale::{Failure, Phase};
use super::settings::Habits;
use super::task::{Task, Underway, body, is_released};
use crate::contact::Contact;
use crate::driver::{Driver, Exchange, Expect, Progress, Urgency};
use crate::head::HeadSettings;
use crate::told::Told;
use forecourt::ids::FuellingPointId;
use forecourt::pump::{Capabilities, EndRecord, PumpCommand, PumpEvent, Token};
use forecourt::time::Instant;

/// Exchanges in a row for one step of a release or an end; then others have their turn.
const CHASE: u8 = 8;
/// Polls without a good answer until the pump counts as lost, if the time is over too.
const LOST_AFTER: u32 = 3;
/// Rounds of three tries of a STOP that nobody answers, until the pump is heard again.
const SILENT_STOPS: u8 = 2;
/// A STOP that is accepted and shows no effect is sent so often.
const MOST_STOPS: u8 = 5;

/// Numbers of alarms that are ours and not the pump's.
pub mod alarm {
    /// Plus the byte: a status that the sheet does not define.
    pub const UNDEFINED_STATUS: u16 = 0x100;
    /// Volume × price and amount differ: the decimals of the head are set wrong.
    pub const DECIMALS: u16 = 0x200;
    /// A price cannot be written in the head's digits.
    pub const PRICE: u16 = 0x201;
    /// STOP was accepted again and again, and fuel may still flow.
    pub const STOP: u16 = 0x202;
    /// The pump refuses our blocks.
    pub const REFUSES: u16 = 0x203;
    /// Figures of the pump are no decimal digits.
    pub const DIGITS: u16 = 0x204;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Poll,
    Block,
}

#[derive(Default, Clone, Copy)]
pub(super) struct StopJob {
    /// A STOP is to be sent now.
    pub send: bool,
    /// STOPs that were acknowledged.
    pub accepted: u8,
    /// Rounds of tries that nobody answered.
    pub silent: u8,
}

/// The driver of one DART head.
pub struct DartDriver {
    pub(super) settings: HeadSettings,
    pub(super) habits: Habits,
    pub(super) told: Told,
    capabilities: Capabilities,
    pub(super) link: Link,
    pub(super) head: Head,
    receiver: Receiver,
    asked: Asked,
    contact: Contact,
    pub(super) phase: Phase,
    pub(super) task: Option<Underway>,
    pub(super) stop: Option<StopJob>,
    /// Suspend or resume, to be sent.
    pub(super) hold: Option<Task>,
    /// Exchanges left that follow each other at once.
    pub(super) chase: u8,
    /// After a failure nothing is asked until then; polls go on.
    pub(super) rest_until: Instant,
    /// The status is to be read.
    pub(super) look: bool,
    pub(super) prices_due: bool,
    pub(super) price_tried: bool,
    /// A status other than 0 was seen in this run.
    pub(super) programmed: bool,
    /// We reported that an AUTHORIZE had no effect: one that takes effect late is stopped.
    pub(super) disowned: bool,
    /// Everything is to be read again once the pump is at rest.
    pub(super) examine_due: bool,
    /// No block is acknowledged before this token is stored; the wire is kept until then.
    pub(super) ack_hold: Option<(Token, Instant)>,
    pub(super) filling_at: Instant,
}

impl DartDriver {
    /// A driver that has not heard its pump yet.
    #[must_use]
    pub fn new(settings: HeadSettings, habits: Habits) -> Self {
        let capabilities = Capabilities {
            live_volume: true,
            preset_amount: true,
            preset_volume: true,
            reports_call: true,
            price_write: true,
            price_read_back: true,
            totals: true,
            stop: true,
            suspend: settings.suspend,
            end_record: EndRecord::UntilCleared,
            decimals_known: false,
            sale_number: false,
            volume_step: settings.decimals.volume_step(),
            total_step: settings.decimals.total_step(),
        };
        let phase = Phase::read_in(&settings, false);
        Self {
            link: Link::new(settings.address),
            capabilities,
            settings,
            habits,
            told: Told::default(),
            head: Head::default(),
            receiver: Receiver::default(),
            asked: Asked::Nothing,
            contact: Contact::default(),
            phase,
            task: None,
            stop: None,
            hold: None,
            chase: 0,
            rest_until: Instant::START,
            look: false,
            prices_due: false,
            price_tried: false,
            programmed: false,
            disowned: false,
            examine_due: false,
            ack_hold: None,
            filling_at: Instant::START,
        }
    }

    pub(super) fn begin_read_in(&mut self, power_cycled: bool) {
        self.phase = Phase::read_in(&self.settings, power_cycled);
        self.head = Head::default();
        self.interrupt();
        self.hold = None;
        self.look = false;
        self.examine_due = false;
        self.told.begin_read_in();
        self.chase = CHASE;
    }

    pub(super) fn pursue(&mut self) {
        self.chase = CHASE;
    }

    fn is_ack_held(&self) -> bool {
        self.ack_hold.is_some()
    }

    fn stop_is_to_be_sent(&self) -> bool {
        let unsent = |task: &Task| self.task.as_ref().is_some_and(|u| u.task == *task && u.accepted.is_none());
        self.stop.is_some_and(|stop| stop.send) || unsent(&Task::Stop)
    }

    fn hold_is_to_be_sent(&self) -> bool {
        let unsent = |u: &Underway| matches!(u.task, Task::Suspend | Task::Resume) && u.accepted.is_none();
        self.hold.is_some() || self.task.as_ref().is_some_and(unsent)
    }

    /// Puts a STOP, a suspend or the next question in line.
    fn offer_next(&mut self, now: Instant) {
        if let Some(stop) = self.stop.as_mut().filter(|stop| stop.send) {
            stop.send = false;
            self.interrupt();
            self.offer(Task::Stop);
        } else if let Some(task) = self.hold.take_if(|_| self.stop.is_none()) {
            self.interrupt();
            self.offer(task);
        } else if self.task.is_none()
            && !self.is_ack_held()
            && self.rest_until <= now
            && let Some(task) = self.wanted(now)
        {
            self.offer(task);
        }
    }

    fn offer(&mut self, task: Task) {
        let Some(body) = body(&task, &self.settings, self.habits.recipe, &self.head, self.order()) else {
            self.handle_failure(&task, Failure::NoEffect, Instant::START);
            return;
        };
        if self.link.offer(body, task == Task::Release).is_err() {
            self.handle_failure(&task, Failure::GivenUp, Instant::START);
            return;
        }
        self.task = Some(Underway::new(task));
        self.pursue();
    }

    fn handle_frame(&mut self, frame: &Frame, now: Instant) -> bool {
        match (frame.control, self.asked) {
            (Control::Eot, Asked::Poll) => {
                self.note_good(now);
                self.handle_nothing_new(now);
                true
            }
            (Control::Data, Asked::Poll | Asked::Block) => {
                if self.link.is_own(frame.tx, &frame.body) {
                    return false;
                }
                self.note_good(now);
                self.handle_block(frame.tx, &frame.body, now);
                // the answer to a block is still to come
                self.asked == Asked::Poll
            }
            (control @ (Control::Ack | Control::Nak), Asked::Block) => {
                self.note_good(now);
                if let Some(outcome) = self.link.handle_answer(control == Control::Ack, frame.tx) {
                    self.handle_outcome(outcome, now);
                }
                true
            }
            _ => false,
        }
    }

    fn note_good(&mut self, now: Instant) {
        self.contact.good(now);
        self.told.heard();
        if let Some(stop) = self.stop.as_mut().filter(|stop| stop.silent >= SILENT_STOPS) {
            stop.silent = 0;
            stop.send = true;
        }
    }

    fn handle_outcome(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Again => {}
            Outcome::Accepted => {
                self.pursue();
                let Some(underway) = self.task.as_mut() else { return };
                underway.accepted = Some(now);
                let task = underway.task.clone();
                if task == Task::Stop
                    && let Some(stop) = self.stop.as_mut()
                {
                    stop.accepted += 1;
                    stop.silent = 0;
                    self.note_stop_accepted();
                }
                let shows_nothing = task == Task::Program && self.head.status != Some(Status::NotProgrammed);
                if shows_nothing {
                    self.task = None;
                    self.handle_effect(&task, &Block::default(), now);
                }
            }
            Outcome::Doubt | Outcome::GivenUp => {
                let Some(underway) = self.task.take() else { return };
                if outcome == Outcome::GivenUp {
                    self.told.raise(alarm::REFUSES, "the pump refuses our blocks".into(), true);
                }
                if underway.task == Task::Stop {
                    self.handle_unanswered_stop();
                } else {
                    let failure = if outcome == Outcome::Doubt { Failure::Doubt } else { Failure::GivenUp };
                    self.handle_failure(&underway.task, failure, now);
                }
            }
        }
    }

    fn handle_unanswered_stop(&mut self) {
        if let Some(stop) = self.stop.as_mut() {
            stop.silent += 1;
            stop.send = stop.silent < SILENT_STOPS;
        }
    }

    fn handle_block(&mut self, tx: u8, bytes: &[u8], now: Instant) {
        let heard = self.link.handle_block(tx, bytes);
        if heard.repeat {
            self.handle_nothing_new(now);
            return;
        }
        let block = self.head.take(bytes, now);
        if block.filling_told {
            self.filling_at = now;
        }
        if block.overrun {
            tracing::debug!(fp = %self.settings.fp, ?bytes, "the lengths of a block do not come out; what stood before is used");
        }
        for code in &block.alarms {
            let text = alarm_text(*code).map_or_else(|| format!("alarm {code:02X}"), Into::into);
            self.told.raise(u16::from(*code), text, true);
        }
        for status in &block.undefined {
            let text = format!("status {status}, which is not defined");
            self.told.raise(alarm::UNDEFINED_STATUS | u16::from(*status), text, true);
        }
        if heard.restarted {
            self.handle_restart();
        }
        let done = self.task.take_if(|underway| underway.take(&block, &self.head));
        self.handle_news(&block, now);
        match done {
            Some(done) if done.task == Task::Stop => self.finish_stop(),
            Some(done) => self.handle_effect(&done.task, &block, now),
            None => self.handle_nothing_new(now),
        }
        self.report();
    }

    /// A poll was answered and the task under way has not shown its effect.
    fn handle_nothing_new(&mut self, now: Instant) {
        self.note_drained();
        if let Some(underway) = self.task.as_mut().filter(|underway| underway.accepted.is_some()) {
            underway.polls = underway.polls.saturating_add(1);
            if underway.is_overdue(now)
                && let Some(done) = self.task.take()
            {
                if done.task == Task::Stop {
                    self.finish_stop();
                } else {
                    self.handle_failure(&done.task, Failure::NoEffect, now);
                }
            }
        }
    }

    /// A STOP was acknowledged and waited for.
    fn finish_stop(&mut self) {
        let released = is_released(self.head.status);
        if let Some(stop) = self.stop.as_mut() {
            if !released {
                self.stop = None;
            } else if stop.accepted < MOST_STOPS {
                stop.send = true;
            } else {
                self.stop = None;
                self.told.raise(alarm::STOP, "STOP had no effect: fuel may still flow".into(), true);
            }
        }
    }
}

impl Driver for DartDriver {
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
            PumpCommand::Stop => self.stop(),
            PumpCommand::Suspend if self.settings.suspend => self.hold = Some(Task::Suspend),
            PumpCommand::Resume if self.settings.suspend => self.hold = Some(Task::Resume),
            PumpCommand::Suspend | PumpCommand::Resume => {}
            PumpCommand::Stored(token) => {
                self.told.handle_stored(token);
                if self.ack_hold.is_some_and(|(token, _)| self.told.is_stored(token)) {
                    self.ack_hold = None;
                }
            }
            PumpCommand::SetPrices(prices) => self.set_prices(&prices),
            PumpCommand::Examine => {
                self.told.examine();
                self.examine();
            }
        }
    }

    fn handle_link(&mut self, up: bool, now: Instant) {
        self.contact.link(up, now);
        self.asked = Asked::Nothing;
        self.receiver = Receiver::default();
        if up {
            self.link.restart();
            self.told.heard();
        } else {
            self.told.lose();
        }
        self.begin_read_in(false);
    }

    fn urgency(&self, now: Instant) -> Urgency {
        if !self.contact.is_up() {
            return Urgency::Silent;
        }
        if self.stop_is_to_be_sent() || self.hold_is_to_be_sent() {
            return Urgency::Stop;
        }
        if self.link.owes_ack() && !self.is_ack_held() {
            return Urgency::Answer;
        }
        if !self.contact.is_heard() || self.contact.misses() > 1 || self.told.is_lost() {
            return Urgency::Idle;
        }
        let asks = self.task.is_some()
            || !self.is_ack_held() && (self.is_draining() || self.rest_until <= now && self.wanted(now).is_some());
        if asks && self.chase > 0 {
            return Urgency::Sequence;
        }
        if self.phase.is_active() || self.head.is_out() { Urgency::Active } else { Urgency::Idle }
    }

    fn holds_wire_until(&self) -> Option<Instant> {
        self.ack_hold.filter(|_| self.link.owes_ack()).map(|(_, until)| until)
    }

    fn next_exchange(&mut self, now: Instant) -> Option<Exchange> {
        self.receiver = Receiver::default();
        let stopping = self.stop_is_to_be_sent() || self.hold_is_to_be_sent();
        if self.link.owes_ack() && !stopping {
            if self.is_ack_held() {
                self.link.forget_ack();
            } else if let Some(bytes) = self.link.take_ack() {
                self.asked = Asked::Nothing;
                return Some(Exchange { bytes, expect: Expect::Nothing });
            }
        }
        self.offer_next(now);
        self.chase = self.chase.saturating_sub(1);
        // while a block of the pump waits to be stored only a STOP may go out
        let block = if self.is_ack_held() && !stopping { None } else { self.link.transmit() };
        if block.is_some() {
            self.note_sent(now);
        }
        self.asked = if block.is_some() { Asked::Block } else { Asked::Poll };
        Some(Exchange { bytes: block.unwrap_or_else(|| self.link.poll_frame()), expect: Expect::Answer })
    }

    fn handle_answer(&mut self, bytes: &[u8], now: Instant) -> Progress {
        let mut bad = None;
        for (at, byte) in bytes.iter().enumerate() {
            let mut found = Vec::new();
            self.receiver.push(*byte, &mut found);
            for found in found {
                match found {
                    Found::Frame(frame, _) if frame.address == self.settings.address => {
                        if self.handle_frame(&frame, now) {
                            self.asked = Asked::Nothing;
                            return Progress::Complete { used: at + 1 };
                        }
                    }
                    Found::Frame(frame, _) => bad = Some(format!("a frame of address {:02X}", frame.address)),
                    Found::Refused(why, _) => bad = Some(why.to_string()),
                }
            }
        }
        bad.map_or(Progress::Incomplete, Progress::Garbage)
    }

    fn handle_silence(&mut self, now: Instant) {
        self.contact.miss();
        let asked = core::mem::replace(&mut self.asked, Asked::Nothing);
        if asked == Asked::Block
            && let Some(outcome) = self.link.handle_silence()
        {
            self.handle_outcome(outcome, now);
        }
        if !self.told.is_lost() && self.contact.is_gone(LOST_AFTER, self.settings.comm_lost, now) {
            self.give_up_release();
            self.told.lose();
            self.begin_read_in(false);
            if let Some(stop) = self.stop.as_mut() {
                stop.silent = SILENT_STOPS;
            }
        }
    }

    fn handle_unasked(&mut self, bytes: &[u8], _now: Instant) -> bool {
        bytes.windows(2).any(|pair| pair[0] == self.settings.address && matches!(pair[1] >> 4, 0x3 | 0x5 | 0x7 | 0xC))
    }

    fn poll_event(&mut self) -> Option<PumpEvent> {
        self.told.poll()
    }
}
