//! Scenes of one station and one platform, and properties over any order of events.

use super::ask::serve;
use super::testing::MemoryStore;
use super::*;
use crate::outbox::store::OutboxStore as _;
use proptest::prelude::*;
use serde_json::Value;

/// An outbox with its store and a platform that remembers what it got.
struct Scene {
    outbox: Outbox,
    store: MemoryStore,
    now: Instant,
    next_sequence: u64,
    flying: VecDeque<(PublishId, Vec<u64>)>,
    published: Vec<Vec<u64>>,
    acked: BTreeSet<u64>,
    waiting_asks: VecDeque<StoreAsk>,
}

fn id_of(sequence: u64) -> Uuid {
    Uuid::from_u128(u128::from(sequence))
}

fn row(sequence: u64, priority: u8) -> Row {
    let bytes = format!(r#"{{"s":{sequence}}}"#).into_bytes();
    Row { sequence, id: id_of(sequence), priority, bytes, settled: false }
}

fn sequences(payload: &[u8]) -> Vec<u64> {
    let read = |event: &Value| event["s"].as_u64().expect("a sequence");
    match serde_json::from_slice(payload).expect("JSON") {
        Value::Array(events) => events.iter().map(read).collect(),
        event => vec![read(&event)],
    }
}

impl Scene {
    fn new(settings: Settings) -> Self {
        Self {
            outbox: Outbox::new(settings),
            store: MemoryStore::default(),
            now: Instant::START,
            next_sequence: 1,
            flying: VecDeque::new(),
            published: Vec::new(),
            acked: BTreeSet::new(),
            waiting_asks: VecDeque::new(),
        }
    }

    fn connected(settings: Settings) -> Self {
        let mut scene = Self::new(settings);
        scene.outbox.handle_connected(scene.now);
        scene
    }

    fn append(&mut self, priority: u8) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.store.append(row(sequence, priority));
        self.outbox.handle_changed();
        sequence
    }

    /// Takes asks and messages out of the outbox; the asks wait to be served.
    fn drain(&mut self) {
        loop {
            while let Some(ask) = self.outbox.poll_ask(self.now) {
                self.waiting_asks.push_back(ask);
            }
            let Some(message) = self.outbox.poll_publish(self.now) else { break };
            let rows = sequences(&message.payload);
            self.flying.push_back((message.id, rows.clone()));
            self.published.push(rows);
        }
    }

    fn serve_one(&mut self) -> bool {
        let Some(ask) = self.waiting_asks.pop_front() else { return false };
        let answer = serve(&mut self.store, ask);
        self.outbox.handle_answer(answer, self.now);
        true
    }

    fn settle(&mut self) {
        self.drain();
        while self.serve_one() {
            self.drain();
        }
    }

    fn puback(&mut self) {
        if let Some((id, _)) = self.flying.pop_front() {
            self.outbox.handle_puback(id, self.now);
        }
    }

    fn puback_all(&mut self) {
        while !self.flying.is_empty() {
            self.puback();
        }
    }

    fn disconnect(&mut self) {
        self.outbox.handle_disconnected();
        self.flying.clear();
    }

    fn advance(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }

    fn ack(&mut self, sequences: &[u64]) {
        self.acked.extend(sequences);
        let ids = sequences.iter().map(|sequence| id_of(*sequence)).collect();
        self.outbox.handle_ack(&Ack::Ids(ids)).expect("room");
    }

    fn sent_so_far(&self) -> Vec<u64> {
        self.published.concat()
    }

    /// Everything works from here: all that is pending must get to the platform and be settled.
    fn heal_and_drain(&mut self) {
        self.store.broken = false;
        self.disconnect();
        self.outbox.handle_connected(self.now);
        for _ in 0..200 {
            self.settle();
            self.puback_all();
            let sent: Vec<u64> = self.published.drain(..).flatten().collect();
            self.ack(&sent);
            self.settle();
            if self.store.pending_sequences().is_empty() {
                return;
            }
            self.advance(60);
        }
        panic!("still pending: {:?}", self.store.pending_sequences());
    }
}

#[test]
fn the_most_important_goes_first_and_within_that_the_oldest() {
    let mut scene = Scene::new(Settings::default());
    for priority in [3, 1, 0, 3, 0] {
        scene.append(priority);
    }
    scene.settle();
    assert!(scene.published.is_empty(), "nothing goes out without a connection");
    scene.outbox.handle_connected(scene.now);
    scene.settle();
    assert_eq!(scene.sent_so_far(), [3, 5, 2, 1, 4]);
}

#[test]
fn a_row_leaves_only_with_its_acknowledgement() {
    let mut scene = Scene::connected(Settings::default());
    let sequence = scene.append(0);
    scene.settle();
    scene.puback_all();
    scene.settle();
    assert_eq!(scene.store.pending_sequences(), [sequence]);
    scene.ack(&[sequence]);
    scene.settle();
    assert!(scene.store.pending_sequences().is_empty());
    scene.advance(600);
    scene.settle();
    assert_eq!(scene.sent_so_far(), [sequence]);
}

#[test]
fn with_ack_by_broker_the_puback_is_enough() {
    let mut scene = Scene::connected(Settings { ack: AckMode::Broker, ..Settings::default() });
    scene.append(0);
    scene.settle();
    assert_eq!(scene.store.pending_sequences(), [1]);
    scene.puback_all();
    scene.settle();
    assert!(scene.store.pending_sequences().is_empty());
}

#[test]
fn an_unacknowledged_row_goes_again_after_5_s_doubling_to_60() {
    let mut scene = Scene::connected(Settings::default());
    scene.append(0);
    scene.settle();
    scene.puback_all();
    let mut waits = Vec::new();
    for _ in 0..6 {
        let due = scene.outbox.poll_timeout().expect("an unacknowledged row has a deadline");
        waits.push(due.since(scene.now).as_secs());
        scene.now = due;
        scene.settle();
        scene.puback_all();
    }
    assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    assert_eq!(scene.sent_so_far().len(), 7);
}

#[test]
fn nothing_is_repeated_while_the_broker_has_not_taken_it() {
    let mut scene = Scene::connected(Settings::default());
    scene.append(0);
    scene.settle();
    scene.advance(3_600);
    scene.settle();
    assert_eq!(scene.sent_so_far(), [1]);
}

#[test]
fn after_a_reconnect_everything_unsettled_goes_again_in_order() {
    let mut scene = Scene::connected(Settings::default());
    for priority in [3, 0, 0] {
        scene.append(priority);
    }
    scene.settle();
    scene.puback();
    scene.disconnect();
    scene.published.clear();
    scene.outbox.handle_connected(scene.now);
    scene.settle();
    assert_eq!(scene.sent_so_far(), [2, 3, 1]);
}

#[test]
fn more_than_a_hundred_waiting_rows_travel_in_batches() {
    let mut scene = Scene::new(Settings::default());
    for _ in 0..250 {
        scene.append(0);
    }
    scene.outbox.handle_connected(scene.now);
    scene.settle();
    let lengths: Vec<usize> = scene.published.iter().map(Vec::len).collect();
    assert_eq!(lengths[..2], [100, 100]);
    assert_eq!(scene.published.len(), 32, "then one by one as far as the window goes");
    scene.puback_all();
    scene.settle();
    assert_eq!(scene.sent_so_far(), (1..=250).collect::<Vec<_>>()[..scene.sent_so_far().len()]);
}

#[test]
fn a_long_backlog_drains_in_batches_with_bounded_memory() {
    let mut scene = Scene::new(Settings::default());
    for sequence in 1..=6_000 {
        scene.store.append(row(sequence, 0));
    }
    scene.next_sequence = 6_001;
    scene.outbox.handle_connected(scene.now);
    let mut messages = 0;
    while !scene.store.pending_sequences().is_empty() {
        scene.settle();
        assert!(scene.outbox.unsettled() <= 3_200 && scene.outbox.ready.len() < 256);
        scene.puback_all();
        messages += scene.published.len();
        let sent: Vec<u64> = scene.published.drain(..).flatten().collect();
        scene.ack(&sent);
    }
    // 59 full ones; the last hundred rows go one by one.
    assert!(messages <= 160, "{messages} messages for 6000 rows");
}

#[test]
fn a_sequence_settles_what_was_sent_and_never_what_was_not() {
    let mut scene = Scene::connected(Settings { window: 2, ..Settings::default() });
    for priority in [3, 0, 0] {
        scene.append(priority);
    }
    scene.settle();
    assert_eq!(scene.sent_so_far(), [2, 3]);
    scene.outbox.handle_ack(&Ack::Through(3)).expect("room");
    scene.settle();
    assert_eq!(scene.store.pending_sequences(), [1], "it had no chance to be stored by the platform");
}

#[test]
fn after_five_refusals_a_record_is_set_aside_and_the_queue_goes_on() {
    let mut scene = Scene::connected(Settings::default());
    let poison = scene.append(0);
    let good = scene.append(0);
    scene.settle();
    scene.puback_all();
    for _ in 0..5 {
        assert_eq!(scene.store.pending_sequences(), [poison, good]);
        scene.outbox.handle_nack(id_of(poison), "no such grade".into()).expect("room");
        scene.settle();
    }
    let why = "the platform refused it five times";
    assert_eq!(scene.outbox.poll_notice(), Some(Notice::SetAside { sequence: poison, why }));
    assert_eq!(scene.store.pending_sequences(), [good]);
    assert_eq!(scene.store.counts().map(|counts| counts.set_aside), Ok(1));
    scene.published.clear();
    scene.advance(60);
    scene.settle();
    assert_eq!(scene.sent_so_far(), [good]);
    // Repaired at the platform: asked for again, acknowledged, gone.
    scene.published.clear();
    scene.outbox.handle_resend(poison, poison).expect("room");
    scene.settle();
    assert_eq!(scene.sent_so_far(), [poison]);
    scene.ack(&[poison]);
    scene.settle();
    assert_eq!(scene.store.counts().map(|counts| counts.set_aside), Ok(0));
}

#[test]
fn a_record_larger_than_a_message_is_set_aside_and_stops_nobody() {
    let mut scene = Scene::new(Settings { message_bytes: 100, ..Settings::default() });
    let mut large = row(1, 0);
    large.bytes = format!(r#"{{"s":1,"x":"{}"}}"#, "x".repeat(200)).into_bytes();
    scene.store.append(large);
    scene.next_sequence = 2;
    scene.append(0);
    scene.outbox.handle_connected(scene.now);
    scene.settle();
    assert_eq!(scene.sent_so_far(), [2]);
    assert!(matches!(scene.outbox.poll_notice(), Some(Notice::SetAside { sequence: 1, .. })));
    assert_eq!(scene.store.pending_sequences(), [2]);
}

#[test]
fn a_resend_sends_settled_rows_again_once_also_over_a_broken_link() {
    let mut scene = Scene::connected(Settings::default());
    for _ in 0..300 {
        scene.append(0);
    }
    scene.heal_and_drain();
    scene.published.clear();
    scene.outbox.handle_resend(1, 250).expect("room");
    scene.settle();
    scene.disconnect();
    scene.published.clear();
    scene.outbox.handle_connected(scene.now);
    for _ in 0..20 {
        scene.settle();
        scene.puback_all();
    }
    let again: BTreeSet<u64> = scene.sent_so_far().into_iter().collect();
    assert_eq!(again, (1..=250).collect());
    scene.published.clear();
    scene.advance(600);
    scene.settle();
    assert!(scene.published.is_empty(), "a resend is sent once");
}

#[test]
fn an_acknowledgement_outlives_a_failing_store() {
    let mut scene = Scene::connected(Settings::default());
    scene.append(0);
    scene.settle();
    scene.puback_all();
    scene.store.broken = true;
    scene.ack(&[1]);
    scene.settle();
    assert!(matches!(scene.outbox.poll_notice(), Some(Notice::Store(_))));
    scene.store.broken = false;
    scene.now = scene.outbox.poll_timeout().expect("it is tried again");
    scene.settle();
    assert!(scene.store.pending_sequences().is_empty());
    assert_eq!(scene.sent_so_far(), [1]);
}

#[test]
fn a_record_committed_while_a_page_was_being_read_is_not_overlooked() {
    let mut scene = Scene::connected(Settings::default());
    scene.drain();
    let asked: Vec<StoreAsk> = scene.waiting_asks.drain(..).collect();
    let answers: Vec<StoreAnswer> = asked.into_iter().map(|ask| serve(&mut scene.store, ask)).collect();
    scene.append(0);
    for answer in answers {
        scene.outbox.handle_answer(answer, scene.now);
    }
    scene.settle();
    assert_eq!(scene.sent_so_far(), [1]);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Connect,
    Disconnect,
    Drain,
    Serve,
    Puback,
    Ack(prop::sample::Index),
    Through(prop::sample::Index),
    Nack(prop::sample::Index),
    Resend(u64, u64),
    Advance(u64),
    Break(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..PRIORITIES).prop_map(Step::Append),
        1 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        6 => Just(Step::Drain),
        6 => Just(Step::Serve),
        4 => Just(Step::Puback),
        4 => any::<prop::sample::Index>().prop_map(Step::Ack),
        1 => any::<prop::sample::Index>().prop_map(Step::Through),
        2 => any::<prop::sample::Index>().prop_map(Step::Nack),
        1 => (1_u64..40, 1_u64..40).prop_map(|(from, to)| Step::Resend(from, to)),
        2 => (0_u64..70).prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::Break),
    ]
}

impl Scene {
    fn run(&mut self, step: &Step) {
        let sent = self.sent_so_far();
        let pick = |index: &prop::sample::Index| (!sent.is_empty()).then(|| sent[index.index(sent.len())]);
        match step {
            Step::Append(priority) => {
                self.append(*priority);
            }
            Step::Connect if !self.outbox.connected => self.outbox.handle_connected(self.now),
            Step::Connect => {}
            Step::Disconnect => self.disconnect(),
            Step::Drain => self.drain(),
            Step::Serve => {
                self.serve_one();
            }
            Step::Puback => self.puback(),
            Step::Ack(index) => {
                if let Some(sequence) = pick(index) {
                    self.ack(&[sequence]);
                }
            }
            Step::Through(index) => {
                if let Some(last) = pick(index) {
                    let settled = sent.iter().copied().filter(|sequence| *sequence <= last);
                    self.acked.extend(settled);
                    self.outbox.handle_ack(&Ack::Through(last)).expect("room");
                }
            }
            Step::Nack(index) => {
                if let Some(sequence) = pick(index) {
                    // The queue may be full; the platform then refuses again.
                    let _ = self.outbox.handle_nack(id_of(sequence), "no".into());
                }
            }
            Step::Resend(from, to) => {
                let _ = self.outbox.handle_resend(*from, *to);
            }
            Step::Advance(seconds) => self.advance(*seconds),
            Step::Break(broken) => self.store.broken = *broken,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_row_is_forgotten_whatever_happens(steps in proptest::collection::vec(step(), 1..150)) {
        let settings = Settings { window: 3, batch: 4, unsettled: 10, ..Settings::default() };
        let mut scene = Scene::new(settings);
        for step in &steps {
            scene.run(step);
            prop_assert!(scene.outbox.in_flight() <= settings.window);
            prop_assert!(scene.outbox.unsettled() <= settings.unsettled);
        }
        scene.heal_and_drain();
    }

    #[test]
    fn no_row_is_sent_after_its_acknowledgement(steps in proptest::collection::vec(step(), 1..150)) {
        let mut scene = Scene::new(Settings { window: 3, batch: 4, unsettled: 10, ..Settings::default() });
        for step in steps.iter().filter(|step| !matches!(step, Step::Resend(..))) {
            let acked = scene.acked.clone();
            let before = scene.published.len();
            scene.run(step);
            for rows in &scene.published[before..] {
                prop_assert!(rows.iter().all(|row| !acked.contains(row)), "{rows:?} after {acked:?}");
            }
        }
    }
}
