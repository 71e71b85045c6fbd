//! `bench line`: poll cycles beside the physical limit of the line, dead dispensers, and the wait of a stop.

use super::calibration;
use super::one_line::{OneLine, Traffic};
use super::physics::{Physics, Spoken};
use super::stats::{Summary, Times, ms};
use super::witness::WireWitness;
use super::{Bench, Figures, Tables};
use crate::dispenser::record::Moment;
use crate::platform::{Account, Command};
use crate::rig::table::Table;
use anyhow::{Context as _, ensure};
use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::units::Volume;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

const SIZES: [u8; 5] = [1, 4, 8, 16, 32];
/// The size at which dispensers also fuel, die and are stopped.
const CROWD: u8 = 16;
/// How many of them fuel, or are dead.
const SOME: usize = 4;
const LIMIT: Duration = Duration::from_secs(30);
/// After a change, before anything is measured.
const CALM: Duration = Duration::from_secs(3);
/// Nobody takes a nozzle out again sooner than this; within one poll the hang-up before would not be seen, and one lift is one fuelling.
const BETWEEN: Duration = Duration::from_secs(1);
/// More than flows before it is stopped.
const PLENTY: Volume = Volume::new(95_000);

/// One watched situation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Cycle {
    /// What the line was doing.
    pub situation: String,
    /// Mean poll cycle of the idle dispenser that is polled least, in microseconds.
    pub cycle_us: u64,
    /// The part of it that bytes and turnarounds need.
    pub limit_us: u64,
    /// The same as a share of the time, in tenths of a percent.
    pub limit_permille: u64,
    /// Bytes of a question and its answer on average, in tenths.
    pub bytes_tenths: u64,
}

/// One protocol's line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OneProtocol {
    /// Its word.
    pub protocol: &'static str,
    /// Its wire, in words.
    pub wire: String,
    /// One row for each situation.
    pub cycles: Vec<Cycle>,
    /// Stop published to the last byte of the block that stops, with four dispensers fuelling of 16.
    pub stop: Summary,
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// One for each protocol.
    pub lines: Vec<OneProtocol>,
}

/// Measures all sizes on a line of each protocol.
///
/// # Errors
/// What could not be started or went wrong.
pub async fn run(
    bench: &Bench,
    root: &Path,
    spoken: &Spoken,
    seconds: u32,
    stops: u32,
) -> anyhow::Result<Figures<Line>> {
    let calibration = calibration::measure(root).await?;
    let window = Duration::from_secs(seconds.into());
    let (mut lines, mut broker) = (Vec::new(), "none");
    for protocol in spoken.iter() {
        let word = protocol.word();
        let (mut cycles, mut stop) = (Vec::new(), Times::default());
        let addresses = protocol.rules().addresses.len();
        for size in SIZES.into_iter().filter(|size| usize::from(*size) <= addresses) {
            eprintln!("{word}: {size} dispensers");
            let directory = root.join(format!("{word}-{size}"));
            std::fs::create_dir(&directory)?;
            let station = OneLine::start(bench, &directory, protocol, size, 1).await?;
            broker = station.stage.broker.kind();
            tokio::time::sleep(CALM).await;
            let all = 0..usize::from(size);
            cycles.push(Cycle::of(format!("{size} idle"), &station.observe(window).await?, all.clone())?);
            if size == CROWD {
                let nozzles: Vec<NozzleId> = station.nozzles.iter().copied().take(SOME).collect();
                eprintln!("{word}: {SOME} of {size} fuelling");
                for nozzle in &nozzles {
                    fuel(&station, *nozzle, 0).await?;
                }
                let seen = station.observe(window).await?;
                cycles.push(Cycle::of(format!("{SOME} of {size} fuelling"), &seen, all.clone().skip(SOME))?);
                eprintln!("{word}: {stops} stops");
                stop = stop_each(&station, &nozzles, stops).await?;
                for nozzle in &nozzles {
                    station.stage.pumps.hang_up(*nozzle);
                    station.stage.platform.nozzle_state(*nozzle, "idle", LIMIT).await?;
                }
                eprintln!("{word}: {SOME} of {size} dead");
                let seen = with_dead(&station, &nozzles, window).await?;
                cycles.push(Cycle::of(format!("{SOME} of {size} dead"), &seen, all.skip(SOME))?);
            }
            station.stage.stop().await?;
        }
        let stop = stop.summary().context("no stop was measured")?;
        lines.push(OneProtocol { protocol: word, wire: Physics::of(protocol).words(), cycles, stop });
    }
    Ok(Figures { calibration, broker, figures: Line { lines } })
}

impl Cycle {
    fn of(situation: String, seen: &Traffic, idle: impl IntoIterator<Item = usize>) -> anyhow::Result<Self> {
        let cycle = seen.cycle_of(idle).with_context(|| format!("{situation}: a dispenser was never polled"))?;
        let cycle_us = u64::try_from(cycle.as_micros())?;
        let limit_permille = seen.used_permille();
        let bytes_tenths = seen.bytes * 10 / seen.answers.max(1);
        Ok(Self { situation, cycle_us, limit_us: cycle_us * limit_permille / 1_000, limit_permille, bytes_tenths })
    }
}

/// Lifts a nozzle and pays for plenty; returns once fuel flows.
async fn fuel(station: &OneLine, nozzle: NozzleId, round: u32) -> anyhow::Result<()> {
    let platform = &station.stage.platform;
    station.stage.pumps.lift(nozzle);
    let order = platform.pay(station.order(format!("line-{nozzle}-{round}"), nozzle, Limit::Volume(PLENTY))?);
    let (reply, _) = order.reply(LIMIT).await?;
    ensure!(reply.result == "armed", "nozzle {nozzle}: answered {}: {}", reply.result, reply.detail);
    platform.nozzle_state(nozzle, "fuelling", LIMIT).await?;
    Ok(())
}

/// Stops one of the fuelling dispensers after another; each fuels again before the next is stopped.
async fn stop_each(station: &OneLine, nozzles: &[NozzleId], stops: u32) -> anyhow::Result<Times> {
    let (platform, wire) = (&station.stage.platform, WireWitness::new(station.line.clone()));
    let mut times = Times::default();
    for (round, nozzle) in (1..=stops).zip(nozzles.iter().cycle()) {
        let device = station.device(*nozzle)?;
        let command = platform.send(Command::Stop(*nozzle));
        let sent =
            platform.look(|desk| desk.issued(command).map(|issued| issued.sent)).context("a command just issued")?;
        let (reply, _) = platform.reply(command, LIMIT).await?;
        ensure!(reply.result == "stopped", "nozzle {nozzle}: stop answered {}: {}", reply.result, reply.detail);
        station.flow_ended(*nozzle, LIMIT).await?;
        let stopped = wire.first_since(device, Moment::StopArrived, sent).context("no stop on the wire")?;
        times.add(stopped.duration_since(sent));
        station.stage.pumps.hang_up(*nozzle);
        let at_nozzle = |account: &&Account| account.nozzle == *nozzle;
        platform
            .wait_for(&format!("the sale that the stop of nozzle {nozzle} ends"), LIMIT, |desk| {
                desk.accounts().filter(at_nozzle).all(|account| account.sale().is_some()).then_some(())
            })
            .await?;
        platform.nozzle_state(*nozzle, "idle", LIMIT).await?;
        tokio::time::sleep(BETWEEN).await;
        fuel(station, *nozzle, round).await?;
    }
    Ok(times)
}

async fn with_dead(station: &OneLine, dead: &[NozzleId], window: Duration) -> anyhow::Result<Traffic> {
    for nozzle in dead {
        station.line.unplug(station.device(*nozzle)?, true);
    }
    for nozzle in dead {
        station.stage.platform.nozzle_state(*nozzle, "inoperative", LIMIT).await?;
    }
    tokio::time::sleep(CALM).await;
    station.observe(window).await
}

impl Tables for Line {
    fn tables(&self) -> Vec<(String, Table)> {
        let mut cycles = Table::new([
            "protocol",
            "on the line",
            "bytes an exchange",
            "poll cycle ms",
            "physical limit ms",
            "limit / cycle",
        ]);
        let mut stops = Table::new(["protocol", "count", "p50 ms", "p99 ms", "max ms", "budget ms"]);
        let tenths = |value: u64| format!("{}.{}", value / 10, value % 10);
        for line in &self.lines {
            for row in &line.cycles {
                cycles.row([
                    line.protocol.to_owned(),
                    row.situation.clone(),
                    tenths(row.bytes_tenths),
                    ms(row.cycle_us),
                    ms(row.limit_us),
                    format!("{} %", tenths(row.limit_permille)),
                ]);
            }
            let times = line.stop;
            stops.row([
                line.protocol.to_owned(),
                times.count.to_string(),
                ms(times.p50_us),
                ms(times.p99_us),
                ms(times.max_us),
                "p99 100".into(),
            ]);
        }
        let wires: Vec<String> = self.lines.iter().map(|line| format!("{}: {}", line.protocol, line.wire)).collect();
        vec![
            (format!("Poll cycle of idle dispensers, no pause before sending ({})", wires.join("; ")), cycles),
            (format!("Stop published … its block's last byte, {SOME} of {CROWD} dispensers fuelling"), stops),
        ]
    }
}
