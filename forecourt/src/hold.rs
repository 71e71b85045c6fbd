//! Reasons why a nozzle takes no order. A nozzle may have several at once; each is lifted by what set it.

use serde::{Deserialize, Serialize};

/// One reason.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The dispenser does not answer.
    CommLost,
    /// It shows another price than set.
    PriceMismatch,
    /// The tank runs low.
    TankLow,
    /// The tank is being filled.
    Unloading,
    /// Emergency stop.
    Emergency,
    /// Combustible gas.
    GasAlarm,
    /// By a person or by the cloud.
    Manual,
    /// An earlier fuelling there is not settled.
    Review,
    /// Sales could no longer be stored.
    StoreFull,
    /// The dispenser reports a fault.
    Fault,
    /// Another controller drives the dispenser: it is only listened to.
    ListenOnly,
    /// The device takes no limit, so that nothing is ever released there: a column with cards of its own, or a map that is only read.
    NoPreset,
}

impl Hold {
    /// The word of the contract.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::CommLost => "comm_lost",
            Self::PriceMismatch => "price_mismatch",
            Self::TankLow => "tank_low",
            Self::Unloading => "unloading",
            Self::Emergency => "emergency",
            Self::GasAlarm => "gas_alarm",
            Self::Manual => "manual",
            Self::Review => "review",
            Self::StoreFull => "store_full",
            Self::Fault => "fault",
            Self::ListenOnly => "listen_only",
            Self::NoPreset => "no_preset",
        }
    }

    /// Whether only a person at the station may lift it (contract section 4: emergency, gas, price or safety).
    #[must_use]
    pub const fn is_on_site_only(self) -> bool {
        matches!(
            self,
            Self::Emergency
                | Self::GasAlarm
                | Self::PriceMismatch
                | Self::Unloading
                | Self::Fault
                | Self::ListenOnly
                | Self::NoPreset
        )
    }

    /// Whether it is what the nozzle is by the configuration: it stands for good, and keeps nobody from lifting a hold of the station.
    #[must_use]
    pub const fn is_for_good(self) -> bool {
        matches!(self, Self::ListenOnly | Self::NoPreset)
    }

    /// Whether it comes back by itself after a restart, from what is read then or is configured, and so is not stored.
    #[must_use]
    pub const fn is_observed(self) -> bool {
        matches!(
            self,
            Self::CommLost
                | Self::StoreFull
                | Self::PriceMismatch
                | Self::Review
                | Self::Fault
                | Self::ListenOnly
                | Self::NoPreset
        )
    }
}
