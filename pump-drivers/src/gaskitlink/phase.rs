//! Where the talk with a post stands, and what is asked next.

use super::message::{ControllerSays, Digits, Limit, PostNozzle, PumpSays, Status, Transaction};
use crate::head::HeadSettings;
use core::time::Duration;
use forecourt::ids::NozzleId;
use forecourt::pump::{Authorise, Preset};
use forecourt::time::Instant;
use forecourt::units::{UnitPrice, Volume};
use std::collections::{BTreeMap, VecDeque};

/// A volume limit above this, in centilitres, is not sent (section 3: hosts cap it there).
const MOST_VOLUME: i64 = 90_000;

/// One thing that is asked of a post.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    Status,
    Volume,
    Money,
    Transaction,
    Totaliser(PostNozzle),
    Authorise,
    Close,
    Stop,
    Resume,
}

impl Ask {
    /// Whether this is an answer to it. What is answered by an S is told apart by nothing: it is judged by the next S alone.
    pub fn fits(self, says: &PumpSays) -> bool {
        match (self, says) {
            (Self::Status | Self::Authorise | Self::Close | Self::Stop | Self::Resume, PumpSays::Status(..))
            | (Self::Volume, PumpSays::Volume(..))
            | (Self::Money, PumpSays::Money(..))
            | (Self::Transaction, PumpSays::Transaction(_)) => true,
            (Self::Totaliser(asked), PumpSays::Totaliser(named, _)) => asked == *named || asked == PostNozzle::ZERO,
            _ => false,
        }
    }
}

/// Where the talk stands.
pub enum Phase {
    /// Everything is read before anything is written.
    ReadIn(ReadIn),
    /// At rest, or a nozzle is out.
    Ready,
    /// A release is being written.
    Releasing(Releasing),
    /// Released, by us or found so.
    Running(Running),
    /// Hung up; its figures are being read twice.
    Ending(Ending),
    /// Its figures were told; closed once they are stored.
    Closing(Closing),
}

pub struct ReadIn {
    pub looked: bool,
    pub sale: Option<Transaction>,
    pub sale_done: bool,
    pub totals: BTreeMap<NozzleId, Volume>,
    pub left: VecDeque<(PostNozzle, NozzleId)>,
    pub attempts: u8,
}

pub struct Releasing {
    pub order: Authorise,
    pub says: ControllerSays,
    pub step: ReleaseStep,
    /// V or M went out so often.
    pub sent: u8,
    /// The last one, when it went out.
    pub sent_at: Instant,
    /// The last one was answered.
    pub answered: bool,
    /// Taken back: never sent again.
    pub cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ReleaseStep {
    /// The state is to be seen before V or M.
    Look,
    Send,
    /// V or M is out: see the state, then decide.
    Judge,
}

/// The end of a fuelling as far as it was read.
#[derive(Clone, Copy, Default)]
pub struct EndRead {
    pub sale: Option<Transaction>,
    /// Read, or given up.
    pub total: Option<Option<Volume>>,
    pub attempts: u8,
}

pub struct Running {
    /// The price that we authorised it at, if it was us.
    pub ours: Option<UnitPrice>,
    pub nozzle: Option<NozzleId>,
    /// What is asked next while fuel flows: S, L, R in turn.
    pub turn: u8,
    pub volume: Option<Volume>,
    /// What was read in 8.
    pub end: EndRead,
    pub stopped: bool,
}

pub struct Ending {
    pub ours: Option<UnitPrice>,
    pub nozzle: Option<NozzleId>,
    pub end: EndRead,
    pub readings: u8,
    pub confirmed: bool,
    pub seen_told: bool,
}

#[derive(Default)]
pub struct Closing {
    /// 9 was seen since the data is stored, or since the last N had its time.
    pub may_close: bool,
    pub sent: Option<Instant>,
    pub tries: u8,
    /// An order that came meanwhile.
    pub waiting: Option<Authorise>,
}

impl Phase {
    /// At its beginning, with the totalisers to be read.
    pub fn read_in(left: VecDeque<(PostNozzle, NozzleId)>) -> Self {
        Self::ReadIn(ReadIn { looked: false, sale: None, sale_done: false, totals: BTreeMap::new(), left, attempts: 0 })
    }
}

impl Releasing {
    pub fn new(order: Authorise, says: ControllerSays, step: ReleaseStep, now: Instant) -> Self {
        Self { order, says, step, sent: 0, sent_at: now, answered: false, cancelled: false }
    }

    /// How long ago the last V or M went out.
    pub fn waited(&self, now: Instant) -> Duration {
        now.since(self.sent_at)
    }
}

/// Why an order cannot be written in the digits of a post.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unwritable {
    Limit,
    Price,
}

/// V or M of an order: nozzle, limit rounded down, price exact.
pub fn authorise(order: &Authorise, nozzle: PostNozzle, settings: &HeadSettings) -> Result<ControllerSays, Unwritable> {
    let decimals = settings.decimals;
    let price = decimals.price_number(order.price, 4).and_then(Digits::new).ok_or(Unwritable::Price)?;
    let limit = match order.preset {
        Preset::Amount(amount) => {
            decimals.amount_limit(amount, settings.currency, 6).and_then(Digits::new).map(Limit::Money)
        }
        Preset::Volume(volume) => decimals
            .volume_limit(volume, 6)
            .and_then(Digits::new)
            .filter(|limit: &Digits<6>| limit.number() <= MOST_VOLUME)
            .map(Limit::Volume),
    };
    Ok(ControllerSays::Authorise(nozzle, limit.ok_or(Unwritable::Limit)?, price))
}

/// Whether T must be read before anything else: a transaction is under way or waits for N.
pub const fn holds_transaction(status: Status) -> bool {
    status.is_running() || matches!(status, Status::EndOfTransaction)
}
