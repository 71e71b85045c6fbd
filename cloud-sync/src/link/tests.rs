//! Scenes of one link, one platform, one store and one site, without a socket.

use super::*;
use crate::outbox::ask::serve;
use crate::outbox::store::{OutboxStore as _, Row};
use crate::outbox::testing::MemoryStore;
use crate::wire::command::testing::{envelope_as, keys, sign, sign_as, signing_key, station};
use crate::wire::reply::Remembered;
use crate::wire::state::testing::{nozzle_view, station_view};
use forecourt::command::Outcome;
use forecourt::ids::OrderId;
use forecourt::time::ClockQuality;
use serde_json::json;

pub(super) struct Scene {
    pub(super) link: Link,
    pub(super) store: MemoryStore,
    pub(super) now: Now,
    pub(super) published: Vec<Message>,
    pub(super) commands: Vec<Command>,
    acknowledged: Vec<u64>,
    pub(super) notices: Vec<Notice>,
    next_delivery: u64,
    /// Whether the site answers at once.
    site_answers: bool,
    /// Whether the store answers at once.
    store_answers: bool,
    asks: Vec<StoreAsk>,
    pub(super) posts: Vec<outbox::EventMessage>,
    disconnects: u32,
}

impl Scene {
    fn new() -> Self {
        Self::with(None)
    }

    /// Down, with a fallback road.
    pub(super) fn with_road(road: road::Settings) -> Self {
        Self::with(Some(road))
    }

    fn with(road: Option<road::Settings>) -> Self {
        let settings = Settings {
            station: station(),
            boot: Uuid::from_u128(7),
            prefix: "fuel/v1".into(),
            keys: keys(),
            outbox: outbox::Settings::default(),
            road,
            commands: 12,
        };
        let utc = UtcTime::parse("2026-11-21T08:30:00Z").expect("a time");
        let mut scene = Self {
            link: Link::new(settings, station_view(), UuidMaker::new([1; 32]), Instant::START),
            store: MemoryStore::default(),
            now: Now { mono: Instant::START, utc, clock: ClockQuality::Synced },
            published: Vec::new(),
            commands: Vec::new(),
            acknowledged: Vec::new(),
            notices: Vec::new(),
            next_delivery: 0,
            site_answers: true,
            store_answers: true,
            asks: Vec::new(),
            posts: Vec::new(),
            disconnects: 0,
        };
        scene.tell(Input::Nozzle(Box::new(nozzle_view(1))));
        scene
    }

    /// Connected, the first states taken by the broker and out of the way.
    fn connected() -> Self {
        let mut scene = Self::new();
        scene.tell(Input::Connected);
        scene.puback_all();
        scene
    }

    /// The daemon counts so many records that wait.
    pub(super) fn waiting(&mut self, pending: u64) {
        let mut view = station_view();
        view.outbox.pending = pending;
        self.tell(Input::Station(Box::new(view)));
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.link.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.link.poll_output(self.now) {
            match output {
                Output::Publish(message) => self.published.push(message),
                Output::Acknowledge(delivery) => self.acknowledged.push(delivery.0),
                Output::Ask(ask) if self.store_answers => {
                    let answer = serve(&mut self.store, ask);
                    self.link.handle(Input::Store(Box::new(answer)), self.now);
                }
                Output::Ask(ask) => self.asks.push(ask),
                Output::Post(post) => self.posts.push(post),
                Output::Command(command) => {
                    self.commands.push((*command).clone());
                    if self.site_answers {
                        self.answer(&command);
                    }
                }
                Output::Notice(notice) => self.notices.push(notice),
                Output::Disconnect => self.disconnects += 1,
            }
        }
    }

    /// The site's answer, durable first as in the daemon.
    fn answer(&mut self, command: &Command) {
        let reply = Reply {
            command_id: command.id.clone(),
            command_type: command.kind.clone(),
            outcome: Outcome::Stopped,
            detail: "done".into(),
            repeated: false,
        };
        self.store.answered(command.id.clone(), Remembered::Site(reply.clone()));
        self.link.handle(Input::Reply(Box::new(reply)), self.now);
    }

    fn resume_store(&mut self) {
        self.store_answers = true;
        for ask in core::mem::take(&mut self.asks) {
            let answer = serve(&mut self.store, ask);
            self.tell(Input::Store(Box::new(answer)));
        }
    }

    pub(super) fn advance(&mut self, milliseconds: u64) {
        self.now.mono = self.now.mono + Duration::from_millis(milliseconds);
        self.now.utc = self.now.utc.plus_ms(i64::try_from(milliseconds).expect("in range"));
        self.link.handle_timeout(self.now);
        self.drain();
    }

    pub(super) fn receive(&mut self, payload: impl Into<Vec<u8>>) -> u64 {
        self.receive_as(false, payload)
    }

    fn receive_as(&mut self, retained: bool, payload: impl Into<Vec<u8>>) -> u64 {
        let delivery = self.next_delivery;
        self.next_delivery += 1;
        self.tell(Input::Message { delivery: DeliveryId(delivery), retained, payload: payload.into() });
        delivery
    }

    fn command(&self, id: &str, kind: &str, data: Value) -> String {
        sign(&envelope_as(id, kind, &self.now.utc.to_string(), data))
    }

    fn stop_command(&self, id: &str) -> String {
        self.command(id, "fuel.nozzle.stop.v1", json!({"nozzle":0,"reason":"r"}))
    }

    fn cancel(&self, id: &str) -> String {
        self.command(id, "fuel.order.cancel.v1", json!({"order_id":"o","reason":"r"}))
    }

    fn puback_all(&mut self) {
        while !self.published.is_empty() {
            for message in std::mem::take(&mut self.published) {
                if let Some(tag) = message.tag {
                    self.tell(Input::Puback(tag));
                }
            }
        }
    }

    fn topics(&self) -> Vec<&str> {
        self.published.iter().map(|message| message.topic.trim_start_matches("fuel/v1/st-1/")).collect()
    }

    /// The data of all replies published so far, and takes them.
    fn replies(&mut self) -> Vec<Value> {
        let replies = self.published.iter().filter(|message| message.topic.ends_with("/reply"));
        let data = |message: &Message| serde_json::from_slice::<Value>(&message.payload).expect("JSON")["data"].clone();
        let replies = replies.map(data).collect();
        self.puback_all();
        replies
    }

    fn results(&mut self) -> Vec<(String, bool)> {
        let read = |reply: &Value| (reply["result"].as_str().expect("a result").to_owned(), reply["repeated"] == true);
        self.replies().iter().map(read).collect()
    }

    fn append(&mut self, sequence: u64) {
        let bytes = format!(r#"{{"s":{sequence}}}"#).into_bytes();
        self.store.append(Row {
            sequence,
            id: Uuid::from_u128(u128::from(sequence)),
            priority: 0,
            bytes,
            settled: false,
        });
        self.tell(Input::OutboxChanged);
    }
}

fn result(word: &str, repeated: bool) -> (String, bool) {
    (word.to_owned(), repeated)
}

#[test]
fn after_a_connect_the_newest_states_go_first_and_records_after_them() {
    let mut scene = Scene::new();
    scene.append(1);
    scene.advance(10);
    scene.tell(Input::Nozzle(Box::new(nozzle_view(3))));
    scene.advance(10);
    scene.tell(Input::Nozzle(Box::new(nozzle_view(2))));
    assert!(scene.published.is_empty());
    scene.tell(Input::Connected);
    assert_eq!(scene.topics(), ["state/station", "state/nozzle/2", "state/nozzle/3", "state/nozzle/1", "event"]);
    assert!(scene.published[..4].iter().all(|message| message.retain && message.qos == Qos::AtLeastOnce));
    assert!(!scene.published[4].retain);
}

#[test]
fn a_state_is_published_on_change_at_once_and_otherwise_within_five_minutes() {
    let mut scene = Scene::connected();
    scene.tell(Input::Nozzle(Box::new(nozzle_view(1))));
    assert!(scene.published.is_empty(), "nothing changed");
    let held = NozzleView { available: false, ..nozzle_view(1) };
    scene.tell(Input::Nozzle(Box::new(held)));
    assert_eq!(scene.topics(), ["state/nozzle/1"]);
    // A second change while the first is on its way waits for the broker and then goes once, with the last content.
    for queue in 1..4 {
        scene.tell(Input::Nozzle(Box::new(NozzleView { queue, ..nozzle_view(1) })));
    }
    assert_eq!(scene.topics(), ["state/nozzle/1"]);
    let tag = scene.published.remove(0).tag.expect("a tag");
    scene.tell(Input::Puback(tag));
    assert_eq!(scene.published.len(), 1);
    let event: Value = serde_json::from_slice(&scene.published[0].payload).expect("JSON");
    assert_eq!(event["data"]["queue"], 3);
    scene.puback_all();
    scene.advance(300_000);
    assert_eq!(scene.topics(), ["state/station", "state/nozzle/1"]);
}

#[test]
fn a_repeat_is_answered_from_memory_before_its_time_is_checked() {
    let mut scene = Scene::connected();
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop.clone());
    scene.advance(3_600_000);
    scene.puback_all_but_replies();
    scene.receive(stop);
    assert_eq!(scene.results(), [result("stopped", false), result("stopped", true)]);
    assert_eq!(scene.commands.len(), 1, "no second effect");
}

impl Scene {
    /// The broker takes what is no reply.
    fn puback_all_but_replies(&mut self) {
        let (replies, others): (Vec<Message>, Vec<Message>) =
            std::mem::take(&mut self.published).into_iter().partition(|message| message.topic.ends_with("/reply"));
        self.published = replies;
        for tag in others.into_iter().filter_map(|message| message.tag) {
            self.tell(Input::Puback(tag));
        }
    }
}

#[test]
fn a_refusal_is_remembered_too() {
    let mut scene = Scene::connected();
    let early =
        sign(&envelope_as("cmd-1", "fuel.nozzle.stop.v1", "2026-11-21T08:32:00Z", json!({"nozzle":0,"reason":"r"})));
    scene.receive(early.clone());
    scene.advance(120_000);
    scene.receive(early);
    assert_eq!(scene.results(), [result("from_the_future", false), result("from_the_future", true)]);
    assert!(scene.commands.is_empty());
}

#[test]
fn a_repeat_that_comes_before_the_answer_is_answered_with_it() {
    let mut scene = Scene::connected();
    scene.site_answers = false;
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop.clone());
    scene.receive(stop);
    let command = scene.commands[0].clone();
    scene.answer(&command);
    scene.drain();
    assert_eq!(scene.results(), [result("stopped", false), result("stopped", true)]);
    assert_eq!(scene.commands.len(), 1);
}

#[test]
fn retained_and_empty_messages_are_ignored_and_counted() {
    let mut scene = Scene::connected();
    let stop = scene.stop_command("cmd-1");
    scene.receive_as(true, stop);
    scene.receive("");
    assert!(scene.replies().is_empty() && scene.commands.is_empty());
    assert_eq!(scene.link.counters().ignored, 2);
    assert_eq!(scene.acknowledged, [0, 1]);
}

#[test]
fn what_cannot_be_tied_to_a_command_is_answered_once_a_second_and_counted() {
    let mut scene = Scene::connected();
    for _ in 0..50 {
        scene.receive("garbage");
    }
    scene.advance(1_000);
    scene.receive(vec![b'x'; 1_000_000]);
    assert_eq!(scene.results(), [result("malformed", false), result("too_large", false)]);
    let counters = scene.link.counters();
    assert_eq!((counters.unreadable, counters.unanswered), (51, 49));
}

#[test]
fn a_bad_signature_is_a_security_event() {
    let mut scene = Scene::connected();
    let event = envelope_as("cmd-1", "fuel.nozzle.stop.v1", "2026-11-21T08:30:00Z", json!({"nozzle":0,"reason":"r"}));
    for _ in 0..3 {
        scene.receive(sign_as("k1", &signing_key(9), &event));
    }
    assert_eq!(
        scene.results(),
        [result("bad_signature", false), result("bad_signature", false), result("bad_signature", false)]
    );
    assert!(matches!(scene.notices[..], [Notice::BadSignature { count: 1, .. }]), "a flood is told once a second");
    assert_eq!(scene.link.counters().bad_signatures, 3);
    // The forger has not used up the id.
    let real = scene.stop_command("cmd-1");
    scene.receive(real);
    assert_eq!(scene.results(), [result("stopped", false)]);
}

#[test]
fn neither_orders_that_are_refused_nor_stops_of_nonsense_keep_out_a_stop() {
    let mut scene = Scene::connected();
    scene.site_answers = false;
    scene.store_answers = false;
    for number in 0..100 {
        let order = json!({"order_id": format!("o-{number}"), "nozzle": 1, "grade": "92", "limit": {"amount_minor": 1_000},
            "currency": "CNY", "unit_price_micros": 7_450_000, "expires_at": "2026-11-21T08:40:00Z", "basis": "prepaid"});
        let order = scene.command(&format!("order-{number}"), "fuel.order.authorise.v1", order);
        scene.receive(order);
        let nonsense = json!({"nozzle": "all", "reason": "r"});
        let nonsense = scene.command(&format!("no-{number}"), "fuel.nozzle.stop.v1", nonsense);
        scene.receive(nonsense);
    }
    let stop = scene.stop_command("stop");
    scene.receive(stop);
    scene.advance(100);
    assert!(scene.commands.iter().any(|command| command.id.as_str() == "stop"));
}

#[test]
fn a_flood_is_refused_and_never_keeps_out_a_stop() {
    let mut scene = Scene::connected();
    scene.site_answers = false;
    for number in 0..40 {
        let cancel = scene.cancel(&format!("cmd-{number}"));
        scene.receive(cancel);
    }
    let stop = scene.stop_command("stop");
    scene.receive(stop);
    assert_eq!(scene.commands.len(), 13, "twelve places, and one for the stop");
    assert_eq!(scene.commands[12].id.as_str(), "stop");
    let results = scene.results();
    assert_eq!(results.len(), 28);
    assert!(results.iter().all(|refused| *refused == result("overloaded", false)));
    assert_eq!(scene.link.counters().overloaded, 28);
    // Overload is no verdict: sent again, the command passes.
    let commands = scene.commands.clone();
    for command in &commands {
        scene.answer(command);
    }
    scene.drain();
    scene.site_answers = true;
    let cancel = scene.cancel("cmd-39");
    scene.receive(cancel);
    assert_eq!(scene.commands.len(), 14);
}

#[test]
fn a_command_is_acknowledged_to_the_broker_once_the_broker_has_its_reply() {
    let mut scene = Scene::connected();
    let stop = scene.stop_command("cmd-1");
    let delivery = scene.receive(stop);
    assert!(scene.acknowledged.is_empty());
    scene.puback_all();
    assert_eq!(scene.acknowledged, [delivery]);
}

#[test]
fn a_reply_survives_the_loss_of_the_connection() {
    let mut scene = Scene::connected();
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop);
    scene.published.clear();
    scene.tell(Input::Disconnected);
    scene.tell(Input::Connected);
    assert_eq!(scene.topics()[0], "reply");
    assert_eq!(scene.results(), [result("stopped", false)]);
    assert!(scene.acknowledged.is_empty(), "that delivery belonged to the old connection");
}

#[test]
fn a_command_that_waits_long_lets_the_broker_go_on_and_is_not_forgotten() {
    let mut scene = Scene::connected();
    scene.site_answers = false;
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop);
    let due = scene.link.poll_timeout().expect("an open command has a deadline");
    assert!(due.since(scene.now.mono) <= Duration::from_secs(60));
    scene.advance(60_000);
    assert!(matches!(&scene.notices[..], [Notice::Unanswered(id)] if id.as_str() == "cmd-1"));
    assert_eq!(scene.acknowledged, [0], "the broker may send the next one");
    assert_eq!(scene.link.poll_timeout().filter(|due| due.since(scene.now.mono) < Duration::from_secs(5)), None);
}

#[test]
fn a_command_outlasts_a_store_that_stands_still() {
    let mut scene = Scene::connected();
    scene.store_answers = false;
    let cancel = scene.cancel("cmd-1");
    scene.receive(cancel);
    scene.advance(300_000);
    assert_eq!(scene.commands.len(), 0, "nobody knows yet whether it was answered before");
    scene.resume_store();
    assert_eq!(scene.results(), [result("stopped", false)], "it came in time, and the site hears of it");
}

#[test]
fn a_refusal_that_the_store_cannot_keep_is_the_same_for_a_repeat() {
    let mut scene = Scene::connected();
    scene.store.broken = true;
    let early = scene.command("cmd-1", "fuel.nozzle.stop.v1", json!({}));
    scene.receive(early.clone());
    scene.advance(3_600_000);
    scene.receive(early);
    assert_eq!(scene.results(), [result("malformed", false), result("malformed", true)], "not too_old");
}

#[test]
fn a_stop_does_not_wait_for_a_store_that_stands_still() {
    let mut scene = Scene::connected();
    scene.store_answers = false;
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop);
    scene.advance(150);
    assert_eq!(scene.results(), [result("stopped", false)]);
    scene.resume_store();
    assert_eq!((scene.commands.len(), scene.results()), (1, Vec::new()), "it is carried out and answered once");
}

#[test]
fn an_answer_that_was_given_from_memory_is_told_as_repeated_when_it_comes_after_all() {
    let mut scene = Scene::connected();
    scene.site_answers = false;
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop);
    let command = scene.commands[0].clone();
    scene.answer(&command);
    scene.answer(&command);
    scene.drain();
    assert_eq!(scene.results(), [result("stopped", false), result("stopped", true)]);
}

#[test]
fn a_failing_store_holds_up_neither_a_stop_nor_a_refusal() {
    let mut scene = Scene::connected();
    scene.store.broken = true;
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop);
    let bad = scene.command("cmd-2", "fuel.nozzle.stop.v1", json!({}));
    scene.receive(bad);
    assert_eq!(scene.results(), [result("stopped", false), result("malformed", false)]);
}

#[test]
fn acknowledgements_are_silent_unless_refused() {
    let mut scene = Scene::connected();
    scene.append(1);
    assert_eq!(scene.topics(), ["event"]);
    let ids = json!({"ids":[Uuid::from_u128(1).to_string()]});
    let ack = scene.command("cmd-1", "fuel.ack.v1", ids);
    scene.receive(ack);
    assert!(scene.store.pending_sequences().is_empty());
    assert!(scene.replies().is_empty());
    let bad = scene.command("cmd-2", "fuel.ack.v1", json!({"ids":["x"]}));
    scene.receive(bad);
    assert_eq!(scene.replies()[0]["at"], "/data/ids/0");
}

#[test]
fn a_refusal_of_a_record_delivered_twice_counts_once() {
    let mut scene = Scene::connected();
    scene.append(1);
    let record = Uuid::from_u128(1);
    let nack = scene.command("cmd-1", "fuel.nack.v1", json!({"id":record.to_string(),"reason":"r"}));
    for _ in 0..10 {
        scene.receive(nack.clone());
    }
    assert_eq!(scene.store.refuse(record, "r").map(|refused| refused.map(|refused| refused.count)), Ok(Some(2)));
}

#[test]
fn live_readings_flow_at_most_twice_a_second_and_only_while_connected() {
    let reading = || {
        Input::Live(Box::new(LiveReading {
            nozzle: NozzleId(1),
            order_id: OrderId::new("o").ok(),
            volume_ml: forecourt::units::Volume::new(1),
            amount_minor: forecourt::units::Money::new(1),
            currency: forecourt::units::Currency::CNY,
            at: UtcTime::from_unix_ms(0),
        }))
    };
    let mut scene = Scene::connected();
    for _ in 0..20 {
        scene.tell(reading());
        scene.advance(100);
    }
    assert_eq!(scene.topics(), ["live/nozzle/1"; 4]);
    assert!(scene.published.iter().all(|message| message.qos == Qos::AtMostOnce));
    scene.published.clear();
    scene.tell(Input::Disconnected);
    scene.advance(1_000);
    scene.tell(reading());
    scene.tell(Input::Connected);
    assert!(!scene.topics().contains(&"live/nozzle/1"));
}

#[test]
fn a_backlog_of_records_never_holds_up_a_reply() {
    let mut scene = Scene::connected();
    for sequence in 1..=500 {
        scene.append(sequence);
    }
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop);
    assert_eq!(scene.topics().last(), Some(&"reply"));
    assert_eq!(scene.published.len(), 33, "the records' window is full, the reply goes all the same");
}

#[test]
fn the_goodbye_comes_after_the_replies_and_says_offline() {
    let mut scene = Scene::connected();
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop);
    scene.tell(Input::Stop);
    assert_eq!(scene.topics(), ["reply"]);
    let tag = scene.published.remove(0).tag.expect("a tag");
    scene.tell(Input::Puback(tag));
    assert_eq!(scene.topics(), ["state/station"]);
    let event: Value = serde_json::from_slice(&scene.published[0].payload).expect("JSON");
    assert_eq!(event["data"]["online"], false);
    assert_eq!(scene.disconnects, 0);
    scene.puback_all();
    assert_eq!(scene.disconnects, 1);
}

#[test]
fn without_a_connection_the_goodbye_is_short() {
    let mut scene = Scene::new();
    scene.tell(Input::Stop);
    assert_eq!(scene.disconnects, 1);
}

#[test]
fn a_slow_store_keeps_commands_waiting_and_nothing_else() {
    let mut scene = Scene::connected();
    scene.store_answers = false;
    let stop = scene.stop_command("cmd-1");
    scene.receive(stop);
    scene.tell(Input::Nozzle(Box::new(NozzleView { queue: 5, ..nozzle_view(1) })));
    assert_eq!(scene.topics(), ["state/nozzle/1"]);
    assert!(scene.commands.is_empty());
    for ask in std::mem::take(&mut scene.asks) {
        let answer = serve(&mut scene.store, ask);
        scene.tell(Input::Store(Box::new(answer)));
    }
    assert_eq!(scene.commands.len(), 1);
}

/// The answer to a request for a report, and how many records went out with it.
fn asked_for_report(scene: &mut Scene, id: &str) -> (Value, usize) {
    let data = json!({"scope":"day","period":"2026-11-21"});
    let command = scene.command(id, "fuel.report.request.v1", data);
    scene.receive(command);
    let on = |topic: &str| scene.published.iter().filter(|message| message.topic.ends_with(topic)).collect::<Vec<_>>();
    let reply = on("/reply")[0];
    let outcome = serde_json::from_slice::<Value>(&reply.payload).expect("JSON")["data"].clone();
    let records = on("/event").len();
    scene.puback_all();
    (outcome, records)
}

#[test]
fn a_report_asked_for_goes_out_again_or_follows_or_is_not_known() {
    use crate::outbox::store::ReportPlace;
    use forecourt::period::Scope;
    let mut scene = Scene::connected();
    let word = |(reply, records): (Value, usize)| (reply["result"].as_str().expect("a word").to_owned(), records);
    assert_eq!(word(asked_for_report(&mut scene, "c-1")), ("unknown_range".into(), 0));
    let place = (Scope::Day, "2026-11-21".to_owned());
    scene.store.reports.insert(place.clone(), ReportPlace::Open);
    assert_eq!(word(asked_for_report(&mut scene, "c-2")), ("queued".into(), 0));
    scene.store.append(Row { sequence: 7, id: Uuid::from_u128(7), priority: 2, bytes: b"{}".to_vec(), settled: true });
    scene.store.reports.insert(place, ReportPlace::Made(vec![7]));
    assert_eq!(word(asked_for_report(&mut scene, "c-3")), ("queued".into(), 1));
    let (repeat, records) = asked_for_report(&mut scene, "c-3");
    assert_eq!((&repeat["repeated"], records), (&Value::from(true), 0), "a repeat sends nothing again");
}

#[test]
fn a_revoked_key_is_refused_at_once() {
    let mut scene = Scene::connected();
    scene.tell(Input::Revoked(crate::wire::command::testing::JWKS_KID.into()));
    assert_eq!(asked_for_report(&mut scene, "c-1").0["result"], "bad_signature");
}
