use super::*;
use crate::store::{FILE_NAME, Store};
use cloud_sync::outbox::store::{Ack, OutboxStore, Row};
use forecourt::command::{Outcome, Reply};
use forecourt::ids::{CommandId, FuellingPointId, Grade, ReleaseId};
use forecourt::ledger::{Ledger, Release};
use forecourt::order::{Basis, Limit, Order, OrderRequest};
use forecourt::pump::Preset;
use forecourt::units::{Currency, Money, UnitPrice, Volume};

const SALES: u128 = 60;
const ACKED: u64 = 20;

fn noon() -> UtcTime {
    UtcTime::from_unix_ms(1_795_262_400_000)
}

fn order(number: u128, phase: OrderPhase) -> Order {
    let request = OrderRequest {
        order_id: OrderId::new(format!("o-{number}")).expect("an id"),
        nozzle: NozzleId(3),
        grade: Grade::new("92").expect("a grade"),
        limit: Limit::Amount(Money::new(20_000)),
        currency: Currency::CNY,
        unit_price: UnitPrice::new(7_450_000),
        expires_at: noon(),
        lift_timeout_s: None,
        basis: Basis::Prepaid,
        code: None,
        customer: None,
        plate_masked: None,
        context: "{}".into(),
        content_hash: format!("hash-{number}"),
    };
    Order { request, phase, received_at: noon(), place: u64::try_from(number).expect("small") }
}

fn sale(number: u128) -> Sale {
    Sale {
        sale_id: Uuid::from_u128(1_000 + number),
        order_id: Some(OrderId::new(format!("o-{number}")).expect("an id")),
        volume: Volume::new(10),
        amount: Money::new(7),
        totaliser_start: None,
        totaliser_end: Some(Volume::new(i64::try_from(number).expect("small") * 10)),
        ended_at: noon().plus_ms(i64::try_from(number).expect("small")),
        ..forecourt::testing::sale()
    }
}

/// The commit of one order from its arrival to its sale.
fn sold(number: u128) -> Vec<Write> {
    let end = OrderEnd::Sale { id: Uuid::from_u128(1_000 + number) };
    let reply = Reply {
        command_id: CommandId::new(format!("c-{number}")).expect("an id"),
        command_type: "fuel.order.authorise.v1".into(),
        outcome: Outcome::Armed,
        detail: "the nozzle may be lifted".into(),
        repeated: false,
    };
    vec![
        Write::Order(Box::new(order(number, OrderPhase::Ended { end }))),
        Write::Reply { reply: Box::new(reply), at: noon() },
        Write::Record {
            id: Uuid::from_u128(number),
            time: noon(),
            record: Box::new(Record::Sale(Box::new(sale(number)))),
        },
    ]
}

fn station() -> StationId {
    StationId::new("st-1").expect("an id")
}

fn open(home: &Path) -> (Store, Option<Rescued>) {
    let mut ids = UuidMaker::new([7; 32]);
    let (store, rescued) =
        Store::open_or_rescue(&home.join(FILE_NAME), &station(), Uuid::nil(), &mut ids, noon()).expect("always opens");
    (store, rescued)
}

fn pending(store: &Store) -> Vec<Row> {
    let rows = |priority| store.pending(priority, 0, 10_000).expect("reads");
    (0..4).flat_map(rows).collect()
}

/// A store with sales, 20 of them acknowledged, one order armed and one released, as a killed daemon leaves it: with its log.
fn left_behind() -> (tempfile::TempDir, Vec<Row>) {
    let writing = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(writing.path());
    for number in 1..=SALES {
        store.apply(&[&sold(number)]).expect("stores");
    }
    store.acknowledge(&[Ack::Through(ACKED)]).expect("acknowledges");
    let release = Release {
        release: ReleaseId(61),
        order_id: Some(OrderId::new("o-62").expect("an id")),
        fp: FuellingPointId(2),
        nozzle: NozzleId(3),
        preset: Preset::Volume(Volume::new(10_000)),
        price: UnitPrice::new(7_450_000),
        price_set: None,
        totaliser_start: Some(Volume::new(600)),
        at: noon(),
        end_seen: None,
    };
    let open_ones = [
        Write::Order(Box::new(order(61, OrderPhase::Armed))),
        Write::Order(Box::new(order(62, OrderPhase::Lifted))),
        Write::Release(Box::new(release)),
    ];
    store.apply(&[&open_ones]).expect("stores");
    let rows = pending(&store);
    let home = tempfile::tempdir().expect("a directory");
    for name in ["station.db", "station.db-wal", "station.lock"] {
        std::fs::copy(writing.path().join(name), home.path().join(name)).expect("copies");
    }
    (home, rows)
}

/// The same, but closed in order, so that everything is in the database.
fn closed() -> (tempfile::TempDir, Vec<Row>) {
    let (home, rows) = left_behind();
    drop(open(home.path()));
    assert!(!home.path().join("station.db-wal").exists());
    (home, rows)
}

fn change(home: &Path, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = home.join(name);
    let mut bytes = std::fs::read(&path).expect("reads");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("writes");
}

/// What must hold whatever was damaged.
fn is_safe(home: &Path, before: &[Row]) -> (Store, Rescued) {
    let (mut store, rescued) = open(home);
    let rescued = rescued.expect("it was damaged");
    assert!(rescued.set_aside.exists(), "{rescued:?}");
    let report = store.verify_chain().expect("reads");
    assert_eq!(report.broken, None, "{rescued:?}");
    for row in pending(&store) {
        match before.iter().find(|known| known.sequence == row.sequence) {
            Some(known) => assert_eq!((known.id, &known.bytes), (row.id, &row.bytes), "the same bytes"),
            // Acknowledged before, or made by the rescue: never a sequence that had another record.
            None => assert!(row.sequence <= ACKED || row.sequence > 60, "{}", row.sequence),
        }
    }
    let memory = store.memory().expect("reads");
    assert!(!rescued.uncertain || memory.releases.is_empty(), "nothing is taken for running");
    assert!(!rescued.uncertain || memory.orders.iter().all(|order| order.phase == OrderPhase::Review));
    store.apply(&[&sold(100)]).expect("goes on");
    assert_eq!(store.verify_chain().expect("reads").broken, None);
    let (store, again) = {
        drop(store);
        open(home)
    };
    assert_eq!(again, None, "rescued once");
    (store, rescued)
}

fn kept(store: &Store, before: &[Row]) -> usize {
    let now = pending(store);
    before.iter().filter(|row| now.iter().any(|kept| kept.sequence == row.sequence)).count()
}

#[test]
fn a_sound_store_is_opened_as_it_is_after_a_kill_and_after_a_close() {
    let (home, before) = left_behind();
    let (store, rescued) = open(home.path());
    assert_eq!((rescued, pending(&store)), (None, before.clone()));
    drop(store);
    let (store, rescued) = open(home.path());
    assert_eq!((rescued, pending(&store)), (None, before));
    assert_eq!(store.memory().expect("reads").releases.len(), 1);
}

#[test]
fn a_wrong_header_costs_no_record() {
    for upto in [16, 100] {
        let (home, before) = closed();
        change(home.path(), FILE_NAME, |bytes| bytes[..upto].fill(0xA5));
        let (store, rescued) = is_safe(home.path(), &before);
        assert_eq!((kept(&store, &before), rescued.lost), (before.len(), 0), "{rescued:?}");
        assert!(rescued.uncertain);
    }
}

#[test]
fn a_file_that_is_cut_off_keeps_the_records_in_what_is_left() {
    let (home, before) = closed();
    let mut length = 0;
    change(home.path(), FILE_NAME, |bytes| {
        length = bytes.len() * 9 / 10;
        bytes.truncate(length);
    });
    let (store, rescued) = is_safe(home.path(), &before);
    assert!(rescued.uncertain && kept(&store, &before) > 0, "{rescued:?}");
}

#[test]
fn a_lost_log_is_noticed_and_the_sequences_it_held_are_never_given_again() {
    let (home, before) = left_behind();
    std::fs::remove_file(home.path().join("station.db-wal")).expect("removes");
    let (store, rescued) = is_safe(home.path(), &before);
    assert!(rescued.uncertain && rescued.troubles[0].contains("is missing"), "{rescued:?}");
    let last = pending(&store).iter().map(|row| row.sequence).max().expect("an alarm");
    assert!(last > 1_000, "{last}");
    assert_eq!(store.orders_not_before().expect("reads"), noon().plus_ms(60_000));
}

#[test]
fn a_bad_frame_in_the_log_costs_only_what_was_in_it() {
    let (home, before) = left_behind();
    // In the third frame: most of the log's commits lie behind it.
    change(home.path(), "station.db-wal", |bytes| bytes[32 + 2 * (24 + 4_096) + 200] ^= 0xFF);
    let (store, rescued) = is_safe(home.path(), &before);
    assert!(kept(&store, &before) + 1 >= before.len(), "{} of {}: {rescued:?}", kept(&store, &before), before.len());
}

#[test]
fn a_record_that_was_changed_is_booked_again_from_its_sale() {
    let (home, before) = closed();
    change(home.path(), FILE_NAME, |bytes| {
        let needle = b"\"sequence\":\"000000000040\"";
        let at = bytes.windows(needle.len()).position(|window| window == needle).expect("there");
        let amount = b"\"amount_minor\":7";
        let from = bytes[..at].windows(amount.len()).rposition(|window| window == amount).expect("there");
        bytes[from + amount.len() - 1] = b'9';
    });
    let (store, rescued) = is_safe(home.path(), &before);
    assert_eq!((rescued.rebooked, rescued.lost, rescued.uncertain), (1, 0, false), "{rescued:?}");
    assert_eq!(kept(&store, &before), before.len() - 1);
    // Nothing else was damaged: what is open goes on as ever.
    assert_eq!(store.memory().expect("reads").releases.len(), 1);
    let sales: Vec<_> = pending(&store).into_iter().filter(|row| row.sequence > 60).collect();
    let rebooked = sales.iter().map(|row| String::from_utf8_lossy(&row.bytes).into_owned());
    let rebooked: Vec<_> = rebooked.filter(|text| text.contains(&Uuid::from_u128(1_040).to_string())).collect();
    assert!(rebooked.len() == 1 && rebooked[0].contains("\"amount_minor\":7,"), "{rebooked:?}");
}

#[test]
fn open_orders_of_a_store_that_may_lack_commits_go_to_review_and_ended_ones_keep_their_end() {
    let (home, before) = left_behind();
    std::fs::write(home.path().join("station.lock"), "damaged\n").expect("writes");
    let (store, rescued) = is_safe(home.path(), &before);
    assert_eq!(rescued.reviews, 2, "{rescued:?}");
    assert_eq!(kept(&store, &before), before.len());
    let reader = Store::reader(&home.path().join(FILE_NAME)).expect("opens");
    for number in ACKED + 1..=60 {
        let end = reader.ended_order(&OrderId::new(format!("o-{number}")).expect("an id")).expect("ended");
        assert_eq!(end.end, OrderEnd::Sale { id: Uuid::from_u128(1_000 + u128::from(number)) });
        assert!(reader.reply_to(&CommandId::new(format!("c-{number}")).expect("an id")).is_some());
    }
    assert_eq!(reader.memory().expect("reads").totalisers[&NozzleId(3)].volume, Volume::new(600));
}

#[test]
fn a_rescue_that_is_cut_off_at_any_step_is_taken_up_again() {
    for step in 0..4 {
        let (home, before) = left_behind();
        let path = home.path().join(FILE_NAME);
        let aside = files::announce(&path, "20261121T080000000Z").expect("announces");
        if step > 0 {
            std::fs::rename(home.path().join("station.db-wal"), {
                let mut name = aside.clone().into_os_string();
                name.push("-wal");
                name
            })
            .expect("moves");
        }
        if step > 1 {
            files::set_aside(&path, &aside).expect("moves");
        }
        if step > 2 {
            std::fs::write(home.path().join("station.db.new"), b"half of a store").expect("writes");
        }
        let (store, rescued) = is_safe(home.path(), &before);
        assert_eq!(kept(&store, &before), before.len(), "step {step}: {rescued:?}");
        assert_eq!(rescued.set_aside, aside);
    }
}

#[test]
fn whatever_is_damaged_the_store_opens_and_nothing_is_given_twice() {
    let (sound, before) = left_behind();
    let (flat, _) = closed();
    let mut chance = UuidMaker::new([3; 32]);
    let mut draw = |below: usize| {
        let [a, b, c, d, ..] = chance.fork();
        usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(0) % below.max(1)
    };
    let mut rescued = 0;
    for round in 0..24 {
        let home = tempfile::tempdir().expect("a directory");
        let from = if round % 2 == 0 { &sound } else { &flat };
        for entry in std::fs::read_dir(from.path()).expect("reads").flatten() {
            if entry.file_name() != "ballast" {
                std::fs::copy(entry.path(), home.path().join(entry.file_name())).expect("copies");
            }
        }
        let name = if round % 4 == 2 { "station.db-wal" } else { FILE_NAME };
        change(home.path(), name, |bytes| {
            for _ in 0..=draw(4) {
                let (at, length) = (draw(bytes.len()), 1 + draw(3_000));
                let end = bytes.len().min(at + length);
                match draw(3) {
                    0 => bytes[at..end].fill(0),
                    1 => bytes[at] ^= 0x20,
                    _ => bytes[at..end].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(7).wrapping_add(13)),
                }
            }
        });
        let (store, report) = open(home.path());
        // Damage in what nobody reads, or in the last commit of a log, cannot be told from a power cut.
        if report.is_none() {
            continue;
        }
        rescued += 1;
        let report = store.verify_chain().expect("reads");
        assert_eq!(report.broken, None, "round {round}");
        for row in pending(&store) {
            match before.iter().find(|known| known.sequence == row.sequence) {
                Some(known) => assert_eq!(known.bytes, row.bytes, "round {round}"),
                None => assert!(row.sequence <= ACKED || row.sequence > 60, "round {round}: {}", row.sequence),
            }
        }
    }
    assert!(rescued > 8, "only {rescued} of 24 were noticed");
}
