//! The talk with one device by its register map: questions out, answers in, silence and what the device will not do. What is asked
//! when, and what it means for a fuelling, is in `sale.rs`.

use super::image::{Doing, Image};
use super::order::{Order, Outcome, Verb};
use super::pass::{Pass, Purpose, Read};
use super::profile::{Kind, Role};
use super::sale::Phase;
use super::settings::Habits;
use super::wire::{Answer, Question, Taken, Talk};
use super::write::{Write, Wrote};
use crate::contact::Contact;
use crate::driver::{Driver, Exchange, Expect, Progress, Urgency};
use crate::head::HeadSettings;
use crate::told::Told;
use core::time::Duration;
use forecourt::ids::FuellingPointId;
use forecourt::pump::{Capabilities, EndRecord, PumpCommand, PumpEvent, Token};
use forecourt::time::Instant;
use forecourt::units::Volume;

/// Exchanges in a row for one step of a release or an end; then others have their turn.
const CHASE: u8 = 8;
/// Questions without a good answer until the device counts as lost, if the time is over too.
const LOST_AFTER: u32 = 3;
/// After a device said that it will not or cannot, nothing of that kind is asked for so long.
const REST: Duration = Duration::from_secs(2);

/// Numbers of alarms that are ours and not the device's.
pub mod alarm {
    /// An exception of the standard: plus its code.
    pub const EXCEPTION: u16 = 0x300;
    /// A state that the profile has no word for.
    pub const STATE: u16 = 0x320;
    /// Another device than the profile's.
    pub const IDENTITY: u16 = 0x321;
    /// Sales were not read before the device overwrote them.
    pub const GAP: u16 = 0x322;
    /// STOP was taken again and again, and fuel may still flow.
    pub const STOP: u16 = 0x323;
    /// Records wait in the device that cannot be booked from its map.
    pub const RECORDS: u16 = 0x324;
    /// A value does not stand after it was written.
    pub const WRITE: u16 = 0x325;
    /// The device's own fault.
    pub const FAULT: u16 = 0x326;
    /// A price cannot be written in the counts of the device.
    pub const PRICE: u16 = 0x327;
    /// The valve's contactor is not where its relay is.
    pub const CONTACTOR: u16 = 0x328;
}

/// What is under way.
pub(super) enum Activity {
    Pass(Pass),
    Write(Write, Aim),
    Order(Order),
}

/// What a write is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    /// Limit and price of a release.
    Preset,
    /// The number of the sale that is stored.
    Ack,
    /// The price at rest.
    Price,
}

/// A STOP that is to be done.
#[derive(Default, Clone, Copy)]
pub(super) struct StopJob {
    /// A STOP is to be sent now.
    pub send: bool,
    /// STOPs that the device has taken.
    pub taken: u8,
    /// The state is to be looked at since.
    pub judge: bool,
    /// Nobody answered: it goes out again once the device is heard.
    pub unheard: bool,
}

/// The driver of one device with a register map.
pub struct ModbusDriver {
    pub(super) settings: HeadSettings,
    pub(super) habits: Habits,
    capabilities: Capabilities,
    talk: Talk,
    pub(super) told: Told,
    pub(super) activity: Option<Activity>,
    pub(super) image: Image,
    pub(super) phase: Phase,
    pub(super) stop: Option<StopJob>,
    /// Pause or resume, to be sent.
    pub(super) hold: Option<Verb>,
    /// The sale to be acknowledged once its token is stored.
    pub(super) ack: Option<(Token, super::point::Raw)>,
    /// Number of the last sale that was told.
    pub(super) sequence: Option<i64>,
    /// What stands in the command register is not known.
    pub(super) command_unknown: bool,
    /// We reported that an authorise had no effect: one that takes effect late is stopped.
    pub(super) disowned: bool,
    pub(super) examine_due: bool,
    pub(super) price_due: bool,
    pub(super) slow_at: Instant,
    pub(super) rest_until: Instant,
    /// The end that the state shows is told.
    pub(super) end_told: bool,
    /// The finished fuelling point was told to go to idle.
    pub(super) let_go: bool,
    chase: u8,
    contact: Contact,
}

impl ModbusDriver {
    /// A driver that has not heard its device yet. The map of its habits is one of kind dispenser or collect.
    #[must_use]
    pub fn new(settings: HeadSettings, habits: Habits) -> Self {
        let capabilities = capabilities(&settings, &habits);
        Self {
            talk: Talk::new(habits.framing, habits.first_transaction),
            capabilities,
            settings,
            habits,
            told: Told::default(),
            activity: None,
            image: Image::default(),
            phase: Phase::read_in(false),
            stop: None,
            hold: None,
            ack: None,
            sequence: None,
            command_unknown: true,
            disowned: false,
            examine_due: false,
            price_due: true,
            slow_at: Instant::START,
            rest_until: Instant::START,
            end_told: false,
            let_go: false,
            chase: 0,
            contact: Contact::default(),
        }
    }

    pub(super) fn pursue(&mut self) {
        self.chase = CHASE;
    }

    pub(super) fn begin_read_in(&mut self, power_cycled: bool) {
        self.phase = Phase::read_in(power_cycled);
        self.drop_activity();
        self.image = Image::default();
        self.told.begin_read_in();
        self.hold = None;
        self.ack = None;
        self.command_unknown = true;
        self.examine_due = false;
        self.pursue();
    }

    /// Another word goes first. A command that may have arrived is judged by the state.
    pub(super) fn drop_activity(&mut self) {
        self.talk.forget();
        if let Some(Activity::Order(order)) = self.activity.take()
            && order.may_have_arrived()
        {
            self.command_unknown = true;
            self.note_order_dropped(order.verb);
        }
    }

    fn stop_is_to_be_sent(&self) -> bool {
        let unsent = |activity: &Activity| matches!(activity, Activity::Order(order) if order.verb == Verb::Stop && order.is_unsent());
        self.stop.is_some_and(|stop| stop.send) || self.activity.as_ref().is_some_and(unsent)
    }

    fn hold_is_to_be_sent(&self) -> bool {
        let unsent = |activity: &Activity| matches!(activity, Activity::Order(order) if matches!(order.verb, Verb::Pause | Verb::Resume) && order.is_unsent());
        self.hold.is_some() || self.activity.as_ref().is_some_and(unsent)
    }

    pub(super) fn pass(&self, purpose: Purpose) -> Option<Activity> {
        Pass::new(&self.habits.profile, purpose).map(Activity::Pass)
    }

    pub(super) fn order(&self, verb: Verb, now: Instant) -> Option<Activity> {
        Order::new(&self.habits.profile, verb, self.habits.slow_effect, now).map(Activity::Order)
    }

    fn question(&mut self, now: Instant) -> Option<Question> {
        if let Some(stop) = self.stop.as_mut().filter(|stop| stop.send) {
            stop.send = false;
            self.drop_activity();
            self.activity = self.order(Verb::Stop, now);
        } else if self.stop.is_none()
            && let Some(verb) = self.hold.take()
        {
            self.drop_activity();
            self.activity = self.order(verb, now);
        }
        if self.activity.is_none() {
            self.activity = self.next_activity(now);
        }
        match self.activity.as_mut()? {
            Activity::Pass(pass) => pass.question(),
            Activity::Write(write, _) => write.question(),
            Activity::Order(order) => {
                let question = order.question(&self.habits.profile);
                if order.verb == Verb::Authorise && order.may_have_arrived() {
                    self.note_authorise_sent(now);
                }
                question
            }
        }
    }

    /// A good answer to the question under way.
    fn handle_good(&mut self, answer: &Answer, now: Instant) {
        self.contact.good(now);
        self.told.heard();
        if let Some(stop) = self.stop.as_mut().filter(|stop| stop.unheard) {
            (stop.unheard, stop.send) = (false, true);
        }
        if let Answer::Exception(code) = answer {
            self.handle_exception(*code, now);
            return;
        }
        let Some(activity) = self.activity.take() else { return };
        let profile = self.habits.profile.clone();
        match activity {
            Activity::Pass(mut pass) => match pass.take(&profile, answer) {
                Read::More => self.activity = Some(Activity::Pass(pass)),
                Read::Torn => {}
                Read::Done(image) => self.handle_read(pass.purpose, image, now),
            },
            Activity::Write(mut write, aim) => match write.take(&profile, answer) {
                Wrote::More => {
                    self.activity = Some(Activity::Write(write, aim));
                    self.pursue();
                }
                wrote => self.handle_written(aim, wrote == Wrote::Stands, now),
            },
            Activity::Order(mut order) => {
                let (verb, waited) = (order.verb, order.waits());
                match order.take(&profile, answer, now) {
                    None => {
                        if !(waited && order.waits()) {
                            self.pursue();
                        }
                        self.activity = Some(Activity::Order(order));
                    }
                    Some(outcome) => self.handle_ordered(verb, outcome, now),
                }
            }
        }
    }

    /// The device will not: 1 to 3 mean that the profile does not fit it, the others that it cannot now.
    fn handle_exception(&mut self, code: u8, now: Instant) {
        let Some(activity) = self.activity.take() else { return };
        let unfit = matches!(code, 1..=3);
        let what = match &activity {
            Activity::Pass(pass) => format!("reading {:?}", pass.purpose).to_lowercase(),
            Activity::Write(_, aim) => format!("writing {aim:?}").to_lowercase(),
            Activity::Order(order) => format!("command {}", order.verb.word()),
        };
        let text = format!(
            "exception {code} ({}) to {what}: {}",
            exception_text(code),
            if unfit {
                "the profile does not fit the device; compare addresses and functions with its document"
            } else {
                "look at the device"
            }
        );
        // busy is no alarm
        if code != 6 && code != 5 {
            self.told.raise(alarm::EXCEPTION + u16::from(code), text, unfit);
        }
        self.rest_until = now + if unfit { REST } else { REST / 4 };
        match activity {
            Activity::Pass(pass) => self.handle_unreadable(pass.purpose, unfit, now),
            Activity::Write(_, aim) => self.handle_written(aim, false, now),
            Activity::Order(order) => self.handle_ordered(order.verb, Outcome::Refused, now),
        }
    }
}

fn capabilities(settings: &HeadSettings, habits: &Habits) -> Capabilities {
    let profile = &habits.profile;
    let releases = profile.kind == Kind::Dispenser;
    let word = |role: Role, word: &str| profile.point(role).is_some_and(|point| point.count_of(word).is_some());
    let kinds = profile.has(Role::PresetKind);
    let numbered = profile.has(Role::SaleSequence);
    Capabilities {
        live_volume: profile.has(Role::Volume),
        preset_amount: releases && word(Role::PresetKind, "amount"),
        preset_volume: releases && (!kinds || word(Role::PresetKind, "volume")),
        reports_call: releases,
        price_write: profile.has(Role::SetPrice),
        price_read_back: profile.has(Role::Price) || profile.has(Role::SetPrice),
        totals: profile.has(Role::TotalVolume),
        stop: word(Role::Command, "stop"),
        suspend: settings.suspend && word(Role::Command, "pause") && word(Role::Command, "resume"),
        end_record: match (numbered, profile.has(Role::SaleAck)) {
            (true, true) => EndRecord::UntilCleared,
            (true, false) => EndRecord::UntilNextSale,
            // sales are derived from the totaliser and marked so
            (false, _) => EndRecord::None,
        },
        decimals_known: true,
        sale_number: numbered,
        volume_step: Volume::new(profile.point(Role::Volume).map_or(1, |point| point.scale.step())),
        total_step: Volume::new(profile.point(Role::TotalVolume).map_or(1, |point| point.scale.step())),
    }
}

/// The words of the standard for an exception.
#[must_use]
pub const fn exception_text(code: u8) -> &'static str {
    match code {
        1 => "illegal function",
        2 => "illegal data address",
        3 => "illegal data value",
        4 => "device failure",
        5 => "acknowledge",
        6 => "device busy",
        8 => "memory parity error",
        10 => "gateway path unavailable",
        11 => "gateway target silent",
        _ => "not defined",
    }
}

impl Driver for ModbusDriver {
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
            PumpCommand::Stop => self.order_stop_now(),
            PumpCommand::Suspend if self.capabilities.suspend => self.hold = Some(Verb::Pause),
            PumpCommand::Resume if self.capabilities.suspend => self.hold = Some(Verb::Resume),
            PumpCommand::Suspend | PumpCommand::Resume => {}
            PumpCommand::Stored(token) => {
                self.told.handle_stored(token);
                self.pursue();
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
        if !up {
            self.give_up_release();
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
        if !self.contact.is_heard() || self.contact.misses() > 1 || self.told.is_lost() {
            return Urgency::Idle;
        }
        let sequence =
            !matches!(self.activity, None | Some(Activity::Pass(_))) || self.phase.is_sequence() || self.ack_is_due();
        if sequence && self.chase > 0 && self.rest_until <= now {
            return Urgency::Sequence;
        }
        let active = self.phase.is_active() || self.image.doing(&self.habits.profile) == Ok(Doing::Calling);
        if active { Urgency::Active } else { Urgency::Idle }
    }

    fn next_exchange(&mut self, now: Instant) -> Option<Exchange> {
        self.chase = self.chase.saturating_sub(1);
        let question = self.question(now)?;
        match self.talk.ask(self.settings.address, question) {
            Ok(bytes) => Some(Exchange { bytes, expect: Expect::Answer }),
            Err(why) => {
                self.activity = None;
                self.told.raise(alarm::WRITE, format!("a question cannot be put in a frame: {why}"), true);
                None
            }
        }
    }

    fn handle_answer(&mut self, bytes: &[u8], now: Instant) -> Progress {
        let mut bad = None;
        for (at, byte) in bytes.iter().enumerate() {
            match self.talk.take(*byte) {
                Taken::More => {}
                // the gateway speaks for a device that is silent
                Taken::Answer(Answer::Exception(code @ (10 | 11))) => {
                    return Progress::Garbage(format!("exception {code}: {}", exception_text(code)));
                }
                Taken::Answer(answer) => {
                    self.handle_good(&answer, now);
                    return Progress::Complete { used: at + 1 };
                }
                Taken::Bad(why) => bad = Some(why),
            }
        }
        bad.map_or(Progress::Incomplete, Progress::Garbage)
    }

    fn handle_silence(&mut self, now: Instant) {
        self.contact.miss();
        self.talk.forget();
        match self.activity.take() {
            Some(Activity::Write(mut write, aim)) => match write.silence() {
                Wrote::Fails => self.handle_written(aim, false, now),
                Wrote::More | Wrote::Stands => self.activity = Some(Activity::Write(write, aim)),
            },
            Some(Activity::Order(mut order)) => match order.silence() {
                Some(outcome) => self.handle_ordered(order.verb, outcome, now),
                None => self.activity = Some(Activity::Order(order)),
            },
            Some(Activity::Pass(_)) | None => {}
        }
        if !self.told.is_lost() && self.contact.is_gone(LOST_AFTER, self.settings.comm_lost, now) {
            self.give_up_release();
            self.told.lose();
            self.begin_read_in(false);
        }
    }

    fn handle_unasked(&mut self, bytes: &[u8], _now: Instant) -> bool {
        bytes.windows(2).any(|pair| pair[0] == self.settings.address && matches!(pair[1] & 0x7F, 1..=6 | 15 | 16))
    }

    fn poll_event(&mut self) -> Option<PumpEvent> {
        self.told.poll()
    }
}
