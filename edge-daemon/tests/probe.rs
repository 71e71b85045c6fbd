//! Runs the real `edgectl probe` on a pty with a small fake device behind it.

use edge_daemon::config::{NoFiles, parse};
use pump_drivers::dart::frame::{Control, decode, encode_block};
use pump_drivers::dart::message::{Command as Dcc, ControllerSays, read_controller};
use pump_drivers::gaskitlink::frame::encode;
use pump_drivers::hex::bytes_of;
use pump_drivers::line::Echo;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde_json::Value;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What a device answers to bytes at a rate.
type Device = Box<dyn FnMut(u32, &[u8]) -> Option<Vec<u8>> + Send>;

/// A wire with one device, in a thread of its own until it is dropped.
struct Wire {
    path: PathBuf,
    /// Kept open, so that the wire outlives each opening of the port.
    line_side: OwnedFd,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// What `spoken` holds is said again and again without being asked.
    fn new(mut device: Device, spoken: Option<Vec<u8>>) -> Self {
        let pump_side = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
        rustix::pty::grantpt(&pump_side).expect("granted");
        rustix::pty::unlockpt(&pump_side).expect("unlocked");
        let path =
            PathBuf::from(rustix::pty::ptsname(&pump_side, Vec::new()).expect("a name").into_string().expect("UTF-8"));
        let line_side = rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("opens");
        let mut raw = tcgetattr(&line_side).expect("its settings");
        raw.make_raw();
        tcsetattr(&line_side, OptionalActions::Now, &raw).expect("raw");
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let wait = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            while !ended.load(Ordering::Relaxed) {
                let mut fds = [PollFd::new(&pump_side, PollFlags::IN)];
                if rustix::event::poll(&mut fds, Some(&wait)) == Ok(0) {
                    if let Some(bytes) = &spoken {
                        rustix::io::write(&pump_side, bytes).expect("written");
                    }
                    continue;
                }
                let Ok(count) = rustix::io::read(&pump_side, &mut buffer) else { continue };
                let rate = tcgetattr(&pump_side).expect("its settings").output_speed();
                if let Some(answer) = device(rate, &buffer[..count]) {
                    rustix::io::write(&pump_side, &answer).expect("written");
                }
            }
        });
        Self { path, line_side, over, thread: Some(thread) }
    }

    fn probe(&self, more: &[&str]) -> Output {
        let port = self.path.to_str().expect("UTF-8");
        // a busy machine must not look like a slow pump
        edgectl(&[&["probe", port, "--listen", "1", "--answer-ms", "700"], more].concat())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the device did not fail");
        }
    }
}

struct Output {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Output {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{why}: {}{}", self.out, self.err))
    }
}

fn edgectl(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_edgectl")).args(arguments).output().expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Output { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn dart(address: u8, rate: u32) -> Device {
    let mut queue: VecDeque<Vec<u8>> = VecDeque::new();
    Box::new(move |at, bytes| {
        let frame = decode(bytes).ok().filter(|frame| frame.address == address && at == rate)?;
        match frame.control {
            Control::Poll => Some(queue.front().cloned().unwrap_or_else(|| vec![address, 0x70, 0xFA])),
            Control::Ack => {
                queue.pop_front();
                None
            }
            Control::Data => {
                let body = match read_controller(&frame.body)[..] {
                    [ControllerSays::Command(Dcc::ReturnStatus)] => Some(vec![1, 1, 5, 3, 4, 0x00, 0x07, 0x45, 0x12]),
                    [ControllerSays::Total { trans: 0x65, counter: nozzle @ (1 | 2) }] => {
                        Some(vec![0x65, 6, nozzle, 0, 0, 0x81, 0x23, 0x45])
                    }
                    [ControllerSays::Command(Dcc::ReturnIdentity) | ControllerSays::Total { .. }] => None,
                    ref order => panic!("{order:?} changes something"),
                };
                queue.extend(body.map(|body| encode_block(address, 1, &body).expect("short")));
                Some(vec![address, 0xC0 | frame.tx, 0xFA])
            }
            _ => panic!("{frame:?} is none of a probe's"),
        }
    })
}

fn post(address: u8) -> Device {
    Box::new(move |_, bytes| {
        let asked = bytes.strip_prefix(&[2, 0, address])?;
        Some(match asked {
            [b'S', _] => encode(address.into(), b"S10"),
            [b'C', b'1', _] => encode(address.into(), b"C1;000812345"),
            [b'C', _, _] => return None,
            [b'T', _] => encode(address.into(), b"T1c1;020000;002685;0745"),
            order => panic!("{order:02X?} changes something"),
        })
    })
}

fn two_wire(pump: u8) -> Device {
    let totals =
        "FF F6 E0 F9 E7 E5 E2 E1 E5 E1 E2 E0 FA E2 E1 E7 E0 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E3 F0";
    Box::new(move |_, bytes| match bytes {
        [word] if *word == pump => Some(vec![0x60 | pump]),
        [word] if *word == 0x50 | pump => bytes_of(totals).ok(),
        [word] if word >> 4 == 0 => None,
        order => panic!("{order:02X?} changes something"),
    })
}

/// CRC-16 of Modbus: as DART's, but begun with all ones.
fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = bytes.iter().fold(0xFFFF_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xA001 } else { crc >> 1 })
    });
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn modbus(unit: u8) -> Device {
    Box::new(move |_, bytes| {
        let [at, function, _, _, _, count, ..] = *bytes else { return None };
        assert!(matches!(function, 3 | 4), "{bytes:02X?} changes something");
        (at == unit).then(|| match function {
            3 => {
                let data: Vec<u8> = (1..=count).flat_map(|register| [0, register]).collect();
                with_crc([vec![unit, 3, count * 2], data].concat())
            }
            _ => with_crc(vec![unit, 0x84, 2]),
        })
    })
}

/// What a person does with the stanza: numbers, grades and the profile are filled in, the rest of the station stands around it.
fn filled_in(stanza: &str) -> String {
    let mut numbers = 1..;
    let lines = stanza.lines().map(|line| match line.split_once(" = ") {
        Some((key @ ("number" | "fuelling-point"), rest)) => {
            assert!(rest.starts_with("0 "), "{line}");
            format!("{key} = {}", numbers.next().expect("enough"))
        }
        Some((key @ ("grade" | "profile"), rest)) => {
            assert!(rest.starts_with("\"?\""), "{line}");
            format!("{key} = \"{}\"", if key == "grade" { "92" } else { "generic-dispenser" })
        }
        _ => line.to_owned(),
    });
    let lines: Vec<String> = lines.collect();
    format!(
        "[station]\nid = \"st-1\"\ncurrency = \"CNY\"\ndata-directory = \"/var/lib/x\"\nprice-set = \"PS-1\"\n\
         [[grade]]\ncode = \"92\"\nunit-price-micros = 7450000\n{}\n",
        lines.join("\n")
    )
}

#[test]
fn a_device_of_each_protocol_is_found_and_its_stanza_is_a_good_configuration() {
    let devices: [(&str, Device, u8, &str); 4] = [
        ("dart", dart(0x51, 9_600), 0x51, "filling completed, nozzle out"),
        ("gaskitlink", post(3), 3, "idle"),
        ("two-wire", two_wire(3), 3, "off/idle"),
        ("modbus", modbus(3), 3, ""),
    ];
    for (word, device, address, state) in devices {
        let wire = Wire::new(device, None);
        let addresses = format!("{address}-{}", address + 1);
        let found = wire.probe(&["--protocol", word, "--addresses", &addresses, "--json"]);
        assert_eq!(found.code, Some(0), "{word}: {}", found.err);
        let document = found.json();
        let [one] = document["found"].as_array().expect("a list").as_slice() else { panic!("{document}") };
        assert_eq!((&one["protocol"], &one["address"]), (&Value::from(word), &Value::from(address)));
        assert_eq!(one["state"].as_str().unwrap_or_default(), state, "{word}");
        assert_eq!((&one["checks"], &one["failures"]), (&Value::from(20), &Value::from(0)), "{document}");
        let stanza = document["stanza"].as_str().expect("text");
        assert!(parse(stanza, &NoFiles).is_err(), "what is to be filled in is never taken as it is");
        let (config, warnings) = parse(&filled_in(stanza), &NoFiles).unwrap_or_else(|why| panic!("{why:#?}\n{stanza}"));
        assert_eq!(warnings, [], "{stanza}");
        let line = &config.lines[0];
        assert_eq!((line.protocol.word(), line.dispensers[0].address, line.echo), (word, address, Echo::None));
        assert_eq!(Value::from(line.baud), one["baud"]);
    }
}

#[test]
fn a_pump_is_found_at_its_own_rate_and_shown_to_people() {
    let wire = Wire::new(dart(0x51, 19_200), None);
    let found = wire.probe(&["--protocol", "dart", "--parity", "odd", "--addresses", "0x50-0x51"]);
    assert_eq!(found.code, Some(0), "{}", found.err);
    assert!(found.out.starts_with("PROTOCOL  SETTING    ADDRESS  IDENTITY  STATE"), "{}", found.out);
    let row = "dart      19200 8O1  0x51     -         filling completed, nozzle out  2: 000745  \
               1: 0000812345, 2: 0000812345  0 of 20";
    assert!(found.out.contains(row), "{}", found.out);
    assert!(found.out.contains("baud = 19200\nparity = \"odd\"\n"), "{}", found.out);
    assert_eq!(found.err, "", "progress is for terminals");
}

#[test]
fn silence_and_echo_are_told_apart_with_the_same_exit_code() {
    let narrow = ["--protocol", "dart", "--addresses", "0x50-0x51", "--baud", "9600", "--parity", "odd"];
    let silent = Wire::new(Box::new(|_, _| None), None).probe(&narrow);
    assert_eq!(silent.code, Some(66));
    assert!(silent.err.contains("silence: no byte came back on 2 questions"), "{}", silent.err);
    assert!(silent.out.contains("dart      9600 8O1  2          0       0"), "{}", silent.out);
    let echo = Wire::new(Box::new(|_, bytes| Some(bytes.to_vec())), None).probe(&narrow);
    assert_eq!(echo.code, Some(66));
    assert!(echo.err.contains("only our own bytes came back (2 of 2 questions"), "{}", echo.err);
}

#[test]
fn another_master_on_the_wire_keeps_it_from_asking() {
    let asked = Box::new(|_, bytes: &[u8]| panic!("{bytes:02X?} was sent"));
    let wire = Wire::new(asked, Some(vec![0x51, 0x20, 0xFA]));
    let found = wire.probe(&["--json"]);
    assert_eq!(found.code, Some(69), "{}", found.out);
    assert_eq!(found.json()["causes"][0]["cause"], "other-master");
    assert!(
        found.err.contains("another master is polling") && found.err.contains("dart frames at 9600 8O1"),
        "{}",
        found.err
    );
}

#[test]
fn a_port_that_another_program_has_is_left_alone() {
    let asked = Box::new(|_, bytes: &[u8]| panic!("{bytes:02X?} was sent"));
    let wire = Wire::new(asked, None);
    rustix::fs::flock(&wire.line_side, FlockOperation::LockExclusive).expect("locked");
    let found = wire.probe(&[]);
    assert_eq!(found.code, Some(69));
    let who = format!("(process {}): nothing was sent", std::process::id());
    assert!(found.err.contains("is in use by") && found.err.contains(&who), "{}", found.err);
    assert!(found.err.contains("systemctl stop edge-daemon"), "{}", found.err);
}

#[test]
fn what_cannot_be_probed_is_told_with_its_exit_code() {
    let missing = edgectl(&["probe", "/nowhere/port"]);
    assert_eq!(missing.code, Some(69));
    assert!(missing.err.contains("cannot open /nowhere/port"), "{}", missing.err);
    for wrong in [["--addresses", "9-3"], ["--protocol", "tart"], ["--baud", "12"]] {
        assert_eq!(edgectl(&["probe", "/dev/null", wrong[0], wrong[1]]).code, Some(64), "{wrong:?}");
    }
    let profile = edgectl(&["probe", "/dev/null", "--profile", "/nowhere/map.toml"]);
    assert_eq!(profile.code, Some(66));
    assert!(profile.err.contains("generic-dispenser"), "{}", profile.err);
}
