//! An example of each message. Those of the station are made of the types that it sends.

use super::table::{Channel, Example, Message};
use crate::wire::chain::{Head, seal};
use crate::wire::envelope::Envelope;
use crate::wire::reply::site_data;
use crate::wire::state::{
    ClockView, Decimals, LastSale, Layout, LayoutNozzle, LiveReading, Mode, NozzleView, OrderStep, OutboxView,
    PointCapabilities, Software, StationView,
};
use forecourt::command::{Outcome, Reply};
use forecourt::ids::{CommandId, FuellingPointId, Grade, NozzleId, OrderId, PriceSetId, StationId};
use forecourt::order::ReleaseReason;
use forecourt::pump::State;
use forecourt::record::{Alarm, AlarmState, Audit, OrderReleased, OrderReview, Record, Unaccounted};
use forecourt::testing;
use forecourt::time::{ClockQuality, UtcTime};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use serde_json::{Value, json};
use uuid::Uuid;

const STATION: &str = "st-0042";
const BOOT: Uuid = Uuid::from_u128(0x019a_a7b0_4c00_7000_8000_0000_0000_0001);
const EVENT: Uuid = Uuid::from_u128(0x019a_a7c4_0000_7000_8000_0000_0000_0002);
/// Stands for the record before the examples.
const BEFORE: u64 = 1_233;

/// A moment of the examples' minute, 2026-11-21T08:32:00Z, in milliseconds from it.
fn at(ms: i64) -> UtcTime {
    UtcTime::from_unix_ms(1_795_249_920_000 + ms)
}

/// A message's example with its envelope.
pub(super) fn event(message: &Message) -> Value {
    let station = StationId::new(STATION).expect("an id");
    let time = at(2_500);
    let envelope = |data| {
        let kind = message.kind;
        Value::Object(Envelope { station: &station, boot: BOOT, id: EVENT, time, kind }.event(data))
    };
    match (message.example)() {
        Example::Record(record) => {
            let head = Head { sequence: BEFORE, hash: "5".repeat(64) };
            let sealed = seal(&station, BOOT, &head, EVENT, time, &record);
            serde_json::from_slice(&sealed.bytes).expect("a record is JSON")
        }
        Example::Data(data) if message.channel == Channel::Command => json!({
            "specversion": "1.0", "id": "cmd-7f3a91", "source": "/platform", "subject": format!("/stations/{STATION}"),
            "type": message.kind, "time": time.to_string(), "data": data,
        }),
        Example::Data(data) => envelope(data),
    }
}

fn order() -> OrderId {
    OrderId::new("20261121-000042").expect("an id")
}

fn grade() -> Grade {
    Grade::new("92").expect("a grade")
}

fn price_set() -> PriceSetId {
    PriceSetId::new("PS-0007").expect("an id")
}

const PRICE: UnitPrice = UnitPrice::new(7_450_000);

pub(super) fn station() -> Example {
    let nozzle = |number, grade: &str| LayoutNozzle {
        nozzle: NozzleId(number),
        fuelling_point: FuellingPointId(1),
        grade: Grade::new(grade).expect("a grade"),
        tank: Some(number),
    };
    let view = StationView {
        online: true,
        bootid: BOOT,
        since: at(-60_000),
        software: Software { name: "forecourt-edge".into(), version: "0.1.0".into(), commit: "0000000".into() },
        layout: Layout {
            fuelling_points: vec![FuellingPointId(1)],
            nozzles: vec![nozzle(1, "92"), nozzle(2, "95")],
            grades: vec![grade(), Grade::new("95").expect("a grade")],
            tanks: vec![1, 2],
            decimals: Decimals { currency: Currency::CNY, amount: 2 },
        },
        capabilities: vec![PointCapabilities::new(FuellingPointId(1), &testing::capabilities())],
        mode: Mode::Normal,
        holds: vec![],
        clock: ClockView { quality: ClockQuality::Synced, offset_ms: Some(3) },
        outbox: OutboxView { pending: 1, oldest_at: Some(at(2_500)), set_aside: 0 },
        disk_free_mb: 27_310,
        price_set: Some(price_set()),
    };
    Example::Data(view.data())
}

pub(super) fn nozzle() -> Example {
    let view = NozzleView {
        nozzle: NozzleId(3),
        fuelling_point: FuellingPointId(2),
        grade: grade(),
        unit_price_micros: Some(PRICE),
        price_set: Some(price_set()),
        state: State::Idle,
        available: true,
        holds: vec![],
        order_id: None,
        queue: 0,
        wait_estimate_s: 0,
        since: at(2_480),
        last_sale: Some(LastSale {
            sale_id: testing::sale().sale_id,
            volume_ml: Volume::new(26_850),
            amount_minor: Money::new(20_000),
            ended_at: at(2_480),
        }),
    };
    Example::Data(view.data())
}

pub(super) fn step() -> Example {
    let lift_deadline = Some(at(60_000));
    let step =
        OrderStep { order_id: order(), nozzle: NozzleId(3), state: "armed".into(), since: at(-60_000), lift_deadline };
    Example::Data(step.data())
}

pub(super) fn live() -> Example {
    let reading = LiveReading {
        nozzle: NozzleId(3),
        order_id: Some(order()),
        volume_ml: Volume::new(12_340),
        amount_minor: Money::new(9_193),
        currency: Currency::CNY,
        at: at(-20_000),
    };
    Example::Data(reading.data())
}

pub(super) fn reply() -> Example {
    Example::Data(site_data(&Reply {
        command_id: CommandId::new("cmd-7f3a91").expect("an id"),
        command_type: "fuel.order.authorise.v1".into(),
        outcome: Outcome::Armed,
        detail: "nozzle 3 is armed up to 200.00 CNY".into(),
        repeated: false,
    }))
}

fn record(record: Record) -> Example {
    Example::Record(Box::new(record))
}

pub(super) fn sale() -> Example {
    record(Record::Sale(Box::new(testing::sale())))
}

pub(super) fn released() -> Example {
    let reason = ReleaseReason::NotLifted;
    record(Record::Released(OrderReleased { order_id: order(), nozzle: NozzleId(3), reason, at: at(2_480) }))
}

pub(super) fn review() -> Example {
    record(Record::Review(OrderReview {
        order_id: order(),
        nozzle: NozzleId(3),
        why: "the line was lost while fuel could flow".into(),
        totaliser_start: Some(Volume::new(812_345_670)),
        deadline: at(15 * 60_000),
    }))
}

pub(super) fn unaccounted() -> Example {
    record(Record::Unaccounted(Unaccounted {
        nozzle: NozzleId(3),
        volume: Volume::new(5_020),
        from: at(-3_600_000),
        to: at(2_480),
        totaliser_start: Volume::new(812_345_670),
        totaliser_end: Volume::new(812_350_690),
    }))
}

pub(super) fn alarm() -> Example {
    record(Record::Alarm(Alarm {
        alarm: "comm_lost".into(),
        place: "fp 2".into(),
        state: AlarmState::Raised,
        since: at(2_480),
        text: "fuelling point 2 does not answer: look at its power and its cable".into(),
    }))
}

pub(super) fn audit() -> Example {
    record(Record::Audit(Audit {
        who: "platform".into(),
        did: "hold".into(),
        on: "nozzle 3".into(),
        old: None,
        new: Some("pump is being cleaned".into()),
    }))
}

pub(super) fn authorise() -> Example {
    Example::Data(json!({
        "order_id": order(), "nozzle": 3, "grade": "92", "limit": {"amount_minor": 20_000}, "currency": "CNY",
        "unit_price_micros": 7_450_000, "expires_at": at(8 * 60_000), "lift_timeout_s": 120, "basis": "prepaid",
        "code": "385217", "customer": "c-7f3a91", "plate_masked": "粤B·***88", "context": {"any": "object"},
    }))
}

pub(super) fn cancel() -> Example {
    Example::Data(json!({"order_id": order(), "reason": "the driver changed their mind"}))
}

pub(super) fn move_order() -> Example {
    Example::Data(json!({"order_id": order(), "to_nozzle": 4}))
}

pub(super) fn stop() -> Example {
    Example::Data(json!({"nozzle": 0, "reason": "smoke at the till"}))
}

pub(super) fn hold() -> Example {
    Example::Data(json!({"nozzle": 3, "reason": "pump is being cleaned"}))
}

pub(super) fn unhold() -> Example {
    Example::Data(json!({"nozzle": 3, "reason": "pump is clean"}))
}

pub(super) fn watch() -> Example {
    Example::Data(json!({"nozzle": 3, "ttl_s": 60}))
}

pub(super) fn ack() -> Example {
    Example::Data(json!({"ids": [EVENT]}))
}

pub(super) fn nack() -> Example {
    Example::Data(json!({"id": EVENT, "reason": "the order is of another tenant"}))
}

pub(super) fn resend() -> Example {
    Example::Data(json!({"from_sequence": "000000001200", "to_sequence": "000000001234"}))
}
