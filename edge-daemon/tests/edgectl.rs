//! Runs the real `edgectl` for every command, errors included.

use edge_daemon::config::{NoFiles, parse};
use edge_daemon::store::{FILE_NAME, Store};
use edge_daemon::trace::{Entry, TraceTime, Verdict, start};
use forecourt::ids::{FuellingPointId, Grade, NozzleId, OrderId, PriceSetId, StationId};
use forecourt::ledger::Write;
use forecourt::order::{Basis, Limit, Order, OrderEnd, OrderPhase, OrderRequest};
use forecourt::record::{Evidence, Finish, Flag, Record, Sale};
use forecourt::time::{ClockQuality, UtcTime};
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use uuid::Uuid;

struct Output {
    code: Option<i32>,
    out: String,
    err: String,
}

fn edgectl(arguments: &[&str]) -> Output {
    edgectl_with(arguments, b"")
}

fn edgectl_with(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_edgectl"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // On a thread of its own, as the answers of a long input fill the pipe before it is all taken.
    let feeder = std::thread::spawn(move || {
        // A command that does not read closes its end; that is no fault of the test.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("ends");
    feeder.join().expect("ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Output { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

fn at() -> UtcTime {
    UtcTime::from_unix_ms(1_795_262_400_000)
}

/// A data directory with a configuration beside it.
struct Station {
    home: tempfile::TempDir,
}

impl Station {
    fn new() -> Self {
        let station = Self { home: tempfile::tempdir().expect("a directory") };
        std::fs::write(station.config(), station.toml()).expect("writes");
        station
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("edge.toml")
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("observe.sock")
    }

    fn toml(&self) -> String {
        let home = self.home.path().display().to_string();
        include_str!("data/station.toml").replace("/var/lib/x", &home)
    }

    fn ctl(&self, command: &str, more: &[&str]) -> Output {
        let config = self.config();
        edgectl(&[&[command, "--config", config.to_str().expect("UTF-8")], more].concat())
    }

    fn store(&self) -> Store {
        let id = StationId::new("st-1").expect("an id");
        Store::open(&self.home.path().join(FILE_NAME), id, Uuid::nil()).expect("opens")
    }
}

fn order(phase: OrderPhase, number: u64) -> Write {
    let request = OrderRequest {
        order_id: OrderId::new(format!("20261121-{number:06}")).expect("an id"),
        nozzle: NozzleId(3),
        grade: Grade::new("92").expect("a grade"),
        limit: Limit::Amount(Money::new(20_000)),
        currency: Currency::CNY,
        unit_price: UnitPrice::new(7_450_000),
        expires_at: at(),
        lift_timeout_s: None,
        basis: Basis::Prepaid,
        code: None,
        customer: None,
        plate_masked: None,
        context: "{}".into(),
        content_hash: "h".into(),
    };
    Write::Order(Box::new(Order { request, phase, received_at: at(), place: number }))
}

fn sale() -> Write {
    let sale = Sale {
        sale_id: Uuid::from_u128(5),
        order_id: OrderId::new("20261121-000001").ok(),
        basis: Basis::Prepaid,
        fuelling_point: FuellingPointId(1),
        nozzle: NozzleId(3),
        grade: Grade::new("92").expect("a grade"),
        currency: Currency::CNY,
        unit_price: UnitPrice::new(7_450_000),
        price_set: PriceSetId::new("PS-1").expect("a set"),
        volume: Volume::new(26_850),
        amount: Money::new(20_003),
        limit: None,
        totaliser_start: Some(Volume::new(812_345_670)),
        totaliser_end: None,
        unaccounted: Volume::ZERO,
        started_at: at(),
        ended_at: at(),
        finish: Finish::HungUp,
        evidence: Evidence::EndRecord,
        offline: false,
        recovered: true,
        clock: ClockQuality::Synced,
        attendant: None,
        shift: None,
        flags: vec![Flag::Gap],
        context: "{}".into(),
    };
    Write::Record { id: Uuid::from_u128(6), time: at(), record: Box::new(Record::Sale(Box::new(sale))) }
}

#[test]
fn validate_says_what_a_good_file_holds_and_lists_the_problems_of_a_bad_one() {
    let station = Station::new();
    let path = station.config();
    let path = path.to_str().expect("UTF-8");
    let good = edgectl(&["validate", path]);
    assert_eq!((good.code, good.err.as_str()), (Some(0), ""));
    assert_eq!(good.out, format!("{path}: valid: st-1, lines 1, fuelling points 1, nozzles 1\n"));

    let bad = station.toml().replace("grade = \"92\"", "grade = \"95\"") + "speed = 1\n";
    assert!(parse(&bad, &NoFiles).is_err());
    std::fs::write(path, bad).expect("writes");
    let found = edgectl(&["validate", path]);
    assert_eq!(found.code, Some(78));
    assert!(found.err.contains(&format!("{path}:21:9: error: line[0].dispenser[0].nozzle[0].grade")), "{}", found.err);
    assert!(found.err.contains(":24:1: error: observe.speed: is not a key of this table"), "{}", found.err);
    let found = edgectl(&["validate", "--json", path]);
    assert_eq!(found.code, Some(78));
    let document = json(&found.out);
    assert_eq!((&document["valid"], &document["problems"][0]["line"]), (&Value::from(false), &Value::from(21)));
}

#[test]
fn validate_warns_of_a_file_that_anyone_may_write() {
    use std::os::unix::fs::PermissionsExt as _;
    let station = Station::new();
    std::fs::set_permissions(station.config(), std::fs::Permissions::from_mode(0o666)).expect("sets");
    let found = edgectl(&["validate", station.config().to_str().expect("UTF-8")]);
    assert_eq!(found.code, Some(0));
    assert!(found.err.contains("warning: anyone may change this file (mode 666)"), "{}", found.err);
}

#[test]
fn what_is_missing_is_named_with_its_exit_code() {
    let nowhere = edgectl(&["validate", "/nowhere/edge.toml"]);
    assert_eq!(nowhere.code, Some(66));
    assert!(nowhere.err.contains("/nowhere/edge.toml: cannot be read"), "{}", nowhere.err);

    let station = Station::new();
    let store = station.ctl("orders", &[]);
    assert_eq!(store.code, Some(66));
    assert!(store.err.contains("station.db: no store there"), "{}", store.err);
    let trace = station.ctl("trace", &[]);
    assert_eq!(trace.code, Some(66));
    assert!(trace.err.contains("no trace can be read there"), "{}", trace.err);
    let status = station.ctl("status", &[]);
    assert_eq!(status.code, Some(69));
    assert!(status.err.contains("is edge-daemon running?"), "{}", status.err);
    drop(station.store());
    let sale = station.ctl("sale", &["s-1"]);
    assert_eq!(sale.code, Some(66));
    assert!(sale.err.contains("is called s-1"), "{}", sale.err);
}

#[test]
fn wrong_usage_is_64_and_help_is_no_fault() {
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["sale"],
        &["orders", "--data", "/a", "--config", "/b"],
        &["orders", "--limit", "x"],
    ] {
        let found = edgectl(arguments);
        assert_eq!(found.code, Some(64), "{arguments:?}");
        assert!(!found.err.is_empty());
    }
    let help = edgectl(&["--help"]);
    assert_eq!(help.code, Some(0));
    for command in ["validate", "status", "orders", "outbox", "sale", "chain", "decode", "probe", "trace"] {
        assert!(help.out.contains(command), "{command}");
    }
}

#[test]
fn a_damaged_store_is_74_and_a_wrong_configuration_78() {
    let station = Station::new();
    std::fs::write(station.home.path().join(FILE_NAME), [b'x'; 5_000]).expect("writes");
    let found = station.ctl("outbox", &[]);
    assert_eq!(found.code, Some(74), "{}", found.err);
    assert!(found.err.contains("not a database"), "{}", found.err);
    std::fs::write(station.config(), "x = 1").expect("writes");
    assert_eq!(station.ctl("outbox", &[]).code, Some(78));
}

#[test]
fn orders_outbox_and_sale_are_read_while_the_daemon_writes() {
    let station = Station::new();
    let mut store = station.store();
    let end = OrderEnd::Sale { id: Uuid::from_u128(5) };
    store.apply(&[&[order(OrderPhase::Ended { end }, 1), order(OrderPhase::Armed, 2), sale()]]).expect("stores");

    let orders = station.ctl("orders", &[]);
    assert_eq!((orders.code, orders.err.as_str()), (Some(0), ""));
    let lines: Vec<&str> = orders.out.lines().collect();
    assert!(lines[0].starts_with("ORDER") && !orders.out.contains('\x1b'), "{}", orders.out);
    assert!(orders.out.contains("20261121-000002  3       armed"), "{}", orders.out);
    assert!(orders.out.contains("sale 00000000-0000-0000-0000-000000000005"), "{}", orders.out);
    let document = json(&station.ctl("orders", &["--json", "--limit", "1"]).out);
    assert!(
        document.as_array().expect("a list").iter().any(|order| order["state"] == "armed"),
        "open ones always show"
    );

    let outbox = station.ctl("outbox", &[]);
    assert!(outbox.out.starts_with("1 pending, 0 set aside\nSEQUENCE"), "{}", outbox.out);
    let document = json(&station.ctl("outbox", &["--json"]).out);
    assert_eq!(document["pending"], 1);
    assert_eq!(document["records"][0]["kind"], "fuel.sale.v1");

    let by_sale = station.ctl("sale", &["00000000-0000-0000-0000-000000000005"]);
    assert_eq!(by_sale.code, Some(0));
    for expected in ["26.850 L", "200.03 CNY", "7.45 CNY a litre, PS-1", "812345.670 L", "acknowledged        -"] {
        assert!(by_sale.out.contains(expected), "{expected}\n{}", by_sale.out);
    }
    let document = json(&station.ctl("sale", &["20261121-000001", "--json"]).out);
    assert_eq!((&document["amount_minor"], &document["flags"][0]), (&Value::from(20_003), &Value::from("gap")));
    let data = station.home.path().to_str().expect("UTF-8");
    assert_eq!(edgectl(&["sale", "20261121-000001", "--data", data]).out, by_sale.out);
}

#[test]
fn chain_tells_whole_books_from_changed_ones() {
    let station = Station::new();
    station.store().apply(&[&[sale()]]).expect("stores");
    let whole = station.ctl("chain", &[]);
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    assert!(whole.out.starts_with("1 records are whole, up to 000000000001 "), "{}", whole.out);

    let books = rusqlite::Connection::open(station.home.path().join(FILE_NAME)).expect("opens");
    let change = "DROP TRIGGER event_never_changes;
        UPDATE event SET body = CAST(replace(CAST(body AS TEXT), '26850', '16850') AS BLOB)";
    books.execute_batch(change).expect("changes");
    let changed = station.ctl("chain", &["--json"]);
    assert_eq!(changed.code, Some(74));
    assert_eq!(json(&changed.out)["broken"]["sequence"], 1);
    assert!(changed.err.contains("record 1 is bad: record 1 does not match its hash"), "{}", changed.err);
}

#[test]
fn status_shows_what_the_daemon_writes_to_its_socket() {
    let station = Station::new();
    let listener = UnixListener::bind(station.socket()).expect("binds");
    let snapshot = r#"{"uptime_s":7260,"uplink":false,
        "station":{"software":{"name":"forecourt-edge","version":"0.1.0","commit":"c"},"mode":"normal","holds":["manual"],
            "clock":{"quality":"synced"},"outbox":{"pending":7,"set_aside":0,"oldest_at":null},"disk_free_mb":900},
        "lines":[{"name":"island","up":true,"detail":"/dev/ttyS0","dispensers":[{"fuelling_point":1,"health":"good",
            "exchanges":5,"timeouts":1,"bad_frames":0,"turnaround_us":5230}]},{"name":"far","up":false,"detail":"gone"}],
        "nozzles":[{"nozzle":3,"fuelling_point":1,"grade":"92","unit_price_micros":7450000,"state":"fuelling","order_id":"o-1",
            "running":{"volume_ml":3540},"totaliser_ml":1000,"holds":[]}],"orders":[]}"#;
    let server = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().expect("accepts");
            stream.write_all(snapshot.as_bytes()).expect("writes");
        }
        let (mut stream, _) = listener.accept().expect("accepts");
        stream.write_all(b"{\"cut").expect("writes");
    });
    let text = station.ctl("status", &[]);
    assert_eq!(text.code, Some(0), "{}", text.err);
    for line in [
        "station  forecourt-edge 0.1.0 (c), up 2 h 01 min, mode normal, clock synced\n",
        "cloud    NOT CONNECTED: sales are kept here; 7 records wait, 0 set aside, oldest -\n",
        "HELD     manual\n",
        "island  /dev/ttyS0  1   good    5          1       0    5.2 ms\n",
        "far     DOWN: gone\n",
        "3       1   92     7.4500  fuelling  o-1    3.540   1.000\n",
        "no orders\n",
    ] {
        assert!(text.out.contains(line), "{line}\nis not in\n{}", text.out);
    }
    assert_eq!(json(&station.ctl("status", &["--json"]).out), json(snapshot));
    let socket = station.socket();
    let by_socket = edgectl(&["status", "--socket", socket.to_str().expect("UTF-8")]);
    assert_eq!(by_socket.out, text.out);
    let cut = station.ctl("status", &[]);
    assert_eq!(cut.code, Some(69));
    assert!(cut.err.contains("what came is no JSON"), "{}", cut.err);
    server.join().expect("ends");
}

#[test]
fn decode_answers_each_line_in_order() {
    // A poll, an answer without news, noise, text, nothing, and a poll again.
    let found = edgectl_with(&["decode", "--protocol", "dart"], b"50 20 FA\n5070FA\n50 20\nxyz\n\n\xFF\xFE\n5020FA");
    assert_eq!((found.code, found.err.as_str()), (Some(0), ""));
    let answers: Vec<Value> = found.out.lines().map(json).collect();
    let good: Vec<bool> = answers.iter().map(|answer| answer["ok"].as_bool().expect("says")).collect();
    assert_eq!(good, [true, true, false, false, false, true]);
    assert!(answers.iter().filter(|answer| answer["ok"] == false).all(|answer| answer["reason"].is_string()));
    assert_eq!(answers[0], answers[5]);

    let stream = edgectl_with(&["decode", "--protocol", "dart", "--stream"], b"50 20 FA 50 70\nFA 50 20");
    let answers: Vec<Value> = stream.out.lines().map(json).collect();
    assert_eq!(answers[0]["ok"], true);
    assert_eq!(answers[1]["ok"], true);
    assert_eq!(answers[2]["ok"], false, "the rest is cut");
    let direction = edgectl_with(&["decode", "--protocol", "dart", "--direction", "controller"], b"50 20 FA\n");
    assert_eq!(json(&direction.out)["ok"], true);
}

#[test]
fn decode_refuses_a_huge_line_and_goes_on() {
    let mut input = vec![b'5'; 3 * 1024 * 1024];
    input.extend(b"\n50 20 FA\n");
    let found = edgectl_with(&["decode", "--protocol", "dart"], &input);
    let answers: Vec<Value> = found.out.lines().map(json).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!((&answers[0]["ok"], &answers[1]["ok"]), (&Value::from(false), &Value::from(true)));
}

#[test]
fn an_unknown_protocol_lists_the_known_ones() {
    let found = edgectl(&["decode", "--protocol", "tart"]);
    assert_eq!(found.code, Some(64));
    assert!(found.err.contains("tart") && found.err.contains("dart"), "{}", found.err);
}

fn record(directory: &Path, lines: &[&str]) {
    let (recorder, thread) = start(directory, 4, 1 << 20).expect("starts");
    for (index, line) in (0..).zip(lines) {
        for (verdict, bytes) in [
            (Verdict::Sent, vec![0x50, 0x20, 0xFA]),
            (Verdict::Good, vec![0x50, 0x70, 0xFA]),
            (Verdict::Bad("checksum".into()), vec![0x50, 0xFF]),
            (Verdict::Silence, vec![]),
        ] {
            let at = TraceTime::from_unix_us(1_795_262_400_000_000 + index);
            recorder.record(Entry::Frame { at, line: (*line).into(), verdict, bytes }, None);
        }
    }
    drop(recorder);
    thread.join().expect("ends");
}

#[test]
fn trace_shows_the_ring_and_one_line_of_it() {
    let station = Station::new();
    record(&station.home.path().join("trace"), &["island-1", "island-2"]);
    let all = station.ctl("trace", &[]);
    assert_eq!(all.code, Some(0), "{}", all.err);
    let lines: Vec<&str> = all.out.lines().collect();
    assert_eq!(lines.len(), 8);
    assert_eq!(lines[0], "2026-11-21T12:00:00.000000Z  island-1  → 50 20 FA");
    assert_eq!(lines[2], "2026-11-21T12:00:00.000000Z  island-1  ← 50 FF  bad: checksum");
    assert_eq!(lines[7], "2026-11-21T12:00:00.000001Z  island-2  ← silence");

    let one = station.ctl("trace", &["--line", "island-1", "--json", "--decode"]);
    let frames: Vec<Value> = one.out.lines().map(json).collect();
    assert_eq!(frames.len(), 4);
    assert_eq!(
        (&frames[0]["direction"], &frames[0]["decoded"]["ok"]),
        (&Value::from("controller"), &Value::from(true))
    );
    assert_eq!((&frames[2]["verdict"], &frames[2]["decoded"]["ok"]), (&Value::from("bad"), &Value::from(false)));

    let unknown = station.ctl("trace", &["--line", "island-9"]);
    assert_eq!(unknown.code, Some(66));
    assert!(unknown.err.contains("known are island-1"), "{}", unknown.err);
}

#[test]
fn trace_follows_the_ring_until_its_reader_goes_away() {
    let station = Station::new();
    let ring = station.home.path().join("trace");
    record(&ring, &["island-1"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_edgectl"))
        .args(["trace", "--follow", "--json", "--data", station.home.path().to_str().expect("UTF-8")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    // Frames are recorded until the follower, which takes its time to start, tells of one.
    let (done, go_on) = std::sync::mpsc::channel::<()>();
    let recorder = std::thread::spawn(move || {
        while let Err(std::sync::mpsc::TryRecvError::Empty) = go_on.try_recv() {
            record(&ring, &["island-2"]);
        }
    });
    let first = json(&lines.next().expect("a line").expect("reads"));
    assert_eq!(first["line"], "island-2", "nothing from before it came");
    drop(lines);
    let status = child.wait().expect("ends");
    assert_eq!(status.code(), Some(0), "a closed pipe is no fault");
    drop(done);
    recorder.join().expect("ends");
}
