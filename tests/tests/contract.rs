//! The published contract against the daemon: what it sends fits the schemas, what the schemas allow it accepts and nothing else.

use cloud_sync::published::{Channel, MESSAGES, Message, document, files, schema};
use cloud_sync::wire::command::open;
use cloud_sync::wire::jws::KeySet;
use cloud_sync::wire::reply::{Answer, LinkReply, link_data, site_data};
use forecourt::command::{Exceeded, Outcome, Reply};
use forecourt::errand::{ConfigProblem, Done};
use forecourt::hold::Hold;
use forecourt::ids::{CommandId, Grade, NozzleId, StationId, UuidMaker};
use forecourt::list::ListVersion;
use forecourt::price::Direction;
use forecourt::time::UtcTime;
use forecourt::units::UnitPrice;
use hil_sim::day::station::Speaks;
use hil_sim::day::traffic::Span;
use hil_sim::day::{Play, overheard};
use hil_sim::platform::KeyPair;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

/// Messages of a type that are looked at; the states of many hours are all alike.
const ENOUGH: u32 = 150;

fn validator(message: &Message) -> Validator {
    jsonschema::draft7::options().should_validate_formats(true).build(&schema(message)).expect("a schema")
}

#[test]
fn the_published_files_are_those_of_the_types() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract");
    let mut expected = BTreeSet::new();
    for file in files() {
        let there = std::fs::read_to_string(home.join(&file.path)).unwrap_or_default();
        assert!(
            there == file.text,
            "docs/contract/{} is out of date: cargo run -p station-tests --bin publish-contract",
            file.path
        );
        expected.insert(file.path);
    }
    for folder in ["schemas", "examples"] {
        for entry in std::fs::read_dir(home.join(folder)).expect("a folder") {
            let path = format!("{folder}/{}", entry.expect("an entry").file_name().display());
            assert!(expected.contains(&path), "docs/contract/{path} is of no message: remove it");
        }
    }
}

#[test]
fn every_example_fits_its_schema_and_no_other() {
    let validators: Vec<(&Message, Validator)> = MESSAGES.iter().map(|message| (message, validator(message))).collect();
    for (message, own) in &validators {
        let event = message.event();
        let faults: Vec<String> =
            own.iter_errors(&event).map(|fault| format!("{} {fault}", fault.instance_path())).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", message.kind);
        for (other, validator) in &validators {
            assert!(other.kind == message.kind || !validator.is_valid(&event), "{} fits {}", message.kind, other.kind);
        }
    }
}

#[test]
fn the_document_names_every_message_and_each_reference_leads_somewhere() {
    let document = document();
    let files: BTreeSet<String> = files().into_iter().map(|file| format!("./{}", file.path)).collect();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 2 * MESSAGES.len(), "{} references", references.len());
    for reference in &references {
        let found = match reference.strip_prefix('#') {
            Some(pointer) => document.pointer(pointer).is_some(),
            None => files.contains(reference),
        };
        assert!(found, "{reference} leads nowhere");
    }
    for message in MESSAGES {
        assert!(references.contains(&format!("./schemas/{}.json", message.kind)), "{} is in no channel", message.kind);
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(reference) if name == "$ref" => references.push(reference.clone()),
                    _ => collect(value, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[test]
fn every_result_named_for_a_command_is_a_row_of_the_reply() {
    let reply = schema(Message::of("fuel.reply.v1").expect("a reply"));
    let rows = reply["properties"]["data"]["oneOf"].as_array().expect("rows");
    let words: BTreeSet<&str> = rows.iter().filter_map(|row| row["properties"]["result"]["const"].as_str()).collect();
    let mut named: BTreeSet<&str> = cloud_sync::published::ALWAYS.into_iter().collect();
    named.extend(MESSAGES.iter().flat_map(|message| message.results.iter().copied()));
    assert_eq!(words.difference(&named).collect::<Vec<_>>(), Vec::<&&str>::new(), "a reply that no command has");
    assert_eq!(named.difference(&words).collect::<Vec<_>>(), Vec::<&&str>::new(), "a result that is no row");
}

/// Every outcome of a command that the platform is told, those with choices in each of them.
fn outcomes() -> Vec<Outcome> {
    let (state, end) = (|| String::from("completed"), UuidMaker::new([5; 32]).make(UtcTime::from_unix_ms(0)));
    let problem =
        ConfigProblem { at: "/data/document/limits".into(), what: "is too much".into(), expected: "less".into() };
    let exceeded = [Exceeded::Amount, Exceeded::Volume, Exceeded::CustomerDay, Exceeded::List];
    let of_orders = [
        Outcome::Armed,
        Outcome::Queued { position: 1 },
        Outcome::Duplicate { state: "armed".into(), end: None },
        Outcome::Duplicate { state: state(), end: Some(end) },
        Outcome::Conflict { state: "armed".into(), end: None },
        Outcome::Conflict { state: state(), end: Some(end) },
        Outcome::Expired,
        Outcome::TooOld,
        Outcome::UnknownNozzle,
        Outcome::GradeMismatch { suggested_nozzles: vec![NozzleId(2), NozzleId(4)] },
        Outcome::PriceChanged { unit_price_micros: UnitPrice::new(7_600_000) },
        Outcome::NozzleUnavailable { holds: vec![Hold::Manual, Hold::TankLow] },
        Outcome::StationHeld,
        Outcome::LimitTooSmall,
        Outcome::NozzleBusy,
        Outcome::UnsupportedPreset,
        Outcome::Overloaded,
    ];
    let of_others = [
        Outcome::Cancelled,
        Outcome::CannotCancel { state: state() },
        Outcome::AlreadyEnded { end },
        Outcome::UnknownOrder,
        Outcome::Moved,
        Outcome::CannotMove { state: state() },
        Outcome::Stopped,
        Outcome::NothingToStop,
        Outcome::Held,
        Outcome::Unheld,
        Outcome::OnSiteOnly { nozzles: vec![NozzleId(3)] },
        Outcome::Watching,
        Outcome::Scheduled { directions: [(Grade::new("92").expect("a grade"), Direction::Raise)].into() },
        Outcome::Refused { problems: vec!["grade 98 is not sold here: leave it out".into()] },
        Outcome::Updated { version: ListVersion(3) },
        Outcome::VersionGap { version: ListVersion(3) },
        Outcome::Office(Done::Applied { version: 2, restart: true }),
        Outcome::Office(Done::Refused { problems: vec![problem] }),
        Outcome::Office(Done::Revoked),
        Outcome::Office(Done::UnknownKey),
        Outcome::Office(Done::LastKey),
        Outcome::Office(Done::Erased { rows: 4 }),
    ];
    let limits = exceeded.into_iter().map(|limit| Outcome::LimitExceeded { limit });
    of_orders.into_iter().chain(limits).chain(of_others).collect()
}

#[test]
fn every_reply_fits_its_row_of_the_schema_and_no_row_is_without_a_reply() {
    let message = Message::of("fuel.reply.v1").expect("a reply");
    let (schema, validator) = (schema(message), validator(message));
    let command_id = CommandId::new("cmd-1").expect("an id");
    let by_site = outcomes().into_iter().map(|outcome| {
        site_data(&Reply {
            command_id: command_id.clone(),
            command_type: "fuel.order.authorise.v1".into(),
            outcome,
            detail: "so".into(),
            repeated: false,
        })
    });
    let answers = [
        Answer::BadSignature,
        Answer::WrongStation,
        Answer::FromTheFuture,
        Answer::TooOld,
        Answer::Unsupported,
        Answer::Malformed { at: String::new() },
        Answer::TooLarge,
        Answer::Overloaded,
        Answer::Resending { count: 100 },
        Answer::UnknownRange,
        Answer::Queued,
    ];
    let by_link = answers.into_iter().map(|answer| {
        link_data(&LinkReply { command_id: None, command_type: None, answer, detail: "so".into() }, true)
    });
    let mut said = BTreeSet::new();
    for data in by_site.chain(by_link) {
        let mut event = message.event();
        event["data"] = data;
        let faults: Vec<String> = validator.iter_errors(&event).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", event["data"]);
        said.extend(event["data"]["result"].as_str().map(str::to_owned));
    }
    let rows = schema["properties"]["data"]["oneOf"].as_array().expect("rows");
    let words: BTreeSet<String> =
        rows.iter().filter_map(|row| row["properties"]["result"]["const"].as_str().map(str::to_owned)).collect();
    assert_eq!(said, words);
}

#[test]
fn all_that_a_station_sends_on_days_with_faults_fits_the_schemas() {
    let heard: Rc<RefCell<BTreeMap<String, u32>>> = Rc::default();
    let validators: BTreeMap<&str, (&Message, Validator)> =
        MESSAGES.iter().map(|message| (message.kind, (message, validator(message)))).collect();
    let validators = Rc::new(validators);
    for seed in [2, 3] {
        let (heard, validators) = (Rc::clone(&heard), Rc::clone(&validators));
        let span = Span { from_hour: 7, hours: 1, visits: Some(24) };
        let eavesdropper = move |topic: &str, payload: &[u8]| {
            let message: Value = serde_json::from_slice(payload).expect("JSON");
            let events = match message {
                Value::Array(events) => events,
                event => vec![event],
            };
            for event in events {
                let kind = event["type"].as_str().expect("a type").to_owned();
                let count = *heard.borrow_mut().entry(kind.clone()).and_modify(|count| *count += 1).or_insert(1);
                if count > ENOUGH {
                    continue;
                }
                let (message, validator) =
                    validators.get(kind.as_str()).unwrap_or_else(|| panic!("{kind} is not in the contract"));
                let below = message.channel.topic().replace("{nozzle}", "");
                assert!(topic.contains(&format!("/{below}")), "{kind} came on {topic}");
                let faults: Vec<String> =
                    validator.iter_errors(&event).map(|fault| format!("{} {fault}", fault.instance_path())).collect();
                assert!(faults.is_empty(), "{kind}: {faults:?} in {event}");
            }
        };
        let day = overheard(Play { seed, span, speaks: Speaks::Drawn, fair: false, keep: 0 }, Box::new(eavesdropper));
        assert_eq!(day.expect("the simulation itself works").violation, None, "seed {seed}");
    }
    let heard = heard.borrow();
    for kind in [
        "fuel.station.state.v1",
        "fuel.nozzle.state.v1",
        "fuel.order.state.v1",
        "fuel.reply.v1",
        "fuel.sale.v1",
        "fuel.order.released.v1",
    ] {
        assert!(heard.get(kind).is_some_and(|count| *count >= 3), "{kind}: {heard:?}");
    }
}

/// What a member is replaced by: each is right for some member and wrong for most.
fn odd_values() -> Vec<Value> {
    let mut values = vec![json!(null), json!(true), json!([]), json!({}), json!([{}]), json!({"amount_minor": 1})];
    values.extend([-1_i64, 0, 1, 29, 30, 300, 301, 600, 601, 999, 1_000, (1 << 53) - 1].map(Value::from));
    values.push(json!({"amount_minor": 1, "volume_ml": 1}));
    values.push(json!({"amount_minor": 1, "other": 1}));
    values.push(json!({"volume_ml": 0}));
    values.push(json!(["019aa7c4-0000-7000-8000-000000000002"]));
    values.push(json!(["019aa7c4"]));
    for text in
        ["", "x", "a b", "92", "CNY", "cny", "000000000001", "1", "prepaid", "voucher", "粤B", "line\nbreak", "2.0"]
    {
        values.push(text.into());
    }
    values.extend([16, 17, 32, 33, 36, 64, 65, 256, 257].map(|length| Value::from("7".repeat(length))));
    values.push("2026-11-21T08:35:00Z".into());
    values.push("2026-11-21".into());
    values
}

/// The paths of all members of an event, those of its data among them.
fn pointers(value: &Value, at: &str, into: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let pointer = format!("{at}/{name}");
        if pointer != "/data/context/any" {
            pointers(value, &pointer, into);
        }
        into.push(pointer);
    }
}

#[test]
fn the_daemon_accepts_a_command_just_when_its_schema_does() {
    let key = KeyPair::generate("platform-1").expect("a key");
    let keys = KeySet::from_jwks(json!({"keys": [key.jwk()]}).to_string().as_bytes()).expect("keys");
    let station = StationId::new("st-0042").expect("an id");
    let now = UtcTime::parse("2026-11-21T08:32:03Z").expect("a time");
    let mut compared = 0;
    let mut differences = Vec::new();
    for message in MESSAGES.iter().filter(|message| message.channel == Channel::Command) {
        let validator = validator(message);
        let example = message.event();
        let mut variants = vec![(String::from("the example"), example.clone())];
        let mut members = Vec::new();
        pointers(&example, "", &mut members);
        for pointer in members {
            let (parent, name) = pointer.rsplit_once('/').expect("a path");
            let mut without = example.clone();
            without.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(name);
            variants.push((format!("without {pointer}"), without));
            for value in odd_values() {
                let mut other = example.clone();
                *other.pointer_mut(&pointer).expect("a member") = value.clone();
                variants.push((format!("{pointer} = {value}"), other));
            }
        }
        for (what, event) in variants {
            let token = key.sign(&serde_json::to_vec(&event).expect("JSON"));
            let answer = match open(token.as_bytes(), &keys, &station) {
                Ok(opened) => opened.read(now).err().map(|reply| reply.answer),
                Err(reply) => Some(reply.answer),
            };
            let accepted = match answer {
                None => true,
                Some(Answer::Malformed { .. } | Answer::Unsupported) => false,
                // Well-formed, but of another time or for another station: no schema can say that.
                Some(_) => continue,
            };
            if validator.is_valid(&event) != accepted {
                differences.push(format!("{}, {what}: {answer:?}", message.kind));
            }
            compared += 1;
        }
    }
    assert!(differences.is_empty(), "{} of {compared}:\n{}", differences.len(), differences.join("\n"));
    assert!(compared > 3_000, "{compared} variants compared");
}
