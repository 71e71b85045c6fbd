//! What the cloud or a person at the station asks that only the shell can do: files and rows that are none of the core's.
//!
//! The core hands an errand out, remembers nothing of how it is done, and books what came of it with the one answer.

use crate::ids::{CommandId, CustomerToken, NozzleId};
use crate::time::UtcTime;
use serde::{Deserialize, Serialize};

/// A configuration document (`fuel.config.set.v1`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigSet {
    /// Counts up at the platform.
    pub version: u64,
    /// Lower-case hex SHA-256 of the document, as the platform has it.
    pub hash: String,
    /// The document in its RFC 8785 form.
    pub document: String,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Errand {
    /// Put a configuration into force.
    Config(Box<ConfigSet>),
    /// Take the one before back into force.
    RollBack,
    /// Trust a key of the platform no longer (`fuel.credentials.revoke.v1`).
    Revoke {
        /// Which.
        kid: String,
        /// The key that signed the command.
        signed_by: String,
    },
    /// Forget a customer (`fuel.privacy.erase.v1`).
    Erase {
        /// Whom.
        customer: CustomerToken,
    },
}

/// An errand with the command that asked for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Of the command, for the answer.
    pub id: CommandId,
    /// Who asked, for the audit.
    pub who: String,
    /// What.
    pub errand: Errand,
}

/// Something wrong with a configuration document.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConfigProblem {
    /// JSON pointer into the command's payload.
    pub at: String,
    /// What is wrong.
    pub what: String,
    /// What it must be.
    pub expected: String,
}

/// What came of an errand or of a typed-in code; the members are those of the reply. The published contract has no rows for what only a
/// person at the station is told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Done {
    /// The configuration is in force.
    Applied {
        /// Which.
        version: u64,
        /// Only the next start of the daemon brings it into force; it restarts by itself once nobody fuels, where its service manager
        /// starts it again.
        restart: bool,
    },
    /// It is not; the one before stands.
    Refused {
        /// Why.
        problems: Vec<ConfigProblem>,
    },
    /// The configuration before is in force again.
    #[cfg_attr(feature = "schema", schemars(skip))]
    RolledBack {
        /// Its version; null for the station's own file alone.
        version: Option<u64>,
        /// As with `applied`.
        restart: bool,
    },
    /// There is no configuration to go back to.
    #[cfg_attr(feature = "schema", schemars(skip))]
    NothingToRollBack,
    /// The key is trusted no longer.
    Revoked,
    /// No such key here.
    UnknownKey,
    /// It is the only one.
    LastKey,
    /// The customer is forgotten.
    Erased {
        /// Rows that named the customer.
        rows: u64,
    },
    /// The code is wrong.
    #[cfg_attr(feature = "schema", schemars(skip))]
    BadVoucher {
        /// Wrong entries left before code entry locks.
        left: u8,
    },
    /// Too many wrong entries.
    #[cfg_attr(feature = "schema", schemars(skip))]
    CodeEntryLocked {
        /// Until when.
        until: UtcTime,
    },
    /// The voucher's time is over.
    #[cfg_attr(feature = "schema", schemars(skip))]
    VoucherExpired,
    /// The voucher's time is still to come.
    #[cfg_attr(feature = "schema", schemars(skip))]
    VoucherNotYet,
    /// The voucher is for another nozzle.
    #[cfg_attr(feature = "schema", schemars(skip))]
    WrongNozzle {
        /// Which.
        nozzle: NozzleId,
    },
    /// The voucher is for any nozzle: say which.
    #[cfg_attr(feature = "schema", schemars(skip))]
    NozzleNeeded,
    /// The station has no voucher key.
    #[cfg_attr(feature = "schema", schemars(skip))]
    NoVoucherKey,
    /// Nobody knows the time, and vouchers are good for half an hour.
    #[cfg_attr(feature = "schema", schemars(skip))]
    ClockUnset,
}

impl Done {
    /// The word for `result`.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "applied",
            Self::Refused { .. } => "refused",
            Self::RolledBack { .. } => "rolled_back",
            Self::NothingToRollBack => "nothing_to_roll_back",
            Self::Revoked => "revoked",
            Self::UnknownKey => "unknown_key",
            Self::LastKey => "last_key",
            Self::Erased { .. } => "erased",
            Self::BadVoucher { .. } => "bad_voucher",
            Self::CodeEntryLocked { .. } => "code_entry_locked",
            Self::VoucherExpired => "voucher_expired",
            Self::VoucherNotYet => "voucher_not_yet",
            Self::WrongNozzle { .. } => "wrong_nozzle",
            Self::NozzleNeeded => "nozzle_needed",
            Self::NoVoucherKey => "no_voucher_key",
            Self::ClockUnset => "clock_unset",
        }
    }

    /// The sentence for people that goes with it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let takes_effect = |restart: bool| {
            if restart { "in force after the next start of the daemon, once nobody fuels" } else { "in force" }
        };
        match self {
            Self::Applied { version, restart } => format!("version {version} is {}", takes_effect(*restart)),
            Self::Refused { problems } => match problems.as_slice() {
                [] => "refused".into(),
                [first, rest @ ..] => {
                    let more = if rest.is_empty() { String::new() } else { format!("; {} more", rest.len()) };
                    format!("{} {}{more}; what was in force stands", first.at, first.what)
                }
            },
            Self::RolledBack { version: Some(version), restart } => {
                format!("version {version} is {} again", takes_effect(*restart))
            }
            Self::RolledBack { version: None, restart } => {
                format!("the station's own file alone is {} again", takes_effect(*restart))
            }
            Self::NothingToRollBack => "no configuration came from the platform".into(),
            Self::Revoked => "commands signed with this key are refused from now on".into(),
            Self::UnknownKey => "no such key is trusted here".into(),
            Self::LastKey => "it is the only key: bring another one first".into(),
            Self::Erased { rows } => format!("{rows} row(s) named this customer; the sales stay and name nobody"),
            Self::BadVoucher { left } => {
                format!(
                    "the code is wrong: ask for it again, group by group; {left} more wrong entries lock code entry"
                )
            }
            Self::CodeEntryLocked { until } => format!("too many wrong codes: none is taken before {until}"),
            Self::VoucherExpired => "the voucher was good for half an hour, which is over: ask for a new one".into(),
            Self::VoucherNotYet => "the voucher is for a later time: check the clock of this station".into(),
            Self::WrongNozzle { nozzle } => format!("the voucher is for nozzle {nozzle}: fuel there"),
            Self::NozzleNeeded => "the voucher is for any nozzle: say which".into(),
            Self::NoVoucherKey => "this station takes no vouchers: it has no voucher key ([voucher] key-file)".into(),
            Self::ClockUnset => "the clock of this station was never set: vouchers cannot be judged".into(),
        }
    }
}
