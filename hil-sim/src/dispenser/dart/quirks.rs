//! In what DART heads differ. DART sheet, sections 3, 7, 8 and 11; each default is the common behaviour.

use super::link::Numbering;
use super::message::TotalsForm;
use core::time::Duration;

/// What a RESET does while the nozzle is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetHung {
    /// Goes to 1 and falls back to 5 by itself (Wayne 3490D through a converter).
    BouncesBack,
    /// Keeps 5: the RESET is not executed (intelipump).
    NotExecuted,
    /// Stays 1, so that it can be authorised before the nozzle is lifted.
    Stays,
}

/// How a head suspends. Unconfirmed in the sheet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SuspendForm {
    /// It does not: CD14 and CD15 are acknowledged and nothing happens.
    None,
    /// By status 8.
    Status,
    /// By DC14 and DC15, the status staying 4.
    Mark,
}

/// How amount totals are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AmountTotals {
    /// Not at all.
    None,
    /// CD101 with counter 1n (MKR5).
    Counter1n,
    /// CD102 (Chile and Peru 2A heads).
    Transaction66,
}

/// The character of one head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of differences, one line each")]
pub struct Quirks {
    /// How it takes block numbers and ACKs.
    pub numbering: Numbering,
    /// A damaged block is answered with NAK instead of silence.
    pub naks_damaged: bool,
    /// Form of totals.
    pub totals: TotalsForm,
    /// Amount totals.
    pub amount_totals: AmountTotals,
    /// Hung up after AUTHORIZE without fuel: stays 2 until STOP.
    pub stays_authorised: bool,
    /// After a limit was reached: tells 6 again with the nozzle in and stays there.
    pub repeats_max_at_hang_up: bool,
    /// RESET with the nozzle in.
    pub reset_hung: ResetHung,
    /// After STOP, 5 and the last figures come only with nozzle-in.
    pub stop_reported_at_hang_up: bool,
    /// At an end the nozzle is told before the figures.
    pub nozzle_first: bool,
    /// Suspend and resume.
    pub suspend: SuspendForm,
    /// After power-up it reports status 0 by itself; otherwise it waits to be asked.
    pub announces_power_up: bool,
    /// Answers RETURN PUMP PARAMETERS.
    pub tells_parameters: bool,
    /// The ten digits of DC9.
    pub identity: u64,
    /// From CD5 to 5 when it was not programmed (over 1 s at intelipump).
    pub programming_time: Duration,
    /// From AUTHORIZE to 2 (slow in 20-series Wayne heads).
    pub authorise_time: Duration,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            numbering: Numbering::default(),
            naks_damaged: false,
            totals: TotalsForm::SixteenTwice,
            amount_totals: AmountTotals::None,
            stays_authorised: false,
            repeats_max_at_hang_up: false,
            reset_hung: ResetHung::BouncesBack,
            stop_reported_at_hang_up: false,
            nozzle_first: false,
            suspend: SuspendForm::None,
            announces_power_up: true,
            tells_parameters: false,
            identity: 20_000,
            programming_time: Duration::ZERO,
            authorise_time: Duration::ZERO,
        }
    }
}
