//! What the station shows of itself: retained states, the steps of an order, live readings (contract sections 4 and 6).
//!
//! The structs are filled by the daemon; their field names are the contract's.

use crate::wire::chain::sha256_hex;
use crate::wire::envelope::canonical;
use forecourt::hold::Hold;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, OrderId, PriceSetId, StationId};
use forecourt::pump::{Capabilities, State};
use forecourt::time::{ClockQuality, UtcTime};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// CloudEvent type of [`StationView`].
pub const STATION: &str = "fuel.station.state.v1";
/// CloudEvent type of [`NozzleView`].
pub const NOZZLE: &str = "fuel.nozzle.state.v1";
/// CloudEvent type of [`OrderStep`].
pub const ORDER: &str = "fuel.order.state.v1";
/// CloudEvent type of [`LiveReading`].
pub const LIVE: &str = "fuel.live.v1";

/// The topics of one station (contract section 1).
#[derive(Clone, Debug)]
pub struct Topics {
    base: String,
}

impl Topics {
    /// Below `prefix`, such as `fuel/v1`.
    #[must_use]
    pub fn new(prefix: &str, station: &StationId) -> Self {
        Self { base: format!("{}/{station}", prefix.trim_end_matches('/')) }
    }

    /// Retained: the station's state, and the will.
    #[must_use]
    pub fn station(&self) -> String {
        format!("{}/state/station", self.base)
    }

    /// Retained: a nozzle's state.
    #[must_use]
    pub fn nozzle(&self, nozzle: NozzleId) -> String {
        format!("{}/state/nozzle/{nozzle}", self.base)
    }

    /// Durable records.
    #[must_use]
    pub fn event(&self) -> String {
        format!("{}/event", self.base)
    }

    /// Steps of orders.
    #[must_use]
    pub fn progress(&self) -> String {
        format!("{}/progress", self.base)
    }

    /// Live readings of a nozzle.
    #[must_use]
    pub fn live(&self, nozzle: NozzleId) -> String {
        format!("{}/live/nozzle/{nozzle}", self.base)
    }

    /// Replies to commands.
    #[must_use]
    pub fn reply(&self) -> String {
        format!("{}/reply", self.base)
    }

    /// Commands, the one topic that the station reads.
    #[must_use]
    pub fn command(&self) -> String {
        format!("{}/cmd", self.base)
    }
}

/// `fuel.station.state.v1`; `layout_hash` is added when it is written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StationView {
    /// False in the will and in the goodbye.
    pub online: bool,
    /// New at each start of the daemon.
    pub bootid: Uuid,
    /// When the daemon started.
    pub since: UtcTime,
    /// What runs.
    pub software: Software,
    /// What stands on the forecourt.
    pub layout: Layout,
    /// What each fuelling point can do.
    pub capabilities: Vec<PointCapabilities>,
    /// How the station works at present.
    pub mode: Mode,
    /// Holds of the whole station.
    pub holds: Vec<Hold>,
    /// What its times are worth.
    pub clock: ClockView,
    /// Records on their way.
    pub outbox: OutboxView,
    /// Space left for records, in MB.
    pub disk_free_mb: u64,
    /// The price set in force; null before the first.
    pub price_set: Option<PriceSetId>,
}

/// The program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Software {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
}

/// What stands on the forecourt.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Layout {
    /// Where one customer at a time can fuel.
    pub fuelling_points: Vec<FuellingPointId>,
    /// All nozzles.
    pub nozzles: Vec<LayoutNozzle>,
    /// All grades sold.
    pub grades: Vec<Grade>,
    /// Numbers of the tanks.
    pub tanks: Vec<u16>,
    /// Of the figures.
    pub decimals: Decimals,
}

/// A nozzle's fixed place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LayoutNozzle {
    /// The number painted on the pump.
    pub nozzle: NozzleId,
    /// Where it hangs.
    pub fuelling_point: FuellingPointId,
    /// What it sells.
    pub grade: Grade,
    /// The tank it draws from, where known.
    pub tank: Option<u16>,
}

/// The currency and the decimals of its minor unit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Decimals {
    /// Of all amounts.
    pub currency: Currency,
    /// Digits behind the point in an amount.
    pub amount: u8,
}

/// What one fuelling point can do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[allow(clippy::struct_excessive_bools, reason = "a table of abilities, one line each")]
pub struct PointCapabilities {
    /// Which.
    pub fuelling_point: FuellingPointId,
    /// Tells litres while fuel flows.
    pub live_volume: bool,
    /// Takes a limit in money.
    pub preset_amount: bool,
    /// Takes a limit in volume.
    pub preset_volume: bool,
    /// Tells which nozzle is lifted before it is released.
    pub reports_call: bool,
    /// Prices can be written.
    pub price_write: bool,
    /// The price in force can be read.
    pub price_read_back: bool,
    /// Totalisers can be read.
    pub totals: bool,
    /// Flow can be stopped for good.
    pub stop: bool,
    /// Flow can be held and resumed.
    pub suspend: bool,
    /// Smallest step of the volume shown.
    pub volume_step_ml: Volume,
}

impl PointCapabilities {
    /// Of a dispenser's driver.
    #[must_use]
    pub const fn new(fuelling_point: FuellingPointId, of: &Capabilities) -> Self {
        Self {
            fuelling_point,
            live_volume: of.live_volume,
            preset_amount: of.preset_amount,
            preset_volume: of.preset_volume,
            reports_call: of.reports_call,
            price_write: of.price_write,
            price_read_back: of.price_read_back,
            totals: of.totals,
            stop: of.stop,
            suspend: of.suspend,
            volume_step_ml: of.volume_step,
        }
    }
}

/// How the station works.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Takes orders.
    Normal,
    /// Reads dispensers and commands none.
    ListenOnly,
    /// About to stop: fuellings end, nothing new begins.
    Stopping,
}

/// What the station's times are worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClockView {
    /// How far the wall clock can be trusted.
    pub quality: ClockQuality,
    /// Estimated error; null where nothing is known of it.
    pub offset_ms: Option<i64>,
}

/// Records on their way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OutboxView {
    /// Not yet acknowledged.
    pub pending: u64,
    /// Event time of the oldest of them.
    pub oldest_at: Option<UtcTime>,
    /// Taken out of the queue after refusals.
    pub set_aside: u64,
}

/// `fuel.nozzle.state.v1`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NozzleView {
    /// The number painted on the pump.
    pub nozzle: NozzleId,
    /// Where it hangs.
    pub fuelling_point: FuellingPointId,
    /// What it sells.
    pub grade: Grade,
    /// Price in force; null where not yet read.
    pub unit_price_micros: Option<UnitPrice>,
    /// The price set it belongs to.
    pub price_set: Option<PriceSetId>,
    /// One of IFSF's nine.
    pub state: State,
    /// Whether an order would be taken.
    pub available: bool,
    /// Why not.
    pub holds: Vec<Hold>,
    /// The order armed or fuelling there.
    pub order_id: Option<OrderId>,
    /// Orders that wait behind it.
    pub queue: u32,
    /// Estimated wait of an order that came now.
    pub wait_estimate_s: u32,
    /// When the state began.
    pub since: UtcTime,
    /// The last sale there.
    pub last_sale: Option<LastSale>,
}

/// A nozzle's last sale.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LastSale {
    /// Its id.
    pub sale_id: Uuid,
    /// Its volume.
    pub volume_ml: Volume,
    /// Its amount.
    pub amount_minor: Money,
    /// When its end was seen.
    pub ended_at: UtcTime,
}

/// `fuel.order.state.v1`: a step of an order, best effort.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderStep {
    /// Which order.
    pub order_id: OrderId,
    /// Where.
    pub nozzle: NozzleId,
    /// The state's word: `queued`, `armed`, `lifted`, `fuelling`, `review`, `moved_away`, `completed`, `released`.
    pub state: String,
    /// When it began.
    pub since: UtcTime,
    /// Until when the nozzle may be lifted; only while armed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lift_deadline: Option<UtcTime>,
}

/// `fuel.live.v1`: running figures, not final.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LiveReading {
    /// Which nozzle.
    pub nozzle: NozzleId,
    /// The order fuelling there, if any.
    pub order_id: Option<OrderId>,
    /// Volume so far.
    pub volume_ml: Volume,
    /// Amount so far.
    pub amount_minor: Money,
    /// Of the amount.
    pub currency: Currency,
    /// When it was read.
    pub at: UtcTime,
}

impl StationView {
    /// The state's content.
    #[must_use]
    pub fn data(&self) -> Value {
        let mut data = value(self);
        let hash = data.get("layout").map(|layout| sha256_hex(&canonical(layout)));
        if let Value::Object(members) = &mut data {
            members.insert("layout_hash".into(), hash.into());
        }
        data
    }

    /// The same state with `online: false`: the will and the goodbye.
    #[must_use]
    pub fn offline(&self) -> Self {
        Self { online: false, ..self.clone() }
    }
}

impl NozzleView {
    /// The state's content.
    #[must_use]
    pub fn data(&self) -> Value {
        value(self)
    }
}

impl OrderStep {
    /// The step's content.
    #[must_use]
    pub fn data(&self) -> Value {
        value(self)
    }
}

impl LiveReading {
    /// The reading's content.
    #[must_use]
    pub fn data(&self) -> Value {
        value(self)
    }
}

fn value(content: &impl Serialize) -> Value {
    // Structs with string names and no failing serialiser, so `Null` is never seen.
    serde_json::to_value(content).unwrap_or(Value::Null)
}

/// Views for tests.
#[cfg(any(test, feature = "testing"))]
pub mod testing {
    use super::{ClockView, Decimals, Layout, LayoutNozzle, Mode, NozzleView, OutboxView, Software, StationView};
    use forecourt::ids::{FuellingPointId, Grade, NozzleId};
    use forecourt::pump::State;
    use forecourt::time::{ClockQuality, UtcTime};
    use forecourt::units::{Currency, UnitPrice};
    use uuid::Uuid;

    fn since() -> UtcTime {
        UtcTime::from_unix_ms(1_795_250_000_000)
    }

    fn grade() -> Grade {
        Grade::new("92").expect("a grade")
    }

    /// A station with two nozzles.
    #[must_use]
    pub fn station_view() -> StationView {
        let nozzle = |number| LayoutNozzle {
            nozzle: NozzleId(number),
            fuelling_point: FuellingPointId(1),
            grade: grade(),
            tank: None,
        };
        StationView {
            online: true,
            bootid: Uuid::from_u128(7),
            since: since(),
            software: Software { name: "forecourt-edge".into(), version: "0.1.0".into(), commit: "0000000".into() },
            layout: Layout {
                fuelling_points: vec![FuellingPointId(1)],
                nozzles: vec![nozzle(1), nozzle(2)],
                grades: vec![grade()],
                tanks: vec![],
                decimals: Decimals { currency: Currency::CNY, amount: 2 },
            },
            capabilities: vec![],
            mode: Mode::Normal,
            holds: vec![],
            clock: ClockView { quality: ClockQuality::Synced, offset_ms: Some(3) },
            outbox: OutboxView { pending: 0, oldest_at: None, set_aside: 0 },
            disk_free_mb: 900,
            price_set: None,
        }
    }

    /// An idle nozzle.
    #[must_use]
    pub fn nozzle_view(number: u16) -> NozzleView {
        NozzleView {
            nozzle: NozzleId(number),
            fuelling_point: FuellingPointId(1),
            grade: grade(),
            unit_price_micros: Some(UnitPrice::new(7_450_000)),
            price_set: None,
            state: State::Idle,
            available: true,
            holds: vec![],
            order_id: None,
            queue: 0,
            wait_estimate_s: 0,
            since: since(),
            last_sale: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn members(data: &Value) -> Vec<&str> {
        let mut names: Vec<&str> = data.as_object().expect("an object").keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_station_shows_the_members_of_the_contract() {
        let data = testing::station_view().data();
        let mut expected = [
            "online",
            "bootid",
            "since",
            "software",
            "layout",
            "layout_hash",
            "capabilities",
            "mode",
            "holds",
            "clock",
            "outbox",
            "disk_free_mb",
            "price_set",
        ];
        expected.sort_unstable();
        assert_eq!(members(&data), expected);
        assert_eq!(data["clock"], json!({"quality":"synced","offset_ms":3}));
        assert_eq!(data["outbox"], json!({"pending":0,"oldest_at":null,"set_aside":0}));
        assert_eq!(data["layout_hash"].as_str().map(str::len), Some(64));
        assert_eq!(testing::station_view().offline().data()["online"], json!(false));
    }

    #[test]
    fn a_nozzle_shows_the_members_of_the_contract() {
        let data = testing::nozzle_view(3).data();
        let mut expected = [
            "nozzle",
            "fuelling_point",
            "grade",
            "unit_price_micros",
            "price_set",
            "state",
            "available",
            "holds",
            "order_id",
            "queue",
            "wait_estimate_s",
            "since",
            "last_sale",
        ];
        expected.sort_unstable();
        assert_eq!(members(&data), expected);
        assert_eq!(data["state"], json!("idle"));
    }

    #[test]
    fn a_step_carries_its_deadline_only_while_armed() {
        let mut step = OrderStep {
            order_id: OrderId::new("o").expect("an id"),
            nozzle: NozzleId(1),
            state: "armed".into(),
            since: UtcTime::from_unix_ms(0),
            lift_deadline: Some(UtcTime::from_unix_ms(120_000)),
        };
        assert_eq!(step.data()["lift_deadline"], json!("1970-01-01T00:02:00.000Z"));
        step.lift_deadline = None;
        assert_eq!(members(&step.data()), ["nozzle", "order_id", "since", "state"]);
    }

    #[test]
    fn topics_stand_below_the_prefix_and_the_station() {
        let topics = Topics::new("fuel/v1/", &StationId::new("st-1").expect("an id"));
        assert_eq!(topics.nozzle(NozzleId(12)), "fuel/v1/st-1/state/nozzle/12");
        assert_eq!(topics.command(), "fuel/v1/st-1/cmd");
    }
}
