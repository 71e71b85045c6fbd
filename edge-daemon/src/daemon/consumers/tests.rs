//! Consumers against a real store and a small server.

use super::*;
use crate::daemon::alarms::Alarm;
use crate::store::{FILE_NAME, thread};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use cloud_sync::outbox::store::{Ack, OutboxStore as _};
use forecourt::ids::StationId;
use forecourt::ledger::Write;
use forecourt::record::{Audit, Record};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    home: tempfile::TempDir,
    store: Handle,
    bell: Bell,
    alarms: mpsc::Receiver<Alarm>,
}

impl Scene {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let station = StationId::new("st-1").expect("an id");
        let store = Store::open(&home.path().join(FILE_NAME), station, Uuid::from_u128(7)).expect("opens");
        let (store, _thread) = thread::spawn(store, |_| {}).expect("a thread");
        let (bell, alarms) = Bell::new();
        Self { home, store, bell, alarms }
    }

    async fn records(&self, sequences: core::ops::RangeInclusive<u64>) {
        let write = |sequence: u64| {
            let audit = Audit { who: "a".into(), did: "b".into(), on: "c".into(), old: None, new: None };
            let id = Uuid::from_u128(u128::from(sequence));
            Write::Record { id, time: UtcTime::from_unix_ms(0), record: Box::new(Record::Audit(audit)) }
        };
        let writes: Vec<Write> = sequences.map(write).collect();
        self.store.run(move |store| store.apply(&[&writes])).await.expect("runs").expect("stores");
    }

    async fn start(&self, consumer: &Consumer) -> tokio::task::JoinHandle<()> {
        let plans = plans(std::slice::from_ref(consumer));
        self.store.run(move |store| store.settle_consumers(&plans)).await.expect("runs").expect("settles");
        let station = Station {
            database: self.home.path().join(FILE_NAME),
            store: self.store.clone(),
            bell: self.bell.clone(),
            clock: Clock::start(),
            utc_offset_minutes: 480,
        };
        tokio::spawn(serve(consumer.clone(), station))
    }

    fn cursor(&self, name: &str) -> u64 {
        let reader = Store::reader(&self.home.path().join(FILE_NAME)).expect("reads");
        reader.cursor(name).expect("reads").unwrap_or(0)
    }

    async fn taken(&self, name: &str, through: u64) {
        let waited = async {
            while self.cursor(name) < through {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waited).await.expect("taken in time");
    }

    fn lines(&self) -> Vec<u64> {
        let directory = self.home.path().join("lines");
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let text: String = paths.iter().map(|path| std::fs::read_to_string(path).expect("text")).collect();
        text.lines().map(|line| sequence(&serde_json::from_str(line).expect("JSON"))).collect()
    }
}

fn sequence(event: &Value) -> u64 {
    event["sequence"].as_str().and_then(|text| text.parse().ok()).expect("a sequence")
}

fn consumer(kind: ConsumerKind) -> Consumer {
    Consumer { name: "erp".into(), kind, records: vec!["fuel.audit.v1".into()], keep_days: 180, from_now: false }
}

async fn push_to(router: Router) -> Consumer {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/in", listener.local_addr().expect("an address")).parse().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    consumer(ConsumerKind::HttpsPush { url, ca_file: "/nowhere".into(), client: None, token_file: None })
}

#[derive(Clone, Default)]
struct Erp {
    taken: Arc<Mutex<Vec<u64>>>,
    requests: Arc<Mutex<u64>>,
}

/// Away at its first request, and never takes record 7.
async fn choosy(State(erp): State<Erp>, body: Bytes) -> StatusCode {
    let events: Vec<Value> = serde_json::from_slice(&body).expect("a JSON array");
    let number = {
        let mut requests = erp.requests.lock().expect("not poisoned");
        *requests += 1;
        *requests
    };
    let sequences: Vec<u64> = events.iter().map(sequence).collect();
    if number == 1 {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if sequences.contains(&7) {
        return StatusCode::UNPROCESSABLE_ENTITY;
    }
    erp.taken.lock().expect("not poisoned").extend(sequences);
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_gives_each_record_once_in_sequence_and_passes_over_the_one_that_is_refused() {
    let (mut scene, erp) = (Scene::new(), Erp::default());
    scene.records(1..=250).await;
    let consumer = push_to(Router::new().route("/in", post(choosy)).with_state(erp.clone())).await;
    let _task = scene.start(&consumer).await;
    // Five refusals of one record, with growing waits between.
    scene.taken("erp", 250).await;
    let expected: Vec<u64> = (1..=250).filter(|sequence| *sequence != 7).collect();
    assert_eq!(*erp.taken.lock().expect("not poisoned"), expected);
    let alarm = scene.alarms.try_recv().expect("an alarm");
    assert_eq!((alarm.kind, alarm.place.as_str()), ("consumer_refused", "consumer erp"));
    assert!(alarm.text.contains("000000000007") && alarm.text.contains("422"), "{}", alarm.text);
}

/// Away at its first request, and says so in two megabytes.
async fn wordy(State(erp): State<Erp>, body: Bytes) -> (StatusCode, Vec<u8>) {
    let events: Vec<Value> = serde_json::from_slice(&body).expect("a JSON array");
    let mut requests = erp.requests.lock().expect("not poisoned");
    *requests += 1;
    if *requests == 1 {
        return (StatusCode::SERVICE_UNAVAILABLE, vec![b'x'; 2 * 1024 * 1024]);
    }
    erp.taken.lock().expect("not poisoned").extend(events.iter().map(sequence));
    (StatusCode::OK, vec![b'x'; 2 * 1024 * 1024])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_with_a_long_page_is_no_consent() {
    let (scene, erp) = (Scene::new(), Erp::default());
    scene.records(1..=20).await;
    let consumer = push_to(Router::new().route("/in", post(wordy)).with_state(erp.clone())).await;
    let _task = scene.start(&consumer).await;
    scene.taken("erp", 20).await;
    assert_eq!(*erp.taken.lock().expect("not poisoned"), (1..=20).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_go_on_after_a_crash_between_file_and_cursor() {
    let scene = Scene::new();
    let lines = consumer(ConsumerKind::JsonLines { directory: scene.home.path().join("lines") });
    scene.records(1..=150).await;
    let task = scene.start(&lines).await;
    scene.taken("erp", 150).await;
    task.abort();
    let _aborted = task.await;
    // As after a crash: the file has lines that the cursor does not know, and half a line.
    let path = std::fs::read_dir(scene.home.path().join("lines")).expect("a directory").next().expect("a file");
    let path = path.expect("an entry").path();
    let text = std::fs::read_to_string(&path).expect("text");
    let half = format!("{text}{}", &text[..40]);
    std::fs::write(&path, half).expect("writes");
    let back = "UPDATE consumer SET cursor = 120";
    rusqlite::Connection::open(scene.home.path().join(FILE_NAME)).expect("opens").execute(back, []).expect("sets back");
    scene.records(151..=200).await;
    let _task = scene.start(&lines).await;
    scene.taken("erp", 200).await;
    assert_eq!(scene.lines(), (1..=200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn files_of_other_books_are_not_gone_on_with() {
    let scene = Scene::new();
    scene.records(1..=10).await;
    let (database, directory) = (scene.home.path().join(FILE_NAME), scene.home.path().join("lines"));
    std::fs::create_dir(&directory).expect("a directory");
    let reader = Store::reader(&database).expect("reads");
    let rows = reader.page(0, &["fuel.audit.v1".into()], 100).expect("a page").rows;
    let ours = String::from_utf8(rows[3].bytes.clone()).expect("text");
    let hash = reader.hash_at(4).expect("reads").0.expect("a hash");
    // As left by a station whose books were lost: the same number for another record, or one that is not reached yet.
    for (line, is_ours) in [
        (ours.clone(), true),
        (ours.replace(&hash, &"0".repeat(64)), false),
        (ours.replace("000000000004", "000000000011"), false),
    ] {
        std::fs::write(directory.join("erp-2026-11-20.jsonl"), format!("{line}\n")).expect("writes");
        let opened = open_lines(&database, &directory, "erp");
        assert_eq!(opened.is_ok(), is_ours, "{line}: {opened:?}");
        assert!(is_ours || opened.expect_err("foreign").contains("move them away"));
    }
}

/// Takes the connection and never answers.
async fn silent(_: Bytes) -> StatusCode {
    std::future::pending().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_hangs_leaves_the_platforms_drain_as_it_is() {
    let drain = async |scene: &Scene| {
        let mut batches = Vec::new();
        loop {
            let rows = scene.store.run(|store| store.pending(3, 0, 100)).await.expect("runs").expect("reads");
            if rows.is_empty() {
                return batches;
            }
            batches.push(rows.iter().map(|row| row.sequence).collect::<Vec<_>>());
            let ids = rows.iter().map(|row| row.id).collect();
            scene.store.run(|store| store.acknowledge(&[Ack::Ids(ids)])).await.expect("runs").expect("acknowledges");
        }
    };
    let alone = Scene::new();
    alone.records(1..=1_000).await;
    let beside = Scene::new();
    beside.records(1..=1_000).await;
    let consumer = push_to(Router::new().route("/in", post(silent))).await;
    let _task = beside.start(&consumer).await;
    assert_eq!(drain(&beside).await, drain(&alone).await);
    assert_eq!(beside.cursor("erp"), 0, "its own records wait for it");
    let counts = beside.store.run(|store| store.counts()).await.expect("runs").expect("counts");
    assert_eq!(counts.pending, 0);
}

#[test]
fn the_local_day_turns_at_local_midnight() {
    let at = |text| UtcTime::parse(text).expect("a time");
    assert_eq!(local_day(at("2026-11-21T15:59:59Z"), 480), "2026-11-21");
    assert_eq!(local_day(at("2026-11-21T16:00:00Z"), 480), "2026-11-22");
}
