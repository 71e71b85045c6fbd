//! Reports against the sales they are made of, and what is forgotten of a customer.

use super::*;
use forecourt::period::{Keeper, Period, Plan, Scope, Turned};
use forecourt::record::Unaccounted;
use forecourt::site::{OfficeMemory, OfficeWrite};
use forecourt::time::{Instant, Now};
use forecourt::voucher::CodeEntry;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

fn turned(number: u128, turned: Turned) -> Write {
    Write::Office(Box::new(OfficeWrite::Turned {
        id: Uuid::from_u128(number),
        time: noon(),
        turned: Box::new(turned),
        nozzles: [(NozzleId(3), Grade::new("92").expect("a grade"))].into(),
        currency: Currency::CNY,
    }))
}

fn period(name: &str) -> Period {
    let scope = if Scope::Day.is_name(name) { Scope::Day } else { Scope::Shift };
    Period { scope, name: name.into(), start: noon(), end: noon().plus_ms(DAY_MS) }
}

fn open_period(number: u128, name: &str) -> Write {
    turned(number, Turned { closed: None, open: period(name) })
}

fn next_period(number: u128, from: &str, to: &str) -> Write {
    turned(number, Turned { closed: Some(period(from)), open: period(to) })
}

fn total(report: &Value) -> (u64, i64, i64) {
    let member = |name: &str| report["total"][name].as_i64().expect("a number");
    (report["total"]["count"].as_u64().expect("a number"), member("volume_ml"), member("amount_minor"))
}

fn kinds(store: &Store) -> Vec<String> {
    let mut statement = store.connection.prepare("SELECT kind FROM event ORDER BY sequence").expect("prepares");
    let kinds = statement.query_map([], |row| row.get(0)).expect("runs");
    kinds.map(|kind| kind.expect("a kind")).collect()
}

fn unaccounted(number: u128, volume: i64) -> Write {
    let at = noon();
    let (totaliser_start, totaliser_end) = (Volume::new(0), Volume::new(volume));
    let volume = Volume::new(volume);
    let found = Unaccounted { nozzle: NozzleId(3), volume, from: at, to: at, totaliser_start, totaliser_end };
    record(number, Record::Unaccounted(found))
}

fn totaliser(volume: i64) -> Write {
    Write::Totaliser { nozzle: NozzleId(3), volume: Volume::new(volume), at: noon() }
}

#[test]
fn a_report_holds_the_sales_since_its_period_was_opened_and_is_made_once() {
    let home = home();
    let mut store = open(home.path());
    store.apply(&[&[sale(1), totaliser(1_000), open_period(90, "2026-11-21-A")]]).expect("stores");
    store.apply(&[&[sale(2), sale(3), unaccounted(4, 70), totaliser(9_000)]]).expect("stores");
    store.apply(&[&[next_period(91, "2026-11-21-A", "2026-11-21-B")]]).expect("stores");
    // The same once more, as after a crash before the core knew of it; and a sale of the next shift.
    store.apply(&[&[next_period(92, "2026-11-21-A", "2026-11-21-B"), sale(5)]]).expect("stores");
    assert_eq!(kinds(&store).iter().filter(|kind| *kind == "fuel.report.v1").count(), 1);
    let reader = Store::reader(&home.path().join(FILE_NAME)).expect("opens");
    let reports = reader.reports(Scope::Shift, Some("2026-11-21-A")).expect("reads");
    let report = &reports[0];
    assert_eq!((reports.len(), total(report)), (1, (2, 53_700, 40_000)));
    let row = &report["nozzles"][0];
    assert_eq!(
        (&row["unaccounted_ml"], &row["totaliser_start_ml"], &row["totaliser_end_ml"]),
        (&70.into(), &1_000.into(), &9_000.into())
    );
    assert_eq!((&report["outbox"]["pending"], &report["missing_records"]), (&4.into(), &0.into()));
    assert_eq!(
        (&report["after_sequence"], &report["through_sequence"]),
        (&"000000000001".into(), &"000000000004".into())
    );
    assert_eq!(reader.reports(Scope::Shift, None).expect("reads"), reports);
    assert_eq!(reader.open_period(Scope::Shift).expect("reads").expect("open").name, "2026-11-21-B");
    assert!(store.verify_chain().expect("reads").broken.is_none());
    use cloud_sync::outbox::store::ReportPlace;
    let place = |name: &str| store.report(Scope::Shift, name).expect("reads");
    assert_eq!(place("2026-11-21-A"), ReportPlace::Made(vec![5]));
    assert_eq!((place("2026-11-21-B"), place("2026-11-20-A")), (ReportPlace::Open, ReportPlace::Unknown));
}

#[test]
fn an_anchor_names_the_record_before_it() {
    let home = home();
    let mut store = open(home.path());
    let anchor = Write::Office(Box::new(OfficeWrite::Anchor { id: Uuid::from_u128(50), time: noon() }));
    store.apply(&[&[sale(1), sale(2)]]).expect("stores");
    let head = store.verify_chain().expect("reads").head;
    store.apply(&[&[anchor]]).expect("stores");
    let body: Vec<u8> =
        store.connection.query_row("SELECT body FROM event WHERE sequence = 3", [], |row| row.get(0)).expect("there");
    let event: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(event["data"], serde_json::json!({"through_sequence": "000000000002", "hash": head.hash}));
}

#[test]
fn a_period_into_which_the_clock_was_set_back_has_a_second_part() {
    let home = home();
    let mut store = open(home.path());
    store
        .apply(&[&[open_period(90, "2026-11-21"), sale(1), next_period(91, "2026-11-21", "2030-01-01")]])
        .expect("stores");
    store
        .apply(&[&[next_period(92, "2030-01-01", "2026-11-21"), sale(2), next_period(93, "2026-11-21", "2026-11-22")]])
        .expect("stores");
    let reader = Store::reader(&home.path().join(FILE_NAME)).expect("opens");
    let reports = reader.reports(Scope::Day, Some("2026-11-21")).expect("reads");
    let parts: Vec<_> = reports.iter().map(|report| (report["part"].as_u64(), total(report).0)).collect();
    assert_eq!(parts, [(Some(1), 1), (Some(2), 1)]);
}

#[test]
fn wrong_codes_open_periods_and_revoked_keys_outlive_the_process() {
    let home = home();
    let codes = CodeEntry { wrong: 3, locked_until: Some(noon()) };
    let mut store = open(home.path());
    store
        .apply(&[&[Write::Office(Box::new(OfficeWrite::CodeEntry(codes))), open_period(90, "2026-11-21")]])
        .expect("stores");
    store.revoke_key("old").expect("notes");
    store.revoke_key("old").expect("notes it once");
    drop(store);
    let store = open(home.path());
    let open: BTreeMap<_, _> = [(Scope::Day, period("2026-11-21"))].into();
    assert_eq!(store.memory().expect("reads").office, OfficeMemory { open, codes });
    assert_eq!(store.revoked_keys().expect("reads"), ["old"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    /// Whatever is sold when, however the clock leaps and wherever the process ends: each sale is in one shift report and one day
    /// report, and the reports make the sum of the sales.
    #[test]
    fn all_reports_together_are_all_sales(acts in proptest::collection::vec((0_u8..4, 0_i64..40), 1..40)) {
        let home = home();
        let mut store = open(home.path());
        let plan = || Plan::fixed(480).with_times(&["06:00", "14:00", "22:00"], "00:00").expect("a plan");
        let mut keeper = Keeper::new(plan(), BTreeMap::new());
        let mut utc = noon();
        let mut number = 0;
        let roll = |store: &mut Store, keeper: &mut Keeper, utc: UtcTime, number: &mut u128| {
            for turn in keeper.handle(&Now { mono: Instant::START, utc, clock: ClockQuality::Synced }) {
                *number += 1;
                store.apply(&[&[turned(*number, turn)]]).expect("stores");
            }
        };
        let mut sales = 0;
        roll(&mut store, &mut keeper, utc, &mut number);
        for (act, hours) in acts {
            match act {
                0 | 1 => {
                    number += 1;
                    sales += 1;
                    store.apply(&[&[sale(number)]]).expect("stores");
                }
                2 => utc = utc.plus_ms((hours - 5) * 3_600_000),
                _ => {
                    drop(store);
                    store = open(home.path());
                    keeper = Keeper::new(plan(), store.memory().expect("reads").office.open);
                }
            }
            roll(&mut store, &mut keeper, utc, &mut number);
        }
        // Two days later everything is closed.
        roll(&mut store, &mut keeper, utc.plus_ms(2 * DAY_MS), &mut number);
        let mut reported = BTreeMap::new();
        let mut statement = store.connection.prepare("SELECT body FROM event WHERE kind = 'fuel.report.v1'").expect("prepares");
        let bodies = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("runs");
        for body in bodies {
            let event: Value = serde_json::from_slice(&body.expect("a body")).expect("JSON");
            let scope = event["data"]["scope"].as_str().expect("a word").to_owned();
            let (count, volume, amount) = total(&event["data"]);
            let sum = reported.entry(scope).or_insert((0, 0, 0));
            *sum = (sum.0 + count, sum.1 + volume, sum.2 + amount);
        }
        let all = (sales, i64::try_from(sales).expect("few") * 26_850, i64::try_from(sales).expect("few") * 20_000);
        for scope in ["shift", "day"] {
            prop_assert_eq!(reported.get(scope).copied().unwrap_or_default(), all, "{}", scope);
        }
    }
}

/// Every file of the store, one behind the other.
fn all_bytes(home: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(home).expect("reads");
    files.flat_map(|file| std::fs::read(file.expect("a file").path()).expect("reads")).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn an_erased_customer_is_in_no_row_and_in_no_byte_and_the_sales_stay() {
    let home = home();
    let mut ids = UuidMaker::new([1; 32]);
    let path = home.path().join(FILE_NAME);
    let station = StationId::new("st-1").expect("an id");
    let (mut store, _) = Store::open_or_rescue(&path, &station, Uuid::nil(), &mut ids, noon()).expect("opens");
    let with = |number: u64, phase: OrderPhase, customer: &str| {
        let mut order = order(number, phase);
        order.request.customer = CustomerToken::new(customer).ok();
        order.request.plate_masked = Some(format!("plate-of-{customer}"));
        Write::Order(Box::new(order))
    };
    let ended = || OrderPhase::Ended { end: end(1) };
    store.apply(&[&[with(1, OrderPhase::Queued, "c-forget"), with(2, ended(), "c-forget"), sale(7)]]).expect("stores");
    store.apply(&[&[with(3, OrderPhase::Armed, "c-keep"), with(4, ended(), "c-forget-not")]]).expect("stores");
    assert!(holds(&all_bytes(home.path()), "plate-of-c-forget\""));
    assert_eq!(store.erase_customer(&CustomerToken::new("c-forget").expect("a token")).expect("erases"), 2);
    let bytes = all_bytes(home.path());
    assert!(!holds(&bytes, "\"c-forget\"") && !holds(&bytes, "plate-of-c-forget\""));
    assert!(holds(&bytes, "plate-of-c-keep") && holds(&bytes, "plate-of-c-forget-not"));
    let open = store.memory().expect("reads").orders;
    assert_eq!(open.iter().map(|order| order.request.customer.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(store.verify_chain().expect("reads").good, 1);
    assert_eq!(store.erase_customer(&CustomerToken::new("c-forget").expect("a token")).expect("erases"), 0);
    // Killed now: its log, just emptied, is not taken for a lost one.
    let crashed = tempfile::tempdir().expect("a directory");
    for file in std::fs::read_dir(home.path()).expect("reads") {
        let file = file.expect("a file").path();
        std::fs::copy(&file, crashed.path().join(file.file_name().expect("a name"))).expect("copies");
    }
    let path = crashed.path().join(FILE_NAME);
    let (_, rescued) = Store::open_or_rescue(&path, &station, Uuid::nil(), &mut ids, noon()).expect("opens");
    assert!(rescued.is_none(), "{rescued:?}");
}

#[test]
fn every_table_with_a_customer_is_among_those_that_forget() {
    let home = home();
    let store = open(home.path());
    let sql = "SELECT DISTINCT s.name FROM sqlite_schema s, pragma_table_info(s.name) c
        WHERE s.type = 'table' AND c.name LIKE '%customer%' ORDER BY s.name";
    let mut statement = store.connection.prepare(sql).expect("prepares");
    let named: Vec<String> =
        statement.query_map([], |row| row.get(0)).expect("runs").map(|name| name.expect("a name")).collect();
    let known = privacy::tables(&store.connection).expect("reads");
    for table in &named {
        assert!(known.contains(table), "{table} names customers: it belongs into privacy::tables");
    }
    assert!(known.contains(&"orders".to_owned()), "the bodies of orders name customers without a column");
}
