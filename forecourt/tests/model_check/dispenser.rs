//! A dispenser of one nozzle, and the driver that speaks with it.
//!
//! The dispenser has a power supply and a mind of its own: state, last filling and totaliser outlive the controller. The driver is
//! part of the controller's process and forgets with it. It keeps what the core counts on: one answer to each release, no release while
//! something read is not durable, everything read before anything is written.

use crate::station::{NOZZLE, ORDER_ML, PRICE};
use forecourt::ids::OrderId;
use forecourt::pump::{Authorise, PumpEvent, Reading, Refusal, Snapshot, State, Token};
use forecourt::units::{Money, Volume};

/// What a fuelling really was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filling {
    pub order: Option<OrderId>,
    pub volume: i64,
    pub stopped: bool,
}

impl Filling {
    /// The dispenser cuts the fraction that a calculation from outside would round: figures made up elsewhere show.
    pub fn amount(&self) -> i64 {
        self.volume * PRICE.get() / 10_000_000
    }

    fn reading(&self) -> Reading {
        let (volume, amount) = (Volume::new(self.volume), Money::new(self.amount()));
        Reading { nozzle: Some(NOZZLE), volume, amount, price: Some(PRICE) }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Dispenser {
    pub lifted: bool,
    pub running: Option<Filling>,
    /// Kept until the next fuelling begins, or until it is cleared.
    pub last: Option<Reading>,
    pub totaliser: i64,
    /// All fuellings that have ended: what the books must come to.
    pub done: Vec<Filling>,
}

impl Dispenser {
    pub fn state(&self) -> State {
        match &self.running {
            Some(filling) if filling.volume > 0 => State::Fuelling,
            Some(_) => State::Started,
            None if self.lifted => State::Calling,
            None => State::Idle,
        }
    }

    pub fn can_flow(&self) -> bool {
        self.running.as_ref().is_some_and(|filling| !filling.stopped && filling.volume < ORDER_ML)
    }

    pub fn flow(&mut self, ml: i64) {
        if let Some(filling) = &mut self.running {
            filling.volume += ml;
            self.totaliser += ml;
        }
    }

    /// The figures of the fuelling that this ended.
    pub fn hang_up(&mut self) -> Option<Reading> {
        self.lifted = false;
        let filling = self.running.take()?;
        let reading = filling.reading();
        self.last = Some(reading);
        self.done.push(filling);
        Some(reading)
    }

    pub fn release(&mut self, order: Option<OrderId>) {
        self.last = None;
        self.running = Some(Filling { order, volume: 0, stopped: false });
    }

    /// Total that stands on the meter.
    pub fn total(&self) -> Volume {
        Volume::new(1_000_000 + self.totaliser)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Driver {
    pub heard: bool,
    tokens: u64,
    stored: u64,
    /// By which token the core knows what the dispenser holds.
    named: u64,
    /// The end whose first reading is on its way into the store.
    ending: Option<(Token, Reading)>,
    /// Planted fault: a release whose answer was lost, to be sent again.
    pub unanswered: Option<Authorise>,
}

impl Driver {
    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    pub fn snapshot(&mut self, dispenser: &Dispenser) -> PumpEvent {
        self.heard = true;
        self.ending = None;
        let token = self.token();
        self.named = token.0;
        PumpEvent::Snapshot(Snapshot {
            state: dispenser.state(),
            lifted: dispenser.lifted.then_some(NOZZLE),
            reading: dispenser.running.as_ref().map(Filling::reading).or(dispenser.last),
            totalisers: [(NOZZLE, dispenser.total())].into(),
            power_cycled: false,
            token,
        })
    }

    pub fn lose(&mut self) -> PumpEvent {
        self.heard = false;
        self.ending = None;
        PumpEvent::Lost
    }

    pub fn end_seen(&mut self, reading: Reading) -> PumpEvent {
        let token = self.token();
        self.named = token.0;
        self.ending = Some((token, reading));
        PumpEvent::EndSeen { token, reading }
    }

    /// The first reading of an end is durable: the second follows.
    pub fn stored(&mut self, token: Token, dispenser: &Dispenser) -> Option<PumpEvent> {
        self.stored = self.stored.max(token.0);
        let (_, reading) = self.ending.take_if(|(waiting, _)| waiting.0 <= token.0)?;
        Some(PumpEvent::Ended { token: self.token(), reading, totaliser: Some(dispenser.total()) })
    }

    /// What the dispenser holds is durable here: it may be cleared there.
    pub fn may_clear(&self) -> bool {
        self.heard && self.stored >= self.named
    }

    pub fn may_release(&self, dispenser: &Dispenser) -> Result<(), Refusal> {
        if !self.heard || self.stored < self.tokens {
            Err(Refusal::Unsettled)
        } else if !dispenser.lifted || dispenser.running.is_some() {
            Err(Refusal::NotCalling)
        } else {
            Ok(())
        }
    }
}
