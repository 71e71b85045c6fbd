//! What differs from DART head to DART head.

use super::frame::ADDRESSES;
use crate::head::Rules;
use core::time::Duration;

/// What DART has room for: more nozzles do not fit a block of 64 bytes.
pub const RULES: Rules = Rules { addresses: ADDRESSES, most_nozzles: 12, price_digits: 6 };

/// How a fuelling is released (DART sheet, section 7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recipe {
    /// Nozzle, prices and RESET; once the pump shows 1, limit and AUTHORIZE.
    #[default]
    TwoBlocks,
    /// All in one block.
    OneBlock,
}

/// The ways of one head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Habits {
    /// How it is released.
    pub recipe: Recipe,
    /// How long a release may take to show (20-series heads are slow).
    pub slow_effect: Duration,
    /// How long the wire is kept for the acknowledgement of an end while that is being stored.
    pub store_wait: Duration,
}

impl Default for Habits {
    fn default() -> Self {
        Self { recipe: Recipe::default(), slow_effect: Duration::from_secs(5), store_wait: Duration::from_millis(8) }
    }
}
