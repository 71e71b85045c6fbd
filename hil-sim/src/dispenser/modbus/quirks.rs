//! In what dispensers with the example map differ: the sheet leaves these open, so a driver must bear each.

use core::time::Duration;

/// The character of one dispenser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a table of differences, one line each")]
pub struct Quirks {
    /// How long a command shows "pending" before it is done.
    pub result_delay: Duration,
    /// A fuelling without fuel has a number too.
    pub numbers_zero_sales: bool,
    /// After a fuelling it stays finished until the command "release".
    pub waits_for_release: bool,
    /// Commands are refused.
    pub refuses: bool,
    /// Commands are answered, done by their result, and not carried out.
    pub ignores: bool,
    /// A release stays in force when the nozzle is hung up without fuel.
    pub stays_authorised: bool,
}

impl Default for Quirks {
    fn default() -> Self {
        Self {
            result_delay: Duration::ZERO,
            numbers_zero_sales: false,
            waits_for_release: false,
            refuses: false,
            ignores: false,
            stays_authorised: false,
        }
    }
}
