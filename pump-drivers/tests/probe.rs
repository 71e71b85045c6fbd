//! The prober against small fake devices on an invented clock: what it finds, what it says when it finds nothing, and that it only
//! ever asks.

mod common;

use common::{Device, Pump};
use core::time::Duration;
use forecourt::time::Instant;
use pump_drivers::dart::frame::{Control, decode, encode_block};
use pump_drivers::dart::message::{Command as Dcc, ControllerSays, read_controller};
use pump_drivers::gaskitlink::frame::encode;
use pump_drivers::port::Parity;
use pump_drivers::probe::{Cause, Command, Options, Prober, Report, Setting, stanza};
use pump_drivers::protocol::Protocol;
use pump_drivers::{gaskitlink, two_wire};
use std::collections::BTreeMap;

const NATIVE: Setting = Setting::new(9_600, Parity::Odd);
const FAST: Setting = Setting::new(19_200, Parity::Odd);
const PLAIN: Setting = Setting::new(9_600, Parity::None);
const SOON: Duration = Duration::from_millis(8);

fn options(protocols: &[Protocol]) -> Options {
    Options {
        plans: protocols.iter().map(|protocol| protocol.probe_plan()).collect(),
        bauds: Vec::new(),
        parities: Vec::new(),
        addresses: Vec::new(),
        listen: Duration::from_secs(3),
        answer_window: None,
        limit: Duration::from_secs(120),
        fixed: false,
    }
}

/// What a wire does with bytes at a setting: bytes that come back, and after which time.
type World<'a> = dyn FnMut(Setting, &[u8]) -> Vec<(Duration, Vec<u8>)> + 'a;

struct Probed {
    report: Report,
    sent: Vec<Vec<u8>>,
    took: Duration,
}

impl Probed {
    fn words(&self) -> Vec<&str> {
        self.report.causes.iter().map(Cause::word).collect()
    }

    fn text(&self) -> String {
        self.report.causes.iter().map(ToString::to_string).collect()
    }
}

/// Probes a wire on which `spoken` comes unasked, at moments after the start.
fn probe_hearing(options: Options, spoken: &[(u64, Setting, Vec<u8>)], world: &mut World<'_>) -> Probed {
    let mut now = Instant::START;
    let mut prober = Prober::new(options, now);
    let mut arriving: BTreeMap<(Instant, usize), (Option<Setting>, Vec<u8>)> = BTreeMap::new();
    for (index, (ms, setting, bytes)) in spoken.iter().enumerate() {
        arriving.insert((now + Duration::from_millis(*ms), index), (Some(*setting), bytes.clone()));
    }
    let (mut setting, mut sent, mut serial) = (NATIVE, Vec::new(), spoken.len());
    loop {
        while let Some(command) = prober.poll_command() {
            match command {
                Command::Open(wanted) => {
                    setting = wanted;
                    prober.handle_opened(now);
                }
                Command::Send(bytes) => {
                    for (after, answer) in world(setting, &bytes) {
                        arriving.insert((now + after, serial), (None, answer));
                        serial += 1;
                    }
                    sent.push(bytes);
                }
            }
        }
        if let Some(report) = prober.poll_report() {
            return Probed { report: report.clone(), sent, took: now.since(Instant::START) };
        }
        let due = prober.poll_timeout().expect("it waits for something");
        match arriving.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= due) {
            Some(at) => {
                now = at.max(now);
                let (_, (only, bytes)) = arriving.pop_first().expect("just seen");
                // at another rate or parity bytes come out as nonsense
                let bytes = if only.is_none_or(|only| only == setting) { bytes } else { vec![0xE7; bytes.len()] };
                prober.handle_bytes(&bytes, now);
            }
            None => {
                now = due.max(now);
                prober.handle_timeout(now);
            }
        }
    }
}

fn probe(options: Options, world: &mut World<'_>) -> Probed {
    probe_hearing(options, &[], world)
}

/// A line of DART pumps at one setting.
fn pumps<'a>(pumps: &'a mut [Pump], at: Setting) -> impl FnMut(Setting, &[u8]) -> Vec<(Duration, Vec<u8>)> + use<'a> {
    move |setting, bytes| {
        let mut answers = Vec::new();
        if setting == at {
            answers.extend(pumps.iter_mut().filter_map(|pump| pump.hear(bytes)).map(|answer| (SOON, answer)));
        }
        answers
    }
}

fn is_dart_read(bytes: &[u8]) -> bool {
    let Ok(frame) = decode(bytes) else { return false };
    let only_reads = |says: &ControllerSays| {
        matches!(
            says,
            ControllerSays::Command(Dcc::ReturnStatus | Dcc::ReturnIdentity)
                | ControllerSays::Total { trans: 0x65, .. }
        )
    };
    match frame.control {
        Control::Poll | Control::Ack => true,
        Control::Data => read_controller(&frame.body).iter().all(only_reads),
        _ => false,
    }
}

#[test]
fn dart_pumps_are_found_with_state_price_and_totals_and_only_read() {
    let mut two = [Pump::new(0x57), Pump::new(0x51)];
    let found = probe(options(&[Protocol::Dart, Protocol::GasKitLink]), &mut pumps(&mut two, NATIVE));
    let addresses: Vec<u8> = found.report.found.iter().map(|found| found.address).collect();
    assert_eq!((addresses, found.report.causes.clone()), (vec![0x51, 0x57], vec![]));
    let first = &found.report.found[0];
    assert_eq!((first.setting, first.checks, first.failures), (NATIVE, 20, 0));
    assert_eq!(first.facts.state.as_deref(), Some("filling completed"));
    assert_eq!((first.facts.prices[0].nozzle, first.facts.prices[0].digits.as_str()), (1, "010500"));
    assert_eq!(first.facts.totals[0].digits, "0000281249");
    assert!(found.sent.iter().all(|bytes| is_dart_read(bytes)));
    assert!(two.iter().all(|pump| pump.violations.is_empty()));
}

#[test]
fn a_pump_at_another_rate_is_found_at_that_rate() {
    let mut one = [Pump::new(0x60)];
    let found = probe(options(&[Protocol::Dart]), &mut pumps(&mut one, FAST));
    assert_eq!(found.report.found.iter().map(|found| found.setting).collect::<Vec<_>>(), [FAST]);
    let text = stanza(&found.report, "/dev/ttyS0", false);
    assert!(
        text.contains("baud = 19200\nparity = \"odd\"\necho = \"none\"") && text.contains("address = 0x60"),
        "{text}"
    );
}

#[test]
fn a_report_that_may_be_the_only_record_of_a_sale_is_never_acknowledged() {
    let mut one = [Pump::new(0x57)];
    one[0].status = 4;
    one[0].flow(492, 51_660);
    one[0].hang();
    let found = probe(options(&[Protocol::Dart]), &mut pumps(&mut one, NATIVE));
    assert!(found.sent.iter().all(|bytes| decode(bytes).is_ok_and(|frame| frame.control == Control::Poll)));
    let facts = &found.report.found[0].facts;
    assert!(facts.notes.len() == 1 && facts.notes[0].contains("left for edge-daemon"), "{:?}", facts.notes);
    // and it is still there for the daemon
    let poll = [0x57, 0x20, 0xFA];
    assert!(one[0].hear(&poll).is_some_and(|answer| answer.len() > 3));
}

fn post(address: u8, active_only: bool) -> impl FnMut(&[u8]) -> Option<Vec<u8>> {
    move |bytes| {
        let frame = gaskitlink::frame::decode(bytes, Some(pump_drivers::hex::Direction::Controller)).ok()?;
        let body: &[u8] = match (frame.body.as_slice(), active_only) {
            (b"S", _) => b"S90",
            (b"C1", false) | (b"C0", true) => b"C1;000812345",
            (b"T", _) => b"T1c9;020000;002685;0745",
            (b"C1" | b"C2" | b"C3", _) => return None,
            _ => panic!("the prober changes something: {bytes:02X?}"),
        };
        (frame.address == u16::from(address)).then(|| encode(frame.address, body))
    }
}

#[test]
fn a_post_that_holds_a_sale_is_found_and_not_closed() {
    let mut post = post(3, false);
    let found = probe(options(&[Protocol::Dart, Protocol::GasKitLink, Protocol::TwoWire]), &mut |setting, bytes| {
        let answer = if setting == PLAIN { post_only(&mut post, bytes) } else { None };
        answer.into_iter().map(|answer| (SOON, answer)).collect()
    });
    let [one] = found.report.found.as_slice() else { panic!("{:?}", found.report.found) };
    assert_eq!((one.protocol, one.setting, one.address), (Protocol::GasKitLink, PLAIN, 3));
    assert_eq!(one.facts.state.as_deref(), Some("end of transaction"));
    assert_eq!((one.facts.totals[0].digits.as_str(), one.facts.prices[0].digits.as_str()), ("000812345", "0745"));
    assert!(one.facts.notes.iter().any(|note| note.contains("waits in the post to be closed")));
}

/// A post hears only what is meant for posts.
fn post_only(post: &mut impl FnMut(&[u8]) -> Option<Vec<u8>>, bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.first() == Some(&2) && bytes.len() > 3 { post(bytes) } else { None }
}

#[test]
fn a_post_that_knows_only_the_active_totaliser_gets_that_into_its_stanza() {
    let mut post = post(3, true);
    let found = probe(options(&[Protocol::GasKitLink]), &mut |_, bytes| {
        post_only(&mut post, bytes).into_iter().map(|answer| (SOON, answer)).collect()
    });
    let text = stanza(&found.report, "/dev/ttyS0", false);
    assert!(text.contains("address = 3\ntotal-query = \"active\"\n"), "{text}");
}

#[test]
fn a_two_wire_pump_behind_an_echoing_loop_is_asked_for_state_and_totals_only() {
    let totals: Vec<u8> = pump_drivers::hex::bytes_of(
        "FF F6 E0 F9 E7 E5 E2 E1 E5 E1 E2 E0 FA E2 E1 E7 E0 E6 E2 E2 E0 F4 E0 E5 E0 E1 F5 E0 E0 E0 E0 FB E3 F0",
    )
    .expect("hex");
    let native = Setting::new(two_wire::BAUD, Parity::Even);
    let found = probe(options(&[Protocol::TwoWire]), &mut |setting, bytes| {
        let [word] = bytes else { panic!("one word at a time: {bytes:02X?}") };
        let mut heard = vec![(Duration::from_millis(2), vec![*word])];
        match word {
            _ if setting != native => {}
            0x07 => heard.push((SOON, vec![0x67])),
            0x57 => heard.push((SOON, totals.clone())),
            word if word >> 4 == 0 => {}
            order => panic!("{order:02X} changes something"),
        }
        heard
    });
    let [one] = found.report.found.as_slice() else { panic!("{:?}", found.report) };
    assert_eq!((one.address, one.facts.state.as_deref(), found.report.echo), (7, Some("off/idle"), true));
    assert_eq!((one.facts.totals[0].digits.as_str(), one.facts.prices[0].digits.as_str()), ("02151257", "1050"));
    assert!(stanza(&found.report, "/dev/ttyS0", false).contains("echo = \"strip\""));
}

#[test]
fn no_question_to_an_unknown_line_holds_a_byte_that_orders_a_two_wire_pump() {
    let all = Protocol::ALL.map(|(_, protocol)| protocol);
    let mut sent: Vec<u8> = Vec::new();
    let found = probe(options(&all), &mut |_, bytes| {
        sent.extend(bytes);
        Vec::new()
    });
    assert!(sent.iter().all(|byte| !matches!(byte >> 4, 1 | 3) && !matches!(byte, 0xF0 | 0xFC)), "{sent:02X?}");
    let (protocol, addresses) = &found.report.left_out[0];
    assert_eq!((*protocol, addresses.clone()), (Protocol::GasKitLink, (0x10..=0x1F).collect()));
    // who says that none is there may ask all
    let alone = probe(options(&[Protocol::GasKitLink]), &mut |_, _| Vec::new());
    assert!(alone.report.left_out.is_empty());
}

#[test]
fn silence_is_told_as_silence_with_the_order_of_checks() {
    let found = probe(options(&[Protocol::Dart, Protocol::GasKitLink]), &mut |_, _| Vec::new());
    assert_eq!(found.words(), ["silence"]);
    assert!(found.text().contains("no byte came back on 176 questions") && found.text().contains("power of the pumps"));
    assert!(found.took < Duration::from_secs(60), "{:?}", found.took);
    assert_eq!(stanza(&found.report, "/dev/ttyS0", false), "");
}

#[test]
fn echo_alone_is_told_as_echo() {
    let found = probe(options(&[Protocol::Dart, Protocol::TwoWire]), &mut |_, bytes| vec![(SOON, bytes.to_vec())]);
    assert_eq!(found.words(), ["echo-only"]);
    assert!(found.text().contains("only our own bytes came back (208 of 208 questions"), "{}", found.text());
    assert!(found.text().contains("A and B are swapped"));
}

#[test]
fn answers_behind_an_echo_are_found_and_the_stanza_strips_it() {
    let mut one = [Pump::new(0x57)];
    let mut line = pumps(&mut one, NATIVE);
    let found = probe(options(&[Protocol::Dart]), &mut |setting, bytes| {
        let echo = (Duration::from_millis(3), bytes.to_vec());
        core::iter::once(echo).chain(line(setting, bytes)).collect()
    });
    assert_eq!((found.report.found.len(), found.report.echo, found.words()), (1, true, vec![]));
    assert!(stanza(&found.report, "/dev/ttyS0", false).contains("echo = \"strip\""));
}

#[test]
fn bytes_that_make_no_frame_point_to_parity_rate_or_swapped_wires() {
    let found = probe(options(&[Protocol::Dart]), &mut |_, _| vec![(SOON, vec![0x00, 0xA4, 0x7F, 0x9E])]);
    assert_eq!(found.words(), ["no-frame"]);
    assert!(
        found.text().contains("try --parity and --baud") && found.text().contains("00 A4 7F 9E"),
        "{}",
        found.text()
    );
}

#[test]
fn answers_that_collide_at_one_address_are_two_devices() {
    let mut others = [Pump::new(0x51), Pump::new(0x57)];
    let mut line = pumps(&mut others, NATIVE);
    let found = probe(options(&[Protocol::Dart]), &mut |setting, bytes| {
        if setting == NATIVE && bytes.first() == Some(&0x53) {
            return vec![(SOON, vec![0x53, 0x70, 0x7A, 0xFF, 0x72])];
        }
        line(setting, bytes)
    });
    assert_eq!((found.report.found.len(), found.words()), (2, vec!["two-devices"]));
    assert!(found.text().contains("two devices answer at address 0x53"), "{}", found.text());
    // and where nothing else is on the wire
    let alone = probe(options(&[Protocol::GasKitLink]), &mut |_, bytes| {
        if bytes[2] == 5 { vec![(SOON, vec![0x02, 0x00, 0x04, 0x53, 0x35, 0x31, 0x55])] } else { Vec::new() }
    });
    assert!(alone.text().contains("two devices answer at address 5"), "{}", alone.text());
}

#[test]
fn a_second_answer_behind_the_first_is_a_second_device() {
    let mut two = [Pump::new(0x57), Pump::new(0x57)];
    let found = probe(options(&[Protocol::Dart]), &mut |setting, bytes| {
        let answers =
            if setting == NATIVE { two.iter_mut().filter_map(|pump| pump.hear(bytes)).collect() } else { vec![] };
        (1..).zip(answers).map(|(turn, answer)| (SOON * turn, answer)).collect()
    });
    assert_eq!(found.words(), ["two-devices"]);
    assert!(found.text().contains("two devices answer at address 0x57"), "{}", found.text());
}

#[test]
fn a_pump_that_answers_late_is_found_and_the_window_widened() {
    let mut one = [Pump::new(0x57)];
    let mut line = pumps(&mut one, NATIVE);
    let found = probe(options(&[Protocol::Dart]), &mut |setting, bytes| {
        line(setting, bytes).into_iter().map(|(_, answer)| (Duration::from_millis(210), answer)).collect()
    });
    assert_eq!(found.report.found.len(), 1, "{:?}", found.report);
    assert!(
        found.text().contains("0x57 spoke after its time, when another question was asked: answers come late"),
        "{}",
        found.text()
    );
    assert!(stanza(&found.report, "/dev/ttyS0", false).contains("answer-window-ms = 400\n"));
}

#[test]
fn a_line_that_loses_answers_is_told_with_its_count() {
    let mut one = [Pump::new(0x57)];
    let mut line = pumps(&mut one, NATIVE);
    let mut count = 0;
    let found = probe(options(&[Protocol::Dart]), &mut |setting, bytes| {
        let answers = line(setting, bytes);
        count += answers.len();
        if count % 5 == 4 { Vec::new() } else { answers }
    });
    assert_eq!((found.report.found.len(), found.words()), (1, vec!["bad-line"]));
    assert!(
        found.text().contains("0x57 did not answer") && found.text().contains("of 20 questions well"),
        "{}",
        found.text()
    );
}

fn every(ms: u64, count: u64, setting: Setting, bytes: &[u8]) -> Vec<(u64, Setting, Vec<u8>)> {
    (0..count).map(|turn| (100 + turn * ms, setting, bytes.to_vec())).collect()
}

#[test]
fn another_master_is_named_before_a_byte_is_sent() {
    let poll = [0x51, 0x20, 0xFA];
    for (setting, bytes, word) in
        [(NATIVE, poll.to_vec(), "dart"), (FAST, poll.to_vec(), "dart"), (PLAIN, encode(5, b"S"), "gaskitlink")]
    {
        let all = Protocol::ALL.map(|(_, protocol)| protocol);
        let found = probe_hearing(options(&all), &every(150, 200, setting, &bytes), &mut |_, _| Vec::new());
        assert_eq!((found.words(), found.sent.len()), (vec!["other-master"], 0));
        let text = found.text();
        assert!(text.contains("another master is polling") && text.contains(word), "{text}");
        assert!(text.contains(&setting.to_string()), "{text}");
    }
}

#[test]
fn bytes_that_nobody_asked_for_keep_it_from_asking() {
    let strange = Setting::new(4_800, Parity::Even);
    let options = options(&[Protocol::Dart, Protocol::GasKitLink]);
    let found = probe_hearing(options, &every(150, 200, strange, &[1, 2, 3]), &mut |_, _| Vec::new());
    assert_eq!((found.words(), found.sent.len()), (vec!["unasked-bytes"], 0));
    assert!(found.text().contains("60 bytes came within 3 s without being asked"), "{}", found.text());
}

#[test]
fn a_byte_at_the_opening_of_the_port_is_no_master() {
    let mut one = [Pump::new(0x57)];
    let spoken = [(1, NATIVE, vec![0x00])];
    let found = probe_hearing(options(&[Protocol::Dart]), &spoken, &mut pumps(&mut one, NATIVE));
    assert_eq!(found.report.found.len(), 1);
}

#[test]
fn settings_that_the_port_refuses_are_passed_over_and_told_if_none_is_left() {
    let now = Instant::START;
    let mut prober = Prober::new(Options { bauds: vec![5_787, 5_760], ..options(&[Protocol::TwoWire]) }, now);
    for _ in 0..4 {
        assert!(matches!(prober.poll_command(), Some(Command::Open(_))));
        prober.handle_refused("reads back 9600", now);
    }
    let report = prober.poll_report().expect("an end");
    assert!(report.causes[0].to_string().contains("the port takes none of the settings to be tried: reads back 9600"));
}

#[test]
fn no_address_in_common_is_told_at_once() {
    let found = probe(Options { addresses: vec![0x90], ..options(&[Protocol::Dart]) }, &mut |_, _| Vec::new());
    assert_eq!((found.words(), found.sent.len()), (vec!["nothing-to-ask"], 0));
    assert!(found.text().contains("Widen --addresses"));
}

#[test]
fn it_ends_in_time_with_what_it_has() {
    let mut one = [Pump::new(0x50)];
    let options = Options { limit: Duration::from_secs(5), ..options(&[Protocol::Dart]) };
    let found = probe(options, &mut pumps(&mut one, NATIVE));
    assert!(found.report.cut_short && found.report.found.len() == 1, "{:?}", found.report);
    assert!(found.took < Duration::from_secs(6));
}

#[test]
fn a_refused_question_is_asked_again_with_the_number_zero() {
    let (mut numbers, mut queue) = (Vec::new(), Vec::new());
    let found = probe(options(&[Protocol::Dart]), &mut |_, bytes| {
        let frame = decode(bytes).expect("a frame");
        let answer = match frame.control {
            _ if frame.address != 0x57 => return Vec::new(),
            Control::Data if numbers.len() == 1 => {
                numbers.push(frame.tx);
                vec![0x57, 0x51, 0xFA]
            }
            Control::Data => {
                numbers.push(frame.tx);
                queue.push(encode_block(0x57, 1, &[1, 1, 5]).expect("short"));
                vec![0x57, 0xC0 | frame.tx, 0xFA]
            }
            Control::Poll => queue.pop().unwrap_or_else(|| vec![0x57, 0x70, 0xFA]),
            _ => return Vec::new(),
        };
        vec![(SOON, answer)]
    });
    assert_eq!(found.report.found[0].facts.state.as_deref(), Some("filling completed"));
    assert_eq!(numbers[..3], [0, 1, 0]);
}

/// A frame of Modbus RTU with its check sum.
fn modbus_frame(body: &[u8]) -> Vec<u8> {
    let mut sum = 0xFFFF_u16;
    for byte in body {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum % 2 == 1 { (sum / 2) ^ 0xA001 } else { sum / 2 };
        }
    }
    [body, &sum.to_le_bytes()].concat()
}

#[test]
fn a_unit_that_a_gateway_hears_nothing_of_is_no_device_and_no_collision() {
    for (there, expected) in [(Some(3), vec![3]), (None, Vec::new())] {
        let found = probe(options(&[Protocol::Modbus]), &mut |setting, bytes| {
            if setting != PLAIN {
                return Vec::new();
            }
            let words = usize::from(bytes[5]);
            let body = if there == Some(bytes[0]) {
                [vec![bytes[0], bytes[1], bytes[5] * 2], vec![0; words * 2]].concat()
            } else {
                vec![bytes[0], bytes[1] | 0x80, 0x0B]
            };
            vec![(SOON, modbus_frame(&body))]
        });
        let addresses: Vec<u8> = found.report.found.iter().map(|found| found.address).collect();
        assert_eq!(addresses, expected);
        assert!(!found.words().iter().any(|word| matches!(*word, "two-devices" | "no-frame")), "{}", found.text());
    }
}
