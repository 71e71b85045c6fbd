//! Cursors, pages and what is kept for whom.

use super::*;
use crate::store::FILE_NAME;
use cloud_sync::outbox::store::{Ack, OutboxStore as _};
use forecourt::ids::StationId;
use forecourt::ledger::Write;
use forecourt::record::{Alarm, AlarmState, Audit, Record};
use uuid::Uuid;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const BEGIN: i64 = 1_795_262_400_000;

fn begin() -> UtcTime {
    UtcTime::from_unix_ms(BEGIN)
}

fn open(directory: &Path) -> Store {
    let station = StationId::new("st-1").expect("an id");
    Store::open(&directory.join(FILE_NAME), station, Uuid::from_u128(7)).expect("opens").with_clock(begin)
}

/// Audits at odd sequences, alarms at even ones.
fn records(store: &mut Store, sequences: core::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        let record = if sequence % 2 == 0 {
            let (alarm, place, text) = ("x".into(), "y".into(), "z".into());
            Record::Alarm(Alarm { alarm, place, state: AlarmState::Raised, since: begin(), text })
        } else {
            Record::Audit(Audit { who: "a".into(), did: "b".into(), on: "c".into(), old: None, new: None })
        };
        let write =
            Write::Record { id: Uuid::from_u128(u128::from(sequence)), time: begin(), record: Box::new(record) };
        store.apply(&[&[write]]).expect("stores");
    }
}

fn plan(name: &str, keep_days: i64, start: Start) -> ConsumerPlan {
    ConsumerPlan { name: name.into(), kinds: vec!["fuel.alarm.v1".into()], keep_ms: keep_days * DAY_MS, start }
}

fn sequences(page: &Page) -> Vec<u64> {
    page.rows.iter().map(|row| row.sequence).collect()
}

#[test]
fn a_page_holds_its_types_in_sequence_and_says_how_far_it_looked() {
    let home = tempfile::tempdir().expect("a directory");
    let mut store = open(home.path());
    records(&mut store, 1..=9);
    let reader = Store::reader(&home.path().join(FILE_NAME)).expect("reads");
    let kinds = ["fuel.alarm.v1".to_owned()];
    let page = reader.page(0, &kinds, 3).expect("a page");
    assert_eq!((sequences(&page), page.read_to), (vec![2, 4, 6], 6));
    let page = reader.page(6, &kinds, 3).expect("a page");
    assert_eq!((sequences(&page), page.read_to), (vec![8], 9));
    let page = reader.page(9, &kinds, 3).expect("a page");
    assert_eq!((sequences(&page), page.read_to), (vec![], 9));
    assert_eq!(reader.page(0, &["fuel.sale.v1".to_owned()], 3).expect("a page").read_to, 9);
}

#[test]
fn a_cursor_survives_restarts_and_changes_of_the_configuration() {
    let home = tempfile::tempdir().expect("a directory");
    let mut store = open(home.path());
    records(&mut store, 1..=6);
    store.settle_consumers(&[plan("erp", 180, Start::Oldest), plan("late", 180, Start::Newest)]).expect("settles");
    store.move_cursor("erp", 4, 1, true).expect("moves");
    store.move_cursor("erp", 2, 0, false).expect("never back");
    drop(store);
    let mut store = open(home.path());
    store.settle_consumers(&[plan("erp", 180, Start::Newest)]).expect("settles");
    let views = Store::reader(&home.path().join(FILE_NAME)).and_then(|reader| reader.consumers()).expect("reads");
    let [erp, late] = views.as_slice() else { panic!("{views:?}") };
    assert_eq!((erp.cursor, erp.waiting, erp.passed_over, erp.active), (4, 1, 1, true));
    assert_eq!((erp.oldest_at, erp.taken_at), (Some(begin()), Some(begin())));
    assert_eq!((late.cursor, late.waiting, late.active), (6, 0, false));
}

#[test]
fn a_consumer_holds_back_retention_to_its_limit_and_no_further() {
    let home = tempfile::tempdir().expect("a directory");
    let mut store = open(home.path());
    records(&mut store, 1..=10);
    store.acknowledge(&[Ack::Through(10)]).expect("acknowledges");
    store.settle_consumers(&[plan("erp", 120, Start::Oldest), plan("gone", 400, Start::Oldest)]).expect("settles");
    store.settle_consumers(&[plan("erp", 120, Start::Oldest)]).expect("settles");
    store.move_cursor("erp", 4, 0, true).expect("moves");
    let after = |days: i64| begin().plus_ms(days * DAY_MS + 1);
    assert_eq!(store.prune(after(89)).expect("prunes").records, 0);
    assert_eq!(store.prune(after(91)).expect("prunes").records, 4, "what it has taken goes");
    assert_eq!(store.prune(after(119)).expect("prunes").records, 0, "what it has not taken is kept");
    assert_eq!(store.prune(after(121)).expect("prunes").records, 6, "to the limit");
    let page = Store::reader(&home.path().join(FILE_NAME)).and_then(|reader| reader.page(4, &[], 10)).expect("a page");
    assert_eq!((page.pruned, page.rows), (10, vec![]));
}

#[test]
fn a_consumer_never_lets_an_unacknowledged_record_go() {
    let home = tempfile::tempdir().expect("a directory");
    let mut store = open(home.path());
    records(&mut store, 1..=3);
    store.settle_consumers(&[plan("erp", 1, Start::Newest)]).expect("settles");
    assert_eq!(store.prune(begin().plus_ms(1_000 * DAY_MS)).expect("prunes").records, 0);
}

#[test]
fn a_note_is_there_for_the_next_run() {
    let home = tempfile::tempdir().expect("a directory");
    let mut store = open(home.path());
    store.set_note("a", "1").and_then(|()| store.set_note("a", "2")).expect("notes");
    drop(store);
    let _store = open(home.path());
    let reader = Store::reader(&home.path().join(FILE_NAME)).expect("reads");
    assert_eq!((reader.note("a").expect("reads"), reader.note("b").expect("reads")), (Some("2".into()), None));
}
