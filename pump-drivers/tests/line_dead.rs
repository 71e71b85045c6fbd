//! What dead devices cost the others on their wire, and how soon one is found again: the scheduler alone, with an invented clock, and
//! the settings of every protocol. Drivers and devices here only tell whose answer is whose.

mod common;

use common::{Device, World};
use core::time::Duration;
use forecourt::ids::FuellingPointId;
use forecourt::pump::{Capabilities, EndRecord, PumpCommand, PumpEvent};
use forecourt::time::Instant;
use forecourt::units::Volume;
use pump_drivers::driver::{Driver, Exchange, Expect, Progress, Urgency};
use pump_drivers::line::{Echo, Health, LineSettings, Verdict};
use pump_drivers::modbus::tcp_settings;
use pump_drivers::modbus::wire::Framing;
use pump_drivers::protocol::Protocol;
use std::sync::{Arc, Mutex};

/// Bytes of a question and of its answer in an idle poll, by protocol; two-wire has one, but here a number and a check are in it too.
const SIZES: [(Protocol, usize, usize); 4] =
    [(Protocol::Dart, 3, 3), (Protocol::GasKitLink, 6, 6), (Protocol::TwoWire, 2, 3), (Protocol::Modbus, 8, 23)];

const LIVES: Duration = Duration::from_secs(12);

/// Asks with a number, and counts answers to another question than the last.
struct Asker {
    fp: FuellingPointId,
    capabilities: Capabilities,
    question: usize,
    answer: usize,
    serial: u8,
    received: Vec<u8>,
    wrong: Arc<Mutex<u32>>,
}

impl Asker {
    fn mark(&self) -> u8 {
        u8::try_from(self.fp.0).expect("few")
    }
}

impl Driver for Asker {
    fn fp(&self) -> FuellingPointId {
        self.fp
    }
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }
    fn handle_command(&mut self, _: PumpCommand, _: Instant) {}
    fn handle_link(&mut self, _: bool, _: Instant) {}
    fn urgency(&self, _: Instant) -> Urgency {
        Urgency::Idle
    }
    fn next_exchange(&mut self, _: Instant) -> Option<Exchange> {
        self.serial = self.serial.wrapping_add(1);
        self.received.clear();
        let mut bytes = vec![self.serial; self.question];
        bytes[0] = self.mark();
        Some(Exchange { bytes, expect: Expect::Answer })
    }
    fn handle_answer(&mut self, bytes: &[u8], _: Instant) -> Progress {
        let mut bad = None;
        for (at, byte) in bytes.iter().enumerate() {
            self.received.push(*byte);
            if self.received.len() < self.answer {
                continue;
            }
            if self.received[0] == self.mark() && self.received[1..].iter().all(|byte| *byte == self.received[1]) {
                // an answer with this device's mark is taken for that to the last question: nothing else tells them apart
                *self.wrong.lock().expect("a count") += u32::from(self.received[1] != self.serial);
                return Progress::Complete { used: at + 1 };
            }
            self.received.remove(0);
            bad = Some("of another".to_owned());
        }
        bad.map_or(Progress::Incomplete, Progress::Garbage)
    }
    fn handle_silence(&mut self, _: Instant) {}
    fn handle_unasked(&mut self, bytes: &[u8], _: Instant) -> bool {
        bytes.contains(&self.mark())
    }
    fn poll_event(&mut self) -> Option<PumpEvent> {
        None
    }
}

/// What a device does, to be changed while it runs.
#[derive(Clone, Copy)]
struct Manner {
    silent: bool,
    turnaround: Duration,
}

struct Answerer {
    mark: u8,
    answer: usize,
    manner: Arc<Mutex<Manner>>,
}

impl Device for Answerer {
    fn hear(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        if frame[0] != self.mark || self.manner.lock().expect("a manner").silent {
            return None;
        }
        let mut answer = vec![frame[1]; self.answer];
        answer[0] = self.mark;
        Some(answer)
    }
    fn turnaround(&self) -> Duration {
        self.manner.lock().expect("a manner").turnaround
    }
}

struct Bus {
    world: World,
    manners: Vec<Arc<Mutex<Manner>>>,
    wrong: Arc<Mutex<u32>>,
}

impl Bus {
    fn new(settings: LineSettings, question: usize, answer: usize, count: u8) -> Self {
        // an answer here begins as its question does, and this wire returns nothing
        let settings = LineSettings { echo: Echo::None, ..settings };
        let wrong = Arc::new(Mutex::new(0));
        let manner = Manner { silent: false, turnaround: Duration::from_millis(5) };
        let manners: Vec<_> = (0..count).map(|_| Arc::new(Mutex::new(manner))).collect();
        let driver = |mark: u8| {
            let wrong = wrong.clone();
            let fp = FuellingPointId(mark.into());
            let capabilities = nothing();
            Box::new(Asker { fp, capabilities, question, answer, serial: 0, received: Vec::new(), wrong })
                as Box<dyn Driver>
        };
        let device = |(mark, manner): (u8, &Arc<Mutex<Manner>>)| {
            Box::new(Answerer { mark, answer, manner: manner.clone() }) as Box<dyn Device>
        };
        let drivers = (1..=count).map(driver).collect();
        let devices = (1..=count).zip(&manners).map(device).collect();
        Self { world: World::with_drivers(settings, drivers, devices), manners, wrong }
    }

    fn set(&self, which: usize, silent: bool, turnaround: u64) {
        *self.manners[which].lock().expect("a manner") =
            Manner { silent, turnaround: Duration::from_millis(turnaround) };
    }

    /// When the last device is asked from now on.
    fn asked(&mut self, time: Duration) -> Vec<Instant> {
        let from = self.world.now;
        self.world.run(time);
        let last = u8::try_from(self.manners.len()).expect("few");
        let sent = |(at, verdict, bytes): &&(Instant, Verdict, Vec<u8>)| {
            *at >= from && *verdict == Verdict::Sent && bytes[0] == last
        };
        self.world.trace.iter().filter(sent).map(|(at, ..)| *at).collect()
    }

    /// Mean time between two questions to the last device from now on.
    fn cycle(&mut self, time: Duration) -> Duration {
        let asked = self.asked(time);
        let (first, end) = (asked[0], asked[asked.len() - 1]);
        end.since(first) / u32::try_from(asked.len() - 1).expect("few")
    }

    fn health(&self, which: usize) -> Health {
        self.world.line.statistics().devices[which].health
    }

    fn timeouts(&self, which: usize) -> u64 {
        self.world.line.statistics().devices[which].timeouts
    }

    /// How long until a device that answers again is heard.
    fn back_after(&mut self, which: usize) -> Duration {
        let from = self.world.now;
        let heard = |bus: &Self| bus.world.line.statistics().devices[which].last_good.is_some_and(|good| good > from);
        while !heard(self) {
            assert!(self.world.now.since(from) < Duration::from_secs(30), "never heard again");
            self.world.run(Duration::from_millis(10));
        }
        self.world.now.since(from)
    }

    fn wrong(&self) -> u32 {
        *self.wrong.lock().expect("a count")
    }
}

fn nothing() -> Capabilities {
    Capabilities {
        live_volume: false,
        preset_amount: false,
        preset_volume: false,
        reports_call: false,
        price_write: false,
        price_read_back: false,
        totals: false,
        stop: false,
        suspend: false,
        end_record: EndRecord::None,
        decimals_known: true,
        sale_number: false,
        volume_step: Volume::new(1),
        total_step: Volume::new(1),
    }
}

/// Every protocol with its usual pause and without one.
fn lines() -> impl Iterator<Item = (String, LineSettings, usize, usize)> {
    let rtu_over_tcp = ("modbus, RTU over TCP".to_owned(), tcp_settings(Framing::Rtu), 8, 23);
    let usual = |(protocol, question, answer): (Protocol, usize, usize)| {
        let settings = protocol.line_settings();
        let fast = LineSettings { pause_before_send: Duration::ZERO, ..settings };
        [
            (protocol.word().to_owned(), settings, question, answer),
            (format!("{}, no pause", protocol.word()), fast, question, answer),
        ]
    };
    SIZES.into_iter().flat_map(usual).chain([rtu_over_tcp])
}

#[test]
fn dead_devices_make_the_cycle_of_the_others_at_most_a_tenth_longer_on_every_protocol() {
    for (name, settings, question, answer) in lines() {
        for dead in [1_u8, 4, 8] {
            let alone = Bus::new(settings, question, answer, 16 - dead).cycle(LIVES);
            let mut bus = Bus::new(settings, question, answer, 16);
            bus.world.run(Duration::from_secs(5));
            (0..usize::from(dead)).for_each(|which| bus.set(which, true, 5));
            // One full wait each, when it falls silent; then it is only looked for, somewhat more often until it is known to be dead.
            let waits = (settings.answer_window + settings.listen_out + settings.pause_before_send) * u32::from(dead);
            let dying = waits + settings.comm_lost * 3;
            let turns = bus.asked(dying).len();
            let lost = dying.saturating_sub(alone * u32::try_from(turns).expect("few"));
            assert!(
                lost <= waits + dying / 4 + alone,
                "{name}, {dead} dead: {lost:?} lost of {dying:?}, {waits:?} waited"
            );
            let beside = bus.cycle(LIVES);
            println!("{name}, {dead} of 16 dead: {beside:?}, without them {alone:?}");
            assert!(beside * 100 <= alone * 110, "{name}, {dead} dead: {beside:?} against {alone:?}");
            assert_eq!(bus.health(0), Health::Dead, "{name}");
            assert_eq!(bus.health(15), Health::Good, "{name}");
            assert_eq!(bus.wrong(), 0, "{name}");
        }
    }
}

#[test]
fn one_that_returns_is_found_within_five_seconds_on_every_protocol() {
    for (name, settings, question, answer) in lines() {
        let mut bus = Bus::new(settings, question, answer, 16);
        bus.world.run(Duration::from_secs(10));
        (0..16).for_each(|which| bus.set(which, true, 5));
        bus.world.run(Duration::from_secs(120));
        (0..16).for_each(|which| bus.set(which, false, 5));
        let from = bus.world.now;
        bus.world.run(Duration::from_secs(5));
        let statistics = bus.world.line.statistics();
        let back = statistics.devices.iter().filter(|device| device.last_good.is_some_and(|good| good > from));
        assert_eq!(back.count(), 16, "{name}: all were dead");
    }
    for (name, settings, question, answer) in lines() {
        for dead in [1_usize, 8, 15, 16] {
            let mut bus = Bus::new(settings, question, answer, 16);
            (0..dead).for_each(|which| bus.set(which, true, 5));
            // A wire on which nobody was ever heard is given all its time.
            bus.world.run(Duration::from_secs(if dead == 16 { 180 } else { 60 }));
            assert_eq!(bus.health(0), Health::Dead, "{name}, {dead} dead");
            bus.set(0, false, 5);
            let back = bus.back_after(0);
            // On a wire that is dead altogether each has its full wait, one after another.
            let all = (settings.answer_window + settings.listen_out) * 16;
            let limit = if dead == 16 { all.max(Duration::from_secs(5)) } else { Duration::from_secs(5) };
            assert!(back <= limit, "{name}, {dead} dead: {back:?}");
        }
    }
}

#[test]
fn a_device_that_was_never_heard_and_is_slower_than_the_others_is_found_too() {
    for (name, settings, question, answer) in lines() {
        let mut bus = Bus::new(settings, question, answer, 8);
        bus.set(0, true, 5);
        bus.world.run(Duration::from_secs(60));
        // Within the window, far beyond what the others take.
        let slow = u64::try_from(settings.answer_window.as_millis()).expect("short") * 3 / 4;
        bus.set(0, false, slow);
        let back = bus.back_after(0);
        assert!(back <= Duration::from_secs(10), "{name}: {back:?}");
        let missed = bus.timeouts(0);
        bus.world.run(Duration::from_secs(20));
        assert_eq!(bus.timeouts(0), missed, "{name}");
        assert_eq!(bus.wrong(), 0, "{name}");
    }
}

#[test]
fn an_answer_after_its_time_out_is_never_taken_for_that_to_the_next_question() {
    for (name, settings, question, answer) in lines() {
        let frame = settings.wire_time(answer);
        let window = settings.answer_window;
        // Later than a short look waits, later than the window, and as late as is listened for.
        for late in [30, 60, 90, 130] {
            let late = window * late / 100;
            if late + frame > window + settings.listen_out {
                continue;
            }
            let late = u64::try_from(late.as_millis()).expect("short");
            let mut bus = Bus::new(settings, question, answer, 4);
            bus.world.run(Duration::from_secs(5));
            for round in 0..26_u64 {
                bus.set(0, round % 3 == 0 || round % 20 > 12, if round % 2 == 0 { late } else { 5 });
                bus.world.run(Duration::from_millis(970));
            }
            assert_eq!(bus.wrong(), 0, "{name}, {late} ms");
        }
    }
}

#[test]
fn one_lost_answer_is_asked_for_again_at_once() {
    for (name, settings, question, answer) in lines() {
        let mut bus = Bus::new(settings, question, answer, 8);
        bus.world.run(Duration::from_secs(5));
        let cycle = bus.cycle(Duration::from_secs(2));
        bus.set(0, true, 5);
        while bus.timeouts(0) == 0 {
            bus.world.run(Duration::from_millis(5));
        }
        bus.set(0, false, 5);
        let back = bus.back_after(0);
        let most = settings.listen_out + cycle * 2 + Duration::from_millis(50);
        assert!(back <= most, "{name}: {back:?} against {most:?}");
    }
}
