//! The station of a day: 24 nozzles at 12 fuelling points on three lines, as laid out, configured and simulated.

use crate::dispenser::flow::FlowProfile;
use crate::dispenser::record::Fuelling;
use crate::dispenser::{Address, NozzleIndex};
use crate::prng::Prng;
use crate::rig::bus;
use crate::rig::plan::{DispenserPlan, GradePlan, LinePlan, NozzlePlan, Plan};
use crate::rig::pumps::{Build, dispenser_of};
use crate::wire::{DeviceId, Wire, WireConfig};
use anyhow::Context as _;
use edge_daemon::config::{self, Config};
use forecourt::ids::{FuellingPointId, Grade, NozzleId};
use forecourt::units::{Currency, UnitPrice, Volume};
use pump_drivers::protocol::Protocol;
use std::collections::BTreeMap;
use std::path::Path;

/// Wires.
const LINES: u16 = 3;
/// Fuelling points on each.
const POINTS_PER_LINE: u16 = 4;

/// What the lines of a day speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Speaks {
    /// All the same.
    Only(Protocol),
    /// Each line its own, drawn from the seed.
    Drawn,
}

impl Speaks {
    /// What is drawn from. One more here changes what the lines of a seed speak; so each line of `tests/seeds.txt` says it.
    const DRAWN: [Protocol; 4] = [Protocol::Dart, Protocol::GasKitLink, Protocol::Modbus, Protocol::TwoWire];

    fn draw(self, prng: &Prng) -> Vec<Protocol> {
        let mut chance = prng.fork("protocols");
        let draw = |_| match self {
            Self::Only(protocol) => protocol,
            Self::Drawn => {
                let nth = chance.below(Self::DRAWN.len().try_into().unwrap_or(1));
                Self::DRAWN[usize::try_from(nth).unwrap_or(0)]
            }
        };
        (0..LINES).map(draw).collect()
    }
}

/// Where a nozzle is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Index of the line.
    pub line: usize,
    /// Device on it.
    pub device: DeviceId,
    /// Nozzle of the device.
    pub index: NozzleIndex,
}

/// What was laid out once and never changes in a day.
#[derive(Debug)]
pub struct Station {
    /// As planned.
    pub plan: Plan,
    /// As the daemon reads it.
    pub config: Config,
    /// Every nozzle.
    pub places: BTreeMap<NozzleId, Place>,
    /// Every fuelling point: its line and device.
    pub points: BTreeMap<FuellingPointId, (usize, DeviceId)>,
}

impl Station {
    /// Writes the configuration into a directory, reads it as the daemon does, and builds the wires with their dispensers.
    ///
    /// # Errors
    /// If the directory cannot be used, or the configuration is refused.
    pub fn build(directory: &Path, prng: &Prng, speaks: Speaks, echo: bool) -> anyhow::Result<(Self, Vec<Wire>)> {
        let plan = plan(directory, &speaks.draw(prng))?;
        let file = plan.config_file();
        // These heads want the usual quiet before a frame; demo and bench run without it.
        let adapter = if echo { "echo = \"strip\"\npause-before-send-ms = 20" } else { "pause-before-send-ms = 20" };
        let text = plan.toml("mqtt://127.0.0.1:1883", "").replace("pause-before-send-ms = 0", adapter);
        // Whether an adapter returns what is sent is drawn for the day.
        let text = text.replace(&format!("{}\n{adapter}", bus::STRIPS_ECHO), adapter);
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        let (config, _) = config::load(&file).context("the configuration of the simulated station")?;
        let build = Build { flow: FlowProfile::default(), ..Build::usual(1, prng.fork("dispensers")) };
        let (mut wires, mut places, mut points) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (line, planned) in plan.lines.iter().enumerate() {
            let mut chance = build.prng.fork(&planned.name);
            let pace = bus::pace(planned.protocol, None);
            let mut wire = Wire::new(
                WireConfig { echo, pace, checks_parity: bus::checks_parity(planned.protocol), ..WireConfig::clean() },
                &chance,
            );
            for dispenser in &planned.dispensers {
                let nozzles =
                    dispenser.nozzles.iter().map(|nozzle| (nozzle.grade.clone(), plan.price_of(&nozzle.grade)));
                let made = dispenser_of(planned.protocol, Address(dispenser.address), nozzles, &build, &mut chance);
                let device = wire.connect(made);
                points.insert(dispenser.fuelling_point, (line, device));
                for (index, nozzle) in (1..).map(NozzleIndex).zip(&dispenser.nozzles) {
                    places.insert(nozzle.number, Place { line, device, index });
                }
            }
            wires.push(wire);
        }
        Ok((Self { plan, config, places, points }, wires))
    }

    /// What a nozzle sells, and for how much.
    ///
    /// # Panics
    /// For a nozzle that is not here.
    #[must_use]
    pub fn sells(&self, nozzle: NozzleId) -> (Grade, UnitPrice) {
        let grade = self.plan.grade_of(nozzle).expect("a nozzle of the plan").clone();
        let price = self.plan.price_of(&grade).expect("a grade of the plan");
        (grade, price)
    }

    /// Where each totaliser stands.
    #[must_use]
    pub fn totalisers(&self, wires: &[&Wire], now: forecourt::time::Instant) -> BTreeMap<NozzleId, Volume> {
        let read = |place: &Place| wires[place.line].device(place.device)?.pump().totaliser(place.index, now);
        self.places.iter().filter_map(|(nozzle, place)| Some((*nozzle, read(place)?))).collect()
    }

    /// Every fuelling at a nozzle in which fuel flowed, oldest first.
    pub fn fuellings<'a>(&self, wires: &[&'a Wire], nozzle: NozzleId) -> impl Iterator<Item = &'a Fuelling> {
        let place = self.places.get(&nozzle).copied();
        let device = place.and_then(|place| Some((place.index, wires[place.line].device(place.device)?)));
        device.into_iter().flat_map(|(index, device)| {
            let mine = move |fuelling: &&Fuelling| fuelling.nozzle == Some(index) && fuelling.volume.is_positive();
            device.pump().fuellings().iter().filter(mine)
        })
    }
}

fn plan(directory: &Path, protocols: &[Protocol]) -> anyhow::Result<Plan> {
    let grades = [("92", 7_450_000), ("95", 7_960_000), ("0", 7_120_000)];
    let grades = grades
        .into_iter()
        .map(|(code, micros)| Ok(GradePlan { code: Grade::new(code)?, unit_price: UnitPrice::new(micros) }))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let dispenser = |protocol, fp: u16| DispenserPlan {
        fuelling_point: FuellingPointId(fp),
        address: bus::address(protocol, u8::try_from((fp - 1) % POINTS_PER_LINE).unwrap_or(0)).0,
        nozzles: (0..2)
            .map(|side| NozzlePlan {
                number: NozzleId(fp * 2 - 1 + side),
                grade: grades[usize::from(fp + side) % grades.len()].code.clone(),
            })
            .collect(),
    };
    let lines = (0..).zip(protocols).map(|(line, protocol)| LinePlan {
        name: format!("line-{}", line + 1),
        port: directory.join(format!("line-{}", line + 1)).display().to_string(),
        protocol: *protocol,
        dispensers: (1..=POINTS_PER_LINE).map(|fp| dispenser(*protocol, line * POINTS_PER_LINE + fp)).collect(),
    });
    let lines = lines.collect();
    Ok(Plan { station: "st-sim".into(), currency: Currency::CNY, directory: directory.into(), grades, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_seeds_draw_every_protocol() {
        let drawn: Vec<Protocol> = (1..=20).flat_map(|seed| Speaks::Drawn.draw(&Prng::new(seed))).collect();
        assert!(Protocol::ALL.iter().all(|(_, protocol)| drawn.contains(protocol)), "{drawn:?}");
    }
}
