//! A served line in real time: what a controller finds at a pty or a TCP port.

use core::time::Duration;
use forecourt::ids::Grade;
use forecourt::time::Instant;
use forecourt::units::Volume;
use hil_sim::dispenser::calculator::{Decimals, PriceDigits};
use hil_sim::dispenser::dart::frame::{BlockNumber, block};
use hil_sim::dispenser::dart::quirks::Quirks;
use hil_sim::dispenser::dart::{DartConfig, DartDispenser};
use hil_sim::dispenser::flow::FlowProfile;
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::record::Moment;
use hil_sim::dispenser::{Action, Address, Condition, NozzleIndex};
use hil_sim::prng::Prng;
use hil_sim::serve::{Endpoint, Epoch, Parity, Served, StateFault, StateFile};
use hil_sim::wire::{DeviceId, Pace, Wire, WireConfig};
use rustix::pty::OpenptFlags;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;

const PUMP: DeviceId = DeviceId(0);
const ONE: NozzleIndex = NozzleIndex(1);
/// RESET, nozzle 1, preset amount 5.00, AUTHORIZE.
const RELEASE: [u8; 15] = [1, 1, 5, 2, 1, 1, 4, 4, 0, 0, 5, 0, 1, 1, 6];

fn wire() -> Wire {
    let nozzle = NozzleConfig {
        grade: Grade::new("92").expect("a grade"),
        price: Some(PriceDigits(745)),
        totaliser: Volume::new(1_000_000),
    };
    let pump = PumpConfig {
        nozzles: vec![nozzle],
        decimals: Decimals::TWO,
        flow: FlowProfile::default(),
        keeps_sale: true,
        keeps_prices: false,
    };
    let mut wire = Wire::new(WireConfig::clean(), &Prng::new(1));
    let (address, turnaround) = (Address(0x51), DartConfig::TURNAROUND);
    wire.connect(Box::new(DartDispenser::new(DartConfig { address, turnaround, quirks: Quirks::default(), pump })));
    wire
}

/// Sends a frame and reads until a frame ends.
fn ask(line: &mut (impl Read + Write), frame: &[u8]) -> Vec<u8> {
    line.write_all(frame).expect("the line takes bytes");
    let (mut heard, mut byte) = (Vec::new(), [0]);
    while heard.last() != Some(&0xFA) {
        line.read_exact(&mut byte).expect("an answer");
        heard.push(byte[0]);
    }
    heard
}

#[test]
fn a_pty_keeps_the_pace_of_the_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let link = dir.path().join("pump-line");
    let served = Served::start(wire(), &Endpoint::Pty { link: link.clone() }, Epoch::start(), None).expect("served");
    let mut line = OpenOptions::new().read(true).write(true).open(&link).expect("the link opens");
    let mut took = Vec::new();
    for _ in 0..50 {
        let began = std::time::Instant::now();
        assert_eq!(ask(&mut line, &[0x51, 0x20, 0xFA]), [0x51, 0x70, 0xFA]);
        took.push(began.elapsed());
    }
    took.sort();
    // Six characters at 9600 and 5 ms of turnaround are 11.875 ms; earlier is impossible on a line, later is a busy machine.
    assert!(took[0] >= Duration::from_micros(11_875), "{:?}", took[0]);
    println!("exchange of 11.875 ms took {:?} / {:?} / {:?} (least, median, most)", took[0], took[25], took[49]);
    assert_eq!(served.handle().counters().map(|seen| seen.replies), Some(50));
    drop(line);
    drop(served);
    assert!(link.symlink_metadata().is_err(), "the link goes with the line");
}

#[test]
fn people_act_on_the_dispensers_of_a_tcp_line_and_their_moments_are_told() {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let served = Served::start(wire(), &Endpoint::Tcp { listen }, Epoch::start(), None).expect("served");
    let mut line = TcpStream::connect(served.listens_on().expect("an address")).expect("a caller");
    let handle = served.handle();
    handle.act(PUMP, Action::Lift(ONE));
    assert_eq!(handle.view(PUMP).map(|view| view.condition), Some(Condition::Calling));
    let called = ask(&mut line, &[0x51, 0x20, 0xFA]);
    assert_eq!(called[..8], [0x51, 0x30, 3, 4, 0, 0x07, 0x45, 0x11]);
    line.write_all(&[0x51, 0xC0, 0xFA]).expect("an ACK");
    let release = block(Address(0x51), BlockNumber::of(1), &RELEASE);
    assert_eq!(ask(&mut line, &release), [0x51, 0xC1, 0xFA]);
    assert_eq!(handle.view(PUMP).map(|view| view.condition), Some(Condition::Released));
    let moments: Vec<_> = handle.take_moments().into_iter().map(|marked| marked.moment).collect();
    assert_eq!(moments, [Moment::NozzleMoved, Moment::AuthoriseArrived]);
    handle.act(PUMP, Action::Power(false));
    handle.act(PUMP, Action::Power(true));
    assert_eq!(handle.fuellings(PUMP).len(), 1);
    assert!(handle.violations(PUMP).is_empty());
}

#[test]
fn totalisers_outlive_the_simulator() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("totalisers.json");
    let mut first = wire();
    let mut file = StateFile::open(path.clone(), &mut first).expect("no file yet");
    let mut kept = first.device(PUMP).expect("a pump").pump().totalisers(Instant::START);
    kept.volume_ml.insert(ONE, Volume::new(1_234_560));
    first.device_mut(PUMP).expect("a pump").restore(&kept);
    file.keep(&first, Instant::START).expect("written");
    let mut second = wire();
    StateFile::open(path.clone(), &mut second).expect("read");
    let totaliser = second.device(PUMP).expect("a pump").pump().totaliser(ONE, Instant::START);
    assert_eq!(totaliser, Some(Volume::new(1_234_560)));
    std::fs::write(&path, "{\"devices\": 3}").expect("written");
    assert!(matches!(StateFile::open(path, &mut second), Err(StateFault::Content { .. })));
}

#[test]
fn a_serial_port_is_served_and_paced_by_its_own_uart() {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
    rustix::pty::unlockpt(&master).expect("unlocked");
    let name = rustix::pty::ptsname(&master, Vec::new()).expect("a name");
    let path = name.to_str().expect("a path").into();
    let endpoint = Endpoint::Serial { path, baud: 9_600, parity: Parity::Odd };
    assert_eq!(endpoint.pace(Pace::baud(9_600)), Pace::NONE);
    let _served = Served::start(wire(), &endpoint, Epoch::start(), None).expect("served");
    assert_eq!(ask(&mut File::from(master), &[0x51, 0x20, 0xFA]), [0x51, 0x70, 0xFA]);
    let missing = Endpoint::Serial { path: "/dev/no-such-port".into(), baud: 9_600, parity: Parity::Odd };
    let fault = Served::start(wire(), &missing, Epoch::start(), None).expect_err("no such port");
    assert!(fault.to_string().contains("/dev/no-such-port"), "{fault}");
}
