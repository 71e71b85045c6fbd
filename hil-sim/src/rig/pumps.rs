//! The simulated dispensers of a planned station, served on ptys.

use super::bus;
use super::plan::Plan;
use crate::dispenser::calculator::{Decimals, PriceDigits};
use crate::dispenser::flow::{FlowProfile, FlowRate};
use crate::dispenser::modbus::frame::Framing;
use crate::dispenser::modbus::retrofit::{Retrofit, RetrofitConfig};
use crate::dispenser::physics::{NozzleConfig, PumpConfig};
use crate::dispenser::record::Fuelling;
use crate::dispenser::{Action, Address, Dispenser, NozzleIndex, View};
use crate::prng::Prng;
use crate::serve::{Endpoint, Epoch, LineHandle, ServeFault, Served};
use crate::wire::{DeviceId, Wire, WireConfig};
use core::time::Duration;
use forecourt::ids::{FuellingPointId, Grade, NozzleId};
use forecourt::units::{Money, UnitPrice, Volume};
use pump_drivers::protocol::Protocol;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Decimals of every head here, as [`Plan::toml`] tells the daemon.
pub const DECIMALS: Decimals = Decimals::TWO;

/// From the unit of a pulse counter to that of its board.
pub const BOARD: u8 = 16;

/// How the dispensers are built.
#[derive(Clone, Debug)]
pub struct Build {
    /// Bits a second of every line, if not as usual for what it speaks.
    pub baud: Option<u32>,
    /// From the last bit heard to the first bit sent, if not as usual.
    pub turnaround: Option<Duration>,
    /// How Modbus dispensers frame.
    pub framing: Framing,
    /// Hydraulics.
    pub flow: FlowProfile,
    /// Of noise and totalisers.
    pub prng: Prng,
}

impl Build {
    /// Real pacing and turnaround, a forecourt pump's flow made `speed` times as fast.
    #[must_use]
    pub fn usual(speed: u32, prng: Prng) -> Self {
        Self { baud: None, turnaround: None, framing: Framing::Rtu, flow: faster(speed), prng }
    }
}

/// A forecourt pump whose fuel flows `speed` times as fast, near a limit too. Its motor takes its time as ever.
fn faster(speed: u32) -> FlowProfile {
    let usual = FlowProfile::default();
    let times = |rate: FlowRate| FlowRate(rate.0.saturating_mul(speed));
    FlowProfile { full: times(usual.full), slow: times(usual.slow), ..usual }
}

/// Where a nozzle is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Index of the line in the plan.
    pub line: usize,
    /// Device on it.
    pub device: DeviceId,
    /// Nozzle of the device.
    pub index: NozzleIndex,
    /// Where its customer stands.
    pub fuelling_point: FuellingPointId,
}

/// Served dispensers. Dropping them takes the lines down.
#[derive(Debug)]
pub struct Pumps {
    served: Vec<Served>,
    places: BTreeMap<NozzleId, Place>,
    epoch: Epoch,
}

impl Pumps {
    /// Builds and serves every line of a plan on a pty linked at the line's port.
    ///
    /// # Errors
    /// [`ServeFault`] if a pty cannot be made or linked.
    pub fn serve(plan: &Plan, build: &Build) -> Result<Self, ServeFault> {
        let epoch = Epoch::start();
        let (mut served, mut places) = (Vec::new(), BTreeMap::new());
        for (line_index, line) in plan.lines.iter().enumerate() {
            let endpoint = Endpoint::Pty { link: PathBuf::from(&line.port) };
            let pace = endpoint.pace(bus::pace(line.protocol, build.baud));
            let config = WireConfig { pace, echo: bus::echoes(line.protocol), ..WireConfig::clean() };
            let mut prng = build.prng.fork(&line.name);
            let mut wire = Wire::new(config, &prng);
            for dispenser in &line.dispensers {
                let nozzles = dispenser.nozzles.iter();
                let nozzles = nozzles.map(|nozzle| (nozzle.grade.clone(), plan.price_of(&nozzle.grade)));
                let made = dispenser_of(line.protocol, Address(dispenser.address), nozzles, build, &mut prng);
                let device = wire.connect(made);
                for (index, nozzle) in (1..).map(NozzleIndex).zip(&dispenser.nozzles) {
                    let fuelling_point = dispenser.fuelling_point;
                    places.insert(nozzle.number, Place { line: line_index, device, index, fuelling_point });
                }
            }
            served.push(Served::start(wire, &endpoint, epoch, None)?);
        }
        Ok(Self { served, places, epoch })
    }

    /// The clock of all lines.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A handle to a line, by its place in the plan.
    #[must_use]
    pub fn line(&self, index: usize) -> Option<LineHandle> {
        self.served.get(index).map(Served::handle)
    }

    /// Where a nozzle is. `None` if the plan has no such nozzle.
    #[must_use]
    pub fn place(&self, nozzle: NozzleId) -> Option<Place> {
        self.places.get(&nozzle).copied()
    }

    /// Every nozzle with its place, by number.
    pub fn places(&self) -> impl Iterator<Item = (NozzleId, Place)> {
        self.places.iter().map(|(nozzle, place)| (*nozzle, *place))
    }

    /// Takes a nozzle out and squeezes it.
    pub fn lift(&self, nozzle: NozzleId) {
        self.act(nozzle, |place| Action::Lift(place.index));
    }

    /// Hangs up whatever is out at the nozzle's dispenser.
    pub fn hang_up(&self, nozzle: NozzleId) {
        self.act(nozzle, |_| Action::HangUp);
    }

    fn act(&self, nozzle: NozzleId, action: impl FnOnce(Place) -> Action) {
        if let Some(place) = self.place(nozzle)
            && let Some(line) = self.line(place.line)
        {
            line.act(place.device, action(place));
        }
    }

    /// What a customer sees of the nozzle's dispenser.
    #[must_use]
    pub fn view(&self, nozzle: NozzleId) -> Option<View> {
        let place = self.place(nozzle)?;
        self.line(place.line)?.view(place.device)
    }

    /// The display of the nozzle's dispenser in our units.
    #[must_use]
    pub fn shown(&self, view: &View) -> (Volume, Money) {
        (DECIMALS.volume(view.figures.volume), Money::new(i64::from(view.figures.amount.0)))
    }

    /// Every fuelling at this nozzle in which fuel flowed, oldest first: volume and amount as the head showed them.
    #[must_use]
    pub fn fuellings(&self, nozzle: NozzleId) -> Vec<Fuelling> {
        let Some(place) = self.place(nozzle) else { return Vec::new() };
        let all = self.line(place.line).map(|line| line.fuellings(place.device)).unwrap_or_default();
        all.into_iter()
            .filter(|fuelling| fuelling.nozzle == Some(place.index) && fuelling.volume.is_positive())
            .collect()
    }

    /// The nozzle's totaliser now.
    #[must_use]
    pub fn totaliser(&self, nozzle: NozzleId) -> Option<Volume> {
        let place = self.place(nozzle)?;
        self.line(place.line)?.totalisers(place.device)?.volume_ml.get(&place.index).copied()
    }

    /// What the daemon did wrong at any dispenser, in words.
    #[must_use]
    pub fn wrongs(&self) -> Vec<String> {
        let mut devices: Vec<(usize, DeviceId, FuellingPointId)> =
            self.places.values().map(|place| (place.line, place.device, place.fuelling_point)).collect();
        devices.sort_unstable();
        devices.dedup();
        let told = |(line, device, fp): (usize, DeviceId, FuellingPointId)| {
            let wrongs = self.line(line).map(|line| line.violations(device)).unwrap_or_default();
            wrongs
                .into_iter()
                .map(move |wrong| format!("fuelling point {fp}: {:?} by frame {:02x?}", wrong.wrong, wrong.frame))
        };
        devices.into_iter().flat_map(told).collect()
    }
}

/// A dispenser of the common kind: each nozzle with its grade and the price in the head, if any.
pub fn dispenser_of(
    protocol: Protocol,
    address: Address,
    nozzles: impl Iterator<Item = (Grade, Option<UnitPrice>)>,
    build: &Build,
    prng: &mut Prng,
) -> Box<dyn Dispenser> {
    let pump = pump_of(nozzles, build, prng);
    bus::dispenser(protocol, address, build.turnaround.unwrap_or(bus::turnaround(protocol)), build.framing, pump)
}

/// A pulse counter and, sixteen units further, a board with the valve's relay, instead of a Modbus dispenser.
pub fn retrofit_of(
    counter: Address,
    nozzles: impl Iterator<Item = (Grade, Option<UnitPrice>)>,
    build: &Build,
    prng: &mut Prng,
) -> Box<dyn Dispenser> {
    let pump = pump_of(nozzles, build, prng);
    Box::new(Retrofit::new(RetrofitConfig {
        counter,
        board: counter.0 + BOARD,
        turnaround: build.turnaround.unwrap_or(bus::turnaround(Protocol::Modbus)),
        framing: build.framing,
        forgets_count: false,
        sticks: false,
        pump,
    }))
}

fn pump_of(nozzles: impl Iterator<Item = (Grade, Option<UnitPrice>)>, build: &Build, prng: &mut Prng) -> PumpConfig {
    let nozzles = nozzles.map(|(grade, price)| NozzleConfig {
        grade,
        price: price.map(price_digits),
        // Whole steps of the meter, as after years of work; no two alike.
        totaliser: Volume::new(i64::try_from(prng.below(90_000_000)).unwrap_or(0) * 10),
    });
    PumpConfig {
        nozzles: nozzles.collect(),
        decimals: DECIMALS,
        flow: build.flow,
        keeps_sale: true,
        keeps_prices: true,
    }
}

/// A price as heads with two decimals show it.
fn price_digits(price: UnitPrice) -> PriceDigits {
    PriceDigits(u32::try_from(price.get() / 10_000).unwrap_or(0))
}
