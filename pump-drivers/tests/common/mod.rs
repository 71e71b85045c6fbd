//! A wire with an invented clock: the real line and driver, and a small pump that follows the worked exchanges of the sheet.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod hearing;

use core::time::Duration;
use forecourt::ids::{FuellingPointId, NozzleId, ReleaseId};
use forecourt::pump::{Authorise, Preset, PumpCommand, PumpEvent, Token};
use forecourt::time::Instant;
use forecourt::units::{Currency, UnitPrice};
use pump_drivers::dart::frame::{Control, crc16, decode, encode_block, encode_short};
use pump_drivers::dart::message::{Command, ControllerSays, read_controller};
use pump_drivers::dart::{DartDriver, Habits};
use pump_drivers::decimals::Decimals;
use pump_drivers::driver::Driver;
use pump_drivers::head::HeadSettings;
use pump_drivers::line::{Line, LineSettings, Verdict};
use std::collections::{BTreeMap, VecDeque};

pub const FP: FuellingPointId = FuellingPointId(8);
pub const NOZZLE: NozzleId = NozzleId(81);

/// Prices of the worked exchanges: 10500 and 12400 so'm.
pub fn price(number: i64) -> UnitPrice {
    UnitPrice::new(number * 1_000_000)
}

pub fn uzs() -> Currency {
    Currency::from_code("UZS").expect("known")
}

/// The head of section 12: address 57, nozzles 1 and 2, decimals 2/0/0.
pub fn head() -> HeadSettings {
    head_at(8, 0x57)
}

pub fn head_at(fp: u16, address: u8) -> HeadSettings {
    let decimals = Decimals { volume: 2, price: 0, amount: 0, totals: 2 };
    HeadSettings::new(FuellingPointId(fp), address, decimals, uzs())
        .with_nozzle(1, NozzleId(fp * 10 + 1), price(10_500))
        .with_nozzle(2, NozzleId(fp * 10 + 2), price(12_400))
}

pub fn order(release: u64, preset: Preset) -> PumpCommand {
    PumpCommand::Authorise(Authorise { release: ReleaseId(release), nozzle: NOZZLE, preset, price: price(10_500) })
}

/// What a device does with a frame: the bytes that it answers.
pub trait Device {
    fn hear(&mut self, frame: &[u8]) -> Option<Vec<u8>>;
    fn turnaround(&self) -> Duration {
        Duration::from_millis(5)
    }
    fn pump(&mut self) -> Option<&mut Pump> {
        None
    }
}

/// A pump as in the worked exchanges.
pub struct Pump {
    pub address: u8,
    pub status: u8,
    pub nozio: u8,
    pub prices: Vec<[u8; 3]>,
    pub volume: u32,
    pub amount: u32,
    pub totals: u64,
    pub preset: Option<ControllerSays>,
    pub silent: bool,
    /// Frames that are not answered though executed, counted down.
    pub mute_answers: u32,
    /// The next AUTHORIZE is executed and its answer lost, and so many answers after it.
    pub mute_from_authorize: u32,
    /// Blocks with AUTHORIZE that get lost on the way, counted down.
    pub lost_authorizes: u32,
    pub ignores_authorize: bool,
    pub stays_authorised: bool,
    pub garbage_before: Vec<u8>,
    pub heard: Vec<Vec<ControllerSays>>,
    pub violations: Vec<String>,
    queue: VecDeque<Vec<u8>>,
    pending: Option<Vec<u8>>,
    tx: u8,
    last: Option<u8>,
    looked: bool,
    pub turnaround: Duration,
}

fn bcd(number: u64, bytes: usize) -> Vec<u8> {
    let digits = format!("{number:0width$}", width = bytes * 2);
    digits.as_bytes().chunks(2).map(|p| (p[0] - b'0') << 4 | (p[1] - b'0')).collect()
}

impl Pump {
    pub fn new(address: u8) -> Self {
        Self {
            address,
            status: 5,
            nozio: 1,
            prices: vec![[1, 5, 0], [1, 0x24, 0]],
            volume: 0,
            amount: 0,
            totals: 281_249,
            preset: None,
            silent: false,
            mute_answers: 0,
            mute_from_authorize: 0,
            lost_authorizes: 0,
            ignores_authorize: false,
            stays_authorised: false,
            garbage_before: Vec::new(),
            heard: Vec::new(),
            violations: Vec::new(),
            queue: VecDeque::new(),
            pending: None,
            tx: 0,
            last: None,
            looked: true,
            turnaround: Duration::from_millis(5),
        }
    }

    pub fn dc1(&self) -> Vec<u8> {
        vec![1, 1, self.status]
    }

    pub fn dc2(&self) -> Vec<u8> {
        [vec![2, 8], bcd(self.volume.into(), 4), bcd(self.amount.into(), 4)].concat()
    }

    pub fn dc3(&self) -> Vec<u8> {
        let nozzle = usize::from(self.nozio & 0x0F).max(1);
        [vec![3, 4], self.prices.get(nozzle - 1).unwrap_or(&[0; 3]).to_vec(), vec![self.nozio]].concat()
    }

    pub fn say(&mut self, body: Vec<u8>) {
        self.queue.push_back(body);
    }

    pub fn lift(&mut self, nozzle: u8) {
        self.nozio = nozzle | 0x10;
        let body = self.dc3();
        self.say(body);
    }

    pub fn flow(&mut self, volume: u32, amount: u32) {
        let mut body = Vec::new();
        if self.status == 2 {
            self.status = 4;
            body = self.dc1();
        }
        self.totals += u64::from(volume - self.volume);
        (self.volume, self.amount) = (volume, amount);
        body.extend(self.dc2());
        self.say(body);
    }

    pub fn hang(&mut self) {
        self.nozio &= 0x0F;
        let mut body = self.dc3();
        if matches!(self.status, 4 | 6) || self.status == 2 && !self.stays_authorised {
            self.status = 5;
            body = [self.dc2(), body, self.dc1()].concat();
        }
        self.say(body);
    }

    pub fn power_cycle(&mut self) {
        self.status = 0;
        self.tx = 0;
        self.pending = None;
        self.queue.clear();
        self.prices = vec![[0; 3]; 2];
        self.last = None;
        let body = [self.dc1(), self.dc3()].concat();
        self.say(body);
    }

    fn execute(&mut self, says: &[ControllerSays]) {
        let mut body = Vec::new();
        for transaction in says {
            match transaction {
                ControllerSays::Command(Command::ReturnStatus) => {
                    self.looked = true;
                    body.extend([self.dc1(), self.dc3()].concat());
                }
                ControllerSays::Command(Command::ReturnFilling) => body.extend([self.dc2(), self.dc3()].concat()),
                ControllerSays::Command(Command::Reset) if matches!(self.status, 5 | 6) => {
                    (self.volume, self.amount, self.preset) = (0, 0, None);
                    self.status = 1;
                    self.looked = true;
                    body.extend([self.dc2(), self.dc1(), self.dc3()].concat());
                }
                ControllerSays::Command(Command::Authorize) => {
                    if self.preset.is_none() {
                        self.violations.push("AUTHORIZE without preset".into());
                    }
                    if !self.looked {
                        self.violations.push("AUTHORIZE twice without a look".into());
                    }
                    self.looked = false;
                    if self.status == 1 && !self.ignores_authorize {
                        self.status = 2;
                        body.extend([self.dc1(), self.dc3()].concat());
                    }
                }
                ControllerSays::Command(Command::Stop) if matches!(self.status, 2 | 4) => {
                    self.status = 5;
                    body.extend([self.dc1(), self.dc2()].concat());
                }
                ControllerSays::PresetAmount(_) | ControllerSays::PresetVolume(_) => {
                    self.preset = Some(transaction.clone());
                }
                ControllerSays::Prices(prices) => {
                    self.prices = prices.iter().map(|digits| digits.0).collect();
                    if self.status == 0 {
                        self.status = 5;
                        body.extend([self.dc1(), self.dc3()].concat());
                    }
                }
                ControllerSays::Total { counter, .. } => {
                    let total = bcd(self.totals, 5);
                    body.extend([vec![0x65, 16, *counter], total.clone(), total, vec![0; 5]].concat());
                }
                _ => {}
            }
        }
        if !body.is_empty() {
            self.say(body);
        }
    }
}

impl Device for Pump {
    fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let frame = decode(bytes).ok().filter(|frame| frame.address == self.address)?;
        if self.silent {
            return None;
        }
        let authorizes = read_controller(&frame.body).contains(&ControllerSays::Command(Command::Authorize));
        if frame.control == Control::Data && authorizes && self.lost_authorizes > 0 {
            self.lost_authorizes -= 1;
            return None;
        }
        let answer = match frame.control {
            Control::Poll => {
                if self.pending.is_none()
                    && let Some(body) = self.queue.pop_front()
                {
                    self.pending = Some(encode_block(self.address, self.tx, &body).expect("short"));
                }
                self.pending.clone().unwrap_or_else(|| encode_short(self.address, Control::Eot, 0))
            }
            Control::Ack => {
                if self.pending.take().is_some() {
                    self.tx = if self.tx == 15 { 1 } else { self.tx + 1 };
                }
                return None;
            }
            Control::Data => {
                if self.last != Some(frame.tx) || frame.tx == 0 {
                    self.last = Some(frame.tx);
                    if authorizes {
                        self.mute_answers += core::mem::take(&mut self.mute_from_authorize);
                    }
                    let says = read_controller(&frame.body);
                    self.heard.push(says.clone());
                    self.execute(&says);
                }
                encode_short(self.address, Control::Ack, frame.tx)
            }
            _ => return None,
        };
        if self.mute_answers > 0 {
            self.mute_answers -= 1;
            return None;
        }
        Some([self.garbage_before.clone(), answer].concat())
    }

    fn turnaround(&self) -> Duration {
        self.turnaround
    }

    fn pump(&mut self) -> Option<&mut Pump> {
        Some(self)
    }
}

/// When the stub of a core says that something is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Storing {
    AtOnce,
    After(Duration),
    Never,
}

pub struct World {
    pub line: Line,
    pub now: Instant,
    pub devices: Vec<Box<dyn Device>>,
    pub settings: LineSettings,
    pub events: Vec<(Instant, FuellingPointId, PumpEvent)>,
    /// Frames with direction as printed in the sheet.
    pub trace: Vec<(Instant, Verdict, Vec<u8>)>,
    pub storing: Storing,
    /// Bytes on their way to the line.
    inbound: BTreeMap<(Instant, u64), u8>,
    serial: u64,
    stores: BTreeMap<(Instant, u64), (FuellingPointId, Token)>,
    wire: Instant,
}

pub fn dart(head: HeadSettings, habits: Habits) -> Box<dyn Driver> {
    Box::new(DartDriver::new(head, habits))
}

pub fn fast() -> LineSettings {
    LineSettings { pause_before_send: Duration::ZERO, ..LineSettings::default() }
}

impl World {
    pub fn new(settings: LineSettings, heads: Vec<HeadSettings>, devices: Vec<Box<dyn Device>>) -> Self {
        let drivers = heads.into_iter().map(|head| dart(head, Habits::default())).collect();
        Self::with_drivers(settings, drivers, devices)
    }

    /// A line with drivers of any protocol, its port just opened.
    pub fn with_drivers(settings: LineSettings, drivers: Vec<Box<dyn Driver>>, devices: Vec<Box<dyn Device>>) -> Self {
        let mut line = Line::new(settings, drivers);
        line.handle_link(true, Instant::START);
        Self {
            line,
            now: Instant::START,
            devices,
            settings,
            events: Vec::new(),
            trace: Vec::new(),
            storing: Storing::AtOnce,
            inbound: BTreeMap::new(),
            serial: 0,
            stores: BTreeMap::new(),
            wire: Instant::START,
        }
    }

    /// One pump at address 57, read in and idle.
    pub fn one() -> Self {
        let mut world = Self::new(fast(), vec![head()], vec![Box::new(Pump::new(0x57))]);
        world.run(Duration::from_millis(600));
        world
    }

    pub fn pump(&mut self) -> &mut Pump {
        self.devices[0].pump().expect("a pump")
    }

    pub fn command(&mut self, command: PumpCommand) {
        self.line.handle_command(FP, command, self.now);
        self.settle();
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        let mut steps = 0_u64;
        loop {
            let due = [
                self.line.poll_timeout().map(|(due, _)| due),
                self.inbound.keys().next().map(|(at, _)| *at),
                self.stores.keys().next().map(|(at, _)| *at),
            ];
            let Some(next) = due.into_iter().flatten().min().filter(|next| *next <= end) else { break };
            let still = next <= self.now;
            self.now = self.now.max(next);
            while let Some(entry) = self.inbound.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let byte = entry.remove();
                self.line.handle_bytes(&[byte], self.now);
            }
            while let Some(entry) = self.stores.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (fp, token) = entry.remove();
                self.line.handle_command(fp, PumpCommand::Stored(token), self.now);
            }
            self.line.handle_timeout(self.now);
            self.settle();
            steps = if still { steps + 1 } else { 0 };
            assert!(steps < 1_000, "time stands still at {:?}: {:?}", self.now, self.line.poll_timeout());
        }
        self.now = self.now.max(end);
    }

    /// Runs until an event fits.
    pub fn until(&mut self, what: &str, mut fits: impl FnMut(&PumpEvent) -> bool) -> Instant {
        let from = self.events.len();
        for _ in 0..20_000 {
            if let Some((at, _, _)) = self.events[from..].iter().find(|(_, _, event)| fits(event)) {
                return *at;
            }
            self.run(Duration::from_millis(1));
        }
        panic!("no {what}; events since: {:#?}", &self.events[from..]);
    }

    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(from) = self.line.poll_event() {
                moved = true;
                let token = match &from.event {
                    PumpEvent::Snapshot(snapshot) => Some(snapshot.token),
                    PumpEvent::EndSeen { token, .. } | PumpEvent::Ended { token, .. } => Some(*token),
                    _ => None,
                };
                if let Some(token) = token {
                    self.serial += 1;
                    match self.storing {
                        Storing::AtOnce => {
                            self.line.handle_command(from.fp, PumpCommand::Stored(token), self.now);
                        }
                        Storing::After(time) => {
                            self.stores.insert((self.now + time, self.serial), (from.fp, token));
                        }
                        Storing::Never => {}
                    }
                }
                self.events.push((self.now, from.fp, from.event));
            }
            while let Some(frame) = self.line.poll_trace() {
                self.trace.push((frame.at, frame.verdict, frame.bytes));
            }
            if let Some(bytes) = self.line.poll_transmit(self.now) {
                moved = true;
                self.send(&bytes);
            }
            if !moved {
                break;
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let sent = self.wire.max(self.now) + self.settings.wire_time(bytes.len());
        self.wire = sent;
        for device in &mut self.devices {
            let Some(answer) = device.hear(bytes) else { continue };
            let begins = sent + device.turnaround();
            for (at, byte) in answer.into_iter().enumerate() {
                self.serial += 1;
                self.inbound.insert((begins + self.settings.wire_time(at + 1), self.serial), byte);
            }
        }
    }

    /// All events of a kind, in order, without time.
    pub fn told(&self) -> Vec<PumpEvent> {
        self.events.iter().map(|(_, _, event)| event.clone()).collect()
    }

    /// Transactions that the first pump heard.
    pub fn heard(&mut self) -> Vec<Vec<ControllerSays>> {
        self.pump().heard.clone()
    }
}

pub fn hex(text: &str) -> Vec<u8> {
    text.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("hex")).collect()
}

/// The frames of the sheet are whole: their checksum fits.
pub fn assert_whole(bytes: &[u8]) {
    assert!(bytes.len() == 3 || crc16(&bytes[..bytes.len() - 2]) == 0 || bytes.contains(&0x10), "{bytes:02X?}");
}
