//! A line with one simulated post on an invented clock, and a core that stores what it is told.
#![allow(dead_code, reason = "each test file uses a part")]

use core::time::Duration;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, ReleaseId};
use forecourt::pump::{Authorise, Preset, PumpCommand, PumpEvent, Reading, Refusal, Snapshot, State, Token};
use forecourt::time::Instant;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use hil_sim::dispenser::calculator::{Decimals as Shown, PriceDigits};
use hil_sim::dispenser::flow::FlowProfile;
use hil_sim::dispenser::gaskitlink::message::{Letter, State as Post};
use hil_sim::dispenser::gaskitlink::quirks::Quirks;
use hil_sim::dispenser::gaskitlink::{GasKitLinkConfig, GasKitLinkDispenser};
use hil_sim::dispenser::physics::{NozzleConfig, PumpConfig};
use hil_sim::dispenser::record::Wrong;
use hil_sim::dispenser::{Action, Address, Condition, Dispenser, NozzleIndex};
use hil_sim::prng::Prng;
use hil_sim::wire::{DeviceId, Pace, Wire, WireConfig};
use pump_drivers::decimals::Decimals;
use pump_drivers::driver::Driver;
use pump_drivers::gaskitlink::{GasKitLinkDriver, Habits, line_settings};
use pump_drivers::head::HeadSettings;
use pump_drivers::line::{Line, Verdict};

pub const FP: FuellingPointId = FuellingPointId(5);
pub const NOZZLE: NozzleId = NozzleId(51);
pub const ONE: NozzleIndex = NozzleIndex(1);
/// Price of the worked exchanges: 7.45.
pub const PRICE: UnitPrice = UnitPrice::new(7_450_000);

/// What is lost of an exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lose {
    Answer,
    Request,
}

pub fn head() -> HeadSettings {
    let decimals = Decimals { volume: 2, price: 2, amount: 2, totals: 2 };
    let mut head = HeadSettings::new(FP, 5, decimals, Currency::CNY).with_nozzle(1, NOZZLE, PRICE);
    head.suspend = true;
    head
}

pub struct Stage {
    pub line: Line,
    pub wire: Wire,
    pub now: Instant,
    pub events: Vec<PumpEvent>,
    sent: Vec<Vec<u8>>,
    /// What the core is told to store is durable at once.
    pub storing: bool,
    waiting: Vec<Token>,
    /// So many exchanges that begin with this letter fail.
    pub lose: Option<(u8, Lose, u32)>,
    deaf: bool,
    /// The state digit as last answered.
    status: Option<u8>,
    habits: Habits,
}

fn line(habits: Habits) -> Line {
    let driver = Box::new(GasKitLinkDriver::new(head(), habits)) as Box<dyn Driver>;
    Line::new(line_settings(), vec![driver])
}

impl Stage {
    pub fn new(quirks: Quirks, habits: Habits) -> Self {
        Self::with(quirks, habits, |_| {})
    }

    /// Post 5 of the sheet, read in and idle.
    pub fn with(quirks: Quirks, habits: Habits, build: impl FnOnce(&mut PumpConfig)) -> Self {
        Self::on(WireConfig { pace: Pace::characters(9_600, 10), ..WireConfig::clean() }, 1, quirks, habits, build)
    }

    pub fn on(
        wire: WireConfig,
        seed: u64,
        quirks: Quirks,
        habits: Habits,
        build: impl FnOnce(&mut PumpConfig),
    ) -> Self {
        let nozzle = NozzleConfig {
            grade: Grade::new("92").expect("a grade"),
            price: Some(PriceDigits(700)),
            totaliser: Volume::new(8_123_450),
        };
        let mut pump = PumpConfig {
            nozzles: vec![nozzle],
            decimals: Shown::TWO,
            flow: FlowProfile::default(),
            keeps_sale: true,
            keeps_prices: true,
        };
        build(&mut pump);
        let config = GasKitLinkConfig { address: Address(5), turnaround: GasKitLinkConfig::TURNAROUND, quirks, pump };
        let mut post = GasKitLinkDispenser::new(config);
        post.continue_letters_at(Letter::of(b'b'));
        let mut wire = Wire::new(wire, &Prng::new(seed));
        wire.connect(Box::new(post));
        let mut stage = Self {
            line: line(habits),
            wire,
            now: Instant::START,
            events: Vec::new(),
            sent: Vec::new(),
            storing: true,
            waiting: Vec::new(),
            lose: None,
            deaf: false,
            status: None,
            habits,
        };
        stage.line.handle_link(true, stage.now);
        stage.until(|event| matches!(event, PumpEvent::Snapshot(_)));
        stage
    }

    /// The controller is killed and starts again.
    pub fn restart(&mut self) {
        self.line = line(self.habits);
        self.line.handle_link(true, self.now);
        self.forget_events();
        self.forget_frames();
        self.waiting.clear();
    }

    pub fn restarted_after_a_sale_that_nobody_read(mut self) -> Self {
        self.fuelling(7, Preset::Volume(Volume::new(6_000)));
        self.line.handle_link(false, self.now);
        self.run(Duration::from_secs(30));
        self.act(Action::HangUp);
        self.restart();
        self
    }

    // ---- the world ----

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        let mut still = 0;
        loop {
            let due = [self.line.poll_timeout().map(|(due, _)| due), self.wire.poll_timeout()];
            let Some(next) = due.into_iter().flatten().min().filter(|next| *next <= end) else { break };
            still = if next > self.now { 0 } else { still + 1 };
            assert!(still < 1_000, "time stands still at {:?}: {:?}", self.now, self.line.poll_timeout());
            self.now = self.now.max(next);
            self.wire.handle_timeout(self.now);
            if let Some(bytes) = self.wire.poll_bytes_to_controller(self.now)
                && !self.deaf
            {
                self.line.handle_bytes(&bytes, self.now);
            }
            self.line.handle_timeout(self.now);
            self.settle();
        }
        self.now = self.now.max(end);
    }

    fn settle(&mut self) {
        loop {
            while let Some(from) = self.line.poll_event() {
                match &from.event {
                    PumpEvent::Snapshot(Snapshot { token, .. })
                    | PumpEvent::EndSeen { token, .. }
                    | PumpEvent::Ended { token, .. } => self.waiting.push(*token),
                    _ => {}
                }
                self.events.push(from.event);
                if self.storing {
                    self.store_all();
                }
            }
            let transmit = self.line.poll_transmit(self.now);
            while let Some(frame) = self.line.poll_trace() {
                match frame.bytes[..] {
                    _ if frame.verdict == Verdict::Sent => self.sent.push(frame.bytes),
                    [_, _, _, b'S', status, ..] if frame.verdict == Verdict::Good => self.status = Some(status),
                    _ => {}
                }
            }
            let Some(bytes) = transmit else { return };
            let lost = self.lose.as_mut().filter(|(letter, _, left)| bytes.get(3) == Some(letter) && *left > 0);
            let lost = lost.map(|(_, lose, left)| {
                *left -= 1;
                *lose
            });
            self.deaf = lost == Some(Lose::Answer);
            if lost != Some(Lose::Request) {
                self.wire.handle_bytes_from_controller(&bytes, self.now);
            }
        }
    }

    pub fn store(&mut self, token: Token) {
        self.line.handle_command(FP, PumpCommand::Stored(token), self.now);
        self.waiting.retain(|waiting| *waiting > token);
    }

    pub fn store_all(&mut self) {
        self.storing = true;
        for token in core::mem::take(&mut self.waiting) {
            self.store(token);
        }
    }

    pub fn act(&mut self, action: Action) {
        self.wire.act(DeviceId(0), action, self.now);
    }

    pub fn command(&mut self, command: PumpCommand) {
        self.line.handle_command(FP, command, self.now);
        self.settle();
    }

    /// Runs until something new is told that fits.
    pub fn until(&mut self, mut fits: impl FnMut(&PumpEvent) -> bool) {
        let from = self.events.len();
        for _ in 0..120_000 {
            if self.events[from.min(self.events.len())..].iter().any(&mut fits) {
                return;
            }
            self.run(Duration::from_millis(1));
        }
        panic!("not told; events since: {:#?}; frames: {}", &self.events[from..], self.words());
    }

    // ---- people and orders ----

    pub fn order(&mut self, release: u64, preset: Preset) {
        self.order_at(release, preset, PRICE);
    }

    pub fn order_at(&mut self, release: u64, preset: Preset, price: UnitPrice) {
        self.command(PumpCommand::Authorise(Authorise { release: ReleaseId(release), nozzle: NOZZLE, preset, price }));
    }

    /// The refusal of the last order, after some time; `None` where it was released.
    pub fn answer(&mut self) -> Option<Refusal> {
        self.run(Duration::from_secs(3));
        let answers = self.events.iter().filter_map(|event| match event {
            PumpEvent::Released { .. } => Some(None),
            PumpEvent::Refused { why, .. } => Some(Some(why.clone())),
            _ => None,
        });
        let [answer] = &answers.collect::<Vec<_>>()[..] else { panic!("not one answer: {:#?}", self.events) };
        answer.clone()
    }

    pub fn calling(&mut self) {
        self.act(Action::Lift(ONE));
        self.until(|event| matches!(event, PumpEvent::State { state: State::Calling, .. }));
    }

    /// Lifted, released, and fuel flows.
    pub fn fuelling(&mut self, release: u64, preset: Preset) {
        self.calling();
        self.order(release, preset);
        self.until(|event| matches!(event, PumpEvent::State { state: State::Fuelling, .. }));
    }

    /// A whole sale that its limit ends.
    pub fn sell(&mut self, release: u64, ml: i64) {
        self.fuelling(release, Preset::Volume(Volume::new(ml)));
        self.until(|event| matches!(event, PumpEvent::State { state: State::SuspendedFuelling, .. }));
        self.act(Action::HangUp);
        self.until(|event| matches!(event, PumpEvent::State { state: State::Idle, .. }));
        self.assert_sale_is_the_pumps();
    }

    // ---- what was seen ----

    pub fn post(&self) -> &dyn Dispenser {
        self.wire.device(DeviceId(0)).expect("the post")
    }

    /// As far as its condition tells, with 9 by what it takes to leave it.
    pub fn post_state(&self) -> Post {
        match (self.post().condition(), self.status) {
            (Condition::Idle, Some(b'9')) => Post::EndOfTransaction,
            (Condition::Idle, _) => Post::Idle,
            (other, _) => panic!("{other:?}"),
        }
    }

    pub fn wrongs(&self) -> Vec<Wrong> {
        self.post().violations().iter().map(|violation| violation.wrong).collect()
    }

    pub fn totaliser(&self) -> Option<Volume> {
        self.post().pump().totaliser(ONE, self.now)
    }

    pub fn forget_frames(&mut self) {
        self.sent.clear();
    }

    pub fn forget_events(&mut self) {
        self.events.clear();
    }

    /// What was sent, as hex.
    pub fn frames(&self) -> Vec<String> {
        let hex = |frame: &Vec<u8>| frame.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ");
        self.sent.iter().map(hex).collect()
    }

    /// What was sent, by letters; C with its nozzle.
    pub fn words(&self) -> String {
        let word = |frame: &Vec<u8>| match frame[3] {
            b'C' => format!("C{}", char::from(frame[4])),
            letter => char::from(letter).to_string(),
        };
        self.sent.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    pub fn snapshot(&self) -> Snapshot {
        let told = self.events.iter().rev().find_map(|event| match event {
            PumpEvent::Snapshot(snapshot) => Some(snapshot.clone()),
            _ => None,
        });
        told.expect("a snapshot")
    }

    /// The last end that was told.
    pub fn ended(&self) -> Option<(Reading, Option<Volume>)> {
        self.events.iter().rev().find_map(|event| match event {
            PumpEvent::Ended { reading, totaliser, .. } => Some((*reading, *totaliser)),
            _ => None,
        })
    }

    /// What was told last is what the post sold last; how much.
    pub fn assert_sale_is_the_pumps(&self) -> Volume {
        let (reading, totaliser) = self.ended().expect("an end");
        let sold = self.post().pump().fuellings().last().expect("a fuelling");
        assert_eq!((reading.volume, totaliser), (sold.volume, sold.totaliser_after));
        assert_eq!(reading.amount, Money::new(i64::from(sold.figures.amount.0)));
        reading.volume
    }
}
