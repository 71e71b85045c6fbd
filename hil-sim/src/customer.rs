//! Customers: what they see of a dispenser and the time go in, what they do to it comes out. Pure; variation by a seed.

use crate::dispenser::calculator::Decimals;
use crate::dispenser::{Action, Condition, NozzleIndex, View};
use crate::prng::Prng;
use core::time::Duration;
use forecourt::time::Instant;
use forecourt::units::Volume;
use std::collections::VecDeque;

/// What a customer came to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Lifts when told, fuels until the dispenser stops, hangs up.
    FuelToPreset,
    /// As that, but the tank is full at this volume.
    HangUpEarly {
        /// When.
        at: Volume,
    },
    /// Was told and never lifts.
    NeverLift,
    /// Lifts another nozzle first, finds that nothing comes, hangs it up and takes the right one.
    LiftWrongNozzle {
        /// The other one.
        first: NozzleIndex,
    },
    /// Lifts on arrival, before being told, and waits with it in the hand.
    LiftEarly,
    /// Lifts and hangs up again this often without waiting for fuel, and goes.
    ComeAndGo {
        /// How often.
        times: u8,
    },
    /// Lifts when told and never squeezes.
    NeverSqueeze,
}

/// How long people take; each time is drawn between its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Habits {
    /// From being told, or arriving, to lifting; and between any two acts.
    pub reaction: (Duration, Duration),
    /// From the end of the flow to hanging up.
    pub hang_up: (Duration, Duration),
    /// How long they wait for fuel with a nozzle out, or to be told, before they give up.
    pub patience: (Duration, Duration),
}

impl Default for Habits {
    /// Unhurried people.
    fn default() -> Self {
        let seconds = |least, most| (Duration::from_secs(least), Duration::from_secs(most));
        Self { reaction: seconds(2, 6), hang_up: seconds(1, 4), patience: seconds(60, 120) }
    }
}

impl Habits {
    /// Stunt drivers, for demonstrations and benchmarks.
    #[must_use]
    pub const fn brisk() -> Self {
        Self {
            reaction: (Duration::from_millis(200), Duration::from_millis(600)),
            hang_up: (Duration::from_millis(200), Duration::from_millis(500)),
            patience: (Duration::from_secs(15), Duration::from_secs(25)),
        }
    }
}

/// What a customer is about; each with the time at which the next act is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not told yet; gives up then.
    Waiting,
    /// Walks up to lift the right nozzle.
    Lifting,
    /// Walks up to lift the wrong one.
    LiftingWrong,
    /// Holds the wrong nozzle.
    HoldingWrong,
    /// Holds the right nozzle, no fuel yet; gives up then.
    Holding,
    /// Fuel flows, or has flowed. No time of its own.
    Fuelling,
    /// About to hang up for good.
    HangingUp,
    /// About to hang up and come again this often.
    Trying(u8),
    /// About to lift once more.
    TryingAgain(u8),
    /// Has left.
    Gone,
}

/// One customer at one dispenser.
#[derive(Debug)]
pub struct Customer {
    plan: Plan,
    nozzle: NozzleIndex,
    habits: Habits,
    decimals: Decimals,
    chance: Prng,
    phase: Phase,
    due: Option<Instant>,
    actions: VecDeque<Action>,
    fuelled: bool,
}

impl Customer {
    /// Someone who arrives now for a nozzle of a dispenser whose display has these decimals.
    #[must_use]
    pub fn new(
        plan: Plan,
        nozzle: NozzleIndex,
        decimals: Decimals,
        habits: Habits,
        chance: Prng,
        now: Instant,
    ) -> Self {
        let mut customer = Self {
            plan,
            nozzle,
            habits,
            decimals,
            chance,
            phase: Phase::Waiting,
            due: None,
            actions: VecDeque::new(),
            fuelled: false,
        };
        match plan {
            Plan::LiftEarly => customer.go(Phase::Lifting, habits.reaction, now),
            Plan::ComeAndGo { times } => customer.go(Phase::TryingAgain(times), habits.reaction, now),
            _ => customer.go(Phase::Waiting, habits.patience, now),
        }
        customer
    }

    /// The station, the app or an attendant says: your nozzle is ready.
    pub fn told_ready(&mut self, now: Instant) {
        if self.phase != Phase::Waiting {
            return;
        }
        match self.plan {
            Plan::NeverLift => {}
            Plan::LiftWrongNozzle { .. } => self.go(Phase::LiftingWrong, self.habits.reaction, now),
            _ => self.go(Phase::Lifting, self.habits.reaction, now),
        }
    }

    /// Looks at the dispenser.
    pub fn observe(&mut self, view: &View, now: Instant) {
        if self.phase == Phase::Holding && view.flowing {
            self.fuelled = true;
            self.phase = Phase::Fuelling;
            self.due = None;
        }
        if self.phase != Phase::Fuelling {
            return;
        }
        let full = match self.plan {
            Plan::HangUpEarly { at } => self.decimals.volume(view.figures.volume) >= at,
            _ => false,
        };
        if full {
            // The nozzle clicks off by itself in a full tank; the hand follows.
            self.actions.push_back(Action::Squeeze(false));
        }
        let over =
            matches!(view.condition, Condition::Finished | Condition::Off | Condition::Idle | Condition::Calling);
        if full || over {
            self.go(Phase::HangingUp, self.habits.hang_up, now);
        }
    }

    /// When the customer acts next by itself.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.due.filter(|due| *due <= now) {
            self.due = None;
            self.act(due);
        }
    }

    /// The next thing the customer does.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether the customer has left.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.phase == Phase::Gone
    }

    /// Whether fuel flowed for this customer.
    #[must_use]
    pub const fn has_fuelled(&self) -> bool {
        self.fuelled
    }

    fn act(&mut self, now: Instant) {
        match self.phase {
            Phase::Waiting | Phase::Gone | Phase::Fuelling => self.phase = Phase::Gone,
            Phase::Lifting => {
                self.actions.push_back(Action::Lift(self.nozzle));
                if self.plan == Plan::NeverSqueeze {
                    self.actions.push_back(Action::Squeeze(false));
                }
                self.go(Phase::Holding, self.habits.patience, now);
            }
            Phase::LiftingWrong => {
                if let Plan::LiftWrongNozzle { first } = self.plan {
                    self.actions.push_back(Action::Lift(first));
                }
                self.go(Phase::HoldingWrong, self.habits.reaction, now);
            }
            Phase::HoldingWrong => {
                self.actions.push_back(Action::HangUp);
                self.go(Phase::Lifting, self.habits.reaction, now);
            }
            Phase::Holding | Phase::HangingUp => {
                self.actions.push_back(Action::HangUp);
                self.phase = Phase::Gone;
            }
            Phase::TryingAgain(0) => self.phase = Phase::Gone,
            Phase::TryingAgain(left) => {
                self.actions.push_back(Action::Lift(self.nozzle));
                self.go(Phase::Trying(left), self.habits.hang_up, now);
            }
            Phase::Trying(left) => {
                self.actions.push_back(Action::HangUp);
                self.go(Phase::TryingAgain(left - 1), self.habits.reaction, now);
            }
        }
    }

    fn go(&mut self, phase: Phase, (least, most): (Duration, Duration), now: Instant) {
        self.phase = phase;
        self.due = Some(now + self.chance.between(least, most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispenser::Figures;
    use crate::dispenser::calculator::VolumeDigits;

    fn customer(plan: Plan) -> Customer {
        let chance = Prng::new(5).fork("customer");
        Customer::new(plan, NozzleIndex(1), Decimals::TWO, Habits::default(), chance, Instant::START)
    }

    fn view(condition: Condition, volume: u32) -> View {
        let figures = Figures { volume: VolumeDigits(volume), ..Figures::default() };
        View { condition, nozzle_out: Some(NozzleIndex(1)), figures, flowing: condition == Condition::Fuelling }
    }

    /// Lets the customer do what is due by itself, until nothing is.
    fn all_acts(customer: &mut Customer) -> Vec<Action> {
        while let Some(due) = customer.poll_timeout() {
            customer.handle_timeout(due);
        }
        core::iter::from_fn(|| customer.poll_action()).collect()
    }

    #[test]
    fn a_customer_with_a_preset_hangs_up_when_the_dispenser_has_stopped_and_not_before() {
        let mut customer = customer(Plan::FuelToPreset);
        customer.told_ready(Instant::START);
        let lifted = customer.poll_timeout().expect("a time to lift");
        customer.handle_timeout(lifted);
        assert_eq!(customer.poll_action(), Some(Action::Lift(NozzleIndex(1))));
        customer.observe(&view(Condition::Fuelling, 100), lifted);
        assert_eq!(customer.poll_timeout(), None);
        customer.observe(&view(Condition::Finished, 2_000), lifted);
        assert_eq!(all_acts(&mut customer), [Action::HangUp]);
        assert!(customer.is_gone() && customer.has_fuelled());
    }

    #[test]
    fn a_full_tank_ends_the_flow_before_the_preset() {
        let mut customer = customer(Plan::HangUpEarly { at: Volume::new(5_000) });
        customer.told_ready(Instant::START);
        customer.handle_timeout(Instant::START + Duration::from_secs(6));
        customer.observe(&view(Condition::Fuelling, 499), Instant::START);
        assert_eq!(customer.poll_timeout(), None);
        customer.observe(&view(Condition::Fuelling, 500), Instant::START);
        assert_eq!(all_acts(&mut customer), [Action::Lift(NozzleIndex(1)), Action::Squeeze(false), Action::HangUp]);
    }

    #[test]
    fn the_others_do_what_their_plan_says_when_no_fuel_comes() {
        let (lift, other) = (Action::Lift(NozzleIndex(1)), Action::Lift(NozzleIndex(2)));
        for (plan, acts) in [
            (Plan::NeverLift, vec![]),
            (Plan::LiftEarly, vec![lift, Action::HangUp]),
            (Plan::NeverSqueeze, vec![lift, Action::Squeeze(false), Action::HangUp]),
            (Plan::LiftWrongNozzle { first: NozzleIndex(2) }, vec![other, Action::HangUp, lift, Action::HangUp]),
            (Plan::ComeAndGo { times: 2 }, vec![lift, Action::HangUp, lift, Action::HangUp]),
        ] {
            let mut customer = customer(plan);
            customer.told_ready(Instant::START);
            assert_eq!(all_acts(&mut customer), acts, "{plan:?}");
            assert!(customer.is_gone() && !customer.has_fuelled());
        }
    }
}
