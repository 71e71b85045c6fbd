use super::*;
use reference_platform::contract::fake_station::{FakeStation, STATION, opened, order};
use serde_json::Value;

fn desk(ack: AckBy, faults: Faults) -> Desk {
    let terms = Terms { station: STATION.into(), currency: Currency::CNY, ack, faults, joined_late: false };
    Desk::new(terms, KeyPair::from_seed("k", [1; 32]), [2; 32])
}

fn now() -> Moment {
    Moment { mono: Instant::now(), utc: UtcTime::from_unix_ms(1_795_250_000_000) }
}

fn hear(desk: &mut Desk, topic: &str, message: &Value) {
    desk.handle_message(topic, message.to_string().as_bytes(), now());
}

/// Sells an order and takes its command off the desk; returns the command's id.
fn sell(desk: &mut Desk, id: &str) -> String {
    desk.issue(Command::Authorise(Box::new(order(id, 20_000))), now());
    let sent = opened(&desk.poll_transmit().expect("sent"));
    sent["id"].as_str().expect("an id").to_owned()
}

fn acks(desk: &mut Desk) -> Vec<Value> {
    std::iter::from_fn(|| desk.poll_transmit())
        .map(|token| opened(&token))
        .filter(|event| event["type"] == "fuel.ack.v1")
        .map(|event| event["data"].clone())
        .collect()
}

fn every(count: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(count)
}

const AUTHORISE: &str = "fuel.order.authorise.v1";

#[test]
fn a_day_of_good_orders_agrees_to_the_minor_unit() {
    let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
    for id in ["o-1", "o-2", "o-3"] {
        let command = sell(&mut desk, id);
        let reply = station.reply(&command, AUTHORISE, "armed", false);
        hear(&mut desk, "reply", &reply);
    }
    hear(&mut desk, "event", &station.sale("o-1", 1_000, 10_000, 7_450));
    hear(&mut desk, "event", &station.released("o-2", "not_lifted"));
    assert!(!desk.report().agrees(), "o-3 is still open");
    hear(&mut desk, "event", &station.sale("o-3", 11_000, 26_850, 20_000));
    let report = desk.report();
    assert!(report.agrees(), "{report:#?}");
    assert_eq!(
        (report.paid_minor.get(), report.captured_minor.get(), report.refunded_minor.get()),
        (60_000, 27_450, 32_550)
    );
    let nozzle = report.nozzles[&NozzleId(3)];
    assert_eq!((nozzle.count, nozzle.volume_ml.get(), nozzle.amount_minor.get()), (2, 36_850, 27_450));
}

#[test]
fn a_record_that_comes_again_is_acknowledged_again_and_booked_once() {
    let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
    sell(&mut desk, "o-1");
    let sale = station.sale("o-1", 0, 10_000, 7_450);
    hear(&mut desk, "event", &sale);
    hear(&mut desk, "event", &sale);
    let named = serde_json::json!({"ids": [sale["id"]]});
    assert_eq!(acks(&mut desk), vec![named.clone(), named]);
    assert!(desk.report().agrees());
    assert_eq!((desk.counts().records, desk.counts().repeats), (1, 1));
}

#[test]
fn acknowledgement_by_sequence_stops_at_a_gap() {
    let (mut desk, mut station) = (desk(AckBy::Sequence, Faults::default()), FakeStation::new());
    for id in ["o-1", "o-2", "o-3"] {
        sell(&mut desk, id);
    }
    let records: Vec<Value> = ["o-1", "o-2", "o-3"].map(|id| station.released(id, "cancelled")).into();
    for index in [0, 2, 1] {
        hear(&mut desk, "event", &records[index]);
    }
    let named: Vec<_> = acks(&mut desk).iter().map(|ack| ack["through_sequence"].clone()).collect();
    assert_eq!(named, ["000000000001", "000000000001", "000000000003"]);
    assert!(desk.report().agrees());
}

#[test]
fn a_missing_record_is_reported_at_the_end() {
    let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
    sell(&mut desk, "o-1");
    station.released("o-0", "cancelled");
    hear(&mut desk, "event", &station.released("o-1", "cancelled"));
    assert_eq!(desk.report().violations, ["records 1 to 1 never came"]);
}

#[test]
fn one_order_with_two_ends_is_a_violation() {
    let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
    sell(&mut desk, "o-1");
    hear(&mut desk, "event", &station.sale("o-1", 0, 10_000, 7_450));
    hear(&mut desk, "event", &station.released("o-1", "no_flow"));
    assert!(desk.violations()[0].contains("a second end: released no_flow after sale hung_up"));
}

#[test]
fn a_break_between_two_totalisers_is_found_unless_told() {
    for (told, agrees) in [(0, false), (500, true)] {
        let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
        sell(&mut desk, "o-1");
        sell(&mut desk, "o-2");
        hear(&mut desk, "event", &station.sale("o-1", 0, 10_000, 7_450));
        let mut second = station.sale("o-2", 10_500, 10_000, 7_450);
        second["data"]["unaccounted_ml"] = told.into();
        second["hash"] = envelope::hash(&second).expect("an object").into();
        hear(&mut desk, "event", &second);
        assert_eq!(desk.report().agrees(), agrees, "told {told}: {:?}", desk.report().violations);
    }
}

#[test]
fn a_command_delivered_twice_must_be_answered_the_same_and_marked_repeated() {
    for (result, repeated, good) in [("armed", true, true), ("armed", false, false), ("duplicate", true, false)] {
        let faults = Faults { deliver_twice: every(1), ..Faults::default() };
        let (mut desk, mut station) = (desk(AckBy::Ids, faults), FakeStation::new());
        let command = sell(&mut desk, "o-1");
        let again = opened(&desk.poll_transmit().expect("the second copy"));
        assert_eq!(again["id"], command.as_str(), "the same command");
        let first = station.reply(&command, AUTHORISE, "armed", false);
        hear(&mut desk, "reply", &first);
        // The broker may bring one message twice; that is no second answer.
        hear(&mut desk, "reply", &first);
        let second = station.reply(&command, AUTHORISE, result, repeated);
        hear(&mut desk, "reply", &second);
        assert_eq!(desk.violations().is_empty(), good, "{result} {repeated}");
    }
}

#[test]
fn every_second_acknowledgement_can_be_held_back_until_the_record_comes_again() {
    let faults = Faults { drop_ack: every(2), ..Faults::default() };
    let (mut desk, mut station) = (desk(AckBy::Ids, faults), FakeStation::new());
    let mut named = Vec::new();
    for id in ["o-1", "o-2", "o-3", "o-4"] {
        sell(&mut desk, id);
        let record = station.released(id, "cancelled");
        hear(&mut desk, "event", &record);
        let first = acks(&mut desk).len();
        hear(&mut desk, "event", &record);
        named.push((first, acks(&mut desk).len()));
    }
    assert_eq!((named, desk.counts().acks_dropped), (vec![(1, 1), (0, 1), (1, 1), (0, 1)], 2));
}

#[test]
fn a_moved_order_must_be_sold_where_it_stands() {
    let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
    let mut spec = order("o-1", 20_000);
    spec.nozzle = NozzleId(4);
    desk.issue(Command::Authorise(Box::new(spec)), now());
    let to = OrderId::new("o-1").expect("an id");
    let moving = desk.issue(Command::Move(to, NozzleId(3)), now());
    let reply = station.reply(&moving.to_string(), "fuel.order.move.v1", "moved", false);
    hear(&mut desk, "reply", &reply);
    hear(&mut desk, "event", &station.sale("o-1", 0, 10_000, 7_450));
    assert!(desk.report().agrees(), "{:?}", desk.report());
}

#[test]
fn a_refusal_of_section_two_gives_the_money_back_without_a_record_and_one_of_section_four_waits_for_it() {
    for (result, open) in [("bad_signature", false), ("limit_exceeded", true)] {
        let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
        let command = sell(&mut desk, "o-1");
        let reply = station.reply(&command, AUTHORISE, result, false);
        hear(&mut desk, "reply", &reply);
        let report = desk.report();
        assert_eq!(!report.open.is_empty(), open, "{result}");
        assert_eq!(report.refunded_minor.get(), if open { 0 } else { 20_000 }, "{result}");
    }
}

#[test]
fn after_a_broken_link_what_was_never_answered_goes_out_again() {
    let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
    let answered = sell(&mut desk, "o-1");
    let lost = sell(&mut desk, "o-2");
    let reply = station.reply(&answered, AUTHORISE, "armed", false);
    hear(&mut desk, "reply", &reply);
    desk.handle_connected();
    let again: Vec<_> = std::iter::from_fn(|| desk.poll_transmit()).map(|token| opened(&token)["id"].clone()).collect();
    assert_eq!(again, [lost]);
}

#[test]
fn rubbish_is_a_violation_and_nothing_more() {
    let (mut desk, mut station) = (desk(AckBy::Ids, Faults::default()), FakeStation::new());
    let stray = station.sale("never-sold", 0, 10_000, 7_450);
    let loose = station.event("fuel.sale.v1", stray["data"].clone());
    for (topic, payload) in [
        ("event", "not JSON".to_owned()),
        ("event", loose.to_string()),
        ("reply", station.reply("never-sent", AUTHORISE, "armed", false).to_string()),
        ("state/nozzle/1", station.event("fuel.nozzle.state.v1", serde_json::json!({})).to_string()),
        ("event", stray.to_string()),
    ] {
        let before = desk.violations().len();
        desk.handle_message(topic, payload.as_bytes(), now());
        assert_eq!(desk.violations().len(), before + 1, "{topic} {payload}");
    }
}

#[test]
fn a_report_is_checked_against_the_sales_and_an_anchor_against_the_chain() {
    let report = |count: u64, after: u64, period: &str| {
        let sum = serde_json::json!({"count": count, "volume_ml": count * 13_430, "amount_minor": count * 10_005});
        serde_json::json!({"scope": "shift", "period": period, "part": 1, "after_sequence": format!("{after:012}"),
            "through_sequence": "000000000001", "missing_records": 0, "total": sum, "nozzles": [sum]})
    };
    for (data, wrong) in [
        (report(1, 0, "2026-11-21-A"), None),
        (report(2, 0, "2026-11-21-A"), Some("the sales make (1, 13430, 10005)")),
        (report(1, 0, "2026-11-21-B"), Some("record 1 names shift")),
        (report(1, 9, "2026-11-21-A"), Some("covers")),
    ] {
        let mut desk = desk(AckBy::Ids, Faults::default());
        let mut station = FakeStation::new();
        sell(&mut desk, "a");
        let mut sale = station.sale("a", 1_000, 13_430, 10_005);
        station = FakeStation::new();
        sale["data"]["shift"] = "2026-11-21-A".into();
        let sale = station.record("fuel.sale.v1", sale["data"].clone());
        let hash = sale["hash"].clone();
        let anchor = serde_json::json!({"through_sequence": "000000000001", "hash": hash});
        let papers = [station.record("fuel.report.v1", data), station.record("fuel.anchor.v1", anchor)];
        for message in [&sale].into_iter().chain(&papers) {
            hear(&mut desk, "event", message);
        }
        let violations = desk.report().violations;
        match wrong {
            None => assert_eq!(violations, Vec::<String>::new()),
            Some(text) => assert!(violations.iter().any(|found| found.contains(text)), "{text}: {violations:?}"),
        }
    }
    let mut desk = desk(AckBy::Ids, Faults::default());
    let mut station = FakeStation::new();
    let first = station.record("fuel.audit.v1", serde_json::json!({}));
    let anchor = serde_json::json!({"through_sequence": "000000000001", "hash": "0".repeat(64)});
    let second = station.record("fuel.anchor.v1", anchor);
    hear(&mut desk, "event", &first);
    hear(&mut desk, "event", &second);
    assert!(desk.report().violations.iter().any(|found| found.contains("not in the chain")));
}
