//! What a dispenser saw: every fuelling that happened at it and every wrong order it was given. For those who check a run.

use super::calculator::PriceDigits;
use super::physics::Limit;
use super::{Figures, NozzleIndex};
use forecourt::time::Instant;
use forecourt::units::Volume;

/// Who released a fuelling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReleasedBy {
    /// When the last byte of the frame arrived.
    pub at: Instant,
    /// The frame, as it came.
    pub frame: Vec<u8>,
    /// The limit that stood.
    pub limit: Limit,
}

/// Why a release ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndCause {
    /// The limit, or the digits of the head.
    LimitReached,
    /// The nozzle was hung up.
    HungUp,
    /// The controller, or an emergency stop.
    Stopped,
    /// Power went.
    PowerCut,
}

/// One release from its word to its end, with the fuel that flowed. The truth that sales are checked against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fuelling {
    /// The nozzle that fuelled, or was selected when it ended without fuel.
    pub nozzle: Option<NozzleIndex>,
    /// Final digits shown. All zero where nothing flowed.
    pub figures: Figures,
    /// Volume at the meter.
    pub volume: Volume,
    /// Price it was sold at; `None` if nothing flowed.
    pub price: Option<PriceDigits>,
    /// The nozzle's totaliser before.
    pub totaliser_before: Option<Volume>,
    /// And after.
    pub totaliser_after: Option<Volume>,
    /// The word that released it.
    pub released_by: ReleasedBy,
    /// First fuel; `None` if nothing flowed.
    pub began: Option<Instant>,
    /// End of the flow or of the release.
    pub ended: Instant,
    /// Why.
    pub cause: EndCause,
}

/// Something a careful controller does not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// AUTHORIZE with no limit set since the last RESET.
    AuthoriseWithoutPreset,
    /// AUTHORIZE in a state in which it has no effect.
    AuthoriseOutOfState,
    /// AUTHORIZE with no nozzle allowed.
    AuthoriseWithoutNozzle,
    /// RESET before the block with the ended sale was acknowledged, or a transaction closed before its end was read.
    ResetBeforeSaleAcknowledged,
    /// Prices while a fuelling was under way.
    PriceDuringFilling,
    /// Prices for fewer nozzles than there are.
    TooFewPrices,
    /// A second limit in one fuelling.
    PresetReplaced,
    /// A transaction that cannot be read.
    Malformed,
    /// A new block under the number of the last one: acknowledged, not done.
    NumberRepeated,
    /// AUTHORISE again with no look at the state since the last one.
    AuthoriseBlind,
    /// AUTHORISE before the record of the last sale was read: it is overwritten.
    SaleNotRead,
}

/// One of them, when and by which frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When the frame's last byte arrived.
    pub at: Instant,
    /// What.
    pub wrong: Wrong,
    /// The frame, as it came.
    pub frame: Vec<u8>,
}

/// A moment that a benchmark measures from or to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The last byte of a block that authorises arrived and had effect.
    AuthoriseArrived,
    /// The last byte of a block that stops arrived.
    StopArrived,
    /// The selected nozzle was taken out or hung up.
    NozzleMoved,
    /// First fuel.
    FlowBegan,
    /// The release ended.
    Ended,
    /// The last byte of the block that reports the end of a fuelling, the nozzle being in, went out for the first time.
    EndReported,
}
