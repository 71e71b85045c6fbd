//! One row for every refusal of contract section 2, and for every rule of a value.

use super::testing::{JWKS_KID, envelope, jwks, keys, sign, sign_as, signing_key, station};
use super::*;
use proptest::prelude::*;
use serde_json::json;

const NOW: &str = "2026-11-21T08:30:00.000Z";

fn now() -> UtcTime {
    UtcTime::parse(NOW).expect("a time")
}

fn authorise() -> Value {
    json!({"order_id":"20261121-000042","nozzle":3,"grade":"92","limit":{"amount_minor":20000},"currency":"CNY",
        "unit_price_micros":7_450_000,"expires_at":"2026-11-21T08:40:00.000Z","lift_timeout_s":120,"basis":"prepaid",
        "code":"385217","customer":"c-7f3a91","plate_masked":"粤B·***88","context":{"b":1,"a":"x"}})
}

fn run(bytes: &[u8]) -> Result<Inbound, LinkReply> {
    open(bytes, &keys(), &station())?.read(now())
}

fn run_data(kind: &str, data: Value) -> Result<Inbound, LinkReply> {
    run(sign(&envelope(kind, NOW, data)).as_bytes())
}

fn refusal(result: Result<Inbound, LinkReply>) -> LinkReply {
    result.expect_err("a refusal")
}

fn at(pointer: &str) -> Answer {
    Answer::Malformed { at: pointer.into() }
}

#[test]
fn an_order_is_read_whole() {
    let Ok(Inbound::Site(command)) = run_data("fuel.order.authorise.v1", authorise()) else { panic!("refused") };
    assert_eq!(command.id.as_str(), "cmd-1");
    let Ask::Authorise(order) = command.ask else { panic!("another ask") };
    assert_eq!(order.limit, Limit::Amount(Money::new(20_000)));
    assert_eq!(order.context, r#"{"a":"x","b":1}"#);
    assert_eq!(order.lift_timeout_s, Some(120));
    assert_eq!(order.content_hash, sha256_hex(&canonical(&authorise())));
    assert_eq!(order.plate_masked.as_deref(), Some("粤B·***88"));
}

#[test]
fn optional_members_may_be_absent_and_unknown_ones_are_ignored() {
    let mut data = authorise();
    for name in ["lift_timeout_s", "code", "customer", "plate_masked", "context"] {
        data.as_object_mut().expect("an object").remove(name);
    }
    data["new_member"] = json!([1, 2]);
    let Ok(Inbound::Site(command)) = run_data("fuel.order.authorise.v1", data) else { panic!("refused") };
    let Ask::Authorise(order) = command.ask else { panic!("another ask") };
    assert_eq!((order.context.as_str(), order.code, order.lift_timeout_s), ("{}", None, None));
}

#[test]
fn every_command_of_the_site_and_the_outbox_is_read() {
    let reason = "asked";
    let table = [
        ("fuel.order.cancel.v1", json!({"order_id":"o","reason":reason})),
        ("fuel.order.move.v1", json!({"order_id":"o","to_nozzle":4})),
        ("fuel.nozzle.stop.v1", json!({"nozzle":0,"reason":reason})),
        ("fuel.nozzle.hold.v1", json!({"nozzle":1,"reason":reason})),
        ("fuel.nozzle.unhold.v1", json!({"nozzle":999,"reason":reason})),
        ("fuel.watch.v1", json!({"nozzle":1,"ttl_s":30})),
        ("fuel.ack.v1", json!({"ids":["019aa7c4-0000-7000-8000-000000000001"]})),
        ("fuel.ack.v1", json!({"through_sequence":"000000001234"})),
        ("fuel.nack.v1", json!({"id":"019aa7c4-0000-7000-8000-000000000001","reason":reason})),
        ("fuel.resend.v1", json!({"from_sequence":"000000000001","to_sequence":"000000000009"})),
    ];
    for (kind, data) in table {
        assert!(run_data(kind, data).is_ok(), "{kind}");
    }
    let Ok(Inbound::Ack(ack)) = run_data("fuel.ack.v1", json!({"through_sequence":"000000001234"})) else {
        panic!("another ask")
    };
    assert_eq!(ack, Ack::Through(1234));
}

#[test]
fn a_message_without_a_readable_command_is_refused_without_an_id() {
    let signed = sign(&envelope("fuel.order.authorise.v1", NOW, authorise()));
    let mut padded = signed.clone();
    padded.push('=');
    let none = "eyJhbGciOiJub25lIn0.e30.";
    let table: Vec<(Vec<u8>, Answer)> = vec![
        (vec![b'a'; 1_000_000], Answer::TooLarge),
        (b"{}".to_vec(), at("")),
        (b"\xff\xfe.\x00.\x01".to_vec(), at("")),
        (b"a.b".to_vec(), at("")),
        (padded.into_bytes(), at("")),
        (none.as_bytes().to_vec(), at("")),
        (sign("[".repeat(10_000).as_bytes()).into_bytes(), at("/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0")),
        (sign(b"\xff").into_bytes(), at("")),
        (sign(b"[]").into_bytes(), at("")),
        (sign(br#"{"id":"a","id":"b"}"#).into_bytes(), at("/id")),
        (sign(br#"{"specversion":"1.0"}"#).into_bytes(), at("/id")),
    ];
    for (bytes, answer) in table {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let refused = refusal(run(&bytes));
        assert_eq!((refused.answer, refused.command_id), (answer, None), "{shown}");
    }
}

#[test]
fn a_signature_that_does_not_hold_is_refused_whatever_it_covers() {
    let event = envelope("fuel.order.authorise.v1", NOW, authorise());
    let wrong_key = sign_as(JWKS_KID, &signing_key(9), &event);
    let unknown_key = sign_as("stranger", &signing_key(1), &event);
    let mut flipped = sign(&event).into_bytes();
    let last = flipped.len() - 20;
    flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
    let header = |text: &str| testing::base64url(text.as_bytes());
    let unsigned = format!("{}.{}.", header(r#"{"alg":"none","kid":"k1"}"#), testing::base64url(&event));
    let hmac = format!("{}.{}.AAAA", header(r#"{"alg":"HS256","kid":"k1"}"#), testing::base64url(&event));
    let short = format!("{}.{}.AAAA", header(r#"{"alg":"EdDSA","kid":"k1"}"#), testing::base64url(&event));
    let cases = [wrong_key.into_bytes(), unknown_key.into_bytes(), flipped, unsigned.into(), hmac.into(), short.into()];
    for bytes in cases {
        let refused = refusal(run(&bytes));
        assert_eq!(refused.answer, Answer::BadSignature);
        assert_eq!(refused.command_id, CommandId::new("cmd-1").ok());
    }
    // The signature comes before the payload's form: an unsigned heap of brackets is no lead to what is wrong inside.
    let deep =
        format!("{}.{}.AAAA", header(r#"{"alg":"EdDSA","kid":"k1"}"#), testing::base64url("[".repeat(999).as_bytes()));
    assert_eq!(refusal(run(deep.as_bytes())).answer, Answer::BadSignature);
}

#[test]
fn subject_type_and_time_are_refused_in_this_order() {
    let event = |subject: &str, kind: &str, time: &str, data: &Value| {
        let event = json!({"specversion":"1.0","id":"cmd-1","source":"/platform","subject":subject,"type":kind,"time":time,
            "data":data});
        refusal(run(sign(event.to_string().as_bytes()).as_bytes())).answer
    };
    let (here, kind) = ("/stations/st-1", "fuel.order.cancel.v1");
    let bad = json!({});
    assert_eq!(event("/stations/st-2", "fuel.nothing.v9", "2020-01-01T00:00:00Z", &bad), Answer::WrongStation);
    assert_eq!(event(here, "fuel.nothing.v9", "2020-01-01T00:00:00Z", &bad), Answer::Unsupported);
    assert_eq!(event(here, "fuel.order.cancel.v2", NOW, &bad), Answer::Unsupported);
    assert_eq!(event(here, kind, "2026-11-21T08:31:00.001Z", &bad), Answer::FromTheFuture);
    assert_eq!(event(here, kind, "2026-11-21T08:24:59.999Z", &bad), Answer::TooOld);
    assert_eq!(event(here, kind, "2026-11-21T08:31:00.000Z", &bad), at("/data/order_id"));
    assert_eq!(event(here, kind, "2026-11-21T08:25:00.000Z", &bad), at("/data/order_id"));
    assert_eq!(event(here, kind, "yesterday", &bad), at("/time"));
    let future = authorise();
    assert_eq!(event(here, "fuel.order.authorise.v1", "2026-11-21T08:32:00.000Z", &future), Answer::FromTheFuture);
}

#[test]
fn an_order_past_its_expiry_goes_to_the_site_so_that_it_can_be_released() {
    let mut data = authorise();
    data["expires_at"] = json!("2026-11-21T07:10:00.000Z");
    let signed = sign(&envelope("fuel.order.authorise.v1", "2026-11-21T07:00:00.000Z", data));
    assert!(matches!(run(signed.as_bytes()), Ok(Inbound::Site(_))));
}

#[test]
fn a_value_that_breaks_its_rule_is_named_by_a_pointer() {
    let table = [
        ("order_id", json!("a b"), "/data/order_id"),
        ("order_id", json!(7), "/data/order_id"),
        ("order_id", Value::Null, "/data/order_id"),
        ("nozzle", json!(0), "/data/nozzle"),
        ("nozzle", json!(1000), "/data/nozzle"),
        ("nozzle", json!("3"), "/data/nozzle"),
        ("grade", json!(""), "/data/grade"),
        ("limit", json!({}), "/data/limit"),
        ("limit", json!({"amount_minor":1,"volume_ml":1}), "/data/limit"),
        ("limit", json!({"amount_minor":0}), "/data/limit/amount_minor"),
        ("limit", json!({"volume_ml":-1}), "/data/limit/volume_ml"),
        ("limit", json!({"full_tank_minor":"1"}), "/data/limit/full_tank_minor"),
        ("limit", json!(5), "/data/limit"),
        ("currency", json!("cny"), "/data/currency"),
        ("unit_price_micros", json!(0), "/data/unit_price_micros"),
        ("expires_at", json!("2026-11-21T09:00:00.001Z"), "/data/expires_at"),
        ("expires_at", json!("soon"), "/data/expires_at"),
        ("lift_timeout_s", json!(29), "/data/lift_timeout_s"),
        ("lift_timeout_s", json!(601), "/data/lift_timeout_s"),
        ("basis", json!("voucher"), "/data/basis"),
        ("code", json!("12a"), "/data/code"),
        ("code", json!("12345678901234567"), "/data/code"),
        ("customer", json!("Mr. Smith"), "/data/customer"),
        ("plate_masked", json!("x".repeat(33)), "/data/plate_masked"),
        ("plate_masked", json!("a\u{7}"), "/data/plate_masked"),
        ("context", json!("text"), "/data/context"),
        ("context", json!({"k":"x".repeat(2_041)}), "/data/context"),
    ];
    for (name, value, pointer) in table {
        let mut data = authorise();
        data[name] = value.clone();
        let refused = refusal(run_data("fuel.order.authorise.v1", data));
        assert_eq!(refused.answer, at(pointer), "{name} = {value}");
        assert!(refused.detail.starts_with(pointer), "{}", refused.detail);
    }
    let mut data = authorise();
    data["context"] = json!({"k":"x".repeat(2_040)});
    assert!(run_data("fuel.order.authorise.v1", data).is_ok());
}

#[test]
fn other_commands_are_held_to_their_rules_too() {
    let id = "019aa7c4-0000-7000-8000-000000000001";
    let table = [
        ("fuel.order.cancel.v1", json!({"order_id":"o"}), "/data/reason"),
        ("fuel.order.cancel.v1", json!({"order_id":"o","reason":"x".repeat(257)}), "/data/reason"),
        ("fuel.order.move.v1", json!({"order_id":"o","to_nozzle":0}), "/data/to_nozzle"),
        ("fuel.nozzle.stop.v1", json!({"nozzle":-1,"reason":"r"}), "/data/nozzle"),
        ("fuel.watch.v1", json!({"nozzle":1,"ttl_s":29}), "/data/ttl_s"),
        ("fuel.watch.v1", json!({"nozzle":1,"ttl_s":301}), "/data/ttl_s"),
        ("fuel.ack.v1", json!({}), "/data"),
        ("fuel.ack.v1", json!({"ids":[id],"through_sequence":"000000000001"}), "/data"),
        ("fuel.ack.v1", json!({"ids":[id,"x"]}), "/data/ids/1"),
        ("fuel.ack.v1", json!({"through_sequence":"1"}), "/data/through_sequence"),
        ("fuel.nack.v1", json!({"id":"x","reason":"r"}), "/data/id"),
        ("fuel.resend.v1", json!({"from_sequence":1,"to_sequence":2}), "/data/from_sequence"),
    ];
    for (kind, data, pointer) in table {
        assert_eq!(refusal(run_data(kind, data.clone())).answer, at(pointer), "{kind} {data}");
    }
}

#[test]
fn numbers_with_a_fraction_or_an_exponent_are_refused_anywhere() {
    for number in ["1.0", "1e3", "1e400", "9007199254740992"] {
        let event = String::from_utf8(envelope("fuel.order.authorise.v1", NOW, authorise())).expect("UTF-8");
        let event = event.replace(r#""b":1"#, &format!(r#""b":{number}"#));
        assert_eq!(refusal(run(sign(event.as_bytes()).as_bytes())).answer, at("/data/context/b"), "{number}");
    }
}

#[test]
fn a_key_that_was_taken_out_of_the_set_signs_no_more() {
    let signed = sign(&envelope("fuel.order.authorise.v1", NOW, authorise()));
    let other = KeySet::from_jwks(&jwks(&[("k2", 1)])).expect("a key set");
    let refused = open(signed.as_bytes(), &other, &station()).expect_err("refused");
    assert_eq!(refused.answer, Answer::BadSignature);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(run(&bytes).is_err());
        // The same as the payload of a good signature: refused as well, and later in the order of checks.
        let refused = refusal(run(sign(&bytes).as_bytes()));
        let is_malformed = matches!(refused.answer, Answer::Malformed { .. });
        prop_assert!(is_malformed);
    }

    #[test]
    fn a_command_with_one_changed_byte_is_never_carried_out(position in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let good = sign(&envelope("fuel.order.authorise.v1", NOW, authorise())).into_bytes();
        let mut bad = good.clone();
        let position = position.index(bad.len());
        bad[position] = byte;
        prop_assert_eq!(run(&bad).is_ok(), bad == good);
    }

    #[test]
    fn any_value_in_any_member_is_read_or_refused_with_its_place(
        name in prop::sample::select(vec!["order_id", "nozzle", "grade", "limit", "currency", "unit_price_micros", "expires_at",
            "lift_timeout_s", "basis", "code", "customer", "plate_masked", "context"]),
        value in prop_oneof![
            Just(json!(null)), Just(json!(true)), Just(json!([])), Just(json!({})), Just(json!([[{}]])),
            any::<i32>().prop_map(|number| json!(number)), ".{0,40}".prop_map(|text| json!(text)),
        ],
    ) {
        let mut data = authorise();
        data[name] = value;
        if let Err(refused) = run_data("fuel.order.authorise.v1", data) {
            let Answer::Malformed { at } = refused.answer else { panic!("another refusal") };
            prop_assert!(at.starts_with(&format!("/data/{name}")), "{}", at);
        }
    }
}

#[test]
fn a_readable_id_is_answered_although_the_content_breaks_a_rule() {
    let text = |data: &str| {
        format!(
            r#"{{"specversion":"1.0","id":"cmd-1","source":"/platform","type":"fuel.order.authorise.v1","data":{data}}}"#
        )
    };
    for (data, pointer) in [(r#"{"limit":1.5}"#, "/data/limit"), (r#"{"a":1,"a":2}"#, "/data/a")] {
        let refused = refusal(run(sign(text(data).as_bytes()).as_bytes()));
        assert_eq!(refused.answer, at(pointer));
        assert_eq!(refused.command_id, CommandId::new("cmd-1").ok(), "{data}");
        assert_eq!(refused.command_type.as_deref(), Some("fuel.order.authorise.v1"));
    }
}

#[test]
fn the_commands_of_the_office_are_read_and_what_is_wrong_in_them_is_pointed_at() {
    use forecourt::errand::Errand;
    let document = json!({"b":1,"a":{"c":true}});
    let hash = sha256_hex(&canonical(&document));
    let good = json!({"version":3,"hash":hash,"document":document});
    let Ok(Inbound::Site(command)) = run_data("fuel.config.set.v1", good.clone()) else { panic!("refused") };
    let Ask::Errand(Errand::Config(set)) = command.ask else { panic!("another ask") };
    assert_eq!((set.version, set.document.as_str()), (3, r#"{"a":{"c":true},"b":1}"#));
    let Ok(Inbound::Site(command)) = run_data("fuel.credentials.revoke.v1", json!({"kid":"old"})) else {
        panic!("refused")
    };
    assert_eq!(command.ask, Ask::Errand(Errand::Revoke { kid: "old".into(), signed_by: JWKS_KID.into() }));
    let report = run_data("fuel.report.request.v1", json!({"scope":"shift","period":"2026-11-21-A"}));
    assert_eq!(report, Ok(Inbound::Report { scope: Scope::Shift, period: "2026-11-21-A".into() }));
    assert!(run_data("fuel.privacy.erase.v1", json!({"customer":"c-7f3a91"})).is_ok());
    let with = |name: &str, value: Value| {
        let mut data = good.clone();
        data[name] = value;
        data
    };
    let table = [
        ("fuel.config.set.v1", with("version", json!(0)), "/data/version"),
        ("fuel.config.set.v1", with("hash", json!("AB")), "/data/hash"),
        ("fuel.config.set.v1", with("document", json!([])), "/data/document"),
        ("fuel.report.request.v1", json!({"scope":"week","period":"2026-11-21"}), "/data/scope"),
        ("fuel.report.request.v1", json!({"scope":"day","period":"2026-11-21-A"}), "/data/period"),
        ("fuel.credentials.revoke.v1", json!({"kid":""}), "/data/kid"),
        ("fuel.privacy.erase.v1", json!({"customer":"a b"}), "/data/customer"),
    ];
    for (kind, data, pointer) in table {
        assert_eq!(refusal(run_data(kind, data)).answer, at(pointer), "{kind}");
    }
}
