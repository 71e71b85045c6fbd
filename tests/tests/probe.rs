//! `edgectl probe` on the simulated dispensers of every protocol: what hangs on a wire, with the part of the configuration to paste, and
//! the likely cause where nothing answers.

use forecourt::ids::Grade;
use forecourt::units::Volume;
use hil_sim::dispenser::calculator::{Decimals, PriceDigits};
use hil_sim::dispenser::flow::FlowProfile;
use hil_sim::dispenser::modbus::frame::Framing;
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::record::Wrong;
use hil_sim::dispenser::{Action, Address, NozzleIndex};
use hil_sim::prng::{PerMillion, Prng};
use hil_sim::rig::{bus, daemon};
use hil_sim::serve::{Endpoint, Epoch, Served};
use hil_sim::wire::{DeviceId, Wire, WireConfig};
use pump_drivers::protocol::Protocol;
use rustix::pty::OpenptFlags;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const PRICE: PriceDigits = PriceDigits(745);
const TOTAL: Volume = Volume::new(81_234_500);

/// A wire on a pty, served until dropped.
struct Line {
    served: Served,
    port: PathBuf,
    _home: tempfile::TempDir,
}

impl Line {
    /// Dispensers of a protocol with these places on the line and turnarounds; how the wire is, if not as usual.
    fn new(protocol: Protocol, devices: &[(u8, u64)], laid: impl FnOnce(&mut WireConfig)) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let port = home.path().join("pumps");
        let mut config =
            WireConfig { pace: bus::pace(protocol, None), echo: bus::echoes(protocol), ..WireConfig::clean() };
        laid(&mut config);
        let mut wire = Wire::new(config, &Prng::new(7));
        for (nth, late_ms) in devices {
            let turnaround = bus::turnaround(protocol) + Duration::from_millis(*late_ms);
            wire.connect(bus::dispenser(protocol, bus::address(protocol, *nth), turnaround, Framing::Rtu, pump()));
        }
        let served = Served::start(wire, &Endpoint::Pty { link: port.clone() }, Epoch::start(), None).expect("a pty");
        Self { served, port, _home: home }
    }

    fn probe(&self, more: &[&str]) -> Command {
        let mut command = edgectl();
        // A busy machine must not look like a slow pump.
        command.arg("probe").arg(&self.port).args(["--listen", "1", "--answer-ms", "400"]).args(more);
        command.stdin(Stdio::null());
        command
    }

    fn json(&self, more: &[&str]) -> (Output, Value) {
        let output = self.probe(more).arg("--json").output().expect("runs");
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|why| panic!("{why}: {}", String::from_utf8_lossy(&output.stderr)));
        (output, document)
    }
}

fn pump() -> PumpConfig {
    let grade = Grade::new("92").expect("a grade");
    PumpConfig {
        nozzles: vec![NozzleConfig { grade, price: Some(PRICE), totaliser: TOTAL }],
        decimals: Decimals::TWO,
        flow: FlowProfile::default(),
        keeps_sale: true,
        keeps_prices: true,
    }
}

fn edgectl() -> Command {
    Command::new(daemon::find("edgectl").expect("built: cargo build -p edge-daemon"))
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What narrows a probe to one protocol, its first two addresses and, of Modbus, the register map.
fn only(protocol: Protocol) -> Vec<String> {
    let Address(first) = bus::address(protocol, 0);
    let addresses = format!("{first}-{}", first + 1);
    let profile = if protocol == Protocol::Modbus { ["--profile", "generic-dispenser"].as_slice() } else { &[] };
    ["--protocol", protocol.word(), "--addresses", &addresses].iter().chain(profile).map(ToString::to_string).collect()
}

/// The station around a pasted stanza, whose numbers and grades a person has filled in.
fn station_with(stanza: &str, home: &Path) -> PathBuf {
    let mut numbers = 1..;
    let lines = stanza.lines().map(|line| match line.split_once(" = ") {
        Some((key @ ("number" | "fuelling-point"), _)) => format!("{key} = {}", numbers.next().expect("enough")),
        Some(("grade", _)) => "grade = \"92\"".to_owned(),
        _ => line.to_owned(),
    });
    let text = format!(
        "[station]\nid = \"st-1\"\ncurrency = \"CNY\"\ndata-directory = \"/var/lib/x\"\nprice-set = \"PS-1\"\n\
         [[grade]]\ncode = \"92\"\nunit-price-micros = 7450000\n{}\n",
        lines.collect::<Vec<_>>().join("\n")
    );
    let file = home.join("edge.toml");
    std::fs::write(&file, text).expect("written");
    file
}

fn validate(file: &Path) -> Output {
    edgectl().arg("validate").arg(file).output().expect("runs")
}

#[test]
fn a_dispenser_of_each_protocol_tells_what_it_is_and_its_stanza_is_pasted_as_it_is() {
    for (word, protocol) in Protocol::ALL {
        let line = Line::new(protocol, &[(0, 0)], |_| {});
        let before = line.served.handle().totalisers(DeviceId(0));
        let more = only(protocol);
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let (output, document) = line.json(&more);
        assert_eq!(output.status.code(), Some(0), "{word}: {}", errors(&output));
        assert_eq!(errors(&output), "", "{word}: progress is for terminals");
        let [one] = document["found"].as_array().expect("a list").as_slice() else { panic!("{word}: {document}") };
        let Address(address) = bus::address(protocol, 0);
        assert_eq!((one["protocol"].as_str(), one["address"].as_u64()), (Some(word), Some(address.into())));
        assert_eq!(one["baud"].as_u64(), Some(protocol.line_settings().baud.into()), "{word}");
        assert!(one["state"].as_str().is_some_and(|state| !state.is_empty()), "{word}: {one}");
        assert_eq!((one["checks"].as_u64(), one["failures"].as_u64()), (Some(20), Some(0)), "{word}: {one}");
        let digits = |list: &Value| list[0]["digits"].as_str().unwrap_or_default().to_owned();
        assert!(digits(&one["totals"]).contains("81234"), "{word}: {one}");
        // In DART a price comes only with the report of a selected nozzle, which a probe does not acknowledge away.
        if protocol != Protocol::Dart {
            assert!(digits(&one["prices"]).contains("745"), "{word}: {one}");
        }
        assert_eq!(document["echo"].as_bool(), Some(bus::echoes(protocol)), "{word}");
        let home = tempfile::tempdir().expect("a directory");
        let stanza = document["stanza"].as_str().expect("a stanza");
        let checked = validate(&station_with(stanza, home.path()));
        assert_eq!(checked.status.code(), Some(0), "{word}: {}\n{stanza}", errors(&checked));
        assert!(String::from_utf8_lossy(&checked.stdout).contains("lines 1, fuelling points 1, nozzles"), "{word}");
        // The pump was only read.
        let handle = line.served.handle();
        assert_eq!((handle.totalisers(DeviceId(0)), handle.fuellings(DeviceId(0))), (before, vec![]), "{word}");
        let wrongs: Vec<Wrong> = handle.violations(DeviceId(0)).iter().map(|violation| violation.wrong).collect();
        assert_eq!(wrongs, [], "{word}");
    }
}

#[test]
fn modbus_tcp_is_asked_at_any_port_where_its_framing_is_named() {
    let mut wire = Wire::new(WireConfig::clean(), &Prng::new(7));
    let turnaround = bus::turnaround(Protocol::Modbus);
    wire.connect(bus::dispenser(Protocol::Modbus, Address(1), turnaround, Framing::Tcp, pump()));
    let listen = "127.0.0.1:0".parse().expect("an address");
    let served = Served::start(wire, &Endpoint::Tcp { listen }, Epoch::start(), None).expect("served");
    let port = format!("tcp://{}", served.listens_on().expect("an address"));
    let probe = |port: &str, more: &[&str]| {
        let usual = ["--listen", "1", "--answer-ms", "400", "--addresses", "1-2", "--profile", "generic-dispenser"];
        edgectl().args(["probe", port]).args(usual).args(more).stdin(Stdio::null()).output().expect("runs")
    };
    let output = probe(&port, &["--framing", "tcp"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(text.contains("81234500") && text.contains("framing = \"tcp\""), "{text}");
    let home = tempfile::tempdir().expect("a directory");
    let stanza = &text[text.find("[[line]]").expect("a stanza")..];
    let checked = validate(&station_with(stanza, home.path()));
    assert_eq!(checked.status.code(), Some(0), "{}\n{stanza}", errors(&checked));
    // Frames with a check sum are noise to it.
    assert_eq!(probe(&port, &["--framing", "rtu"]).status.code(), Some(66));
    let serial = probe("/dev/ttyS99", &["--framing", "tcp"]);
    assert_eq!(serial.status.code(), Some(64), "{}", errors(&serial));
    assert!(errors(&serial).contains("needs a port tcp://"), "{}", errors(&serial));
}

#[test]
fn text_for_people_names_the_dispenser_and_ends_with_the_stanza() {
    let line = Line::new(Protocol::GasKitLink, &[(0, 0), (1, 0)], |_| {});
    line.served.handle().act(DeviceId(1), Action::Lift(NozzleIndex(1)));
    let output = line.probe(&["--protocol", "gaskitlink", "--addresses", "1-2"]).output().expect("runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.starts_with("PROTOCOL "), "{text}");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("gaskitlink ")).collect();
    assert!(rows.len() == 2 && rows[0].contains(" idle ") && rows[1].contains(" calling, nozzle 1 "), "{text}");
    assert!(text.contains("\n[[line]]\n") && text.matches("[[line.dispenser]]").count() == 2, "{text}");
}

#[test]
fn the_likely_cause_is_told_where_nothing_answers() {
    let dart = ["--protocol", "dart", "--addresses", "0x50-0x5F", "--baud", "9600", "--parity", "odd"];
    let cases: [(&str, Line, &str); 3] = [
        ("silence", Line::new(Protocol::Dart, &[], |_| {}), "power of the pumps"),
        ("echo-only", Line::new(Protocol::Dart, &[], |laid| laid.echo = true), "only our own bytes came back"),
        ("no-frame", Line::new(Protocol::Dart, &[(30, 0)], |_| {}), "parity"),
    ];
    // Something that talks after each question and makes no frame of it.
    cases[2].1.served.handle().with(|wire, _| wire.babble(DeviceId(0), PerMillion(1_000_000)));
    for (cause, line, said) in cases {
        let (output, document) = line.json(&dart);
        assert_eq!(output.status.code(), Some(66), "{cause}: {}", errors(&output));
        assert_eq!(document["causes"][0]["cause"].as_str(), Some(cause), "{document}");
        assert!(errors(&output).contains(said), "{cause}: {}", errors(&output));
        assert_eq!(document["stanza"], Value::Null, "{cause}");
    }
}

#[test]
fn two_devices_at_one_address_are_named_beside_the_others() {
    let line = Line::new(Protocol::Dart, &[(0, 0), (1, 0), (1, 12)], |_| {});
    let (_, document) = line.json(&["--protocol", "dart", "--addresses", "0x50-0x55", "--baud", "9600"]);
    let causes = document["causes"].as_array().expect("a list");
    let text = causes.iter().find(|cause| cause["cause"] == "two-devices").and_then(|cause| cause["text"].as_str());
    assert!(text.is_some_and(|text| text.starts_with("two devices answer at address 0x51")), "{document}");
    assert!(document["found"].as_array().is_some_and(|found| found.iter().any(|one| one["address"] == 0x50)));
}

#[test]
fn progress_is_shown_on_a_terminal() {
    let terminal = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a pty");
    rustix::pty::grantpt(&terminal).expect("granted");
    rustix::pty::unlockpt(&terminal).expect("unlocked");
    let name = rustix::pty::ptsname(&terminal, Vec::new()).expect("a name").into_string().expect("UTF-8");
    let screen = std::fs::File::options().read(true).write(true).open(name).expect("opens");
    let line = Line::new(Protocol::GasKitLink, &[(0, 0)], |_| {});
    let mut command = line.probe(&["--protocol", "gaskitlink", "--addresses", "1-3"]);
    let output = command.stderr(screen).output().expect("runs");
    assert_eq!(output.status.code(), Some(0));
    drop(command);
    let mut shown = vec![0; 64 * 1024];
    let count = rustix::io::read(&terminal, &mut shown[..]).expect("reads");
    let shown = String::from_utf8_lossy(&shown[..count]).into_owned();
    assert!(shown.contains("gaskitlink at 9600 8N1") && shown.contains("address"), "{shown:?}");
    assert!(shown.contains("\r\x1b[K"), "one line that is written over: {shown:?}");
}

/// A device by pymodbus, which shares nothing with ours; `None` where that is not installed.
fn foreign_device(framer: &str) -> Option<(Foreign, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let local = || format!("{root}/target/pymodbus/bin/python");
    let python = std::env::var("MODBUS_PYTHON").unwrap_or_else(|_| local());
    let there = Command::new(&python).args(["-c", "import pymodbus"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no pymodbus; ./run test says how to install it");
        return None;
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let script = format!("{root}/pump-drivers/tests/data/pymodbus_device.py");
    let child = Command::new(python).args([&script, &free.port().to_string(), framer]).spawn().expect("starts");
    let device = Foreign(child);
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while std::net::TcpStream::connect(free).is_err() {
        assert!(std::time::Instant::now() < until, "pymodbus does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some((device, format!("tcp://{free}")))
}

struct Foreign(std::process::Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_device_that_no_one_here_wrote_is_found_with_its_first_registers() {
    for (framer, framing) in [("rtu", "rtu"), ("socket", "tcp")] {
        let Some((_device, port)) = foreign_device(framer) else { return };
        let asked = ["--framing", framing, "--addresses", "9", "--listen", "1", "--answer-ms", "400", "--json"];
        let output = edgectl().args(["probe", &port]).args(asked).stdin(Stdio::null()).output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{framing}: {}", errors(&output));
        let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let [one] = document["found"].as_array().expect("a list").as_slice() else { panic!("{framing}: {document}") };
        assert_eq!((one["protocol"].as_str(), one["address"].as_u64()), (Some("modbus"), Some(9)), "{framing}");
        let told = one.to_string();
        assert!(told.contains("holding from 0: 1000 1001 1002 1003 1004 1005 1006 1007"), "{framing}: {told}");
    }
}
