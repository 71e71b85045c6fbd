//! The talk with one GasKitLink post: frames in, frames out, pace and silence. What answers mean for a fuelling is in `sale.rs`.

use super::frame::{Receiver, Step, encode};
use super::look::{Look, logical};
use super::message::{ControllerSays, PostNozzle, PumpSays, Status, Transaction};
use super::phase::{Ask, Phase, ReleaseStep, holds_transaction};
use super::settings::{AuthoriseIn, Habits, TotalQuery};
use super::stop::{HoldJob, StopJob};
use crate::contact::Contact;
use crate::driver::{Driver, Exchange, Expect, Progress, Urgency};
use crate::head::HeadSettings;
use crate::hex::Direction;
use crate::told::Told;
use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId};
use forecourt::pump::{Capabilities, EndRecord, PumpCommand, PumpEvent};
use forecourt::time::Instant;
use std::collections::VecDeque;

/// Polls without a good answer until the post counts as lost, if the time is over too (section 1: 5 to 6).
const LOST_AFTER: u32 = 5;
/// A B that nobody answers overtakes the polls of others so often in a row.
const SILENT_OVERRIDES: u32 = 6;

/// Numbers of alarms.
pub mod alarm {
    /// State 0: the post reports a fault, without a code.
    pub const ERROR: u16 = 0;
    /// Volume × price and amount differ: the decimals of the head are set wrong.
    pub const DECIMALS: u16 = 0x200;
    /// A price cannot be written in the post's four digits.
    pub const PRICE: u16 = 0x201;
    /// B had no effect.
    pub const STOP: u16 = 0x202;
    /// N had no effect: no new sale is possible.
    pub const CLOSE: u16 = 0x203;
}

/// The driver of one GasKitLink post.
pub struct GasKitLinkDriver {
    pub(super) settings: HeadSettings,
    pub(super) habits: Habits,
    capabilities: Capabilities,
    pub(super) told: Told,
    receiver: Receiver,
    asked: Option<Ask>,
    contact: Contact,
    pub(super) phase: Phase,
    pub(super) seen: Option<Look>,
    /// The state is to be read before anything else.
    pub(super) look: bool,
    /// Nothing is asked before, but by a stop.
    pub(super) next_at: Instant,
    pub(super) stop: Option<StopJob>,
    pub(super) hold: Option<HoldJob>,
    /// We reported that V or M had no effect: one that takes effect late is stopped.
    pub(super) disowned: bool,
    /// Everything is to be read again once the post is at rest.
    pub(super) examine_due: bool,
    /// The newest transaction that was told: seen again at the next end it is not that one's.
    pub(super) last_sale: Option<Transaction>,
}

impl GasKitLinkDriver {
    /// A driver that has not heard its post yet.
    #[must_use]
    pub fn new(settings: HeadSettings, habits: Habits) -> Self {
        let capabilities = Capabilities {
            live_volume: true,
            preset_amount: true,
            preset_volume: true,
            reports_call: habits.authorise_in == AuthoriseIn::Calling,
            // it travels with each authorisation and comes back in T
            price_write: true,
            price_read_back: false,
            totals: true,
            stop: true,
            suspend: settings.suspend,
            end_record: EndRecord::UntilCleared,
            decimals_known: false,
            sale_number: false,
            volume_step: settings.decimals.volume_step(),
            total_step: settings.decimals.total_step(),
        };
        let phase = Phase::read_in(VecDeque::new());
        Self {
            settings,
            habits,
            capabilities,
            told: Told::default(),
            receiver: Receiver::new(Some(Direction::Pump)),
            asked: None,
            contact: Contact::default(),
            phase,
            seen: None,
            look: false,
            next_at: Instant::START,
            stop: None,
            hold: None,
            disowned: false,
            examine_due: false,
            last_sale: None,
        }
    }

    pub(super) fn begin_read_in(&mut self) {
        let all = self.settings.nozzles.iter().map(|n| (PostNozzle(n.logical), n.nozzle));
        let left = match self.habits.total_query {
            TotalQuery::Nozzle => all.collect(),
            TotalQuery::Active if self.settings.nozzles.len() == 1 => all.map(|(_, n)| (PostNozzle::ZERO, n)).collect(),
            TotalQuery::Active => VecDeque::new(),
        };
        self.refuse_waiting();
        self.phase = Phase::read_in(left);
        self.told.begin_read_in();
        (self.look, self.hold, self.examine_due) = (false, None, false);
    }

    /// How C asks for a nozzle.
    pub(super) fn total_of(&self, nozzle: NozzleId) -> Option<PostNozzle> {
        match self.habits.total_query {
            TotalQuery::Nozzle => logical(nozzle, &self.settings),
            TotalQuery::Active => Some(PostNozzle::ZERO),
        }
    }

    pub(super) fn status(&self) -> Option<Status> {
        self.seen.map(|seen| seen.status)
    }

    fn next_ask(&self, now: Instant) -> Ask {
        if let Some(ask) = self.override_due(now) {
            return ask;
        }
        if self.look || self.seen.is_none() {
            return Ask::Status;
        }
        match &self.phase {
            Phase::ReadIn(read_in) => match read_in.left.front() {
                _ if !read_in.looked => Ask::Status,
                _ if !read_in.sale_done => Ask::Transaction,
                Some((of, _)) => Ask::Totaliser(*of),
                None => Ask::Status,
            },
            Phase::Ready => Ask::Status,
            Phase::Releasing(releasing) => match releasing.step {
                ReleaseStep::Look | ReleaseStep::Judge => Ask::Status,
                ReleaseStep::Send => Ask::Authorise,
            },
            Phase::Running(running) => {
                let end = &running.end;
                match (self.status(), running.turn) {
                    (Some(Status::Stopped), _) if end.sale.is_none() => Ask::Transaction,
                    (Some(Status::Stopped), _) if end.total.is_none() => self.total_ask(running.nozzle),
                    (Some(Status::Fuelling), 1) => Ask::Volume,
                    (Some(Status::Fuelling), 2) => Ask::Money,
                    _ => Ask::Status,
                }
            }
            Phase::Ending(ending) => {
                if ending.end.sale.is_some() && ending.end.total.is_none() {
                    self.total_ask(ending.nozzle)
                } else {
                    Ask::Transaction
                }
            }
            Phase::Closing(closing) if closing.may_close && self.told.is_settled() => Ask::Close,
            Phase::Closing(_) => Ask::Status,
        }
    }

    fn total_ask(&self, nozzle: Option<NozzleId>) -> Ask {
        nozzle.and_then(|nozzle| self.total_of(nozzle)).map_or(Ask::Status, Ask::Totaliser)
    }

    fn words(&self, ask: Ask) -> ControllerSays {
        match ask {
            Ask::Status => ControllerSays::Status,
            Ask::Volume => ControllerSays::Volume,
            Ask::Money => ControllerSays::Money,
            Ask::Transaction => ControllerSays::Transaction,
            Ask::Totaliser(of) => ControllerSays::Totaliser(of),
            Ask::Authorise => match &self.phase {
                Phase::Releasing(releasing) => releasing.says,
                _ => ControllerSays::Status,
            },
            Ask::Close => ControllerSays::Close,
            Ask::Stop => ControllerSays::Stop,
            Ask::Resume => ControllerSays::Resume,
        }
    }

    fn note_sent(&mut self, ask: Ask, now: Instant) {
        if self.override_due(now).is_some() {
            self.note_override_sent(ask, now);
            return;
        }
        match &mut self.phase {
            Phase::Releasing(releasing) if ask == Ask::Authorise => {
                releasing.sent += 1;
                releasing.sent_at = now;
                releasing.answered = false;
                releasing.step = ReleaseStep::Judge;
            }
            Phase::Closing(closing) if ask == Ask::Close => {
                closing.may_close = false;
                closing.sent = Some(now);
                closing.tries = closing.tries.saturating_add(1);
            }
            _ => {}
        }
    }

    /// How long to rest before the next question.
    fn rest(&self) -> Duration {
        let pace = match &self.phase {
            Phase::ReadIn(_) | Phase::Ending(_) => Duration::ZERO,
            Phase::Releasing(releasing) if releasing.step == ReleaseStep::Judge && releasing.answered => {
                self.habits.active_poll
            }
            Phase::Releasing(_) => Duration::ZERO,
            Phase::Ready if self.status() == Some(Status::Calling) => self.habits.active_poll,
            Phase::Ready => self.habits.idle_poll,
            Phase::Running(running) => {
                let open = running.end.sale.is_none() || running.end.total.is_none();
                if open && self.status() == Some(Status::Stopped) { Duration::ZERO } else { self.habits.active_poll }
            }
            Phase::Closing(closing) if !self.told.is_settled() || closing.tries > 0 => self.habits.active_poll,
            Phase::Closing(_) => Duration::ZERO,
        };
        if self.look || self.hold.is_some() { Duration::ZERO } else { pace }
    }

    fn note_good(&mut self, now: Instant) {
        self.contact.good(now);
        self.told.heard();
    }

    /// Whether one exchange is to follow another.
    fn is_in_sequence(&self) -> bool {
        match &self.phase {
            Phase::ReadIn(_) | Phase::Releasing(_) | Phase::Ending(_) => true,
            Phase::Running(_) => self.rest().is_zero(),
            Phase::Closing(closing) => self.told.is_settled() && closing.sent.is_none(),
            Phase::Ready => false,
        }
    }

    fn lose(&mut self) {
        self.give_up_release();
        self.told.lose();
        self.seen = None;
        self.begin_read_in();
    }
}

impl Driver for GasKitLinkDriver {
    fn fp(&self) -> FuellingPointId {
        self.settings.fp
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn handle_command(&mut self, command: PumpCommand, now: Instant) {
        match command {
            PumpCommand::Authorise(order) => self.authorise(order, now),
            PumpCommand::Withdraw | PumpCommand::Stop => self.withdraw(now),
            PumpCommand::Suspend => self.order_hold(false, now),
            PumpCommand::Resume => self.order_hold(true, now),
            PumpCommand::Stored(token) => {
                self.told.handle_stored(token);
                self.handle_settled(now);
            }
            PumpCommand::SetPrices(prices) => self.set_prices(&prices),
            PumpCommand::Examine => {
                self.told.examine();
                self.examine(now);
            }
        }
    }

    fn handle_link(&mut self, up: bool, now: Instant) {
        self.contact.link(up, now);
        self.asked = None;
        self.next_at = now;
        if !up {
            self.lose();
        }
        self.seen = None;
        self.begin_read_in();
    }

    fn urgency(&self, now: Instant) -> Urgency {
        if !self.contact.is_up() {
            return Urgency::Silent;
        }
        let overrides = self.override_due(now).is_some() || self.look && (self.stop.is_some() || self.hold.is_some());
        if overrides && self.contact.misses() < SILENT_OVERRIDES {
            return Urgency::Stop;
        }
        if self.contact.misses() > 1 || self.told.is_lost() {
            return Urgency::Idle;
        }
        if self.next_at > now {
            return Urgency::Silent;
        }
        if self.is_in_sequence() {
            return Urgency::Sequence;
        }
        let active = self.status().is_some_and(|status| status == Status::Calling || holds_transaction(status));
        if active { Urgency::Active } else { Urgency::Idle }
    }

    fn silent_until(&self) -> Option<Instant> {
        self.contact.is_up().then(|| self.next_stop().map_or(self.next_at, |stop| stop.min(self.next_at)))
    }

    fn next_exchange(&mut self, now: Instant) -> Option<Exchange> {
        let ask = self.next_ask(now);
        let bytes = encode(self.settings.address.into(), &self.words(ask).write());
        self.note_sent(ask, now);
        self.receiver = Receiver::new(Some(Direction::Pump));
        self.asked = Some(ask);
        Some(Exchange { bytes, expect: Expect::Answer })
    }

    fn handle_answer(&mut self, bytes: &[u8], now: Instant) -> Progress {
        for (at, byte) in bytes.iter().enumerate() {
            let frame = match self.receiver.push(*byte) {
                Step::More => continue,
                Step::Bad(why) => return Progress::Garbage(why.to_string()),
                Step::Frame(frame) => frame,
            };
            if frame.address != u16::from(self.settings.address) {
                return Progress::Garbage(format!("a frame of address {:04X}", frame.address));
            }
            let Some(says) = PumpSays::read(&frame.body) else {
                return Progress::Garbage("data that the letter cannot have".into());
            };
            let Some(ask) = self.asked.take_if(|ask| ask.fits(&says)) else {
                return Progress::Garbage("the answer to another question".into());
            };
            self.note_good(now);
            self.next_at = now;
            self.handle(ask, &says, now);
            if self.next_at <= now {
                self.next_at = now + self.rest();
            }
            return Progress::Complete { used: at + 1 };
        }
        Progress::Incomplete
    }

    fn handle_silence(&mut self, now: Instant) {
        self.contact.miss();
        self.next_at = now;
        if let Some(ask) = self.asked.take() {
            self.handle_failure(ask, now);
        }
        if !self.told.is_lost() && self.contact.is_gone(LOST_AFTER, self.settings.comm_lost, now) {
            self.lose();
        }
    }

    fn handle_unasked(&mut self, bytes: &[u8], _now: Instant) -> bool {
        bytes.windows(3).any(|mark| mark == [super::frame::BEGIN, 0, self.settings.address])
    }

    fn poll_event(&mut self) -> Option<PumpEvent> {
        self.told.poll()
    }
}
