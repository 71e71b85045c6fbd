//! The language between the core and a dispenser driver: what a dispenser can do, is told and reports.
//!
//! The core speaks of fuelling points and site-wide nozzles; a driver knows addresses, frames and digits. Numbers here are
//! the dispenser's own, only scaled to our units by the decimals of its head.

use crate::ids::{FuellingPointId, NozzleId, ReleaseId};
use crate::units::{Money, UnitPrice, Volume};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The nine states of a fuelling point (IFSF dispenser standard; numbers 1 to 9 in this order).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not usable: silent, faulty, or not yet read.
    Inoperative,
    /// Answers but is switched off or not programmed.
    Closed,
    /// Ready, all nozzles in.
    Idle,
    /// A nozzle is out and waits for release.
    Calling,
    /// Released, the nozzle still in.
    Authorised,
    /// Released, the nozzle out, no fuel yet.
    Started,
    /// Started and suspended by us.
    SuspendedStarted,
    /// Fuel may flow.
    Fuelling,
    /// Fuelling and suspended by us.
    SuspendedFuelling,
}

impl State {
    /// All nine, in IFSF's order.
    pub const ALL: [Self; 9] = [
        Self::Inoperative,
        Self::Closed,
        Self::Idle,
        Self::Calling,
        Self::Authorised,
        Self::Started,
        Self::SuspendedStarted,
        Self::Fuelling,
        Self::SuspendedFuelling,
    ];

    /// The word of the contract.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inoperative => "inoperative",
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Calling => "calling",
            Self::Authorised => "authorised",
            Self::Started => "started",
            Self::SuspendedStarted => "suspended_started",
            Self::Fuelling => "fuelling",
            Self::SuspendedFuelling => "suspended_fuelling",
        }
    }

    /// Whether a release is in force in the dispenser: fuel flows or may flow without another word from us.
    #[must_use]
    pub const fn is_released(self) -> bool {
        matches!(
            self,
            Self::Authorised | Self::Started | Self::SuspendedStarted | Self::Fuelling | Self::SuspendedFuelling
        )
    }
}

/// Until when a dispenser keeps the record of its last fuelling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndRecord {
    /// None kept: the totalisers alone tell.
    None,
    /// Until the next fuelling begins.
    UntilNextSale,
    /// Until we clear it.
    UntilCleared,
}

/// What a dispenser can do, as data: the core never asks which protocol it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "a table of abilities, one line each")]
pub struct Capabilities {
    /// Tells litres while fuel flows.
    pub live_volume: bool,
    /// Takes a limit in money.
    pub preset_amount: bool,
    /// Takes a limit in volume.
    pub preset_volume: bool,
    /// Tells which nozzle is lifted before it is released. Without it, an order is released at arming.
    pub reports_call: bool,
    /// Unit prices can be written.
    pub price_write: bool,
    /// The price in force can be read.
    pub price_read_back: bool,
    /// Volume totalisers can be read.
    pub totals: bool,
    /// Flow can be stopped for good.
    pub stop: bool,
    /// Flow can be held and resumed.
    pub suspend: bool,
    /// How long the last fuelling can be read.
    pub end_record: EndRecord,
    /// Values carry their decimals.
    pub decimals_known: bool,
    /// The dispenser numbers its sales.
    pub sale_number: bool,
    /// Smallest step of the volume it shows.
    pub volume_step: Volume,
    /// Smallest step of its totalisers: some heads count them up more coarsely than they show a fuelling.
    pub total_step: Volume,
}

impl Capabilities {
    /// Whether it can be released by us at all: there is no release without a limit that stands in the dispenser. One that takes no
    /// limit is only followed: another controller drives it, or its own cards release it.
    #[must_use]
    pub const fn takes_releases(&self) -> bool {
        self.preset_amount || self.preset_volume
    }
}

/// The limit that goes into the dispenser. There is no release without one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// At most this much money.
    Amount(Money),
    /// At most this volume.
    Volume(Volume),
}

/// Names data of a dispenser that may be cleared there only after it is durable here.
///
/// Numbers count up per fuelling point and run of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

/// One release of one fuelling point, with all that must stand in the dispenser before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorise {
    /// Comes back in [`PumpEvent::Released`] or [`PumpEvent::Refused`].
    pub release: ReleaseId,
    /// Only this nozzle may fuel.
    pub nozzle: NozzleId,
    /// The limit, written before the release.
    pub preset: Preset,
    /// The price the dispenser must show; another one refuses the release.
    pub price: UnitPrice,
}

/// What the core tells a fuelling point. A driver never repeats [`PumpCommand::Authorise`] blind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PumpCommand {
    /// Release one fuelling.
    Authorise(Authorise),
    /// Take back a release that has not fuelled; seen in the next [`PumpEvent::State`] or an ended fuelling of volume zero.
    Withdraw,
    /// Stop the flow for good; the fuelling then ends with what flowed. Overtakes every poll.
    Stop,
    /// Hold the flow; only with [`Capabilities::suspend`].
    Suspend,
    /// Let it flow again.
    Resume,
    /// The data of this token, and all before it, is durable here.
    Stored(Token),
    /// Prices by nozzle, to be written when idle and read back.
    SetPrices(BTreeMap<NozzleId, UnitPrice>),
    /// Read everything again and report a [`PumpEvent::Snapshot`].
    Examine,
}

/// The dispenser's own figures of one fuelling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// The nozzle it names; `None` where it names none.
    pub nozzle: Option<NozzleId>,
    /// Volume as shown.
    pub volume: Volume,
    /// Amount as shown.
    pub amount: Money,
    /// Unit price as shown, where it tells.
    pub price: Option<UnitPrice>,
}

/// All that was read of a dispenser before anything was written to it: after a start, a silence or a power cycle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Present state.
    pub state: State,
    /// The nozzle that is out.
    pub lifted: Option<NozzleId>,
    /// The last or running fuelling that it still holds.
    pub reading: Option<Reading>,
    /// Volume totalisers by nozzle; one that could not be read is missing.
    pub totalisers: BTreeMap<NozzleId, Volume>,
    /// The dispenser lost power since it was last heard.
    pub power_cycled: bool,
    /// Say [`PumpCommand::Stored`] with this once the snapshot is settled; nothing in the dispenser is cleared before.
    pub token: Token,
}

/// Why a dispenser was not released. The nozzle is certainly still locked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The nozzle was hung up, or another one is out.
    NotCalling,
    /// It shows another price than the order's.
    PriceMismatch {
        /// The price it shows.
        shown: UnitPrice,
    },
    /// The limit does not fit its digits.
    PresetUnsupported,
    /// An alarm or fault stands.
    Faulty(String),
    /// It took the commands and did nothing.
    NoEffect,
    /// A fuelling there is not settled yet.
    Unsettled,
}

/// What a driver reports of a fuelling point.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PumpEvent {
    /// First answer after a start, silence or power cycle. Before it nothing of this dispenser is believed.
    Snapshot(Snapshot),
    /// No good answer for longer than the limit. Silence never means stopped.
    Lost,
    /// State or lifted nozzle changed.
    State {
        /// Present state, never [`State::Inoperative`] while it answers and works.
        state: State,
        /// The nozzle that is out.
        lifted: Option<NozzleId>,
    },
    /// Running figures, not final.
    Running {
        /// Volume so far.
        volume: Volume,
        /// Amount so far.
        amount: Money,
    },
    /// The running amount, not final, of a dispenser that tells no volume while fuel flows ([`Capabilities::live_volume`] false).
    RunningAmount {
        /// Amount so far.
        amount: Money,
    },
    /// The release is seen in force: limit written, nozzle allowed.
    Released {
        /// Of the command.
        release: ReleaseId,
    },
    /// The release did not happen, certainly.
    Refused {
        /// Of the command.
        release: ReleaseId,
        /// Why.
        why: Refusal,
    },
    /// The fuelling has ended; figures not yet confirmed by a second reading. To be made durable before its data is let go.
    EndSeen {
        /// For [`PumpCommand::Stored`].
        token: Token,
        /// First reading of the end.
        reading: Reading,
    },
    /// The fuelling has ended and the figures are final: read twice and equal, or the best to be had.
    Ended {
        /// For [`PumpCommand::Stored`].
        token: Token,
        /// Final reading.
        reading: Reading,
        /// The nozzle's totaliser after it, unless that could not be read.
        totaliser: Option<Volume>,
    },
    /// A totaliser was read outside of a fuelling's end.
    Totaliser {
        /// Whose.
        nozzle: NozzleId,
        /// Its value.
        volume: Volume,
    },
    /// The dispenser shows this price for a nozzle.
    Price {
        /// Whose.
        nozzle: NozzleId,
        /// As shown.
        price: UnitPrice,
    },
    /// The dispenser reports a fault of its own.
    Alarm {
        /// The protocol's code.
        code: u16,
        /// What it means.
        text: String,
        /// It refuses releases until it is examined; else it only wants to be known.
        holds: bool,
    },
}

/// An event with the fuelling point it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FromPump {
    /// Where.
    pub fp: FuellingPointId,
    /// What.
    pub event: PumpEvent,
}
