//! Scenes of the fallback road beside MQTT.

use super::super::ask::serve;
use super::super::store::{Ack, Row};
use super::super::testing::MemoryStore;
use super::super::{AckMode, EventMessage, Outbox, Settings};
use super::*;
use core::time::Duration;
use std::collections::BTreeSet;
use uuid::Uuid;

struct Scene {
    outbox: Outbox,
    store: MemoryStore,
    now: Instant,
}

fn sequences(message: &EventMessage) -> Vec<u64> {
    let events: serde_json::Value = serde_json::from_slice(&message.payload).expect("JSON");
    let read = |event: &serde_json::Value| event["s"].as_u64().expect("a sequence");
    events.as_array().map_or_else(|| vec![read(&events)], |events| events.iter().map(read).collect())
}

impl Scene {
    fn with(records: u64, settings: Settings) -> Self {
        let mut store = MemoryStore::default();
        for sequence in 1..=records {
            let bytes = format!(r#"{{"s":{sequence}}}"#).into_bytes();
            let id = Uuid::from_u128(u128::from(sequence));
            store.append(Row { sequence, id, priority: 0, bytes, settled: false });
        }
        Self { outbox: Outbox::new(settings), store, now: Instant::START }
    }

    fn serve(&mut self) {
        while let Some(ask) = self.outbox.poll_ask(self.now) {
            let answer = serve(&mut self.store, ask);
            self.outbox.handle_answer(answer, self.now);
        }
    }

    fn post(&mut self) -> Option<EventMessage> {
        self.serve();
        self.outbox.poll_post()
    }

    fn ack(&mut self, sequences: &[u64]) {
        let ids = sequences.iter().map(|sequence| Uuid::from_u128(u128::from(*sequence))).collect();
        self.outbox.handle_ack(&Ack::Ids(ids)).expect("room");
        self.serve();
    }

    fn open(&mut self) {
        self.outbox.handle_road(true, self.now);
    }

    /// Posts and acknowledges until nothing is pending; gives how many posts it took.
    fn drain(&mut self) -> usize {
        for posts in 0..1_000 {
            let Some(post) = self.post() else {
                self.now = self.now + Duration::from_secs(60);
                if self.store.pending_sequences().is_empty() {
                    return posts;
                }
                continue;
            };
            self.outbox.handle_posted(post.id, PostEnd::Delivered, self.now);
            self.ack(&sequences(&post));
        }
        panic!("still pending: {:?}", self.store.pending_sequences());
    }
}

#[test]
fn a_closed_road_carries_nothing() {
    let mut scene = Scene::with(500, Settings::default());
    assert_eq!(scene.post(), None);
    scene.open();
    assert!(scene.post().is_some());
    scene.outbox.handle_road(false, scene.now);
    assert_eq!(scene.post(), None);
}

#[test]
fn a_backlog_drains_in_full_batches_without_any_broker() {
    let mut scene = Scene::with(2_000, Settings::default());
    scene.open();
    assert_eq!(scene.drain(), 20);
}

#[test]
fn an_answer_without_an_acknowledgement_settles_nothing_in_either_mode() {
    for ack in [AckMode::Platform, AckMode::Broker] {
        let mut scene = Scene::with(100, Settings { ack, ..Settings::default() });
        scene.open();
        let post = scene.post().expect("a post");
        scene.outbox.handle_posted(post.id, PostEnd::Delivered, scene.now);
        assert_eq!(scene.post(), None, "not before its time");
        scene.serve();
        assert_eq!(scene.store.pending_sequences().len(), 100);
        scene.now = scene.now + Duration::from_secs(5);
        assert_eq!(scene.post().map(|post| sequences(&post).len()), Some(100), "it goes again");
    }
}

#[test]
fn a_failed_post_goes_again_over_whatever_road_is_there() {
    let mut scene = Scene::with(3, Settings::default());
    scene.open();
    let post = scene.post().expect("a post");
    assert_eq!(sequences(&post), [1, 2, 3]);
    scene.outbox.handle_posted(post.id, PostEnd::Failed, scene.now);
    scene.outbox.handle_road(false, scene.now);
    scene.outbox.handle_connected(scene.now);
    scene.serve();
    let mut published = Vec::new();
    while let Some(message) = scene.outbox.poll_publish(scene.now) {
        published.extend(sequences(&message));
    }
    assert_eq!(published, [1, 2, 3]);
}

#[test]
fn what_a_broken_broker_held_goes_over_https_at_once() {
    let mut scene = Scene::with(3, Settings::default());
    scene.outbox.handle_connected(scene.now);
    scene.serve();
    while scene.outbox.poll_publish(scene.now).is_some() {}
    scene.open();
    assert_eq!(scene.post(), None, "the broker has it, or will have");
    scene.outbox.handle_disconnected();
    assert_eq!(scene.post().map(|post| sequences(&post)), Some(vec![1, 2, 3]));
}

#[test]
fn both_roads_at_once_settle_every_record() {
    let mut scene = Scene::with(1_500, Settings::default());
    scene.outbox.handle_connected(scene.now);
    scene.open();
    let mut seen = BTreeSet::new();
    for _ in 0..2_000 {
        if let Some(post) = scene.post() {
            let rows = sequences(&post);
            scene.outbox.handle_posted(post.id, PostEnd::Delivered, scene.now);
            scene.ack(&rows);
            seen.extend(rows);
        }
        scene.serve();
        if let Some(message) = scene.outbox.poll_publish(scene.now) {
            let rows = sequences(&message);
            scene.outbox.handle_puback(message.id, scene.now);
            scene.ack(&rows);
            seen.extend(rows);
        }
    }
    assert_eq!((seen.len(), scene.store.pending_sequences().len()), (1_500, 0));
}

#[test]
fn batches_shrink_until_they_pass_and_a_record_too_large_alone_waits_for_mqtt() {
    let mut scene = Scene::with(20, Settings::default());
    scene.open();
    let mut settled = BTreeSet::new();
    for _ in 0..100 {
        let Some(post) = scene.post() else { break };
        let rows = sequences(&post);
        let end = if rows.contains(&7) || rows.len() > 4 { PostEnd::TooLarge } else { PostEnd::Delivered };
        scene.outbox.handle_posted(post.id, end, scene.now);
        if end == PostEnd::Delivered {
            scene.ack(&rows);
            settled.extend(rows);
        }
    }
    assert_eq!(settled.len(), 19);
    assert_eq!(scene.store.pending_sequences(), [7]);
    scene.outbox.handle_connected(scene.now);
    scene.serve();
    assert_eq!(scene.outbox.poll_publish(scene.now).map(|message| sequences(&message)), Some(vec![7]));
}
