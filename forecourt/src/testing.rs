//! Small builders for tests of this crate and of those above it.

use crate::pump::{Capabilities, EndRecord};
use crate::units::Volume;

/// A dispenser that can do all but suspend.
#[must_use]
pub fn capabilities() -> Capabilities {
    Capabilities {
        live_volume: true,
        preset_amount: true,
        preset_volume: true,
        reports_call: true,
        price_write: true,
        price_read_back: true,
        totals: true,
        stop: true,
        suspend: false,
        end_record: EndRecord::UntilNextSale,
        decimals_known: false,
        sale_number: false,
        volume_step: Volume::new(10),
    }
}
