//! `bench bystanders`: a station with a bus of each protocol; one of them dies, babbles or is unplugged, and the poll cycles of the others
//! are compared with those of looks just before and just after, with all well. Looks alternate so that other work on the machine cancels.

use super::calibration;
use super::stats::ms;
use super::{Bench, Figures, Tables};
use crate::dispenser::physics::{Pump, PumpConfig, Totalisers};
use crate::dispenser::record::{Moment, Violation};
use crate::dispenser::{Action, Address, Condition, Dispenser, Transmission};
use crate::platform::Faults;
use crate::prng::Prng;
use crate::rig::bus;
use crate::rig::plan::{DispenserPlan, GradePlan, LinePlan, NozzlePlan, Plan};
use crate::rig::pumps::{Build, DECIMALS};
use crate::rig::stage::{Setting, Stage};
use crate::rig::table::Table;
use crate::serve::LineHandle;
use crate::wire::DeviceId;
use anyhow::{Context as _, ensure};
use core::time::Duration;
use forecourt::ids::{FuellingPointId, Grade, NozzleId};
use forecourt::time::Instant;
use forecourt::units::{Currency, UnitPrice};
use pump_drivers::protocol::Protocol;
use serde::Serialize;
use std::path::Path;

/// Dispensers of each bus.
const PUMPS: u8 = 4;
const PRICE: UnitPrice = UnitPrice::new(7_450_000);
/// Noise of a babbler is made in bursts of so many characters, one after the other without a gap.
const BURST: u64 = 16;
/// For a bus to be as before, once its fault is over.
const HEALED: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_secs(1);
/// A change of less than this is asked for, in tenths of a percent.
const BUDGET_PERMILLE: u64 = 50;

/// What happens to a bus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// All its dispensers fall silent.
    Dead,
    /// Something on it talks without end.
    Babbling,
    /// Its adapter is pulled out.
    Unplugged,
}

impl Fault {
    const ALL: [Self; 3] = [Self::Dead, Self::Babbling, Self::Unplugged];

    const fn word(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Babbling => "babbling",
            Self::Unplugged => "unplugged",
        }
    }
}

/// One healthy bus beside one that is not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Beside {
    /// Which bus had the fault.
    pub faulty: &'static str,
    /// Which one.
    pub fault: &'static str,
    /// The bus that was watched.
    pub watched: &'static str,
    /// Its cycle with all well, in microseconds; median of the looks.
    pub well_us: u64,
    /// Its cycle beside the fault; median of the looks.
    pub beside_us: u64,
    /// The second by the first, in tenths of a percent: the median of the ratios of each look to those before and after it.
    pub ratio_permille: u64,
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Bystanders {
    /// One row for each faulty bus, fault and healthy bus.
    pub rows: Vec<Beside>,
    /// Looks at each fault.
    pub rounds: u32,
    /// Seconds of each look.
    pub seconds: u32,
}

/// Cycles of all buses in one look, in the order of [`Protocol::ALL`]; `None` for one that nobody polled.
type Look = [Option<Duration>; Protocol::ALL.len()];

/// Measures every fault at every bus.
///
/// # Errors
/// What could not be started or went wrong.
pub async fn run(bench: &Bench, directory: &Path, seconds: u32, rounds: u32) -> anyhow::Result<Figures<Bystanders>> {
    let calibration = calibration::measure(directory).await?;
    let setting = Setting {
        daemon: bench.daemon.clone(),
        build: Build::usual(1, Prng::new(bench.seed)),
        faults: Faults::default(),
        extra_toml: String::new(),
    };
    let stage = Stage::start(plan(directory)?, bench.broker.start(directory)?, &setting).await?;
    let broker = stage.broker.kind();
    let lines: Vec<LineHandle> = (0..Protocol::ALL.len()).filter_map(|index| stage.pumps.line(index)).collect();
    let babblers = lines.iter().zip(Protocol::ALL).map(|(line, (word, protocol))| {
        let babbler = Babbler::new(protocol, Prng::new(bench.seed).fork(word));
        line.with(move |wire, _| wire.connect(Box::new(babbler)))
    });
    let babblers: Vec<DeviceId> = babblers.collect::<Option<_>>().context("a line is down")?;
    let window = Duration::from_secs(seconds.into());
    let mut rows = Vec::new();
    for (faulty, (word, _)) in Protocol::ALL.into_iter().enumerate() {
        for fault in Fault::ALL {
            eprintln!("{word} {}", fault.word());
            let mut looks: Vec<(Look, Look, Look)> = Vec::new();
            healed(&lines).await?;
            let mut before = look(&lines, window).await?;
            for _ in 0..rounds {
                put(&lines[faulty], babblers[faulty], fault, true)?;
                let beside = look(&lines, window).await?;
                put(&lines[faulty], babblers[faulty], fault, false)?;
                healed(&lines).await?;
                let after = look(&lines, window).await?;
                looks.push((before, beside, after));
                before = after;
            }
            for (watched, (name, _)) in Protocol::ALL.into_iter().enumerate().filter(|(index, _)| *index != faulty) {
                rows.push(
                    compare(&looks, watched, (word, fault.word(), name)).context("a healthy bus was not polled")?,
                );
            }
        }
    }
    stage.stop().await?;
    Ok(Figures { calibration, broker, figures: Bystanders { rows, rounds, seconds } })
}

fn plan(directory: &Path) -> anyhow::Result<Plan> {
    let grade = Grade::new("92")?;
    let lines = (0..).zip(Protocol::ALL).map(|(line, (word, protocol))| {
        let dispensers = (0..PUMPS).map(|nth| {
            let number = line * u16::from(PUMPS) + u16::from(nth) + 1;
            DispenserPlan {
                fuelling_point: FuellingPointId(number),
                address: bus::address(protocol, nth).0,
                nozzles: vec![NozzlePlan { number: NozzleId(number), grade: grade.clone() }],
            }
        });
        LinePlan {
            name: word.into(),
            port: directory.join(word).display().to_string(),
            protocol,
            dispensers: dispensers.collect(),
        }
    });
    Ok(Plan {
        station: "st-bench".into(),
        currency: Currency::CNY,
        directory: directory.to_owned(),
        grades: vec![GradePlan { code: grade.clone(), unit_price: PRICE }],
        lines: lines.collect(),
    })
}

fn put(line: &LineHandle, babbler: DeviceId, fault: Fault, on: bool) -> anyhow::Result<()> {
    match fault {
        Fault::Dead => (0..usize::from(PUMPS)).for_each(|index| line.unplug(DeviceId(index), on)),
        Fault::Babbling => line.act(babbler, Action::Power(on)),
        Fault::Unplugged if on => line.pull_out()?,
        Fault::Unplugged => line.put_back()?,
    }
    Ok(())
}

/// Frames that each dispenser of a line has heard.
fn frames(line: &LineHandle) -> anyhow::Result<Vec<u64>> {
    let heard = line
        .with(|wire, _| wire.devices().take(PUMPS.into()).map(|(_, device)| device.frames_heard()).collect::<Vec<_>>());
    heard.context("a line is down")
}

/// Waits until every dispenser of every line is polled again, and then a little.
async fn healed(lines: &[LineHandle]) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let before: Vec<_> = lines.iter().map(frames).collect::<anyhow::Result<_>>()?;
        tokio::time::sleep(GLANCE).await;
        let after: Vec<_> = lines.iter().map(frames).collect::<anyhow::Result<_>>()?;
        if before.iter().flatten().zip(after.iter().flatten()).all(|(was, is)| is - was > 1) {
            return Ok(());
        }
        ensure!(begun.elapsed() < HEALED, "a bus is not as before {HEALED:?} after its fault");
    }
}

/// The mean poll cycle of each bus over a while.
async fn look(lines: &[LineHandle], window: Duration) -> anyhow::Result<Look> {
    let mut found = Look::default();
    let mut before = Vec::new();
    for line in lines {
        before.push((std::time::Instant::now(), frames(line)?));
    }
    tokio::time::sleep(window).await;
    for ((cycle, line), (begun, was)) in found.iter_mut().zip(lines).zip(before) {
        let (passed, is) = (begun.elapsed(), frames(line)?);
        let heard: u64 = is.iter().zip(&was).map(|(is, was)| is - was).sum();
        *cycle = u32::try_from(heard).ok().and_then(|heard| (passed * PUMPS.into()).checked_div(heard));
    }
    Ok(found)
}

fn compare(
    looks: &[(Look, Look, Look)],
    watched: usize,
    (faulty, fault, name): (&'static str, &'static str, &'static str),
) -> Option<Beside> {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (mut well, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for (before, during, after) in looks {
        let around = micros((before[watched]? + after[watched]?) / 2);
        let during = micros(during[watched]?);
        well.push(around);
        beside.push(during);
        ratios.push((during * 1_000 + around / 2) / around.max(1));
    }
    let median = |mut all: Vec<u64>| {
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    };
    Some(Beside {
        faulty,
        fault,
        watched: name,
        well_us: median(well)?,
        beside_us: median(beside)?,
        ratio_permille: median(ratios)?,
    })
}

impl Tables for Bystanders {
    fn tables(&self) -> Vec<(String, Table)> {
        let mut table = Table::new(["faulty bus", "watched bus", "cycle, all well ms", "beside the fault ms", "ratio"]);
        for row in &self.rows {
            let ratio = row.ratio_permille;
            let verdict = if ratio < 1_000 + BUDGET_PERMILLE { "" } else { " TOO MUCH" };
            table.row([
                format!("{} {}", row.faulty, row.fault),
                row.watched.to_owned(),
                ms(row.well_us),
                ms(row.beside_us),
                format!("{}.{:03}{verdict}", ratio / 1_000, ratio % 1_000),
            ]);
        }
        let heading = format!(
            "Poll cycles beside a faulty bus, {PUMPS} dispensers on each; medians of {} looks of {} s, each between two with all well",
            self.rounds, self.seconds
        );
        vec![(heading, table)]
    }
}

/// Something on a line that talks without end while it has power.
struct Babbler {
    pump: Pump,
    character: Duration,
    chance: Prng,
    talks: bool,
    next: Instant,
    outgoing: Option<Transmission>,
}

impl Babbler {
    fn new(protocol: Protocol, chance: Prng) -> Self {
        let flow = Build::usual(1, chance.clone()).flow;
        let pump = PumpConfig { nozzles: Vec::new(), decimals: DECIMALS, flow, keeps_sale: true, keeps_prices: true };
        Self {
            pump: Pump::new(pump),
            character: bus::pace(protocol, None).character(),
            chance,
            talks: false,
            next: Instant::START,
            outgoing: None,
        }
    }
}

impl Dispenser for Babbler {
    fn address(&self) -> Address {
        Address(0)
    }

    fn handle_byte(&mut self, _byte: u8, _now: Instant) {}

    fn act(&mut self, action: Action, now: Instant) {
        if let Action::Power(on) = action {
            self.talks = on;
            self.next = now;
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.talks && self.next <= now {
            let bytes = (0..BURST).map(|_| self.chance.byte()).collect();
            self.outgoing = Some(Transmission { at: now, bytes, moment: None });
            self.next = now + self.character.saturating_mul(u32::try_from(BURST).unwrap_or(1));
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.talks.then_some(self.next)
    }

    fn poll_transmission(&mut self) -> Option<Transmission> {
        self.outgoing.take()
    }

    fn poll_moment(&mut self) -> Option<(Instant, Moment)> {
        None
    }

    fn pump(&self) -> &Pump {
        &self.pump
    }

    fn condition(&self) -> Condition {
        if self.talks { Condition::Idle } else { Condition::Off }
    }

    fn frames_heard(&self) -> u64 {
        0
    }

    fn violations(&self) -> &[Violation] {
        &[]
    }

    fn restore(&mut self, _kept: &Totalisers) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_compared_with_those_before_and_after_it_and_the_median_counts() {
        let all = |ms: u64| [Some(Duration::from_millis(ms)); Protocol::ALL.len()];
        // the machine grows slower all the time: beside the faults nothing else happens but in the last look
        let looks = [(all(100), all(110), all(120)), (all(120), all(130), all(140)), (all(140), all(300), all(160))];
        let row = compare(&looks, 1, ("dart", "dead", "modbus")).expect("polled");
        assert_eq!((row.well_us, row.beside_us, row.ratio_permille), (130_000, 130_000, 1_000));
        let mut unseen = all(100);
        unseen[1] = None;
        assert_eq!(compare(&[(all(100), unseen, all(100))], 1, ("dart", "dead", "modbus")), None);
    }

    #[test]
    fn a_babbler_leaves_no_gap_and_falls_silent_at_once() {
        let mut babbler = Babbler::new(Protocol::Dart, Prng::new(1));
        assert_eq!(babbler.poll_timeout(), None);
        babbler.act(Action::Power(true), Instant::START);
        let mut now = Instant::START;
        for _ in 0..3 {
            assert_eq!(babbler.poll_timeout(), Some(now));
            babbler.handle_timeout(now);
            let sent = babbler.poll_transmission().expect("noise");
            assert_eq!((sent.at, sent.bytes.len() as u64), (now, BURST));
            now = now + babbler.character * 16;
        }
        babbler.act(Action::Power(false), now);
        assert_eq!(babbler.poll_timeout(), None);
    }
}
