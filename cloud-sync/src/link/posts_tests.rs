//! Scenes of the fallback road: what comes with an answer is believed no more than what comes from the broker.

use super::super::tests::Scene;
use super::*;
use crate::outbox::store::Row;
use crate::road;
use crate::wire::command::testing::{envelope_as, sign, sign_as, signing_key};
use serde_json::{Value, json};
use uuid::Uuid;

fn scene(records: u64) -> Scene {
    let mut scene = Scene::with_road(road::Settings { open_above: 10, ..road::Settings::default() });
    for sequence in 1..=records {
        let id = Uuid::from_u128(u128::from(sequence));
        let bytes = json!({ "id": id }).to_string().into_bytes();
        scene.store.append(Row { sequence, id, priority: 0, bytes, settled: false });
    }
    scene.waiting(records);
    scene
}

fn at(scene: &Scene, later_ms: i64) -> String {
    scene.now.utc.plus_ms(later_ms).to_string()
}

fn ids(post: &EventMessage) -> Vec<Value> {
    let events: Vec<Value> = serde_json::from_slice(&post.payload).expect("a JSON array");
    events.into_iter().map(|event| event["id"].clone()).collect()
}

fn answer(scene: &mut Scene, post: &EventMessage, commands: Vec<String>) {
    let commands = commands.into_iter().map(String::into_bytes).collect();
    scene.tell(super::super::Input::Posted(Posted { id: post.id, result: Ok(commands) }));
}

#[test]
fn a_backlog_goes_over_https_while_no_broker_is_there() {
    let mut scene = scene(150);
    assert_eq!(scene.notices, [Notice::Road(Some(road::Why::Backlog))]);
    while let Some(post) = scene.posts.pop() {
        let ack = sign(&envelope_as("ack-1", "fuel.ack.v1", &at(&scene, 0), json!({ "ids": ids(&post) })));
        answer(&mut scene, &post, vec![ack]);
    }
    assert!(scene.store.pending_sequences().is_empty());
    assert!(scene.published.is_empty());
}

#[test]
fn only_a_signed_acknowledgement_settles_a_record() {
    let mut scene = scene(20);
    let post = scene.posts.pop().expect("a post");
    let content = json!({ "ids": ids(&post) });
    let event = envelope_as("ack-1", "fuel.ack.v1", &at(&scene, 0), content.clone());
    let forged = sign_as("k1", &signing_key(9), &event);
    let old = sign(&envelope_as("ack-2", "fuel.ack.v1", &at(&scene, -3_600_000), content));
    let order = sign(&envelope_as("cmd-1", "fuel.nozzle.stop.v1", &at(&scene, 0), json!({"nozzle":0,"reason":"x"})));
    answer(&mut scene, &post, vec![forged, old, order, "nonsense".into()]);
    assert_eq!(scene.store.pending_sequences().len(), 20);
    assert!(scene.commands.is_empty(), "an answer to a post gives no commands to the site");
    let counters = scene.link.counters();
    assert_eq!((counters.posts, counters.bad_signatures, counters.posts_odd), (1, 1, 3));
}

#[test]
fn a_failed_post_waits_and_nothing_is_lost() {
    let mut scene = scene(20);
    let post = scene.posts.pop().expect("a post");
    let failed = PostFailed { too_large: false, why: "away".into(), wait: Duration::from_secs(2) };
    scene.tell(super::super::Input::Posted(Posted { id: post.id, result: Err(failed) }));
    scene.advance(1_999);
    assert!(scene.posts.is_empty());
    scene.advance(1);
    assert_eq!(scene.posts.pop().map(|post| ids(&post).len()), Some(20));
}

#[test]
fn a_through_acknowledgement_settles_what_was_posted() {
    let mut scene = scene(20);
    let post = scene.posts.pop().expect("a post");
    let content = json!({"through_sequence": "000000000015"});
    let ack = sign(&envelope_as("ack-1", "fuel.ack.v1", &at(&scene, 0), content));
    answer(&mut scene, &post, vec![ack]);
    assert_eq!(scene.store.pending_sequences(), [16, 17, 18, 19, 20]);
}

/// Posts as they come, each with its acknowledgement, for so many seconds; gives which records went.
fn serve_posts(scene: &mut Scene, seconds: i64) -> Vec<Value> {
    let mut went = Vec::new();
    for _ in 0..seconds {
        while let Some(post) = scene.posts.pop() {
            let (ids, name) = (ids(&post), format!("ack-{}", went.len()));
            let ack = sign(&envelope_as(&name, "fuel.ack.v1", &at(scene, 0), json!({ "ids": ids })));
            went.extend(ids);
            answer(scene, &post, vec![ack]);
        }
        scene.advance(1_000);
    }
    went
}

#[test]
fn a_broker_that_takes_records_and_never_acknowledges_them_is_blocked_too() {
    let mut scene = scene(8);
    scene.tell(super::super::Input::Connected);
    assert!(serve_posts(&mut scene, 299).is_empty());
    let went = serve_posts(&mut scene, 2);
    assert_eq!((went.len(), scene.store.pending_sequences().len()), (8, 0));
    assert!(scene.notices.contains(&Notice::Road(Some(road::Why::Unanswered))), "{:?}", scene.notices);
}

#[test]
fn a_platform_that_answers_over_mqtt_keeps_the_road_closed() {
    let mut scene = scene(8);
    scene.tell(super::super::Input::Connected);
    for record in 1..=8_u128 {
        assert!(serve_posts(&mut scene, 200).is_empty());
        let content = json!({ "ids": [Uuid::from_u128(record)] });
        let ack = sign(&envelope_as(&format!("ack-{record}"), "fuel.ack.v1", &at(&scene, 0), content));
        scene.receive(ack);
    }
    assert_eq!((scene.notices.len(), scene.store.pending_sequences().len()), (0, 0), "{:?}", scene.notices);
}

#[test]
fn a_backlog_that_sticks_in_the_brokers_window_goes_over_https_after_a_minute() {
    let mut scene = scene(11);
    while let Some(post) = scene.posts.pop() {
        let failed = PostFailed { too_large: false, why: "away".into(), wait: Duration::from_secs(1) };
        scene.tell(super::super::Input::Posted(Posted { id: post.id, result: Err(failed) }));
    }
    // While HTTPS pauses, the broker takes everything and says nothing.
    scene.tell(super::super::Input::Connected);
    assert!(serve_posts(&mut scene, 59).is_empty());
    assert_eq!(serve_posts(&mut scene, 3).len(), 11);
    assert!(scene.store.pending_sequences().is_empty());
}
