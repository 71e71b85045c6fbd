//! What the last S showed, and a transaction in our units.

use super::message::{PostNozzle, Status, Transaction};
use crate::head::HeadSettings;
use forecourt::ids::NozzleId;
use forecourt::pump::{Reading, State};
use forecourt::time::Instant;

/// The answer to an S, or to what is answered like one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Look {
    pub status: Status,
    pub nozzle: PostNozzle,
    pub at: Instant,
}

impl Look {
    /// The neutral state (section 4). 8 is no end yet: the nozzle is out, and no fuel flows. 9 is told as idle; the driver takes no
    /// order before it is closed.
    pub fn state(&self) -> State {
        match self.status {
            Status::Error => State::Inoperative,
            Status::Idle | Status::EndOfTransaction => State::Idle,
            Status::Calling => State::Calling,
            Status::Authorised => State::Authorised,
            Status::Started => State::Started,
            Status::SuspendedStarted => State::SuspendedStarted,
            Status::Fuelling => State::Fuelling,
            Status::SuspendedFuelling | Status::Stopped => State::SuspendedFuelling,
        }
    }

    /// The nozzle that is out. In 3 a post names the nozzle it authorised, whether it is out or not.
    pub fn lifted(&self, settings: &HeadSettings) -> Option<NozzleId> {
        match self.status {
            Status::Error | Status::Idle | Status::Authorised | Status::EndOfTransaction => None,
            _ => nozzle(self.nozzle, settings),
        }
    }
}

/// A nozzle at the station. A post with one nozzle may call it what it likes.
pub fn nozzle(of: PostNozzle, settings: &HeadSettings) -> Option<NozzleId> {
    match settings.nozzles.as_slice() {
        [only] => Some(only.nozzle),
        nozzles => nozzles.iter().find(|n| n.logical == of.0).map(|n| n.nozzle),
    }
}

/// A nozzle as the post numbers it.
pub fn logical(of: NozzleId, settings: &HeadSettings) -> Option<PostNozzle> {
    settings.nozzles.iter().find(|n| n.nozzle == of).map(|n| PostNozzle(n.logical))
}

/// Figures in our units. `None` where the decimals of the head are set finer than can be kept.
pub fn reading(sale: &Transaction, settings: &HeadSettings) -> Option<Reading> {
    Some(Reading {
        nozzle: nozzle(sale.nozzle, settings),
        volume: settings.decimals.volume(sale.volume.number())?,
        amount: settings.decimals.amount(sale.money.number(), settings.currency)?,
        price: settings.decimals.price(sale.price.number()).filter(|price| price.is_positive()),
    })
}
