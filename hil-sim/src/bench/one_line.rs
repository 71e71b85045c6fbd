//! The benches' station: one line with up to 32 dispensers of one nozzle each.

use super::Bench;
use super::physics::Physics;
use crate::dispenser::Condition;
use crate::platform::{Faults, OrderSpec};
use crate::prng::Prng;
use crate::rig::bus;
use crate::rig::plan::{DispenserPlan, GradePlan, LinePlan, NozzlePlan, Plan};
use crate::rig::pumps::Build;
use crate::rig::stage::{Setting, Stage};
use crate::serve::LineHandle;
use crate::wire::{Counters, DeviceId};
use anyhow::Context as _;
use forecourt::ids::{FuellingPointId, Grade, NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Currency, UnitPrice};
use pump_drivers::protocol::Protocol;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a dispenser's display is looked at.
const GLANCE: Duration = Duration::from_millis(10);
const PRICE: UnitPrice = UnitPrice::new(7_450_000);

/// A running one-line station.
#[derive(Debug)]
pub struct OneLine {
    /// The station.
    pub stage: Stage,
    /// Its only line.
    pub line: LineHandle,
    /// How fast it is.
    pub physics: Physics,
    /// Its nozzles; the nozzle's number is the device's place on the line, from 1.
    pub nozzles: Vec<NozzleId>,
    grade: Grade,
}

impl OneLine {
    /// Starts the station with this many dispensers, fuel flowing `speed` times as fast as at a forecourt.
    ///
    /// # Errors
    /// What could not be started, with what to do.
    pub async fn start(
        bench: &Bench,
        directory: &Path,
        protocol: Protocol,
        pumps: u8,
        speed: u32,
    ) -> anyhow::Result<Self> {
        let grade = Grade::new("92")?;
        let dispensers = (1..=pumps).map(|number| DispenserPlan {
            fuelling_point: FuellingPointId(number.into()),
            address: bus::address(protocol, number - 1).0,
            nozzles: vec![NozzlePlan { number: NozzleId(number.into()), grade: grade.clone() }],
        });
        let plan = Plan {
            station: "st-bench".into(),
            currency: Currency::CNY,
            directory: directory.to_owned(),
            grades: vec![GradePlan { code: grade.clone(), unit_price: PRICE }],
            lines: vec![LinePlan {
                protocol,
                name: "line".into(),
                port: directory.join("line").display().to_string(),
                dispensers: dispensers.collect(),
            }],
        };
        let setting = Setting {
            daemon: bench.daemon.clone(),
            build: Build::usual(speed, Prng::new(bench.seed)),
            faults: Faults::default(),
            extra_toml: String::new(),
        };
        let nozzles = plan.nozzles();
        let stage = Stage::start(plan, bench.broker.start(directory)?, &setting).await?;
        let line = stage.pumps.line(0).context("the only line")?;
        Ok(Self { stage, line, physics: Physics::of(protocol), nozzles, grade })
    }

    /// A prepaid order here.
    ///
    /// # Errors
    /// If the id breaks its rule.
    pub fn order(&self, id: String, nozzle: NozzleId, limit: Limit) -> anyhow::Result<OrderSpec> {
        Ok(OrderSpec::prepaid(OrderId::new(id)?, nozzle, self.grade.clone(), limit, PRICE, Currency::CNY))
    }

    /// The device of a nozzle.
    ///
    /// # Errors
    /// If there is no such nozzle.
    pub fn device(&self, nozzle: NozzleId) -> anyhow::Result<DeviceId> {
        Ok(self.stage.pumps.place(nozzle).with_context(|| format!("no nozzle {nozzle} here"))?.device)
    }

    /// Waits until fuel no longer flows at the nozzle's dispenser, the nozzle still out: its limit is reached, or it was stopped.
    ///
    /// # Errors
    /// If it has not within `limit`.
    pub async fn flow_ended(&self, nozzle: NozzleId, limit: Duration) -> anyhow::Result<()> {
        let (device, begun) = (self.device(nozzle)?, Instant::now());
        let ended = |condition| matches!(condition, Condition::Finished | Condition::Suspended);
        while !self.line.view(device).is_some_and(|view| ended(view.condition)) {
            anyhow::ensure!(begun.elapsed() < limit, "the flow at nozzle {nozzle} did not end within {limit:?}");
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// How many dispensers let fuel flow now.
    ///
    /// # Errors
    /// If the line is down.
    pub fn fuelling(&self) -> anyhow::Result<u64> {
        self.line
            .with(|wire, _| wire.devices().filter(|(_, device)| device.pump().is_flowing()).count() as u64)
            .context("the line is down")
    }

    /// Watches the line for a while.
    ///
    /// # Errors
    /// If the line is down.
    pub async fn observe(&self, time: Duration) -> anyhow::Result<Traffic> {
        let (before, begun) = (self.look()?, Instant::now());
        tokio::time::sleep(time).await;
        let (after, window) = (self.look()?, begun.elapsed());
        Ok(Traffic::between(&before, &after, window, self.physics))
    }

    fn look(&self) -> anyhow::Result<(Counters, Vec<u64>)> {
        let look = self.line.with(|wire, _| {
            (wire.counters(), wire.devices().map(|(_, device)| device.frames_heard()).collect::<Vec<_>>())
        });
        look.context("the line is down")
    }
}

/// What went over the line in a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// How long it was watched.
    pub window: Duration,
    /// Frames that each device heard.
    pub frames: Vec<u64>,
    /// Bytes both ways; an echo is counted once.
    pub bytes: u64,
    /// Answers.
    pub answers: u64,
    /// The least time in which the same bytes and answers can go over such a line.
    pub limit: Duration,
}

impl Traffic {
    fn between(
        before: &(Counters, Vec<u64>),
        after: &(Counters, Vec<u64>),
        window: Duration,
        physics: Physics,
    ) -> Self {
        let (was, is) = (&before.0, &after.0);
        let sent = is.bytes_from_controller - was.bytes_from_controller;
        let bytes = physics.bytes(sent, is.bytes_to_controller - was.bytes_to_controller);
        let answers = is.replies - was.replies;
        let frames = after.1.iter().zip(&before.1).map(|(after, before)| after - before).collect();
        Self { window, frames, bytes, answers, limit: physics.least(bytes, answers) }
    }

    /// Mean time between two frames to these devices, which for idle ones is the poll cycle. `None` if one heard none.
    #[must_use]
    pub fn cycle_of(&self, devices: impl IntoIterator<Item = usize>) -> Option<Duration> {
        let slowest = devices.into_iter().filter_map(|index| self.frames.get(index)).min()?;
        self.window.checked_div(u32::try_from(*slowest).ok()?)
    }

    /// Time on the wire that physics makes necessary, in tenths of a percent of the time watched.
    #[must_use]
    pub fn used_permille(&self) -> u64 {
        u64::try_from(self.limit.as_micros() * 1_000 / self.window.as_micros().max(1)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cycle_is_that_of_the_dispenser_that_is_asked_least() {
        let before = (Counters::default(), vec![10, 10]);
        let counters =
            Counters { bytes_from_controller: 480, bytes_to_controller: 480, replies: 160, ..Counters::default() };
        let physics = Physics::of(Protocol::Dart);
        let traffic = Traffic::between(&before, &(counters, vec![90, 50]), Duration::from_secs(2), physics);
        assert_eq!((traffic.limit, traffic.used_permille()), (physics.least(960, 160), 949));
        assert_eq!(traffic.cycle_of([0]), Some(Duration::from_millis(25)));
        assert_eq!(traffic.cycle_of([0, 1]), Some(Duration::from_millis(50)), "the slowest");
        assert_eq!(Traffic { frames: vec![0], ..traffic }.cycle_of([0]), None);
    }
}
