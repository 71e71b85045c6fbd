//! `edgectl decode` and `edgectl trace --decode` for every protocol: a frame of each side, as in the vectors.

use edge_daemon::trace::{Entry, TraceTime, Verdict, start};
use pump_drivers::hex::bytes_of;
use pump_drivers::protocol::Protocol;
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Protocol, a frame of the controller, one of the pump, and what the second tells.
const FRAMES: [(Protocol, &str, &str, &str, &str); 4] = [
    (Protocol::Dart, "50 20 FA", "50 70 FA", "/control", "EOT"),
    (Protocol::GasKitLink, "02 00 01 53 52", "02 00 05 53 31 30 57", "/state", "1"),
    (
        Protocol::TwoWire,
        "57",
        "FF F6 E0 F9 E7 E5 E2 E1 E5 E1 E2 E0 FA E2 E1 E7 E0 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E3 F0",
        "/kind",
        "totals",
    ),
    (Protocol::Modbus, "02 03 00 0A 00 02 E4 3A", "02 03 04 00 12 D6 87 77 34", "/fc", "3"),
];

fn edgectl(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_edgectl"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("reads");
    let output = child.wait_with_output().expect("ends");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn values(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"))).collect()
}

fn told(value: &Value, at: &str) -> String {
    match value.pointer(at) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => panic!("no {at} in {value}"),
    }
}

#[test]
fn no_protocol_is_left_out_here() {
    let known = Protocol::ALL.map(|(_, protocol)| protocol);
    assert_eq!(known.map(|protocol| FRAMES.iter().filter(|frames| frames.0 == protocol).count()), [1; 4]);
}

#[test]
fn decode_knows_a_frame_of_each_side_in_every_protocol() {
    for (protocol, controller, pump, at, expected) in FRAMES {
        let word = protocol.word();
        for (side, hex) in [("controller", controller), ("pump", pump)] {
            let found = values(&edgectl(&["decode", "--protocol", word, "--direction", side], &format!("{hex}\n")));
            assert_eq!((found.len(), &found[0]["ok"]), (1, &Value::from(true)), "{word} {side}: {found:?}");
            if side == "pump" {
                assert_eq!(told(&found[0], at), expected, "{word}");
            }
            let bad = edgectl(&["decode", "--protocol", word, "--direction", side], &format!("{hex} 1\n"));
            assert_eq!(values(&bad)[0]["ok"], false, "{word} {side}: half a byte more");
        }
    }
}

fn toml(home: &std::path::Path) -> String {
    let mut text = format!(
        "[station]\nid = \"st-1\"\ncurrency = \"CNY\"\ndata-directory = \"{}\"\nprice-set = \"PS-1\"\n\
         [[grade]]\ncode = \"92\"\nunit-price-micros = 7450000\n",
        home.display()
    );
    for (number, (protocol, ..)) in (1..).zip(FRAMES) {
        let word = protocol.word();
        let key = if protocol == Protocol::Modbus { "profile = \"generic-dispenser\"\n" } else { "" };
        let address = protocol.rules().addresses.start().to_owned();
        text += &format!(
            "[[line]]\nname = \"{word}\"\nprotocol = \"{word}\"\nport = \"/dev/serial/by-id/usb-{number}\"\n\
             [[line.dispenser]]\nfuelling-point = {number}\naddress = {address}\n{key}\
             decimals = {{ volume = 2, price = 2, amount = 2, totals = 2 }}\n\
             [[line.dispenser.nozzle]]\nnumber = {number}\nlogical = 1\ngrade = \"92\"\n"
        );
    }
    text
}

#[test]
fn trace_decodes_each_line_by_its_own_protocol() {
    let home = tempfile::tempdir().expect("a directory");
    let config = home.path().join("edge.toml");
    std::fs::write(&config, toml(home.path())).expect("writes");
    let (recorder, thread) = start(&home.path().join("trace"), 4, 1 << 20).expect("starts");
    for (protocol, controller, pump, ..) in FRAMES {
        for (verdict, hex) in [(Verdict::Sent, controller), (Verdict::Good, pump)] {
            let bytes = bytes_of(hex).expect("hex");
            let at = TraceTime::from_unix_us(1_795_262_400_000_000);
            recorder.record(Entry::Frame { at, line: protocol.word().into(), verdict, bytes }, None);
        }
    }
    drop(recorder);
    thread.join().expect("ends");
    for (protocol, _, _, at, expected) in FRAMES {
        let word = protocol.word();
        let config = config.to_str().expect("UTF-8");
        let found = values(&edgectl(&["trace", "--config", config, "--line", word, "--json", "--decode"], ""));
        assert_eq!(found.len(), 2, "{word}");
        assert!(found.iter().all(|frame| frame["decoded"]["ok"] == true), "{word}: {found:?}");
        assert_eq!(told(&found[1]["decoded"], at), expected, "{word}");
    }
}

#[test]
fn a_ring_without_its_configuration_is_decoded_by_what_it_is_said_to_speak_and_never_by_a_guess() {
    let home = tempfile::tempdir().expect("a directory");
    let (recorder, thread) = start(&home.path().join("trace"), 4, 1 << 20).expect("starts");
    let (protocol, _, pump, at, expected) = FRAMES[2];
    let frame_at = TraceTime::from_unix_us(1_795_262_400_000_000);
    let bytes = bytes_of(pump).expect("hex");
    recorder.record(Entry::Frame { at: frame_at, line: "island-1".into(), verdict: Verdict::Good, bytes }, None);
    drop(recorder);
    thread.join().expect("ends");
    let data = home.path().to_str().expect("UTF-8");
    let ask = |more: &[&str]| {
        let command = [&["trace", "--data", data, "--json", "--decode"], more].concat();
        Command::new(env!("CARGO_BIN_EXE_edgectl")).args(command).output().expect("runs")
    };
    let unsaid = ask(&[]);
    assert_eq!(unsaid.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&unsaid.stderr).contains("--protocol"), "{unsaid:?}");
    let said = ask(&["--protocol", protocol.word()]);
    let found = values(&String::from_utf8_lossy(&said.stdout));
    assert_eq!(told(&found[0]["decoded"], at), expected, "{found:?}");
}
