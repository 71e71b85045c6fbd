//! The driver of a pulse counter and a valve against the simulated retrofit, on a wire with an invented clock: the worked exchanges of
//! the Modbus sheet, sections 9.1 to 9.3, with the physical pump behind them.

use core::time::Duration;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, ReleaseId};
use forecourt::pump::{Authorise, Preset, PumpCommand, PumpEvent, Refusal};
use forecourt::time::Instant;
use forecourt::units::{Currency, UnitPrice, Volume};
use hil_sim::dispenser::calculator::{Decimals, PriceDigits};
use hil_sim::dispenser::flow::FlowProfile;
use hil_sim::dispenser::modbus::ModbusConfig;
use hil_sim::dispenser::modbus::frame::Framing;
use hil_sim::dispenser::modbus::retrofit::{Retrofit, RetrofitConfig};
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::{Action, Address, Condition, NozzleIndex};
use hil_sim::prng::Prng;
use hil_sim::wire::{DeviceId, Pace, Wire, WireConfig};
use pump_drivers::decimals::Decimals as HeadDecimals;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::Line;
use pump_drivers::modbus::profile::{Profile, SHIPPED};
use pump_drivers::modbus::{PulseDriver, PulseHabits, line_settings};
use std::sync::Arc;

const FP: FuellingPointId = FuellingPointId(3);
const NOZZLE: NozzleId = NozzleId(31);
const ONE: NozzleIndex = NozzleIndex(1);
const PRICE: UnitPrice = UnitPrice::new(7_450_000);
/// Nearly at the end of 32 bits.
const NEAR_THE_END: i64 = (1 << 32) - 6_000;

struct Stage {
    line: Line,
    wire: Wire,
    device: DeviceId,
    now: Instant,
    events: Vec<PumpEvent>,
    releases: u64,
}

fn shipped(name: &str) -> Arc<Profile> {
    let (_, text) = SHIPPED.iter().find(|(known, _)| *known == name).expect("shipped");
    Arc::new(Profile::parse(text).expect("good"))
}

fn line() -> Line {
    let decimals = HeadDecimals { volume: 3, price: 2, amount: 2, totals: 3 };
    let head = HeadSettings::new(FP, 2, decimals, Currency::CNY).with_nozzle(1, NOZZLE, PRICE);
    let habits = PulseHabits::new(shipped("pulse-valve-p2"), shipped("relay-board-p3"), 5);
    Line::new(line_settings(), vec![Box::new(PulseDriver::new(head, habits))])
}

impl Stage {
    fn new(totaliser: i64, forgets_count: bool) -> Self {
        let nozzle = NozzleConfig {
            grade: Grade::new("92").expect("a grade"),
            price: Some(PriceDigits(745)),
            totaliser: Volume::new(totaliser),
        };
        let pump = PumpConfig {
            nozzles: vec![nozzle],
            decimals: Decimals { volume: 3, price: 2, amount: 2 },
            flow: FlowProfile::default(),
            keeps_sale: true,
            keeps_prices: true,
        };
        let clean = WireConfig { pace: Pace::characters(9_600, 10), ..WireConfig::clean() };
        let mut wire = Wire::new(clean, &Prng::new(1));
        let (counter, turnaround, framing) = (Address(2), ModbusConfig::TURNAROUND, Framing::Rtu);
        let config = RetrofitConfig { counter, board: 5, turnaround, framing, forgets_count, sticks: false, pump };
        let device = wire.connect(Box::new(Retrofit::new(config)));
        let mut stage = Self { line: line(), wire, device, now: Instant::START, events: Vec::new(), releases: 0 };
        stage.line.handle_link(true, stage.now);
        stage.run(Duration::from_secs(2));
        stage
    }

    fn act(&mut self, action: Action) {
        self.wire.act(self.device, action, self.now);
        self.settle();
    }

    fn order(&mut self, litres: i64) {
        self.releases += 1;
        let (release, preset) = (ReleaseId(self.releases), Preset::Volume(Volume::new(litres * 1_000)));
        let order = Authorise { release, nozzle: NOZZLE, preset, price: PRICE };
        self.line.handle_command(FP, PumpCommand::Authorise(order), self.now);
        self.settle();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.settle();
        }
        self.now = end;
    }

    fn next(&self) -> Option<Instant> {
        [self.line.poll_timeout().map(|(due, _)| due), self.wire.poll_timeout()].into_iter().flatten().min()
    }

    fn until(&mut self, what: &str, fits: impl Fn(&PumpEvent) -> bool) {
        for _ in 0..12_000 {
            if self.events.iter().any(&fits) {
                return;
            }
            self.run(Duration::from_millis(10));
        }
        panic!("no {what}: {:#?}", self.events);
    }

    fn settle(&mut self) {
        self.wire.handle_timeout(self.now);
        if let Some(bytes) = self.wire.poll_bytes_to_controller(self.now) {
            self.line.handle_bytes(&bytes, self.now);
        }
        self.line.handle_timeout(self.now);
        while let Some(from) = self.line.poll_event() {
            let token = match &from.event {
                PumpEvent::Snapshot(snapshot) => Some(snapshot.token),
                PumpEvent::EndSeen { token, .. } | PumpEvent::Ended { token, .. } => Some(*token),
                _ => None,
            };
            if let Some(token) = token {
                self.line.handle_command(FP, PumpCommand::Stored(token), self.now);
            }
            self.events.push(from.event);
        }
        if let Some(bytes) = self.line.poll_transmit(self.now) {
            self.wire.handle_bytes_from_controller(&bytes, self.now);
        }
    }

    fn device(&self) -> &dyn hil_sim::dispenser::Dispenser {
        self.wire.device(self.device).expect("the device")
    }

    fn meter(&self) -> Volume {
        self.device().pump().totaliser(ONE, self.now).expect("a totaliser")
    }

    /// The totaliser of the end that was told.
    fn end(&mut self) -> Volume {
        self.until("end", |event| matches!(event, PumpEvent::Ended { .. }));
        let end = self.events.iter().find_map(|event| match event {
            PumpEvent::Ended { totaliser, .. } => *totaliser,
            _ => None,
        });
        end.expect("a totaliser")
    }

    fn snapshot_total(&self) -> Volume {
        let told = self.events.iter().rev().find_map(|event| match event {
            PumpEvent::Snapshot(snapshot) => snapshot.totalisers.get(&NOZZLE).copied(),
            _ => None,
        });
        told.expect("a snapshot with the counter")
    }
}

fn is_released(event: &PumpEvent) -> bool {
    matches!(event, PumpEvent::Released { .. })
}

#[test]
fn a_sale_ends_at_its_limit_and_is_what_the_meter_moved() {
    let mut stage = Stage::new(1_234_567, false);
    assert_eq!(stage.snapshot_total(), Volume::new(1_234_567));
    stage.act(Action::Lift(ONE));
    stage.run(Duration::from_secs(1));
    stage.order(20);
    stage.until("release", is_released);
    let total = stage.end();
    assert_eq!(total, stage.meter());
    let flowed = total.get() - 1_234_567;
    assert!((19_900..=20_050).contains(&flowed), "{flowed} ml of 20 L");
    assert_eq!(stage.device().condition(), Condition::Calling, "the valve is shut, the nozzle still out");
    assert!(stage.device().violations().is_empty());
}

#[test]
fn a_hang_up_shuts_the_valve_so_that_nobody_lifts_into_an_open_one() {
    let mut stage = Stage::new(0, false);
    stage.act(Action::Lift(ONE));
    stage.run(Duration::from_secs(1));
    stage.order(50);
    stage.until("release", is_released);
    stage.run(Duration::from_secs(6));
    stage.act(Action::HangUp);
    let total = stage.end();
    assert_eq!(total, stage.meter());
    stage.act(Action::Lift(ONE));
    stage.run(Duration::from_secs(5));
    assert_eq!(stage.meter(), total, "nothing flows without a release");
}

#[test]
fn a_daemon_that_comes_back_shuts_an_open_valve_and_tells_all_that_flowed() {
    let mut stage = Stage::new(7_000_000, false);
    stage.act(Action::Lift(ONE));
    stage.run(Duration::from_secs(1));
    stage.order(50);
    stage.until("release", is_released);
    stage.run(Duration::from_secs(4));
    stage.line = line();
    stage.events.clear();
    stage.run(Duration::from_secs(3));
    assert_eq!(stage.device().condition(), Condition::Fuelling, "most boards keep their outputs");
    stage.line.handle_link(true, stage.now);
    stage.until("snapshot", |event| matches!(event, PumpEvent::Snapshot(_)));
    assert_eq!(stage.device().condition(), Condition::Calling);
    assert_eq!(stage.snapshot_total(), stage.meter());
    assert!(stage.meter().get() > 7_000_000);
}

#[test]
fn a_counter_that_wraps_goes_on_and_one_that_lost_power_is_never_taken_for_one() {
    let mut stage = Stage::new(NEAR_THE_END, false);
    stage.act(Action::Lift(ONE));
    stage.run(Duration::from_secs(1));
    stage.order(20);
    stage.until("release", is_released);
    assert_eq!(stage.end(), stage.meter(), "beyond 32 bits");
    let mut stage = Stage::new(5_000_000, true);
    stage.act(Action::Power(false));
    stage.run(Duration::from_secs(10));
    stage.act(Action::Power(true));
    stage.events.clear();
    stage.until("snapshot", |event| matches!(event, PumpEvent::Snapshot(_)));
    assert_eq!(stage.snapshot_total(), Volume::ZERO);
    stage.order(20);
    stage.until("refusal", |event| matches!(event, PumpEvent::Refused { why: Refusal::NotCalling, .. }));
}
