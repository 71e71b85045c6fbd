//! The simulated dispenser against masters that no one here wrote: mbpoll (libmodbus) and pymodbus, over RTU on a pty, RTU over TCP and
//! Modbus TCP, in real time.
//!
//! Wants `apt-get install mbpoll`, and Python with `pip install "pymodbus[serial]==3.16.1"` at `target/pymodbus/bin/python` or where
//! `MODBUS_PYTHON` says.

use forecourt::ids::Grade;
use forecourt::units::Volume;
use hil_sim::dispenser::calculator::{Decimals, PriceDigits};
use hil_sim::dispenser::flow::{FlowProfile, FlowRate};
use hil_sim::dispenser::modbus::frame::Framing;
use hil_sim::dispenser::modbus::quirks::Quirks;
use hil_sim::dispenser::modbus::{ModbusConfig, ModbusDispenser};
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::{Action, Address, NozzleIndex};
use hil_sim::prng::Prng;
use hil_sim::serve::{Endpoint, Epoch, Served};
use hil_sim::wire::{DeviceId, Pace, Wire, WireConfig};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const PUMP: DeviceId = DeviceId(0);
const UNIT: u8 = 9;
const ONE: NozzleIndex = NozzleIndex(1);

/// One nozzle at 7.45, figures to the millilitre and the fen, twenty times as fast as at a forecourt.
fn pump() -> PumpConfig {
    let quick = |rate: FlowRate| FlowRate(rate.0.saturating_mul(20));
    let usual = FlowProfile::default();
    PumpConfig {
        nozzles: vec![NozzleConfig {
            grade: Grade::new("92").expect("a grade"),
            price: Some(PriceDigits(745)),
            totaliser: Volume::new(1_234_560),
        }],
        decimals: Decimals { volume: 3, price: 2, amount: 2 },
        flow: FlowProfile { full: quick(usual.full), slow: quick(usual.slow), ..usual },
        keeps_sale: true,
        keeps_prices: true,
    }
}

fn has_mbpoll() -> bool {
    let there = Command::new("mbpoll").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: mbpoll is not there; install mbpoll to run this test");
    }
    there
}

fn python() -> Option<PathBuf> {
    let local = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/pymodbus/bin/python");
    let python = std::env::var_os("MODBUS_PYTHON").map_or_else(|| PathBuf::from(local), PathBuf::from);
    let there = Command::new(&python).args(["-c", "import pymodbus, serial"]).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    eprintln!(
        "skipped: no pymodbus; python3 -m venv target/pymodbus && target/pymodbus/bin/pip install 'pymodbus[serial]==3.16.1'"
    );
    None
}

/// Where the dispenser hangs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Pty,
    RtuOverTcp,
    Tcp,
}

struct Stand {
    served: Served,
    place: String,
    _directory: TempDir,
}

impl Stand {
    fn new(way: Way) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let framing = if way == Way::Tcp { Framing::Tcp } else { Framing::Rtu };
        let pace = if way == Way::Pty { Pace::characters(9_600, 10) } else { Pace::NONE };
        let mut wire = Wire::new(WireConfig { pace, ..WireConfig::clean() }, &Prng::new(1));
        let turnaround = ModbusConfig::TURNAROUND;
        let (address, quirks, pump) = (Address(UNIT), Quirks::default(), pump());
        let mut dispenser = ModbusDispenser::new(ModbusConfig { address, turnaround, framing, quirks, pump });
        dispenser.continue_sales_at(41);
        wire.connect(Box::new(dispenser));
        let endpoint = match way {
            Way::Pty => Endpoint::Pty { link: directory.path().join("line") },
            Way::RtuOverTcp | Way::Tcp => Endpoint::Tcp { listen: "127.0.0.1:0".parse().expect("an address") },
        };
        let served = Served::start(wire, &endpoint, Epoch::start(), None).expect("served");
        let place = match (&endpoint, served.listens_on()) {
            (_, Some(listens)) => listens.port().to_string(),
            (_, None) => directory.path().join("line").display().to_string(),
        };
        Self { served, place, _directory: directory }
    }
}

/// One question of mbpoll; whether it was answered, and the values that it prints, `[address]:` and one a line.
fn mbpoll(way: Way, place: &str, question: &[&str], written: &[&str]) -> (bool, Vec<i64>) {
    let mut command = Command::new("mbpoll");
    match way {
        Way::Pty => command.args(["-m", "rtu", "-b", "9600", "-P", "none", "-s", "1"]),
        Way::RtuOverTcp | Way::Tcp => command.args(["-m", "tcp", "-p", place]),
    };
    command.args(["-0", "-1", "-B", "-o", "5", "-a", &UNIT.to_string()]).args(question);
    let output = command.arg(if way == Way::Pty { place } else { "127.0.0.1" }).args(written).output();
    let output = output.expect("mbpoll runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |line: &str| line.strip_prefix('[')?.split_once(':')?.1.split_whitespace().next()?.parse().ok();
    (output.status.success(), text.lines().filter_map(value).collect())
}

#[test]
fn mbpoll_reads_and_writes_the_simulated_dispenser_over_rtu_and_tcp() {
    if !has_mbpoll() {
        return;
    }
    for way in [Way::Pty, Way::Tcp] {
        let stand = Stand::new(way);
        stand.served.handle().act(PUMP, Action::Lift(ONE));
        let read = |kind: &str, register: &str, count: &str| {
            mbpoll(way, &stand.place, &["-t", kind, "-r", register, "-c", count], &[])
        };
        let write = |register: &str, values: &[&str]| mbpoll(way, &stand.place, &["-t", "4", "-r", register], values).0;
        assert_eq!(read("4", "0", "2"), (true, vec![1, 1]), "{way:?}: calling, nozzle 1");
        assert_eq!(read("4:int", "16", "1"), (true, vec![1_234_560]), "{way:?}: the totaliser, high word first");
        assert!(write("20", &["2", "0", "2000", "0", "745"]), "{way:?}: function 16");
        assert_eq!(read("4", "20", "5"), (true, vec![2, 0, 2_000, 0, 745]), "{way:?}");
        assert!(write("25", &["1"]), "{way:?}: function 6");
        assert_eq!(read("4", "26", "1"), (true, vec![1]), "{way:?}: done");
        assert_eq!(read("4", "0", "1"), (true, vec![2]), "{way:?}: released");
        assert!(read("4", "300", "1").1.is_empty(), "{way:?}: beyond the map");
        assert!(!write("0", &["5"]), "{way:?}: a state is not written");
        assert!(stand.served.handle().violations(PUMP).is_empty(), "{way:?}");
    }
}

#[test]
fn pymodbus_sells_twenty_at_the_simulated_dispenser_over_every_way() {
    let Some(python) = python() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pymodbus_master.py");
    for (way, how) in [(Way::Pty, "serial"), (Way::RtuOverTcp, "rtu"), (Way::Tcp, "socket")] {
        let stand = Stand::new(way);
        let handle = stand.served.handle();
        handle.act(PUMP, Action::Lift(ONE));
        handle.act(PUMP, Action::Squeeze(true));
        let output =
            Command::new(&python).args([script, how, &stand.place, &UNIT.to_string()]).output().expect("python runs");
        assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        assert_eq!(told["calling"], json!([1, 1, 0, 0, 0, 0, 0, 745, 41]), "{way:?}");
        assert_eq!((&told["preset"], &told["result"]), (&json!([2, 0, 2000, 0, 745]), &json!([1])), "{way:?}");
        assert!(told["released"] == json!([2]) || told["released"] == json!([3]), "{way:?}: {told}");
        let sale: Vec<u16> = serde_json::from_value(told["sale"].clone()).expect("registers");
        let fuelling = handle.fuellings(PUMP).pop().expect("a fuelling");
        let (ml, minor) =
            (u32::from(sale[9]) << 16 | u32::from(sale[10]), u32::from(sale[11]) << 16 | u32::from(sale[12]));
        assert_eq!((sale[0], sale[8], sale[14]), (5, 42, 745), "{way:?}: finished, number and price");
        assert_eq!(i64::from(ml), fuelling.volume.get(), "{way:?}");
        assert_eq!(minor, 2_000, "{way:?}: the limit");
        assert_eq!(told["acknowledged"], json!([42]), "{way:?}");
        assert_eq!((&told["beyond"], &told["stranger"]), (&json!(2), &json!(true)), "{way:?}");
        assert!(handle.violations(PUMP).is_empty(), "{way:?}");
    }
}
