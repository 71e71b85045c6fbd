//! A two-wire loop on an invented clock: the real line and driver, the simulated pump, and whoever else hangs on it.
#![allow(dead_code, reason = "each test file uses a part")]

use core::time::Duration;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, ReleaseId};
use forecourt::pump::{Authorise, Preset, PumpCommand, PumpEvent, Reading, Refusal, Snapshot, State};
use forecourt::time::Instant;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use hil_sim::dispenser::calculator::{Decimals as HeadDecimals, PriceDigits};
use hil_sim::dispenser::flow::FlowProfile;
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::record::Wrong;
use hil_sim::dispenser::two_wire::quirks::Quirks;
use hil_sim::dispenser::two_wire::{TwoWireConfig, TwoWireDispenser};
use hil_sim::dispenser::{Action, Address, NozzleIndex};
use hil_sim::prng::Prng;
use hil_sim::wire::{DeviceId, Faults, Pace, Wire, WireConfig};
use pump_drivers::decimals::Decimals;
use pump_drivers::driver::Driver;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::{Echo, Line, Verdict};
use pump_drivers::listen::Listener;
use pump_drivers::two_wire::{BAUD, Habits, MoneyPreset, TwoWireDriver, line_settings};

pub const FP: FuellingPointId = FuellingPointId(7);
pub const PUMP: DeviceId = DeviceId(0);
pub const ONE: NozzleIndex = NozzleIndex(1);

pub struct Plan {
    pub quirks: Quirks,
    pub habits: Habits,
    /// Prices in the head, in millionths; ours are 1.050 and 1.250.
    pub shown: Vec<u32>,
    pub echo: bool,
    pub faults: Faults,
    pub seed: u64,
    pub suspend: bool,
    pub store: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            quirks: Quirks::default(),
            habits: Habits { money_preset: MoneyPreset::Plain, ..Habits::default() },
            shown: vec![1_050],
            echo: true,
            faults: Faults::default(),
            seed: 1,
            suspend: false,
            store: true,
        }
    }
}

pub struct World {
    pub line: Line,
    pub wire: Wire,
    pub now: Instant,
    pub events: Vec<PumpEvent>,
    /// What went over the wire, either direction, in hex; the first word of a `>` was ours.
    pub said: Vec<String>,
    pub store: bool,
    /// Who only listens to the loop, and what it told.
    pub tap: Option<Listener>,
    pub overheard: Vec<PumpEvent>,
    /// Who drives the loop too, what it told, and when it sent.
    pub second: Option<Line>,
    pub seconds: Vec<PumpEvent>,
    pub second_sent: Vec<Instant>,
    /// When the first one sent last.
    pub sent_at: Instant,
}

pub fn eur() -> Currency {
    Currency::from_code("EUR").expect("known")
}

pub fn price(number: i64) -> UnitPrice {
    UnitPrice::new(number * 1_000)
}

pub fn nozzle(number: u16) -> NozzleId {
    NozzleId(70 + number)
}

pub fn driver(plan: &Plan) -> Box<dyn Driver> {
    Box::new(TwoWireDriver::new(settings(plan), plan.habits))
}

/// The head as a controller is told of it.
pub fn settings(plan: &Plan) -> HeadSettings {
    let decimals = Decimals { volume: 3, price: 3, amount: 2, totals: plan.quirks.totals_decimals };
    let mut settings = HeadSettings::new(FP, 7, decimals, eur());
    let ours = [1_050, 1_250, 1_260, 1_270, 1_280, 1_290];
    for (logical, ours) in (1..).zip(ours.into_iter().take(plan.shown.len())) {
        settings = settings.with_nozzle(logical, nozzle(logical.into()), price(ours));
    }
    settings.suspend = plan.suspend;
    // as the daemon sets it
    settings.comm_lost = line_settings().comm_lost;
    settings
}

pub fn lines(plan: &Plan) -> Line {
    let echo = if plan.echo { Echo::Strip } else { Echo::None };
    Line::new(pump_drivers::line::LineSettings { echo, ..line_settings() }, vec![driver(plan)])
}

impl World {
    pub fn new(plan: &Plan) -> Self {
        let nozzles = plan.shown.iter().map(|shown| NozzleConfig {
            grade: Grade::new("95").expect("a grade"),
            price: Some(PriceDigits(*shown)),
            totaliser: Volume::new(21_512_570),
        });
        let pump = PumpConfig {
            nozzles: nozzles.collect(),
            decimals: HeadDecimals { volume: 3, price: 3, amount: 2 },
            flow: FlowProfile::default(),
            keeps_sale: true,
            keeps_prices: true,
        };
        let config =
            TwoWireConfig { address: Address(7), turnaround: TwoWireConfig::TURNAROUND, quirks: plan.quirks, pump };
        let laid = WireConfig { pace: Pace::baud(BAUD), echo: plan.echo, checks_parity: true, faults: plan.faults };
        let mut wire = Wire::new(laid, &Prng::new(plan.seed));
        wire.connect(Box::new(TwoWireDispenser::new(config)));
        let mut line = lines(plan);
        line.handle_link(true, Instant::START);
        let (events, said) = (Vec::new(), Vec::new());
        Self {
            line,
            wire,
            now: Instant::START,
            events,
            said,
            store: plan.store,
            tap: None,
            overheard: Vec::new(),
            second: None,
            seconds: Vec::new(),
            second_sent: Vec::new(),
            sent_at: Instant::START,
        }
    }

    /// Read in and idle.
    pub fn idle(plan: &Plan) -> Self {
        let mut world = Self::new(plan);
        world.run(3_000);
        world
    }

    /// A controller that was started anew and knows nothing.
    pub fn restart(&mut self, plan: &Plan) {
        self.line = lines(plan);
        self.line.handle_link(true, self.now);
        self.events.clear();
    }

    pub fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(from) = self.line.poll_event() {
                moved = true;
                let token = match &from.event {
                    PumpEvent::Snapshot(Snapshot { token, .. })
                    | PumpEvent::EndSeen { token, .. }
                    | PumpEvent::Ended { token, .. } => Some(*token),
                    _ => None,
                };
                if let Some(token) = token.filter(|_| self.store) {
                    self.line.handle_command(FP, PumpCommand::Stored(token), self.now);
                }
                self.events.push(from.event);
            }
            while let Some(frame) = self.line.poll_trace() {
                let ours = if frame.verdict == Verdict::Sent { "> " } else { "" };
                let words: Vec<String> = frame.bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                if !words.is_empty() {
                    self.said.push(format!("{ours}{}", words.join(" ")));
                }
            }
            if let Some(tap) = &mut self.tap {
                self.overheard.extend(core::iter::from_fn(|| tap.poll_event()).map(|from| from.event));
            }
            if let Some(second) = &mut self.second {
                self.seconds.extend(core::iter::from_fn(|| second.poll_event()).map(|from| from.event));
                if let Some(bytes) = second.poll_transmit(self.now) {
                    moved = true;
                    self.second_sent.push(self.now);
                    self.wire.handle_bytes_from_controller(&bytes, self.now);
                }
            }
            if let Some(bytes) = self.line.poll_transmit(self.now) {
                moved = true;
                self.sent_at = self.now;
                self.wire.handle_bytes_from_controller(&bytes, self.now);
            }
            if !moved {
                return;
            }
        }
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        self.settle();
        loop {
            let due = [
                self.line.poll_timeout().map(|(due, _)| due),
                self.wire.poll_timeout(),
                self.tap.as_ref().and_then(Listener::poll_timeout),
                self.second.as_ref().and_then(|second| second.poll_timeout()).map(|(due, _)| due),
            ];
            let Some(next) = due.into_iter().flatten().min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if let Some(bytes) = self.wire.poll_bytes_to_controller(self.now) {
                self.line.handle_bytes(&bytes, self.now);
                if let Some(tap) = &mut self.tap {
                    tap.handle_bytes(&bytes, self.now);
                }
                if let Some(second) = &mut self.second {
                    second.handle_bytes(&bytes, self.now);
                }
            }
            self.line.handle_timeout(self.now);
            if let Some(tap) = &mut self.tap {
                tap.handle_timeout(self.now);
            }
            if let Some(second) = &mut self.second {
                second.handle_timeout(self.now);
            }
            self.settle();
        }
        self.now = end;
    }

    pub fn act(&mut self, action: Action) {
        self.wire.act(PUMP, action, self.now);
    }

    pub fn command(&mut self, command: PumpCommand) {
        self.line.handle_command(FP, command, self.now);
    }

    pub fn order(&mut self, preset: Preset) {
        self.order_of(1, preset, 1_050);
    }

    pub fn order_of(&mut self, of: u16, preset: Preset, at: i64) {
        let order = Authorise { release: ReleaseId(5), nozzle: nozzle(of), preset, price: price(at) };
        self.command(PumpCommand::Authorise(order));
    }

    /// Runs until an event fits.
    pub fn until(&mut self, what: &str, fits: impl Fn(&PumpEvent) -> bool) {
        let from = self.events.len();
        for _ in 0..60_000 {
            if self.events[from..].iter().any(&fits) {
                return;
            }
            self.run(2);
        }
        panic!("no {what}; events: {:#?}", &self.events[from..]);
    }

    pub fn until_released(&mut self) {
        self.until("release", |event| *event == PumpEvent::Released { release: ReleaseId(5) });
    }

    /// Until so much has flowed at the pump.
    pub fn until_flowed(&mut self, volume_ml: u32) {
        for _ in 0..60_000 {
            if self.wire.device(PUMP).expect("the pump").pump().figures(self.now).volume.0 >= volume_ml {
                return;
            }
            self.run(2);
        }
        panic!("it does not flow: {:#?}", self.events);
    }

    pub fn ended(&self) -> Vec<(Reading, Option<Volume>)> {
        let ended = |event: &PumpEvent| match event {
            PumpEvent::Ended { reading, totaliser, .. } => Some((*reading, *totaliser)),
            _ => None,
        };
        self.events.iter().filter_map(ended).collect()
    }

    pub fn until_ended(&mut self) -> (Reading, Option<Volume>) {
        let before = self.ended().len();
        self.until("end", |event| matches!(event, PumpEvent::Ended { .. }));
        self.ended()[before]
    }

    pub fn snapshot(&self) -> Snapshot {
        let last = self.events.iter().rev().find_map(|event| match event {
            PumpEvent::Snapshot(snapshot) => Some(snapshot.clone()),
            _ => None,
        });
        last.unwrap_or_else(|| panic!("no snapshot: {:#?}", self.events))
    }

    pub fn refusals(&self) -> Vec<Refusal> {
        let refused = |event: &PumpEvent| match event {
            PumpEvent::Refused { why, .. } => Some(why.clone()),
            _ => None,
        };
        self.events.iter().filter_map(refused).collect()
    }

    pub fn alarms(&self) -> Vec<u16> {
        let alarm = |event: &PumpEvent| match event {
            PumpEvent::Alarm { code, .. } => Some(*code),
            _ => None,
        };
        self.events.iter().filter_map(alarm).collect()
    }

    pub fn wrongs(&self) -> Vec<Wrong> {
        self.wire.device(PUMP).expect("the pump").violations().iter().map(|violation| violation.wrong).collect()
    }

    pub fn says(&self, words: &str) -> usize {
        self.said.iter().filter(|said| **said == format!("> {words}")).count()
    }

    /// What truly flowed in each release.
    pub fn truth(&self) -> Vec<(Volume, u32)> {
        let pump = self.wire.device(PUMP).expect("the pump").pump();
        pump.fuellings().iter().map(|fuelling| (fuelling.volume, fuelling.figures.amount.0)).collect()
    }

    /// The sale that was reported is the one that was made.
    pub fn assert_true(&self, reading: &Reading) {
        let (volume, amount) = *self.truth().last().expect("a fuelling");
        assert_eq!((reading.volume, reading.amount), (volume, Money::new(amount.into())));
    }

    pub fn lift(&mut self) {
        self.act(Action::Lift(ONE));
        self.until("call", |event| {
            matches!(event, PumpEvent::State { state: State::Calling, lifted: Some(lifted) } if *lifted == nozzle(1))
        });
    }
}

pub fn euros(cents: i64) -> Preset {
    Preset::Amount(Money::new(cents))
}
