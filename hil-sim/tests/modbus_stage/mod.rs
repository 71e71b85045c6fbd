//! The driver of a register map on its line, against the simulated dispenser on a wire, with an invented clock.

use core::time::Duration;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, ReleaseId};
use forecourt::pump::{Authorise, Preset, PumpCommand, PumpEvent, State, Token};
use forecourt::time::Instant;
use forecourt::units::{Currency, UnitPrice, Volume};
use hil_sim::dispenser::calculator::{Decimals, PriceDigits};
use hil_sim::dispenser::flow::FlowProfile;
use hil_sim::dispenser::modbus::quirks::Quirks;
use hil_sim::dispenser::modbus::{ModbusConfig, ModbusDispenser, frame};
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::record::{Fuelling, Wrong};
use hil_sim::dispenser::{Action, Address, Condition, NozzleIndex};
use hil_sim::prng::Prng;
use hil_sim::wire::{DeviceId, Faults, Pace, Wire, WireConfig};
use pump_drivers::decimals::Decimals as HeadDecimals;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::{Line, LineSettings};
use pump_drivers::modbus::profile::Profile;
use pump_drivers::modbus::wire::Framing;
use pump_drivers::modbus::{Habits, ModbusDriver, line_settings, tcp_settings};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const ONE: NozzleIndex = NozzleIndex(1);
pub const FP: FuellingPointId = FuellingPointId(3);
pub const NOZZLE: NozzleId = NozzleId(31);
pub const PRICE: UnitPrice = UnitPrice::new(7_450_000);
pub const AUTHORISE: &str = "09 06 00 19 00 01 98 85";

pub type Fits = Box<dyn Fn(&[u8]) -> bool>;

pub fn hex(text: &str) -> Vec<u8> {
    text.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

/// Frames that begin so.
pub fn starts(text: &str) -> Fits {
    let start = hex(text);
    Box::new(move |frame| frame.starts_with(&start))
}

/// One nozzle at 7.45, figures to the millilitre and the fen.
pub fn pump(totaliser: i64) -> PumpConfig {
    PumpConfig {
        nozzles: vec![NozzleConfig {
            grade: Grade::new("92").expect("a grade"),
            price: Some(PriceDigits(745)),
            totaliser: Volume::new(totaliser),
        }],
        decimals: Decimals { volume: 3, price: 2, amount: 2 },
        flow: FlowProfile::default(),
        keeps_sale: true,
        keeps_prices: true,
    }
}

pub struct Stage {
    line: Line,
    wire: Wire,
    device: DeviceId,
    framing: Framing,
    pub now: Instant,
    pub events: Vec<PumpEvent>,
    /// Frames of the controller.
    pub sent: Vec<Vec<u8>>,
    pub storing: bool,
    newest: Token,
    fits: Fits,
    lose_request: bool,
    times: u32,
    muted: bool,
    /// Every so many answers one is late.
    delay_every: usize,
    late: BTreeMap<Instant, Vec<u8>>,
    releases: u64,
    runs: u16,
}

impl Stage {
    pub fn rtu(quirks: Quirks, last_sale: u16) -> Self {
        Self::new(Framing::Rtu, quirks, last_sale)
    }

    pub fn tcp(quirks: Quirks, last_sale: u16) -> Self {
        Self::new(Framing::Tcp, quirks, last_sale)
    }

    fn new(framing: Framing, quirks: Quirks, last_sale: u16) -> Self {
        let pace = match framing {
            Framing::Rtu => Pace::characters(9_600, 10),
            Framing::Tcp => Pace::NONE,
        };
        let clean = WireConfig { pace, ..WireConfig::clean() };
        let mut wire = Wire::new(clean, &Prng::new(1));
        let mut dispenser = ModbusDispenser::new(ModbusConfig {
            address: Address(9),
            turnaround: ModbusConfig::TURNAROUND,
            framing: if framing == Framing::Rtu { frame::Framing::Rtu } else { frame::Framing::Tcp },
            quirks,
            pump: pump(0),
        });
        dispenser.continue_sales_at(last_sale);
        let device = wire.connect(Box::new(dispenser));
        let mut stage = Self {
            line: line(framing, 0),
            wire,
            device,
            framing,
            now: Instant::START,
            events: Vec::new(),
            sent: Vec::new(),
            storing: true,
            newest: Token(0),
            fits: Box::new(|_| false),
            lose_request: false,
            times: 0,
            muted: false,
            delay_every: 0,
            late: BTreeMap::new(),
            releases: 0,
            runs: 0,
        };
        stage.line.handle_link(true, stage.now);
        stage.run(Duration::from_secs(2));
        stage
    }

    /// The daemon dies and comes back; the dispenser goes on.
    pub fn restart(&mut self) {
        self.runs += 1;
        self.line = line(self.framing, self.runs * 1_000);
        self.line.handle_link(true, self.now);
        self.newest = Token(0);
        self.events.clear();
        self.sent.clear();
    }

    pub fn command(&mut self, command: PumpCommand) {
        self.line.handle_command(FP, command, self.now);
        self.settle();
    }

    pub fn order(&mut self, preset: Preset) {
        self.order_at(preset, PRICE);
    }

    pub fn order_at(&mut self, preset: Preset, price: UnitPrice) {
        self.releases += 1;
        let release = ReleaseId(self.releases);
        self.command(PumpCommand::Authorise(Authorise { release, nozzle: NOZZLE, preset, price }));
    }

    pub fn act(&mut self, action: Action) {
        self.wire.act(self.device, action, self.now);
        self.settle();
    }

    pub fn lift(&mut self) {
        self.act(Action::Lift(ONE));
        self.run(Duration::from_secs(1));
    }

    /// All that was told is durable.
    pub fn store(&mut self) {
        self.command(PumpCommand::Stored(self.newest));
    }

    /// Loses so many requests that fit, or the answers to them.
    pub fn lose(&mut self, fits: Fits, request: bool, times: u32) {
        (self.fits, self.lose_request, self.times) = (fits, request, times);
    }

    /// Spoils the wire, or mends it.
    pub fn spoil(&mut self, faults: Faults) {
        self.wire.set_faults(faults);
    }

    pub const fn delay_every(&mut self, count: usize) {
        self.delay_every = count;
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while self.step(end) {}
        self.now = end;
    }

    /// Lets the next thing happen, unless it is after the end.
    fn step(&mut self, end: Instant) -> bool {
        let due =
            [self.line.poll_timeout().map(|(due, _)| due), self.wire.poll_timeout(), self.late.keys().next().copied()];
        let Some(next) = due.into_iter().flatten().min().filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        self.settle();
        true
    }

    pub fn until(&mut self, what: &str, fits: impl Fn(&PumpEvent) -> bool) {
        let end = self.now + Duration::from_secs(120);
        self.settle();
        while !self.events.iter().any(&fits) {
            if !self.step(end) {
                let last = &self.sent[self.sent.len().saturating_sub(12)..];
                panic!("no {what}; events: {:#?}\nsent: {last:02X?}", self.events);
            }
        }
    }

    fn settle(&mut self) {
        self.wire.handle_timeout(self.now);
        if let Some(bytes) = self.wire.poll_bytes_to_controller(self.now)
            && !self.muted
        {
            self.line.handle_bytes(&bytes, self.now);
        }
        while let Some(entry) = self.late.first_entry().filter(|entry| *entry.key() <= self.now) {
            let bytes = entry.remove();
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
                self.newest = token;
                if self.storing {
                    self.line.handle_command(FP, PumpCommand::Stored(token), self.now);
                }
            }
            self.events.push(from.event);
        }
        if let Some(bytes) = self.line.poll_transmit(self.now) {
            self.sent.push(bytes.clone());
            self.muted = false;
            let lost = self.times > 0 && (self.fits)(&bytes);
            if lost {
                self.times -= 1;
                self.muted = !self.lose_request;
            }
            if self.delay_every > 0 && self.sent.len().is_multiple_of(self.delay_every) {
                self.answer_late(&bytes);
            } else if !(lost && self.lose_request) {
                self.wire.handle_bytes_from_controller(&bytes, self.now);
            }
        }
    }

    /// The dispenser hears it at once, and its answer comes when nobody waits for it any more.
    fn answer_late(&mut self, bytes: &[u8]) {
        let window =
            if self.framing == Framing::Rtu { line_settings() } else { tcp_settings(Framing::Tcp) }.answer_window;
        let Some(device) = self.wire.device_mut(self.device) else { return };
        for byte in bytes {
            device.handle_byte(*byte, self.now);
        }
        let late = self.now + window + Duration::from_millis(120);
        if let Some(transmission) = device.poll_transmission() {
            self.late.insert(late, transmission.bytes);
        }
    }

    fn dispenser(&self) -> &dyn hil_sim::dispenser::Dispenser {
        self.wire.device(self.device).expect("the dispenser")
    }

    pub fn wrongs(&self) -> Vec<Wrong> {
        self.dispenser().violations().iter().map(|violation| violation.wrong).collect()
    }

    pub fn condition(&self) -> Condition {
        self.dispenser().condition()
    }

    pub fn fuellings(&self) -> usize {
        self.dispenser().pump().fuellings().len()
    }

    pub fn fuelling(&self, index: usize) -> Fuelling {
        self.dispenser().pump().fuellings()[index].clone()
    }

    /// How often a frame was sent.
    pub fn count(&self, frame: &[u8]) -> usize {
        self.sent.iter().filter(|sent| *sent == frame).count()
    }

    /// The state as last told.
    pub fn state(&self) -> Option<State> {
        self.events.iter().rev().find_map(|event| match event {
            PumpEvent::State { state, .. } => Some(*state),
            PumpEvent::Snapshot(snapshot) => Some(snapshot.state),
            _ => None,
        })
    }

    /// How many releases were answered.
    pub fn words_of_releases(&self) -> usize {
        let word = |event: &&PumpEvent| matches!(event, PumpEvent::Released { .. } | PumpEvent::Refused { .. });
        self.events.iter().filter(word).count()
    }

    /// A request past the line, by someone else at the dispenser; gives the answer.
    pub fn write_behind_the_back(&mut self, request: &str) -> Vec<u8> {
        let now = self.now;
        let device = self.wire.device_mut(self.device).expect("the dispenser");
        // whatever of the line is under way there is not ours
        device.handle_timeout(now);
        let past = now + Duration::from_millis(20);
        for byte in hex(request) {
            device.handle_byte(byte, past);
        }
        device.poll_transmission().expect("an answer").bytes
    }

    fn register(&mut self, request: (&str, &str)) -> u16 {
        let request = if self.framing == Framing::Rtu { request.0 } else { request.1 };
        let answer = self.write_behind_the_back(request);
        let at = if self.framing == Framing::Rtu { 3 } else { 9 };
        u16::from_be_bytes([answer[at], answer[at + 1]])
    }

    pub fn acknowledged(&mut self) -> u16 {
        self.register(("09 03 00 0F 00 01 B5 41", "00 00 00 00 00 06 09 03 00 0F 00 01"))
    }

    pub fn command_register(&mut self) -> u16 {
        self.register(("09 03 00 19 00 01 54 85", "00 00 00 00 00 06 09 03 00 19 00 01"))
    }
}

fn line(framing: Framing, first_transaction: u16) -> Line {
    let profile = include_str!("../../../profiles/modbus/generic-dispenser.toml");
    let profile = Arc::new(Profile::parse(profile).expect("a good profile"));
    let habits = Habits { framing, first_transaction, ..Habits::new(profile) };
    let decimals = HeadDecimals { volume: 3, price: 2, amount: 2, totals: 3 };
    let mut head = HeadSettings::new(FP, 9, decimals, Currency::CNY).with_nozzle(1, NOZZLE, PRICE);
    head.suspend = true;
    assert_eq!(habits.problems(&head), Vec::<String>::new());
    let settings: LineSettings = match framing {
        Framing::Rtu => line_settings(),
        Framing::Tcp => tcp_settings(framing),
    };
    Line::new(settings, vec![Box::new(ModbusDriver::new(head, habits))])
}
