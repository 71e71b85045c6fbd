//! The scheduler: who is asked when, on a wire with an invented clock.

mod common;

use common::*;
use core::time::Duration;
use forecourt::ids::FuellingPointId;
use forecourt::pump::{Preset, PumpCommand, PumpEvent, State};
use forecourt::time::Instant;
use forecourt::units::Volume;
use pump_drivers::line::{Echo, Health, LineSettings, Verdict};

fn sixteen(settings: LineSettings) -> World {
    let heads = (0..16_u8).map(|n| head_at(u16::from(n) + 1, 0x50 + n)).collect();
    let devices = (0..16).map(|n| Box::new(Pump::new(0x50 + n)) as Box<dyn Device>).collect();
    let mut world = World::new(settings, heads, devices);
    world.run(Duration::from_secs(10));
    world
}

/// When each pump was asked in the last stretch, by address.
fn polls(world: &World, address: u8, from: Instant) -> Vec<Instant> {
    let sent = |(at, verdict, bytes): &&(Instant, Verdict, Vec<u8>)| {
        *at >= from && *verdict == Verdict::Sent && bytes[..2] == [address, 0x20]
    };
    world.trace.iter().filter(sent).map(|(at, ..)| *at).collect()
}

fn intervals(times: &[Instant]) -> Vec<Duration> {
    let mut all: Vec<Duration> = times.windows(2).map(|w| w[1].since(w[0])).collect();
    all.sort();
    all
}

/// bytes × 11 bits / baud and the turnaround, for a round of idle pumps.
fn idle_limit(pumps: u32) -> Duration {
    (LineSettings::default().wire_time(6) + Duration::from_millis(5)) * pumps
}

#[test]
fn a_round_of_sixteen_idle_pumps_takes_no_more_than_the_wire_needs() {
    let mut world = sixteen(fast());
    let from = world.now;
    world.run(Duration::from_secs(5));
    let rounds = intervals(&polls(&world, 0x53, from));
    let median = rounds[rounds.len() / 2];
    let limit = idle_limit(16);
    assert!(median * 100 >= limit * 99 && median * 100 <= limit * 103, "{median:?} against {limit:?}");
    assert!(world.line.statistics().cycle * 100 <= limit * 103);
}

#[test]
fn fuelling_pumps_go_before_idle_ones_and_no_pump_starves() {
    let mut world = sixteen(fast());
    let from = world.now;
    for round in 0..60_u32 {
        for pump in 0..4_usize {
            let pump = world.devices[pump].pump().expect("a pump");
            pump.status = 4;
            pump.nozio = 0x11;
            let body = [pump.dc1(), pump.dc3()].concat();
            pump.say(body);
            pump.flow(round + 1, (round + 1) * 105);
        }
        world.run(Duration::from_millis(300));
    }
    for address in 0x50..0x60 {
        let all = intervals(&polls(&world, address, from));
        let (median, worst) = (all[all.len() / 2], all[all.len() - 1]);
        assert!(worst <= median * 3, "{address:02X}: {worst:?} against {median:?}");
    }
}

#[test]
fn dead_pumps_cost_at_most_a_tenth_and_are_back_within_five_seconds() {
    for dead in [1, 4, 8] {
        let mut world = sixteen(fast());
        for device in &mut world.devices[..dead] {
            device.pump().expect("a pump").silent = true;
        }
        world.run(Duration::from_secs(10));
        let from = world.now;
        world.run(Duration::from_secs(30));
        let rounds = polls(&world, 0x5F, from).len();
        let live = u32::try_from(16 - dead).expect("small");
        let mean = world.now.since(from) / u32::try_from(rounds).expect("small");
        let limit = idle_limit(live);
        assert!(mean * 100 <= limit * 112, "{dead} dead: {mean:?} against {limit:?}");
        assert_eq!(world.line.statistics().devices[0].health, Health::Dead);
        for device in &mut world.devices[..dead] {
            device.pump().expect("a pump").silent = false;
        }
        let seen = world.events.len();
        world.run(Duration::from_secs(5));
        let back = world.events[seen..].iter().filter(|(_, _, e)| matches!(e, PumpEvent::Snapshot(_))).count();
        assert_eq!(back, dead);
    }
}

#[test]
fn a_dead_pump_among_few_is_back_within_five_seconds_with_the_usual_pause() {
    for pause in [10, 20, 40] {
        let settings = LineSettings { pause_before_send: Duration::from_millis(pause), ..LineSettings::default() };
        let heads = (0..4).map(|n| head_at(n + 1, 0x50 + u8::try_from(n).expect("few"))).collect();
        let devices = (0..4).map(|n| Box::new(Pump::new(0x50 + n)) as Box<dyn Device>).collect();
        let mut world = World::new(settings, heads, devices);
        world.run(Duration::from_secs(10));
        world.devices[3].pump().expect("a pump").silent = true;
        world.run(Duration::from_secs(10));
        assert_eq!(world.line.statistics().devices[3].health, Health::Dead, "pause {pause} ms");
        world.devices[3].pump().expect("a pump").silent = false;
        world.run(Duration::from_secs(5));
        // It answers; with long pauses the failures of before may still be among its last 32 exchanges.
        let back = world.line.statistics().devices[3].health;
        assert!(matches!(back, Health::Good | Health::Degraded), "pause {pause} ms: {back:?}");
    }
}

#[test]
fn a_stop_waits_only_for_the_exchange_in_flight_and_sixteen_are_out_within_600_ms() {
    let mut world = sixteen(LineSettings::default());
    for device in &mut world.devices {
        let pump = device.pump().expect("a pump");
        pump.status = 4;
        pump.nozio = 0x11;
        let body = [pump.dc1(), pump.dc3(), pump.dc2()].concat();
        pump.say(body);
    }
    world.run(Duration::from_secs(2));
    let from = world.now;
    for fp in 1..=16 {
        world.line.handle_command(FuellingPointId(fp), PumpCommand::Stop, world.now);
    }
    world.run(Duration::from_secs(2));
    let stops: Vec<Instant> = world
        .trace
        .iter()
        .filter(|(at, verdict, bytes)| {
            *at >= from && *verdict == Verdict::Sent && bytes.windows(3).any(|w| w == [1, 1, 8])
        })
        .map(|(at, ..)| *at)
        .collect();
    assert!(stops[0].since(from) <= Duration::from_millis(100), "{:?}", stops[0].since(from));
    assert!(stops[15].since(from) <= Duration::from_millis(600), "{:?}", stops[15].since(from));
    assert!(world.devices.iter_mut().all(|device| device.pump().expect("a pump").status == 5));
}

#[test]
fn an_order_reaches_the_wire_ahead_of_the_round() {
    let mut world = sixteen(fast());
    world.devices[7].pump().expect("a pump").lift(1);
    world.until("calling", |e| matches!(e, PumpEvent::State { state: State::Calling, .. }));
    world.run(Duration::from_millis(33));
    let from = world.now;
    world.line.handle_command(FuellingPointId(8), order(1, Preset::Volume(Volume::new(50_000))), from);
    let released = world.until("release", |e| matches!(e, PumpEvent::Released { .. }));
    assert!(released.since(from) <= Duration::from_millis(250), "{:?}", released.since(from));
}

#[test]
fn an_echo_is_stripped_by_comparison_and_its_absence_does_no_harm() {
    struct Echoing(Pump);
    impl Device for Echoing {
        fn hear(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
            let answer = self.0.hear(frame).unwrap_or_default();
            Some([frame.to_vec(), answer].concat())
        }
        fn turnaround(&self) -> Duration {
            Duration::ZERO
        }
        fn pump(&mut self) -> Option<&mut Pump> {
            Some(&mut self.0)
        }
    }
    for pause in [0, 10] {
        let settings = LineSettings { echo: Echo::Strip, pause_before_send: Duration::from_millis(pause), ..fast() };
        let echoing: Box<dyn Device> = Box::new(Echoing(Pump::new(0x57)));
        let plain: Box<dyn Device> = Box::new(Pump::new(0x57));
        for device in [echoing, plain] {
            let mut world = World::new(settings, vec![head()], vec![device]);
            world.run(Duration::from_secs(2));
            assert!(matches!(world.told().first(), Some(PumpEvent::Snapshot(_))), "pause {pause}");
            let statistics = world.line.statistics();
            let failed = statistics.devices[0].bad_frames + statistics.devices[0].timeouts;
            assert!(failed <= 1, "pause {pause}: {failed} of {}", statistics.devices[0].exchanges);
            assert_eq!(statistics.unasked_bytes, 0, "pause {pause}");
        }
    }
}

#[test]
fn a_babbling_device_is_named_and_the_others_go_on() {
    struct Babbler(u32);
    impl Device for Babbler {
        fn hear(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
            (frame[0] == 0x51 && frame[1] == 0x20).then(|| {
                self.0 += 1;
                [vec![0x51, 0x31], vec![0x55; 900]].concat()
            })
        }
    }
    let heads = vec![head_at(1, 0x50), head_at(2, 0x51)];
    let mut world = World::new(fast(), heads, vec![Box::new(Pump::new(0x50)), Box::new(Babbler(0))]);
    world.run(Duration::from_secs(5));
    let statistics = world.line.statistics();
    assert!(statistics.babbles > 0);
    assert_eq!(statistics.babbler, Some(FuellingPointId(2)));
    let from = world.now;
    world.run(Duration::from_secs(20));
    let alone = Duration::from_secs(20).as_micros() / idle_limit(1).as_micros();
    let polled = polls(&world, 0x50, from).len();
    assert!(polled * 10 >= usize::try_from(alone).expect("small") * 3, "{polled} of {alone}");
}

#[test]
fn a_late_answer_is_listened_out_and_never_taken_for_another_pump() {
    let mut world = sixteen(fast());
    let slow = world.devices[2].pump().expect("a pump");
    slow.turnaround = Duration::from_millis(130);
    slow.lift(2);
    world.run(Duration::from_secs(20));
    let strangers = world.events.iter().filter(|(_, fp, event)| {
        fp.0 != 3 && matches!(event, PumpEvent::State { state: State::Calling, .. } | PumpEvent::Lost)
    });
    assert_eq!(strangers.count(), 0);
}
