use super::*;
use cloud_sync::outbox::store::{Ack, OutboxStore};
use cloud_sync::wire::reply::{Answer, LinkReply, Remembered};
use forecourt::command::{Outcome, Reply};
use forecourt::hold::Hold;
use forecourt::ids::{CommandId, CustomerToken, FuellingPointId, Grade, NozzleId, OrderId, PriceSetId, ReleaseId};
use forecourt::ledger::{KnownTotaliser, Ledger, Release};
use forecourt::order::{Basis, Limit, Order, OrderEnd, OrderPhase, OrderRequest, ReleaseReason};
use forecourt::pump::{Preset, Reading};
use forecourt::record::{Audit, OrderReleased, Record, Sale};
use forecourt::time::ClockQuality;
use forecourt::units::{Currency, Money, UnitPrice, Volume};

const NOON: i64 = 1_795_262_400_000;
const DAY_MS: i64 = 86_400_000;

fn noon() -> UtcTime {
    UtcTime::from_unix_ms(NOON)
}

fn open(directory: &Path) -> Store {
    try_open(directory, "st-1").expect("opens").with_clock(noon)
}

fn try_open(directory: &Path, station: &str) -> Result<Store, StoreFault> {
    Store::open(&directory.join(FILE_NAME), StationId::new(station).expect("an id"), Uuid::from_u128(7))
}

fn home() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn order(number: u64, phase: OrderPhase) -> Order {
    let request = OrderRequest {
        order_id: OrderId::new(format!("o-{number}")).expect("an id"),
        nozzle: NozzleId(3),
        grade: Grade::new("92").expect("a grade"),
        limit: Limit::FullTank(Money::new(20_000)),
        currency: Currency::CNY,
        unit_price: UnitPrice::new(7_450_000),
        expires_at: noon(),
        lift_timeout_s: Some(90),
        basis: Basis::Prepaid,
        code: Some("385217".into()),
        customer: CustomerToken::new("c-1").ok(),
        plate_masked: Some("粤B·***88".into()),
        context: r#"{"a":1}"#.into(),
        content_hash: format!("hash-{number}"),
    };
    Order { request, phase, received_at: noon(), place: number }
}

fn end(number: u128) -> OrderEnd {
    OrderEnd::Released { id: Uuid::from_u128(number), reason: ReleaseReason::Refused("nozzle_busy".into()) }
}

fn order_write(number: u64, phase: OrderPhase) -> Write {
    Write::Order(Box::new(order(number, phase)))
}

fn sale_of(number: u128, order_id: Option<&str>) -> Sale {
    Sale {
        sale_id: Uuid::from_u128(number),
        order_id: order_id.and_then(|id| OrderId::new(id).ok()),
        ended_at: noon(),
        offline: true,
        ..forecourt::testing::sale()
    }
}

fn record(id: u128, record: Record) -> Write {
    Write::Record { id: Uuid::from_u128(id), time: noon(), record: Box::new(record) }
}

fn sale(number: u128) -> Write {
    record(number, Record::Sale(Box::new(sale_of(number, None))))
}

fn released(number: u128) -> Write {
    let released = OrderReleased {
        order_id: OrderId::new(format!("r-{number}")).expect("an id"),
        nozzle: NozzleId(1),
        reason: ReleaseReason::NotLifted,
        at: noon(),
    };
    record(number, Record::Released(released))
}

fn sequences(store: &Store) -> Vec<u64> {
    store.range(0, u64::MAX, 1_000).expect("reads").iter().map(|row| row.sequence).collect()
}

fn is_whole(store: &Store, records: u64) {
    let report = store.verify_chain().expect("reads");
    assert_eq!((report.broken, report.good), (None, records));
}

#[test]
fn the_chain_goes_on_over_reopening_and_commits_are_whole() {
    let home = home();
    {
        let mut store = open(home.path());
        store.apply(&[&[sale(1), released(2)], &[sale(3)]]).expect("one commit of two batches");
    }
    let mut store = open(home.path());
    store.apply(&[&[released(4)]]).expect("goes on");
    assert_eq!(sequences(&store), [1, 2, 3, 4]);
    is_whole(&store, 4);
}

#[test]
fn a_full_disk_leaves_the_chain_as_it_was_and_the_same_writes_pass_later() {
    let home = home();
    let mut store = open(home.path());
    store.apply(&[&[sale(1)]]).expect("stores");
    let pages: i64 = store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).expect("counts");
    store.connection.pragma_update(None, "max_page_count", pages).expect("limits");
    let many: Vec<Write> = (2..200).map(sale).collect();
    assert_eq!(std::fs::metadata(home.path().join("ballast")).expect("reserved").len(), 8 * 1024 * 1024);
    let fault = store.apply(&[&many]).expect_err("no space");
    assert!(!home.path().join("ballast").exists(), "the reserve is given free");
    assert!(fault.is_full(), "{fault}");
    assert!(fault.to_string().contains("free space"), "{fault}");
    assert_eq!(sequences(&store), [1]);
    is_whole(&store, 1);

    store.connection.pragma_update(None, "max_page_count", 1_000_000).expect("lifts");
    store.apply(&[&many]).expect("stores now");
    assert_eq!(store.counts().expect("counts").pending, 199);
    is_whole(&store, 199);
}

#[test]
fn a_batch_that_breaks_a_rule_takes_its_whole_commit_with_it() {
    let home = home();
    let mut store = open(home.path());
    store.apply(&[&[released(1)]]).expect("stores");
    let fault = store.apply(&[&[released(2)], &[sale(3), released(1)]]).expect_err("event id 1 is taken");
    assert!(matches!(fault, StoreFault::Refused { .. }), "{fault}");
    assert_eq!(sequences(&store), [1]);
    store.apply(&[&[released(2)]]).expect("the chain goes on");
    is_whole(&store, 2);
}

#[test]
fn an_order_has_one_sale_at_most() {
    let home = home();
    let mut store = open(home.path());
    let of = |id| record(id, Record::Sale(Box::new(sale_of(id, Some("o-1")))));
    store.apply(&[&[of(1)]]).expect("stores");
    let fault = store.apply(&[&[of(2)]]).expect_err("a second sale");
    assert!(matches!(fault, StoreFault::Refused { .. }), "{fault}");
}

#[test]
fn the_end_of_an_order_never_changes_or_vanishes() {
    let home = home();
    let mut store = open(home.path());
    store.apply(&[&[order_write(1, OrderPhase::Armed)]]).expect("stores");
    store.apply(&[&[order_write(1, OrderPhase::Ended { end: end(9) })]]).expect("ends");
    store.apply(&[&[order_write(1, OrderPhase::Ended { end: end(9) })]]).expect("the same again is no change");
    for phase in [OrderPhase::Ended { end: end(10) }, OrderPhase::Armed] {
        let fault = store.apply(&[&[order_write(1, phase)]]).expect_err("keeps its end");
        assert!(fault.to_string().contains("an order that has its end keeps it"), "{fault}");
    }
    assert!(store.connection.execute("DELETE FROM orders", []).is_err());
    let reader = Store::reader(&store.path).expect("opens");
    let known = reader.ended_order(&OrderId::new("o-1").expect("an id")).expect("known");
    assert_eq!((known.end, known.content_hash.as_str()), (end(9), "hash-1"));
}

#[test]
fn a_record_never_changes_and_is_never_deleted_unacknowledged() {
    let home = home();
    let mut store = open(home.path());
    store.apply(&[&[sale(1)]]).expect("stores");
    for sql in ["UPDATE event SET body = x'00'", "UPDATE event SET hash = id", "DELETE FROM event"] {
        assert!(store.connection.execute(sql, []).is_err(), "{sql}");
    }
}

#[test]
fn a_new_run_remembers_what_is_open() {
    let home = home();
    let release = Release {
        release: ReleaseId(41),
        order_id: OrderId::new("o-2").ok(),
        fp: FuellingPointId(2),
        nozzle: NozzleId(3),
        preset: Preset::Amount(Money::new(20_000)),
        price: UnitPrice::new(7_450_000),
        price_set: PriceSetId::new("PS-1").ok(),
        totaliser_start: Some(Volume::new(812_345_670)),
        at: noon(),
        end_seen: Some(Reading { nozzle: None, volume: Volume::new(1), amount: Money::new(2), price: None }),
    };
    let closed = Release { release: ReleaseId(42), ..release.clone() };
    let writes = [
        order_write(1, OrderPhase::Ended { end: end(1) }),
        order_write(3, OrderPhase::Queued),
        order_write(2, OrderPhase::Fuelling),
        Write::Release(Box::new(release.clone())),
        Write::Release(Box::new(closed)),
        Write::ReleaseClosed(ReleaseId(42)),
        Write::Totaliser { nozzle: NozzleId(3), volume: Volume::new(5), at: noon() },
        Write::Totaliser { nozzle: NozzleId(3), volume: Volume::new(6), at: noon() },
        Write::Holds { nozzle: NozzleId(3), holds: vec![Hold::Manual, Hold::GasAlarm] },
        Write::Holds { nozzle: NozzleId(3), holds: vec![Hold::Emergency, Hold::Manual] },
        Write::Holds { nozzle: NozzleId(4), holds: vec![Hold::Manual] },
        Write::Holds { nozzle: NozzleId(4), holds: vec![] },
    ];
    open(home.path()).apply(&[&writes]).expect("stores");
    let store = open(home.path());
    let memory = store.memory().expect("reads");
    assert_eq!(memory.orders, [order(2, OrderPhase::Fuelling), order(3, OrderPhase::Queued)]);
    assert_eq!(memory.releases, [release]);
    assert_eq!(memory.totalisers[&NozzleId(3)], KnownTotaliser { volume: Volume::new(6), at: noon() });
    assert_eq!(memory.holds.get(&NozzleId(3)), Some(&vec![Hold::Emergency, Hold::Manual]));
    assert_eq!(memory.holds.get(&NozzleId(4)), None);
    assert_eq!((memory.last_release, memory.last_place), (42, 3));
    assert_eq!(Store::reader(&store.path).expect("opens").memory().expect("reads"), memory);
}

fn reply(id: &str, outcome: Outcome) -> Reply {
    let command_type = "fuel.order.authorise.v1".into();
    let command_id = CommandId::new(id).expect("an id");
    Reply { command_id, command_type, outcome, detail: "A sentence.".into(), repeated: false }
}

#[test]
fn the_first_answer_to_a_command_stands() {
    let home = home();
    let mut store = open(home.path());
    let first = reply("c-1", Outcome::GradeMismatch { suggested_nozzles: vec![NozzleId(1), NozzleId(2)] });
    let second = reply("c-1", Outcome::PriceChanged { unit_price_micros: UnitPrice::new(1) });
    let write = |reply: &Reply| Write::Reply { reply: Box::new(reply.clone()), at: noon() };
    store.apply(&[&[write(&first)], &[write(&second)]]).expect("stores");
    let reader = Store::reader(&store.path).expect("opens");
    assert_eq!(reader.reply_to(&first.command_id), Some(first.clone()));
    assert_eq!(store.recall(&first.command_id), Ok(Some(Remembered::Site(first))));

    let id = CommandId::new("c-2").expect("an id");
    let answer = Answer::Malformed { at: "/data".into() };
    let of_link = LinkReply { command_id: Some(id.clone()), command_type: None, answer, detail: "No.".into() };
    let remembered = Remembered::Link(of_link);
    store.remember(&id, &remembered, noon()).expect("remembers");
    assert_eq!(store.recall(&id), Ok(Some(remembered)));
    assert_eq!(reader.reply_to(&id), None, "the link's answers are not the site's");
}

#[test]
fn a_reader_sees_a_commit_at_once_and_never_waits_for_the_writer() {
    let home = home();
    let mut store = open(home.path());
    let reader = Store::reader(&store.path).expect("opens");
    let write = store.connection.transaction_with_behavior(TransactionBehavior::Immediate).expect("begins");
    write.execute("INSERT INTO hold (nozzle, hold) VALUES (1, 'manual')", []).expect("writes");
    assert!(reader.memory().expect("does not wait").holds.is_empty());
    write.commit().expect("commits");
    assert_eq!(reader.memory().expect("reads").holds.len(), 1);
}

#[test]
fn a_store_that_cannot_be_read_refuses_instead_of_forgetting() {
    let home = home();
    let store = open(home.path());
    let reader = Store::reader(&store.path).expect("opens");
    store.connection.execute_batch("DROP TABLE reply; DROP TABLE orders").expect("damages");
    let answer = reader.reply_to(&CommandId::new("c-1").expect("an id")).expect("an answer");
    assert_eq!(answer.outcome, Outcome::StationHeld);
    assert!(reader.ended_order(&OrderId::new("o-1").expect("an id")).is_some());
}

#[test]
fn acknowledged_records_leave_the_outbox_and_stay_in_the_books() {
    let home = home();
    let mut store = open(home.path());
    let writes: Vec<Write> = (1..=6).map(|id| if id % 2 == 0 { released(id) } else { sale(id) }).collect();
    store.apply(&[&writes]).expect("stores");
    assert_eq!(store.counts().expect("counts").pending, 6);
    assert_eq!(store.pending(0, 2, 2).expect("reads").iter().map(|row| row.sequence).collect::<Vec<_>>(), [3, 4]);

    let ids = Ack::Ids(vec![Uuid::from_u128(4), Uuid::from_u128(4), Uuid::from_u128(99)]);
    assert_eq!(store.acknowledge(&[ids, Ack::Through(2)]), Ok(3));
    assert_eq!(store.acknowledge(&[Ack::Through(2)]), Ok(0));
    let pending: Vec<u64> = store.pending(0, 0, 10).expect("reads").iter().map(|row| row.sequence).collect();
    assert_eq!(pending, [3, 5, 6]);
    let kept = store.rows(&[6, 1, 1, 77]).expect("reads");
    assert_eq!(kept.iter().map(|row| (row.sequence, row.settled)).collect::<Vec<_>>(), [(1, true), (6, false)]);
    assert_eq!(store.count_range(2, 4), Ok(3));
    is_whole(&store, 6);
}

#[test]
fn a_refused_record_is_counted_set_aside_and_may_still_be_acknowledged() {
    let home = home();
    let mut store = open(home.path());
    store.apply(&[&[sale(1), sale(2)]]).expect("stores");
    for count in 1..=5 {
        let refused = store.refuse(Uuid::from_u128(1), "no such station").expect("counts").expect("is pending");
        assert_eq!((refused.sequence, refused.count), (1, count));
    }
    store.set_aside(1).expect("sets aside");
    assert_eq!(store.refuse(Uuid::from_u128(1), "again"), Ok(None));
    assert_eq!(store.refuse(Uuid::from_u128(9), "unknown"), Ok(None));
    let counts = store.counts().expect("counts");
    assert_eq!((counts.pending, counts.set_aside, counts.oldest_at), (1, 1, Some(noon())));
    assert_eq!(store.pending(0, 0, 9).expect("reads").len(), 1);
    assert_eq!(store.acknowledge(&[Ack::Ids(vec![Uuid::from_u128(1)])]), Ok(1));
    assert_eq!(store.counts().expect("counts").set_aside, 0);
}

#[test]
fn a_changed_or_missing_record_is_named_by_its_sequence() {
    for (damage, bad) in [
        ("UPDATE event SET body = replace(body, '26850', '26851') WHERE sequence = 3", 3),
        ("UPDATE event SET id = 'other' WHERE sequence = 2", 2),
        ("DELETE FROM event WHERE sequence = 4", 4),
    ] {
        let home = home();
        let mut store = open(home.path());
        let writes: Vec<Write> = (1..=5).map(sale).collect();
        store.apply(&[&writes]).expect("stores");
        store
            .connection
            .execute_batch(
                "PRAGMA foreign_keys = OFF; DROP TRIGGER event_never_changes; DROP TRIGGER event_stays_until_acknowledged;",
            )
            .expect("takes the guards off");
        // replace() gives text; the cast makes it the bytes of a record again.
        store
            .connection
            .execute(
                &damage.replace(
                    "replace(body, '26850', '26851')",
                    "CAST(replace(CAST(body AS TEXT), '26850', '26851') AS BLOB)",
                ),
                [],
            )
            .expect("damages");
        let report = store.verify_chain().expect("reads");
        assert_eq!(report.broken.map(|(sequence, _)| sequence), Some(bad), "{damage}");
        assert_eq!(report.good, bad - 1);
    }
}

#[test]
fn retention_takes_only_what_is_old_and_acknowledged_and_the_chain_goes_on() {
    let home = home();
    let mut store = open(home.path());
    let writes: Vec<Write> = (1..=4).map(sale).collect();
    let answer = Write::Reply { reply: Box::new(reply("c-1", Outcome::Armed)), at: noon() };
    let ended = order_write(1, OrderPhase::Ended { end: end(1) });
    store.apply(&[&writes, &[answer, ended, order_write(2, OrderPhase::Armed)]]).expect("stores");
    store.acknowledge(&[Ack::Ids(vec![1, 2, 4].into_iter().map(Uuid::from_u128).collect())]).expect("acknowledges");

    assert_eq!(store.prune(noon().plus_ms(7 * DAY_MS)), Ok(Pruned::default()));
    let after = store.prune(noon().plus_ms(36 * DAY_MS)).expect("prunes");
    assert_eq!((after.records, after.replies, after.orders), (0, 1, 1));
    let after = store.prune(noon().plus_ms(91 * DAY_MS)).expect("prunes");
    assert_eq!((after.records, after.more), (2, false), "record 3 is not acknowledged and stops it");
    assert_eq!(sequences(&store), [3, 4]);
    is_whole(&store, 2);

    store.acknowledge(&[Ack::Through(4)]).expect("acknowledges");
    assert_eq!(store.prune(noon().plus_ms(91 * DAY_MS)).expect("prunes").records, 2);
    store.apply(&[&[sale(5)]]).expect("goes on");
    assert_eq!(sequences(&store), [5]);
    is_whole(&store, 1);
    let reader = Store::reader(&store.path).expect("opens");
    assert!(reader.ended_order(&OrderId::new("o-1").expect("an id")).is_some(), "the end of an order stays known");
    assert_eq!(reader.memory().expect("reads").orders.len(), 1);
}

#[test]
fn audit_records_outlive_the_sales_around_them() {
    let home = home();
    let mut store = open(home.path());
    let audit = Audit { who: "manager".into(), did: "hold".into(), on: "nozzle 3".into(), old: None, new: None };
    store.apply(&[&[sale(1), record(2, Record::Audit(audit)), sale(3)]]).expect("stores");
    store.acknowledge(&[Ack::Through(3)]).expect("acknowledges");
    let kept = |store: &Store| -> Vec<u64> {
        let mut statement = store.connection.prepare("SELECT sequence FROM old_audit").expect("prepares");
        let rows = statement.query_map([], |row| row.get(0)).expect("runs");
        rows.map(|row| row.expect("a row")).collect()
    };
    assert_eq!(store.prune(noon().plus_ms(91 * DAY_MS)).expect("prunes").records, 3);
    assert_eq!(kept(&store), [2]);
    store.prune(noon().plus_ms((3 * 365 + 1) * DAY_MS)).expect("prunes");
    assert!(kept(&store).is_empty());
}

#[test]
fn a_copy_taken_in_the_middle_opens_with_whole_commits_only() {
    let home = home();
    let mut store = open(home.path());
    for id in (1..60_u128).step_by(2) {
        store.apply(&[&[sale(id), released(id + 1)]]).expect("stores");
    }
    let wal = std::fs::read(home.path().join("station.db-wal")).expect("a WAL");
    for cut in [wal.len(), wal.len() - 1, wal.len() - 5_000, wal.len() / 2, 100] {
        let copy = self::home();
        std::fs::copy(&store.path, copy.path().join(FILE_NAME)).expect("copies");
        std::fs::write(copy.path().join("station.db-wal"), &wal[..cut]).expect("writes");
        let mut crashed = open(copy.path());
        let records = crashed.verify_chain().expect("reads").good;
        assert_eq!(records % 2, 0, "cut at {cut}: a commit is whole");
        is_whole(&crashed, records);
        crashed.apply(&[&[sale(1_000)]]).expect("goes on");
        is_whole(&crashed, records + 1);
    }
}

#[test]
fn a_store_is_for_one_station_one_daemon_and_its_own_version() {
    let home = home();
    let store = open(home.path());
    assert!(matches!(try_open(home.path(), "st-1"), Err(StoreFault::InUse { .. })));
    store.connection.pragma_update(None, "user_version", 99).expect("sets");
    drop(store);
    assert!(matches!(try_open(home.path(), "st-1"), Err(StoreFault::TooNew { found: 99, .. })));
    assert!(matches!(Store::reader(&home.path().join(FILE_NAME)), Err(StoreFault::TooNew { .. })));

    let home = self::home();
    drop(open(home.path()));
    let fault = try_open(home.path(), "st-2").expect_err("another station's books");
    assert!(fault.to_string().contains("holds the books of station st-1"), "{fault}");
    std::fs::write(home.path().join(FILE_NAME), "no database at all, only text that is long enough").expect("writes");
    assert!(matches!(try_open(home.path(), "st-1"), Err(StoreFault::Damaged { .. })));
    let fault = try_open(Path::new("/nowhere"), "st-1").expect_err("no directory");
    assert!(fault.to_string().contains("/nowhere/station.lock"), "{fault}");
}

#[test]
fn every_look_up_uses_an_index() {
    let home = home();
    let store = open(home.path());
    for sql in [
        chain::LAST,
        chain::GAP_AT,
        reader::OPEN_ORDERS,
        reader::ENDED_ORDER,
        reader::SITE_REPLY,
        writes::ORDER,
        writes::REPLY,
        writes::RELEASE_CLOSED,
        writes::UNHOLD,
        outbox::PENDING,
        outbox::ONE,
        outbox::RANGE,
        outbox::COUNT_RANGE,
        outbox::OLDEST,
        outbox::TIME,
        outbox::BY_ID,
        outbox::ACK_THROUGH,
        outbox::LEAVE_THROUGH,
        outbox::ACK,
        outbox::LEAVE,
        outbox::REFUSE,
        outbox::SET_ASIDE,
        outbox::RECALL,
        views::ORDERS,
        views::OPEN,
        views::OUTBOX,
        views::SALE_BY_ID,
        views::SALE_BY_ORDER,
        views::LAST_SALE,
        consumers::HEAD,
        consumers::HASH,
        consumers::PAGE,
        consumers::CURSOR,
        consumers::SETTLE,
        consumers::MOVE,
        consumers::WAITING,
        consumers::HELD,
        consumers::NOTE,
        consumers::SET_NOTE,
        retention::FIRST,
        retention::KEPT,
        retention::REPLIES,
        retention::CONTENT,
        retention::KEEP_AUDIT,
        retention::OLD_AUDIT,
    ] {
        let mut plan = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("prepares");
        let values = vec![rusqlite::types::Null; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).expect("runs");
        for step in steps {
            let step = step.expect("a step");
            // A walk along an index that a LIMIT or a partial index bounds is none of the whole table.
            let bounded = ["USING", "CONSTANT ROW", "VIRTUAL TABLE"].iter().any(|word| step.contains(word));
            let whole = step.starts_with("SCAN") && !bounded;
            let newest_first = sql == chain::LAST || sql == consumers::HEAD;
            assert!(!whole || newest_first, "{step}\nin {sql}");
            assert!(!step.contains("TEMP B-TREE"), "{step}\nin {sql}");
        }
    }
}

mod office;

mod on_its_thread {
    use super::*;
    use crate::store::thread::{Answer, spawn};
    use forecourt::ledger::Ticket;
    use std::sync::mpsc;

    #[test]
    fn all_that_is_queued_becomes_one_commit_and_only_the_guilty_one_fails() {
        let home = home();
        let (answers, got) = mpsc::channel();
        let (handle, thread) =
            spawn(open(home.path()), move |answer| answers.send(answer).expect("heard")).expect("a thread");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let counted = runtime.block_on(async {
            // The thread is busy until the gate opens; what is queued meanwhile is one group.
            let (gate, opened) = mpsc::channel::<()>();
            let busy = tokio::spawn({
                let handle = handle.clone();
                async move { handle.run(move |_| opened.recv()).await }
            });
            tokio::task::yield_now().await;
            for (ticket, writes) in [(1, vec![sale(1)]), (2, vec![sale(2)]), (3, vec![sale(3)])] {
                handle.try_commit(Ticket(ticket), writes).expect("a place");
            }
            gate.send(()).expect("opens");
            busy.await.expect("joins").expect("ran").expect("was opened");
            handle.run(|store| sequences(store)).await.expect("runs")
        });
        assert_eq!(counted, [1, 2, 3]);
        for ticket in 1..=3 {
            assert_eq!(got.recv(), Ok(Answer::Stored(Ticket(ticket))));
        }
        drop(handle);
        is_whole(&thread.join().expect("ends"), 3);
    }

    #[test]
    fn commits_that_meet_a_full_disk_wait_in_order_and_pass_once_there_is_space() {
        let home = home();
        let store = open(home.path());
        store.connection.pragma_update(None, "max_page_count", 1).expect("limits");
        let (answers, got) = mpsc::channel();
        let (handle, thread) = spawn(store, move |answer| answers.send(answer).expect("heard")).expect("a thread");
        let many = |from: u128| (from..from + 50).map(sale).collect::<Vec<_>>();
        handle.try_commit(Ticket(1), many(1)).expect("a place");
        assert!(matches!(got.recv(), Ok(Answer::Failing(fault)) if fault.is_full()));
        handle.try_commit(Ticket(2), many(101)).expect("a place");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let lift = |store: &mut Store| store.connection.pragma_update(None, "max_page_count", 1_000_000);
        runtime.block_on(handle.run(lift)).expect("runs").expect("lifts");
        assert_eq!(got.recv(), Ok(Answer::Recovered));
        assert_eq!(got.recv(), Ok(Answer::Stored(Ticket(1))));
        assert_eq!(got.recv(), Ok(Answer::Stored(Ticket(2))));
        drop(handle);
        is_whole(&thread.join().expect("ends"), 100);
    }
}

#[test]
fn every_commit_is_flushed_to_the_disk() {
    let home = home();
    let store = open(home.path());
    let read = |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
    assert_eq!(read("journal_mode"), Ok(rusqlite::types::Value::Text("wal".into())));
    assert_eq!(read("synchronous"), Ok(rusqlite::types::Value::Integer(2)));
    assert_eq!(read("foreign_keys"), Ok(rusqlite::types::Value::Integer(1)));
}

#[test]
fn a_store_that_is_killed_before_its_first_commit_has_lost_nothing() {
    let home = home();
    let path = home.path().join(FILE_NAME);
    let station = StationId::new("st-1").expect("an id");
    let mut ids = UuidMaker::new([1; 32]);
    drop(Store::open_or_rescue(&path, &station, Uuid::nil(), &mut ids, noon()).expect("opens"));
    let (store, _) = Store::open_or_rescue(&path, &station, Uuid::nil(), &mut ids, noon()).expect("opens again");
    let crashed = tempfile::tempdir().expect("a directory");
    for file in std::fs::read_dir(home.path()).expect("reads") {
        let file = file.expect("a file").path();
        std::fs::copy(&file, crashed.path().join(file.file_name().expect("a name"))).expect("copies");
    }
    drop(store);
    let path = crashed.path().join(FILE_NAME);
    let (_, rescued) = Store::open_or_rescue(&path, &station, Uuid::nil(), &mut ids, noon()).expect("opens");
    assert!(rescued.is_none(), "{rescued:?}");
}
