//! A release: look, preset, look again, authorise, and the look whether it had effect (two-wire sheet, section 10).

use super::block::{GradeTotals, HostBlock};
use super::driver::TwoWireDriver;
use super::sale::{Phase, Task};
use super::word::Status;
use core::time::Duration;
use forecourt::pump::{Authorise, Preset, PumpEvent, Refusal};
use forecourt::time::Instant;
use forecourt::units::UnitPrice;

/// Authorises of one release, each after a look at the state.
pub(super) const MOST_AUTHORISES: u8 = 3;
/// Presets of one release; each but the last was refused.
const MOST_PRESETS: u8 = 2;
/// Copies of one preset: it cannot be read back, and a block that is lost as a whole looks like one that was taken.
pub(super) const COPIES: u8 = 2;
/// From an authorise to the next word (sheet, section 12).
pub(super) const AUTHORISE_SHOWS: Duration = Duration::from_millis(68);
/// Times in a row that the pump must still call after an authorise before that is judged to have had no effect.
pub(super) const LOOKS: u8 = 2;
/// From a preset to the look whether the handle is still out.
const PRESET_SETTLES: Duration = Duration::from_millis(100);

pub struct Releasing {
    pub(super) order: Authorise,
    pub(super) step: Step,
    pub(super) repriced: bool,
    pub(super) presets: u8,
    /// Copies of the last of them that went out.
    pub(super) copies: u8,
    /// When the preset went out. Without it there is no authorise.
    pub(super) preset_at: Option<Instant>,
    pub(super) authorises: u8,
    /// When the last authorise went out.
    pub(super) sent: Option<Instant>,
    /// How often it was seen to call since.
    pub(super) looks: u8,
    /// Taken back: no further authorise.
    pub(super) cancelled: bool,
    pub(super) failures: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Which hose, which price, and the totals before.
    Look,
    Reprice,
    Preset,
    Authorise,
    Judge,
    /// It still calls after an authorise: whether that is the same lift, or one after a fuelling that nobody saw.
    Again,
    /// The handle is in after an authorise: whether the totals moved unseen.
    Check,
}

impl TwoWireDriver {
    pub(super) fn authorise(&mut self, order: Authorise, now: Instant) {
        if let Err(why) = self.may_release(&order, now) {
            self.told.emit(PumpEvent::Refused { release: order.release, why });
            return;
        }
        self.drop_task();
        self.disowned = false;
        self.rest_until = now;
        self.phase = Phase::Releasing(Releasing {
            order,
            step: Step::Look,
            repriced: false,
            presets: 0,
            copies: 0,
            preset_at: None,
            authorises: 0,
            sent: None,
            looks: 0,
            cancelled: false,
            failures: 0,
        });
        self.pursue();
    }

    pub(super) fn may_release(&self, order: &Authorise, now: Instant) -> Result<(), Refusal> {
        if !matches!(self.phase, Phase::Ready) || !self.told.is_settled() || self.stop.is_some() {
            return Err(Refusal::Unsettled);
        }
        if let Some(alarm) = self.told.alarm() {
            return Err(Refusal::Faulty(alarm.to_owned()));
        }
        if self.state != Some(Status::Call) || self.lifted(now) != Some(order.nozzle) {
            return Err(Refusal::NotCalling);
        }
        let grade = self.grade_of(order.nozzle).ok_or(Refusal::NotCalling)?;
        if self.habits.preset(&self.settings, order.preset, grade).is_none() {
            return Err(Refusal::PresetUnsupported);
        }
        Ok(())
    }

    pub(super) fn withdraw(&mut self) {
        let sent = match &mut self.phase {
            Phase::Releasing(releasing) => {
                releasing.cancelled = true;
                releasing.sent.is_some()
            }
            _ => false,
        };
        if sent || matches!(self.phase, Phase::Running(_)) || self.state.is_some_and(Status::is_released) {
            self.order_stop();
        } else if matches!(self.phase, Phase::Releasing(_)) {
            self.refuse(Refusal::NoEffect);
        }
    }

    /// The pump is lost while a release was being written and no authorise went out. If one did, only a new look can tell.
    pub(super) fn give_up_release(&mut self) {
        if let Phase::Releasing(Releasing { sent: None, .. }) = self.phase {
            self.refuse(Refusal::Faulty("the pump fell silent before it was released".into()));
        }
    }

    pub(super) fn wanted_for_release(&self, releasing: &Releasing, state: Status, now: Instant) -> Option<Task> {
        let spaced = now >= self.data_next_at;
        if matches!(releasing.step, Step::Check | Step::Again) {
            return Some(Task::Totals);
        }
        if state != Status::Call {
            return None;
        }
        match releasing.step {
            Step::Look if self.hose_is_wanted(now) => Some(Task::Extended),
            Step::Look if self.price_check_at.is_some_and(|at| now < at) => None,
            Step::Look => Some(Task::Totals),
            Step::Reprice => {
                let at = self.settings.nozzles.iter().position(|n| n.nozzle == releasing.order.nozzle)?;
                spaced.then_some(Task::Price(at))
            }
            Step::Preset => spaced.then_some(Task::Preset),
            Step::Authorise => {
                let settled = releasing.preset_at? + PRESET_SETTLES;
                (self.seen_at >= settled).then_some(Task::Authorise)
            }
            Step::Judge | Step::Again | Step::Check => None,
        }
    }

    pub(super) fn preset_block(&self) -> Option<HostBlock> {
        let Phase::Releasing(releasing) = &self.phase else { return None };
        self.habits.preset(&self.settings, releasing.order.preset, self.grade_of(releasing.order.nozzle)?)
    }

    /// An authorise goes out now. Until when the wire is to be quiet.
    pub(super) fn note_authorised(&mut self, now: Instant) -> Instant {
        let shows = now + AUTHORISE_SHOWS;
        if let Phase::Releasing(releasing) = &mut self.phase {
            releasing.authorises += 1;
            releasing.sent = Some(now);
            releasing.looks = 0;
            releasing.step = Step::Judge;
        } else {
            self.resumes_left = self.resumes_left.saturating_sub(1);
            self.resumed_at = now;
        }
        self.pursue();
        shows
    }

    /// The pump said that it refused the last command or block.
    pub(super) fn handle_data_error(&mut self, now: Instant) {
        let Phase::Releasing(releasing) = &mut self.phase else { return };
        if releasing.copies == 0 || !matches!(releasing.step, Step::Preset | Step::Authorise) {
            return;
        }
        if releasing.presets < MOST_PRESETS {
            releasing.preset_at = None;
            releasing.copies = 0;
            releasing.step = Step::Preset;
            self.data_next_at = now + self.habits.data_next_spacing;
            self.pursue();
        } else {
            self.refuse(Refusal::Faulty("a refusal of its preset: check the preset form set for this head".into()));
        }
    }

    /// Price and totals were read anew, the handle being out.
    pub(super) fn check_price(&mut self, now: Instant) {
        let lifted = self.lifted(now);
        let Phase::Releasing(releasing) = &self.phase else { return };
        let (wanted, nozzle, repriced) = (releasing.order.price, releasing.order.nozzle, releasing.repriced);
        let shown = self.shown_price(nozzle).unwrap_or(UnitPrice::ZERO);
        if lifted != Some(nozzle) {
            self.refuse(Refusal::NotCalling);
            return;
        }
        // writing our price helps only if it is the order's
        let ours = self.nozzle(nozzle).is_some_and(|n| n.price == wanted);
        let step = match shown == wanted {
            true => Step::Preset,
            false if ours && !repriced => Step::Reprice,
            false => {
                self.refuse(Refusal::PriceMismatch { shown });
                return;
            }
        };
        if let Phase::Releasing(releasing) = &mut self.phase {
            releasing.repriced |= step == Step::Reprice;
            releasing.step = step;
        }
    }

    /// Totals were read after an authorise that has no effect to be seen. Where they stand still no fuel flowed, and one whose handle
    /// was never in may be tried again, with a preset of its own: the one before may be spent.
    pub(super) fn check_unseen(&mut self, totals: Vec<GradeTotals>, now: Instant) {
        let Phase::Releasing(releasing) = &mut self.phase else { return };
        if self.totals.as_ref() != Some(&totals) {
            if self.totals_read.replace(totals.clone()) == Some(totals) {
                // it was released, fuelled and hung up between two polls
                self.end_unseen(true, now);
            }
        } else if releasing.step == Step::Check {
            self.refuse(Refusal::NotCalling);
        } else if releasing.cancelled || releasing.authorises >= MOST_AUTHORISES {
            self.refuse(Refusal::NoEffect);
        } else {
            (releasing.step, releasing.presets, releasing.copies, releasing.preset_at) = (Step::Preset, 0, 0, None);
        }
    }

    /// A question of the release came to nothing again and again.
    pub(super) fn give_up_asking(&mut self, now: Instant) {
        let Phase::Releasing(releasing) = &self.phase else { return };
        match releasing.step {
            // whether fuel flowed is not known: the end of it is looked for, and at last the books decide
            Step::Check | Step::Again => self.end_unseen(false, now),
            _ => self.refuse(Refusal::NoEffect),
        }
    }

    fn end_unseen(&mut self, delivered: bool, now: Instant) {
        let Phase::Releasing(releasing) = &self.phase else { return };
        let order = releasing.order.clone();
        self.note_released(&order, now);
        if let Phase::Running(running) = &mut self.phase {
            running.delivered |= delivered;
        }
        self.begin_ending(now);
    }

    pub(super) fn note_released(&mut self, order: &Authorise, now: Instant) {
        self.told.emit(PumpEvent::Released { release: order.release });
        let limit = match order.preset {
            Preset::Amount(amount) => Some(amount),
            Preset::Volume(volume) => order.price.cost_of(volume, self.settings.currency),
        };
        self.begin_running(Some(order), limit, now);
    }

    pub(super) fn refuse(&mut self, why: Refusal) {
        if let Phase::Releasing(releasing) = &self.phase {
            let release = releasing.order.release;
            self.disowned = releasing.sent.is_some();
            self.told.emit(PumpEvent::Refused { release, why });
            self.phase = Phase::Ready;
            self.drop_task();
        }
    }
}
