//! A pulse counter (unit 2) and a relay board (unit 5) as a fuelling point: the worked exchanges of the Modbus sheet, sections 9.1
//! to 9.3, on an invented clock.

use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId, ReleaseId};
use forecourt::pump::{Authorise, Preset, PumpCommand, PumpEvent, Refusal, State};
use forecourt::time::Instant;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use pump_drivers::decimals::Decimals;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::Line;
use pump_drivers::modbus::profile::Profile;
use pump_drivers::modbus::{PulseDriver, PulseHabits, line_settings};
use std::sync::Arc;

const FP: FuellingPointId = FuellingPointId(1);
const NOZZLE: NozzleId = NozzleId(11);
const OPEN: &str = "05 05 00 00 FF 00 8D BE";
const CLOSE: &str = "05 05 00 00 00 00 CC 4E";
/// Pulses a second with the valve open: 30 L/min at 1000 a litre.
const FLOW: u64 = 500;

fn hex(text: &str) -> Vec<u8> {
    text.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

fn with_check_sum(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut crc = 0xFFFF_u16;
    for byte in &bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc % 2 == 1 { (crc / 2) ^ 0xA001 } else { crc / 2 };
        }
    }
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// Pipe, valve, counter and board.
struct Plant {
    open: bool,
    /// The relay sticks.
    stuck: bool,
    lifted: bool,
    counter: u32,
    overflow: u16,
    flowed_until: Instant,
    counter_silent: bool,
    /// Where the contactor hangs, if it does not follow the relay.
    contactor: Option<bool>,
    /// Answers of the board that are lost.
    mute_board: u32,
}

impl Plant {
    fn flow(&mut self, now: Instant) {
        if self.open && self.lifted {
            let ms = u64::try_from(now.since(self.flowed_until).as_millis()).expect("ms");
            let pulses = ms * FLOW / 1_000;
            self.counter = self.counter.wrapping_add(u32::try_from(pulses).expect("pulses"));
            self.flowed_until = self.flowed_until + Duration::from_millis(pulses * 1_000 / FLOW);
        } else {
            self.flowed_until = now;
        }
    }

    fn hear(&mut self, frame: &[u8], now: Instant) -> Option<Vec<u8>> {
        self.flow(now);
        let (body, _) = frame.split_at(frame.len() - 2);
        assert_eq!(with_check_sum(body.to_vec()), frame);
        let answer = match *body {
            [2, ..] if self.counter_silent => return None,
            [2, 3, 0, 8, 0, 1] => [vec![2, 3, 2], self.overflow.to_be_bytes().to_vec()].concat(),
            [2, 3, 0, 10, 0, 2] => [vec![2, 3, 4], self.counter.to_be_bytes().to_vec()].concat(),
            [2, 6, 0, 8, high, low] => {
                self.overflow = u16::from_be_bytes([high, low]);
                body.to_vec()
            }
            [5, 1, 0, 0, 0, 1] => vec![5, 1, 1, u8::from(self.open)],
            [5, 2, 0, 0, 0, 1] => vec![5, 2, 1, u8::from(self.lifted)],
            [5, 2, 0, 3, 0, 1] => vec![5, 2, 1, u8::from(self.contactor.unwrap_or(self.open))],
            [5, 5, 0, 0, value, 0] => {
                if !self.stuck {
                    self.open = value == 0xFF;
                }
                body.to_vec()
            }
            _ => panic!("{body:02X?}"),
        };
        if body[0] == 5 && self.mute_board > 0 {
            self.mute_board -= 1;
            return None;
        }
        Some(with_check_sum(answer))
    }
}

struct Site {
    line: Line,
    plant: Plant,
    now: Instant,
    inbound: Option<(Instant, Vec<u8>)>,
    events: Vec<PumpEvent>,
    sent: Vec<Vec<u8>>,
    releases: u64,
}

fn profile(text: &str) -> Arc<Profile> {
    Arc::new(Profile::parse(text).expect("a good profile"))
}

fn line(close_at_limit: bool) -> Line {
    line_with_board(close_at_limit, include_str!("../../profiles/modbus/relay-board-p3.toml"))
}

fn line_with_board(close_at_limit: bool, board: &str) -> Line {
    let pulses = include_str!("../../profiles/modbus/pulse-valve-p2.toml");
    let pulses = if close_at_limit { pulses.into() } else { pulses.replace("close-at-limit = true", "") };
    let decimals = Decimals { volume: 3, price: 2, amount: 2, totals: 3 };
    let head = HeadSettings::new(FP, 2, decimals, Currency::CNY).with_nozzle(1, NOZZLE, UnitPrice::new(7_450_000));
    let driver = PulseDriver::new(head, PulseHabits::new(profile(&pulses), profile(board), 5));
    Line::new(line_settings(), vec![Box::new(driver)])
}

impl Site {
    fn new() -> Self {
        Self::with(true, false)
    }

    fn with(close_at_limit: bool, open: bool) -> Self {
        let plant = Plant {
            open,
            stuck: false,
            lifted: open,
            counter: 1_234_567,
            overflow: 0,
            flowed_until: Instant::START,
            counter_silent: false,
            contactor: None,
            mute_board: 0,
        };
        let mut site = Self {
            line: line(close_at_limit),
            plant,
            now: Instant::START,
            inbound: None,
            events: Vec::new(),
            sent: Vec::new(),
            releases: 0,
        };
        site.line.handle_link(true, site.now);
        site.run(Duration::from_secs(1));
        site
    }

    /// The board has an input for the contactor behind the relay.
    fn with_contactor() -> Self {
        let mut site = Self::new();
        let board = concat!(
            include_str!("../../profiles/modbus/relay-board-p3.toml"),
            "[point.contactor-feedback]\narea = \"discrete\"\naddress = 3\n"
        );
        site.line = line_with_board(true, board);
        site.events.clear();
        site.line.handle_link(true, site.now);
        site.run(Duration::from_secs(1));
        site
    }

    fn alarm(&self) -> Option<&str> {
        self.events.iter().rev().find_map(|event| match event {
            PumpEvent::Alarm { text, holds: true, .. } => Some(text.as_str()),
            _ => None,
        })
    }

    fn command(&mut self, command: PumpCommand) {
        self.line.handle_command(FP, command, self.now);
        self.settle();
    }

    fn order(&mut self, preset: Preset) {
        self.releases += 1;
        let release = ReleaseId(self.releases);
        let price = UnitPrice::new(7_450_000);
        self.command(PumpCommand::Authorise(Authorise { release, nozzle: NOZZLE, preset, price }));
    }

    fn lift(&mut self, lifted: bool) {
        self.plant.flow(self.now);
        self.plant.lifted = lifted;
        self.run(Duration::from_secs(1));
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        loop {
            let due = [self.line.poll_timeout().map(|(due, _)| due), self.inbound.as_ref().map(|(at, _)| *at)];
            let Some(next) = due.into_iter().flatten().min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = end;
    }

    fn settle(&mut self) {
        if let Some((_, bytes)) = self.inbound.take_if(|(at, _)| *at <= self.now) {
            self.line.handle_bytes(&bytes, self.now);
        }
        self.line.handle_timeout(self.now);
        while let Some(from) = self.line.poll_event() {
            match &from.event {
                PumpEvent::Snapshot(snapshot) => {
                    self.line.handle_command(FP, PumpCommand::Stored(snapshot.token), self.now);
                }
                PumpEvent::Ended { token, .. } => {
                    self.line.handle_command(FP, PumpCommand::Stored(*token), self.now);
                }
                _ => {}
            }
            self.events.push(from.event);
        }
        if let Some(bytes) = self.line.poll_transmit(self.now) {
            let heard = self.now + Duration::from_millis(8);
            self.inbound = self.plant.hear(&bytes, heard).map(|answer| (heard + Duration::from_millis(15), answer));
            self.sent.push(bytes);
        }
    }

    fn until(&mut self, what: &str, fits: impl Fn(&PumpEvent) -> bool) {
        for _ in 0..10_000 {
            if self.events.iter().any(&fits) {
                return;
            }
            self.run(Duration::from_millis(10));
        }
        panic!("no {what}: {:#?}", self.events);
    }

    fn end(&mut self) -> Volume {
        self.until("end", |event| matches!(event, PumpEvent::Ended { .. }));
        let end = self.events.iter().find_map(|event| match event {
            PumpEvent::Ended { reading, totaliser, .. } => Some((*reading, *totaliser)),
            _ => None,
        });
        let (reading, total) = end.expect("an end");
        // derived from the totaliser, which the core sees by figures of nothing
        assert_eq!((reading.volume, reading.amount), (Volume::ZERO, Money::ZERO));
        total.expect("a totaliser")
    }

    fn refusal(&mut self) -> Refusal {
        self.until("refusal", |event| matches!(event, PumpEvent::Refused { .. }));
        match self.events.pop() {
            Some(PumpEvent::Refused { why, .. }) => why,
            other => panic!("{other:?}"),
        }
    }

    fn count(&self, frame: &str) -> usize {
        self.sent.iter().filter(|sent| **sent == hex(frame)).count()
    }
}

fn litres(count: i64) -> Preset {
    Preset::Volume(Volume::new(count * 1_000))
}

fn is_released(event: &PumpEvent) -> bool {
    matches!(event, PumpEvent::Released { .. })
}

#[test]
fn a_volume_preset_shuts_the_valve_before_the_limit_and_the_sale_is_what_the_counter_moved() {
    let mut site = Site::new();
    site.lift(true);
    site.sent.clear();
    site.order(litres(20));
    site.until("release", is_released);
    // counter, valve, read back: the count is known before the valve opens
    let first: Vec<Vec<u8>> =
        site.sent.iter().skip_while(|frame| frame[0] != 2 || frame[3] != 10).take(3).cloned().collect();
    let wanted = [hex("02 03 00 0A 00 02 E4 3A"), hex(OPEN), with_check_sum(vec![5, 1, 0, 0, 0, 1])];
    assert_eq!(first, wanted, "Modbus sheet, section 9.1, frames 3, 5 and 7");
    let total = site.end();
    let sold = total.get() - 1_234_567;
    assert_eq!(total, Volume::new(i64::from(site.plant.counter)));
    assert!((19_950..=20_100).contains(&sold), "{sold}");
    assert!(!site.plant.open);
    assert!(site.count(OPEN) > 10, "the relay is refreshed while fuel flows");
}

#[test]
fn a_hang_up_and_a_stop_shut_the_valve() {
    for stop in [false, true] {
        let mut site = Site::new();
        site.lift(true);
        site.order(litres(50));
        site.until("release", is_released);
        site.run(Duration::from_secs(9));
        if stop {
            site.command(PumpCommand::Stop);
            site.run(Duration::from_millis(200));
        } else {
            site.lift(false);
        }
        assert!(!site.plant.open, "stop {stop}");
        let sold = site.end().get() - 1_234_567;
        assert!((4_000..6_000).contains(&sold), "{sold}");
    }
}

#[test]
fn money_is_refused_and_volume_too_where_the_profile_does_not_allow_it() {
    let mut site = Site::new();
    site.lift(true);
    site.order(Preset::Amount(Money::new(20_000)));
    assert_eq!(site.refusal(), Refusal::PresetUnsupported);
    site.order(Preset::Volume(Volume::new(50)));
    assert_eq!(site.refusal(), Refusal::PresetUnsupported, "no more than runs on");
    let mut site = Site::with(false, false);
    site.lift(true);
    site.order(litres(20));
    assert_eq!(site.refusal(), Refusal::PresetUnsupported);
    assert_eq!(site.count(OPEN), 0);
}

#[test]
fn a_valve_that_is_found_open_is_shut_and_what_ran_out_is_in_the_snapshot() {
    // Modbus sheet, section 9.3
    let mut site = Site::with(true, true);
    site.until("snapshot", |event| matches!(event, PumpEvent::Snapshot(_)));
    assert!(!site.plant.open);
    let total = Volume::new(i64::from(site.plant.counter));
    let told = site.events.iter().any(|event| {
        matches!(event, PumpEvent::Snapshot(s) if s.totalisers.get(&NOZZLE) == Some(&total) && s.state == State::Calling)
    });
    assert!(told, "{:#?}", site.events);
    assert_eq!(site.count(OPEN), 0);
}

#[test]
fn a_counter_that_falls_silent_shuts_the_valve_within_two_questions() {
    let mut site = Site::new();
    site.lift(true);
    site.order(litres(50));
    site.until("release", is_released);
    site.run(Duration::from_secs(3));
    site.plant.counter_silent = true;
    site.run(Duration::from_secs(5));
    assert!(!site.plant.open);
    assert!(site.count(CLOSE) >= 1);
    site.plant.counter_silent = false;
    site.run(Duration::from_secs(10));
    assert!(!site.plant.open, "it is not opened again by itself");
    let known = site.events.iter().any(|event| match event {
        PumpEvent::Ended { totaliser, .. } => *totaliser == Some(Volume::new(i64::from(site.plant.counter))),
        PumpEvent::Snapshot(snapshot) => {
            snapshot.totalisers.get(&NOZZLE) == Some(&Volume::new(i64::from(site.plant.counter)))
        }
        _ => false,
    });
    assert!(known, "{:#?}", site.events);
}

#[test]
fn a_lost_answer_of_the_valve_is_read_back_and_gives_one_release() {
    for lost in 1..=2 {
        let mut site = Site::new();
        site.lift(true);
        site.order(litres(5));
        site.plant.mute_board = lost;
        site.until("release", is_released);
        site.end();
        let words = site.events.iter().filter(|e| matches!(e, PumpEvent::Released { .. } | PumpEvent::Refused { .. }));
        assert_eq!(words.count(), 1);
    }
}

#[test]
fn a_relay_that_does_nothing_is_no_release() {
    let mut site = Site::new();
    site.lift(true);
    site.plant.stuck = true;
    site.order(litres(5));
    assert_eq!(site.refusal(), Refusal::NoEffect);
    assert!(!site.plant.open);
}

#[test]
fn a_wrap_goes_on_counting_and_a_reset_never_adds_one() {
    let mut site = Site::new();
    site.plant.counter = u32::MAX - 1_000;
    site.run(Duration::from_secs(1));
    site.lift(true);
    site.order(litres(5));
    site.until("release", is_released);
    let before = i64::from(u32::MAX) - 1_000;
    let sold = site.end().get() - before;
    assert!((4_950..=5_100).contains(&sold), "{sold}");
    site.run(Duration::from_secs(1));
    assert_eq!(site.plant.overflow, 1, "the overflow is stored in the module");
    site.events.clear();
    site.plant.counter = 0;
    site.plant.overflow = 0;
    site.until("snapshot", |event| matches!(event, PumpEvent::Snapshot(s) if s.power_cycled));
    assert_eq!(site.plant.overflow, 0);
}

#[test]
fn fuel_that_moved_since_the_last_count_refuses_the_release() {
    let mut site = Site::new();
    site.lift(true);
    site.plant.counter += 500;
    site.order(litres(5));
    assert_eq!(site.count(OPEN), 0);
    site.run(Duration::from_secs(1));
    let refused = site.events.iter().any(|e| matches!(e, PumpEvent::Refused { why: Refusal::Unsettled, .. }));
    let told = PumpEvent::Totaliser { nozzle: NOZZLE, volume: Volume::new(1_235_067) };
    assert!(refused && site.events.contains(&told), "{:#?}", site.events);
}

#[test]
fn a_stop_while_the_valve_opens_is_a_release_that_ends_at_once() {
    let mut site = Site::new();
    site.lift(true);
    site.order(litres(5));
    for _ in 0..200 {
        if site.count(OPEN) > 0 {
            break;
        }
        site.run(Duration::from_millis(1));
    }
    site.command(PumpCommand::Stop);
    let total = site.end();
    assert_eq!(total, Volume::new(i64::from(site.plant.counter)));
    assert!(!site.plant.open && site.events.iter().any(is_released));
}

#[test]
fn a_nozzle_lifted_again_while_the_counter_runs_out_is_told_as_hung_up() {
    let mut site = Site::new();
    site.lift(true);
    site.order(litres(50));
    site.until("release", is_released);
    site.run(Duration::from_secs(9));
    site.lift(false);
    site.lift(true);
    site.end();
    site.run(Duration::from_secs(1));
    let ended = site.events.iter().position(|event| matches!(event, PumpEvent::Ended { .. })).expect("an end");
    let states: Vec<&PumpEvent> =
        site.events[ended..].iter().filter(|event| matches!(event, PumpEvent::State { .. })).collect();
    assert_eq!(
        states,
        [
            &PumpEvent::State { state: State::Idle, lifted: None },
            &PumpEvent::State { state: State::Calling, lifted: Some(NOZZLE) }
        ]
    );
}

#[test]
fn a_contactor_that_follows_its_relay_changes_nothing() {
    let mut site = Site::with_contactor();
    site.lift(true);
    site.order(litres(5));
    site.until("release", is_released);
    let total = site.end();
    assert!((Volume::new(1_239_500)..Volume::new(1_239_800)).contains(&total), "{total:?}");
    assert_eq!(site.alarm(), None);
}

#[test]
fn a_contactor_that_does_not_follow_shuts_the_valve_and_refuses_the_next_order() {
    let mut site = Site::with_contactor();
    site.plant.contactor = Some(false);
    site.lift(true);
    site.order(litres(20));
    site.until("release", is_released);
    let from = site.now;
    site.until("alarm", |event| matches!(event, PumpEvent::Alarm { holds: true, .. }));
    let took = site.now.since(from);
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(1), "{took:?}");
    assert!(site.alarm().is_some_and(|text| text.contains("does not follow")), "{:?}", site.alarm());
    site.end();
    assert!(!site.plant.open);
    site.order(litres(20));
    assert!(matches!(site.refusal(), Refusal::Faulty(_)));
}

#[test]
fn a_contactor_that_stays_on_is_told_as_fuel_that_may_flow() {
    let mut site = Site::with_contactor();
    site.plant.contactor = Some(true);
    site.run(Duration::from_secs(2));
    assert!(site.alarm().is_some_and(|text| text.contains("fuel may still flow")), "{:?}", site.alarm());
    site.lift(true);
    site.order(litres(20));
    assert!(matches!(site.refusal(), Refusal::Faulty(_)));
    assert!(!site.plant.open);
}
