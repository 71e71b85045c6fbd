//! Small builders for tests of this crate and of those above it.

use crate::ids::{FuellingPointId, Grade, NozzleId, OrderId, PriceSetId};
use crate::order::{Basis, Limit};
use crate::pump::{Capabilities, EndRecord};
use crate::record::{Evidence, Finish, Flag, Sale};
use crate::time::{ClockQuality, UtcTime};
use crate::units::{Currency, Money, UnitPrice, Volume};
use uuid::Uuid;

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
        total_step: Volume::new(10),
    }
}

/// The sale that the contract gives as its example (section 5).
///
/// # Panics
/// Never: its texts are ids.
#[must_use]
pub fn sale() -> Sale {
    Sale {
        sale_id: Uuid::from_u128(0x019a_a7c4_0000_7000_8000_0000_0000_0001),
        order_id: OrderId::new("20261121-000042").ok(),
        basis: Basis::Prepaid,
        fuelling_point: FuellingPointId(2),
        nozzle: NozzleId(3),
        grade: Grade::new("92").expect("a grade"),
        currency: Currency::CNY,
        unit_price: UnitPrice::new(7_450_000),
        price_set: PriceSetId::new("PS-0007").expect("a price set"),
        volume: Volume::new(26_850),
        amount: Money::new(20_000),
        limit: Some(Limit::Amount(Money::new(20_000))),
        totaliser_start: Some(Volume::new(812_345_670)),
        totaliser_end: Some(Volume::new(812_372_520)),
        unaccounted: Volume::ZERO,
        // 2026-11-21T08:31:10.120Z and 08:32:02.480Z.
        started_at: UtcTime::from_unix_ms(1_795_249_870_120),
        ended_at: UtcTime::from_unix_ms(1_795_249_922_480),
        finish: Finish::HungUp,
        evidence: Evidence::EndRecord,
        offline: false,
        recovered: false,
        clock: ClockQuality::Synced,
        attendant: None,
        shift: Some("2026-11-21-A".into()),
        flags: vec![Flag::Gap],
        context: r#"{"any":"粤","n":1}"#.into(),
    }
}
