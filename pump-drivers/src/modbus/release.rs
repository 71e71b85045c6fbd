//! The release of one fuelling: limit and price written and read back, the command, and what the state shows of it.

use super::driver::{Activity, ModbusDriver};
use super::image::Doing;
use super::order::{Outcome, Verb};
use super::point::Raw;
use super::profile::{Kind, Role};
use super::sale::Phase;
use core::time::Duration;
use forecourt::pump::{Authorise, Preset, PumpEvent, Refusal};
use forecourt::time::Instant;
use forecourt::units::UnitPrice;

/// Commands of one release, each after a look at the state.
const MOST_AUTHORISES: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Limit and price.
    Setup,
    /// They stand; the price that is shown is to be looked at.
    Price,
    Command,
    /// The command is out: the state decides.
    Judge,
}

/// A release under way.
pub(super) struct Releasing {
    order: Authorise,
    /// Counts that must stand in the device before the command.
    pub setup: Vec<(Role, Raw)>,
    step: Step,
    looks: u8,
    authorises: u8,
    /// When the first command went out.
    sent: Option<Instant>,
    outcome: Option<Outcome>,
    /// Taken back: never sent again.
    cancelled: bool,
}

impl Releasing {
    /// Whether a command may have gone out before: the device may have begun anew since, and a release that waits must not be disturbed.
    pub const fn reads_setup_first(&self) -> bool {
        self.authorises > 0
    }

    /// The command that is wanted now; [`Verb::Clear`] stands for the setup, none for a look.
    pub fn wants(&self) -> Option<Verb> {
        match self.step {
            Step::Setup => Some(Verb::Clear),
            Step::Command => Some(Verb::Authorise),
            Step::Price | Step::Judge => None,
        }
    }
}

impl ModbusDriver {
    pub(super) fn authorise(&mut self, order: Authorise, now: Instant) {
        match self.may_release(&order) {
            Ok(setup) => {
                self.drop_activity();
                self.disowned = false;
                self.rest_until = now;
                self.phase = Phase::Releasing(Releasing {
                    order,
                    setup,
                    step: Step::Setup,
                    looks: 0,
                    authorises: 0,
                    sent: None,
                    outcome: None,
                    cancelled: false,
                });
                self.pursue();
            }
            Err(why) => self.told.emit(PumpEvent::Refused { release: order.release, why }),
        }
    }

    /// What must stand in the device before the command, or why there is no release.
    fn may_release(&self, order: &Authorise) -> Result<Vec<(Role, Raw)>, Refusal> {
        if self.habits.profile.kind != Kind::Dispenser {
            let text = "its profile is for collecting only: nothing is released there".into();
            return Err(Refusal::Faulty(text));
        }
        let ready = matches!(self.phase, Phase::Ready) && self.told.is_settled() && self.ack.is_none();
        if !ready || self.stop.is_some() || self.command_unknown {
            return Err(Refusal::Unsettled);
        }
        if let Some(alarm) = self.told.alarm() {
            return Err(Refusal::Faulty(alarm.into()));
        }
        if self.doing() != Some(Doing::Calling) || self.lifted() != Some(order.nozzle) {
            return Err(Refusal::NotCalling);
        }
        let nozzle = self.settings.nozzles.iter().find(|n| n.nozzle == order.nozzle).ok_or(Refusal::NotCalling)?;
        let mut setup = self.preset_counts(order.preset).ok_or(Refusal::PresetUnsupported)?;
        let shown = self.shown_price();
        // writing our prices helps only if ours is the order's
        let ours = nozzle.price == order.price && self.habits.profile.has(Role::SetPrice);
        if shown.is_some_and(|shown| shown != order.price) && !ours {
            return Err(Refusal::PriceMismatch { shown: shown.unwrap_or(UnitPrice::ZERO) });
        }
        let price = self.price_counts(order.price);
        setup.extend(price.ok_or(Refusal::PriceMismatch { shown: shown.unwrap_or(UnitPrice::ZERO) })?);
        Ok(setup)
    }

    /// The counts of a limit, rounded down. `None` where the map cannot hold it.
    fn preset_counts(&self, preset: Preset) -> Option<Vec<(Role, Raw)>> {
        let profile = &self.habits.profile;
        let (word, counted, units) = match preset {
            Preset::Volume(volume) => ("volume", Role::Volume, volume.get()),
            Preset::Amount(amount) => ("amount", Role::Amount, amount.get()),
        };
        let raw = profile.point(counted)?.scale.counts_within(units).filter(|raw| raw.0 > 0)?;
        profile.point(Role::PresetValue)?.registers(raw)?;
        let mut counts = vec![(Role::PresetValue, raw)];
        match profile.point(Role::PresetKind) {
            Some(kind) => counts.insert(0, (Role::PresetKind, kind.count_of(word)?)),
            // without a kind every limit is a volume
            None if word == "amount" => return None,
            None => {}
        }
        Some(counts)
    }

    /// Limit and price were written and read back, or do not stand.
    pub(super) fn handle_preset(&mut self, stands: bool) {
        let shown = self.shown_price();
        let Phase::Releasing(releasing) = &mut self.phase else { return };
        if releasing.cancelled {
            self.refuse(Refusal::NoEffect);
        } else if !stands {
            self.refuse(Refusal::Faulty(
                "limit and price do not stand in the dispenser after they were written".into(),
            ));
        } else if shown.is_some_and(|shown| shown != releasing.order.price) {
            releasing.step = Step::Price;
        } else {
            releasing.step = Step::Command;
        }
        self.pursue();
    }

    pub(super) fn note_authorise_sent(&mut self, now: Instant) {
        if let Phase::Releasing(releasing) = &mut self.phase {
            releasing.sent.get_or_insert(now);
        }
    }

    /// The command is over or was dropped; the state is looked at before anything else.
    pub(super) fn handle_authorised(&mut self, outcome: Outcome, _now: Instant) {
        if let Phase::Releasing(releasing) = &mut self.phase {
            releasing.step = Step::Judge;
            releasing.authorises += 1;
            releasing.outcome = Some(outcome);
            self.pursue();
        }
    }

    /// State and price were read while a release is under way.
    pub(super) fn look(&mut self, now: Instant) {
        let (doing, lifted, shown) = (self.doing(), self.lifted(), self.shown_price());
        let numbered = self.image.raw(Role::SaleSequence).map(|raw| raw.0);
        let ended = numbered.is_some() && numbered != self.sequence;
        let slow = self.habits.slow_effect;
        let Phase::Releasing(releasing) = &mut self.phase else { return };
        let (release, nozzle) = (releasing.order.release, releasing.order.nozzle);
        let sent = releasing.sent;
        if doing.is_some_and(Doing::is_released) || ended {
            self.told.emit(match sent {
                Some(_) => PumpEvent::Released { release },
                None => PumpEvent::Refused { release, why: Refusal::Unsettled },
            });
            // a command under way still has its 0 to write
            self.activity.take_if(|activity| matches!(activity, Activity::Write(..)));
            self.begin_running(Some(nozzle));
            self.follow(now);
            return;
        }
        let calling = doing == Some(Doing::Calling) && lifted == Some(nozzle);
        let waited = sent.map_or(Duration::ZERO, |sent| now.since(sent));
        let outcome = releasing.outcome;
        if releasing.cancelled {
            self.refuse(Refusal::NoEffect);
        } else if !calling {
            self.refuse(Refusal::NotCalling);
        } else if releasing.step == Step::Price {
            releasing.looks += 1;
            if shown == Some(releasing.order.price) {
                releasing.step = Step::Command;
                self.pursue();
            } else if releasing.looks >= 3 {
                self.refuse(Refusal::PriceMismatch { shown: shown.unwrap_or(UnitPrice::ZERO) });
            }
        } else if releasing.step == Step::Judge {
            match outcome {
                Some(Outcome::Refused) => {
                    self.refuse(Refusal::Faulty("the dispenser refused to be released".into()));
                }
                // what was silent may have been without power: the limit must stand there still
                Some(Outcome::NotArrived) if releasing.authorises < MOST_AUTHORISES => {
                    releasing.step = Step::Setup;
                    self.pursue();
                }
                Some(Outcome::NotArrived) => self.refuse(Refusal::NoEffect),
                _ if waited >= slow => self.refuse(Refusal::NoEffect),
                // some devices are slow
                _ => {}
            }
        }
    }

    pub(super) fn refuse(&mut self, why: Refusal) {
        if let Phase::Releasing(releasing) = &self.phase {
            let release = releasing.order.release;
            self.disowned = releasing.sent.is_some();
            self.told.emit(PumpEvent::Refused { release, why });
            self.activity.take_if(|activity| matches!(activity, Activity::Write(..)));
            self.become_ready();
        }
    }

    pub(super) fn withdraw(&mut self) {
        let sent = match &mut self.phase {
            Phase::Releasing(releasing) => {
                releasing.cancelled = true;
                releasing.sent.is_some()
            }
            _ => false,
        };
        if sent || matches!(self.phase, Phase::Running(_)) {
            self.order_stop();
        } else if matches!(self.phase, Phase::Releasing(_)) {
            self.refuse(Refusal::NoEffect);
        }
    }

    /// The device is lost while a release was being written and the command never went out. If it did, only a new look can tell.
    pub(super) fn give_up_release(&mut self) {
        if let Phase::Releasing(Releasing { sent: None, .. }) = self.phase {
            self.refuse(Refusal::Faulty("the dispenser fell silent before it was released".into()));
        }
    }
}
