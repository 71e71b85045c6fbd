//! What a controller hears on a line.

use super::*;
use crate::dispenser::calculator::{Decimals, PriceDigits};
use crate::dispenser::dart::quirks::Quirks;
use crate::dispenser::dart::{DartConfig, DartDispenser};
use crate::dispenser::flow::FlowProfile;
use crate::dispenser::physics::{NozzleConfig, PumpConfig};
use forecourt::ids::Grade;
use forecourt::units::Volume;

fn dispenser(address: u8) -> Box<dyn Dispenser> {
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
    let (address, turnaround) = (Address(address), DartConfig::TURNAROUND);
    Box::new(DartDispenser::new(DartConfig { address, turnaround, quirks: Quirks::default(), pump }))
}

fn wire(config: WireConfig, addresses: &[u8]) -> Wire {
    let mut wire = Wire::new(config, &Prng::new(3).fork("line"));
    for address in addresses {
        wire.connect(dispenser(*address));
    }
    wire
}

/// What the controller hears within a time, and when the last byte of it came.
fn exchange(wire: &mut Wire, bytes: &[u8], now: Instant, within: Duration) -> (Vec<u8>, Instant) {
    wire.handle_bytes_from_controller(bytes, now);
    let (end, mut heard, mut last) = (now + within, Vec::new(), now);
    while let Some(due) = wire.poll_timeout().filter(|due| *due <= end) {
        last = last.max(due);
        heard.extend(wire.poll_bytes_to_controller(last).unwrap_or_default());
    }
    (heard, last)
}

#[test]
fn an_idle_poll_takes_six_characters_and_the_turnaround() {
    let mut wire = wire(WireConfig::clean(), &[0x51, 0x52]);
    let (heard, last) = exchange(&mut wire, &[0x52, 0x20, 0xFA], Instant::START, Duration::from_millis(60));
    assert_eq!(heard, [0x52, 0x70, 0xFA]);
    // 6 × 11 bits at 9600 are 6875 us.
    assert!((11_875..11_885).contains(&last.as_micros()), "{last:?}");
}

#[test]
fn an_echo_comes_with_the_bytes_and_before_the_reply() {
    let mut wire = wire(WireConfig { echo: true, ..WireConfig::clean() }, &[0x51]);
    let (heard, _) = exchange(&mut wire, &[0x51, 0x20, 0xFA], Instant::START, Duration::from_millis(60));
    assert_eq!(heard, [0x51, 0x20, 0xFA, 0x51, 0x70, 0xFA]);
    assert_eq!(wire.counters().collisions, 0);
}

#[test]
fn an_unplugged_device_is_silent_and_answers_again_later() {
    let mut wire = wire(WireConfig::clean(), &[0x51]);
    wire.unplug(DeviceId(0), true);
    assert!(exchange(&mut wire, &[0x51, 0x20, 0xFA], Instant::START, Duration::from_millis(60)).0.is_empty());
    wire.unplug(DeviceId(0), false);
    let later = Instant::from_micros(100_000);
    assert_eq!(exchange(&mut wire, &[0x51, 0x20, 0xFA], later, Duration::from_millis(60)).0.len(), 3);
}

#[test]
fn two_devices_at_one_address_spoil_each_other_when_they_say_different_things() {
    let mut wire = wire(WireConfig::clean(), &[0x51, 0x51]);
    wire.act(DeviceId(0), Action::Lift(crate::dispenser::NozzleIndex(1)), Instant::START);
    let now = Instant::from_micros(1_000);
    let (heard, _) = exchange(&mut wire, &[0x51, 0x20, 0xFA], now, Duration::from_millis(60));
    assert_eq!(heard[..2], [0x51, 0x30], "one says a block, the other that there is nothing");
    assert_eq!(wire.counters().collisions, 3);
}

#[test]
fn junk_comes_before_a_reply_and_the_reply_is_whole() {
    let faults = Faults { junk: PerMillion::ALWAYS, ..Faults::default() };
    let mut wire = wire(WireConfig { faults, ..WireConfig::clean() }, &[0x51]);
    let (heard, _) = exchange(&mut wire, &[0x51, 0x20, 0xFA], Instant::START, Duration::from_millis(60));
    assert!(heard.ends_with(&[0x51, 0x70, 0xFA]) && (4..=5).contains(&heard.len()));
    assert!(heard[..heard.len() - 3].iter().all(|byte| TURNAROUND_JUNK.contains(byte)));
}

#[test]
fn who_babbles_does_so_after_a_frame_of_any_protocol() {
    let mut wire = wire(WireConfig::clean(), &[0x51]);
    wire.babble(DeviceId(0), PerMillion::ALWAYS);
    // two-wire asks for a state, Modbus for a register, GasKitLink for a state; none is for this device
    let frames: [&[u8]; 3] = [&[0x07], &[0x02, 0x03, 0, 0, 0, 1, 0x84, 0x39], &[0x02, 0x31, 0x53, 0x03, 0x53]];
    for (n, frame) in (1_u64..).zip(frames) {
        let (heard, _) = exchange(&mut wire, frame, Instant::from_micros(n * 100_000), Duration::from_millis(60));
        assert!((1..=8).contains(&heard.len()), "{heard:02X?}");
        assert_eq!((wire.counters().babbled, wire.counters().frames_from_controller), (n, n));
    }
}

#[test]
fn faults_come_as_often_as_they_are_set() {
    let faults = Faults {
        bit_flip: PerMillion(10_000),
        drop: PerMillion(20_000),
        double: PerMillion(30_000),
        late: PerMillion(40_000),
        ..Faults::default()
    };
    let mut wire = wire(WireConfig { faults, ..WireConfig::clean() }, &[]);
    wire.handle_bytes_from_controller(&[0; 10_000], Instant::START);
    let seen = wire.counters();
    assert!((700..850).contains(&seen.flipped), "{seen:?}");
    assert!((150..250).contains(&seen.dropped), "{seen:?}");
    assert!((240..350).contains(&seen.doubled), "{seen:?}");
    assert!((330..460).contains(&seen.late), "{seen:?}");
}

#[test]
fn one_seed_makes_the_same_bytes_at_the_same_times() {
    let bad = PerMillion(5_000);
    let faults =
        Faults { bit_flip: bad, drop: bad, double: bad, late: bad, junk: bad, silence: bad, ..Faults::default() };
    let run = |seed: u64| {
        let mut wire = Wire::new(WireConfig { faults, ..WireConfig::clean() }, &Prng::new(seed));
        for address in 0x50..0x54 {
            let id = wire.connect(dispenser(address));
            wire.babble(id, PerMillion(50_000));
        }
        let mut heard = Vec::new();
        for turn in 0..2_000_u64 {
            let now = Instant::from_micros(turn * 40_000);
            if turn % 7 == 0 {
                wire.act(DeviceId(0), Action::Lift(crate::dispenser::NozzleIndex(1)), now);
                wire.act(DeviceId(0), Action::HangUp, now);
            }
            let address = 0x50 + u8::try_from(turn % 4).expect("small");
            heard.push(exchange(&mut wire, &[address, 0x20, 0xFA], now, Duration::from_millis(39)));
        }
        (heard, wire.counters())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
    assert!(run(1).1.babbled > 100);
}
