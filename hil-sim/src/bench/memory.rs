//! `bench memory`: what the daemon takes of the machine, idle and while four of 16 dispensers fuel.

use super::calibration;
use super::one_line::OneLine;
use super::{Bench, Figures, Tables};
use crate::rig::daemon::{Usage, find};
use crate::rig::table::Table;
use anyhow::ensure;
use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::units::Volume;
use pump_drivers::protocol::Protocol;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PUMPS: u8 = 16;
const FUELLING: usize = 4;
/// Longer than any window at a forecourt's flow rate.
const PLENTY: Volume = Volume::new(95_000);
const LIMIT: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);
/// What the ring of the line trace holds unless configured otherwise.
const RING: u64 = 64 * 1_024 * 1_024;

/// The daemon over a while.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Load {
    /// What the station was doing.
    pub situation: String,
    /// Resident memory at its end, KiB.
    pub rss_kib: u64,
    /// Most ever resident, KiB.
    pub peak_kib: u64,
    /// Processor time, in tenths of a percent of one processor.
    pub cpu_permille: u64,
    /// Threads.
    pub threads: u64,
    /// What the line trace grew by, in bytes an hour.
    pub trace_per_hour: u64,
}

/// What was measured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Memory {
    /// One row for each situation.
    pub loads: Vec<Load>,
    /// Sizes of the programs as they are, bytes.
    pub programs: Vec<(String, u64)>,
}

/// Measures both situations.
///
/// # Errors
/// What could not be started or went wrong.
pub async fn run(bench: &Bench, directory: &Path, seconds: u32) -> anyhow::Result<Figures<Memory>> {
    let calibration = calibration::measure(directory).await?;
    let station = OneLine::start(bench, directory, Protocol::Dart, PUMPS, 1).await?;
    let broker = station.stage.broker.kind();
    let window = Duration::from_secs(seconds.into());
    eprintln!("{PUMPS} idle");
    let mut loads = vec![watch(&station, format!("{PUMPS} dispensers idle"), window).await?];
    eprintln!("{FUELLING} of {PUMPS} fuelling");
    for nozzle in station.nozzles.iter().take(FUELLING) {
        fuel(&station, *nozzle).await?;
    }
    loads.push(watch(&station, format!("{FUELLING} of {PUMPS} fuelling"), window).await?);
    station.stage.stop().await?;
    let daemon = match &bench.daemon {
        Some(program) => program.clone(),
        None => find("edge-daemon")?,
    };
    Ok(Figures { calibration, broker, figures: Memory { loads, programs: sizes(daemon)? } })
}

async fn fuel(station: &OneLine, nozzle: NozzleId) -> anyhow::Result<()> {
    station.stage.pumps.lift(nozzle);
    let order = station.order(format!("memory-{nozzle}"), nozzle, Limit::Volume(PLENTY))?;
    let (reply, _) = station.stage.platform.pay(order).reply(LIMIT).await?;
    ensure!(reply.result == "armed", "nozzle {nozzle}: answered {}: {}", reply.result, reply.detail);
    station.stage.platform.nozzle_state(nozzle, "fuelling", LIMIT).await?;
    Ok(())
}

async fn watch(station: &OneLine, situation: String, window: Duration) -> anyhow::Result<Load> {
    let ring = station.stage.plan.data_directory().join("trace");
    let (traced, before, begun) = (size_of(&ring)?, station.stage.daemon.usage()?, Instant::now());
    tokio::time::sleep(window).await;
    let (Usage { rss_kib, peak_kib, cpu, threads }, passed) = (station.stage.daemon.usage()?, begun.elapsed());
    let used = cpu.saturating_sub(before.cpu).as_micros() * 1_000 / passed.as_micros().max(1);
    let grown = u128::from(size_of(&ring)?.saturating_sub(traced));
    let trace_per_hour = u64::try_from(grown * HOUR.as_millis() / passed.as_millis().max(1))?;
    Ok(Load { situation, rss_kib, peak_kib, cpu_permille: u64::try_from(used)?, threads, trace_per_hour })
}

/// Bytes of all files in a directory.
fn size_of(directory: &Path) -> std::io::Result<u64> {
    std::fs::read_dir(directory)?.map(|file| Ok(file?.metadata()?.len())).sum()
}

/// The daemon and, where it is beside it, its tool.
fn sizes(daemon: PathBuf) -> anyhow::Result<Vec<(String, u64)>> {
    let tool = daemon.with_file_name("edgectl");
    let mut sizes = Vec::new();
    for program in [daemon, tool] {
        if program.is_file() {
            let name = program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            sizes.push((name, program.metadata()?.len()));
        }
    }
    Ok(sizes)
}

impl Tables for Memory {
    fn tables(&self) -> Vec<(String, Table)> {
        let tenths = |kib: u64| {
            let tenths = kib * 10 / 1_024;
            format!("{}.{}", tenths / 10, tenths % 10)
        };
        let mut loads = Table::new(["the daemon with", "RSS MiB", "peak MiB", "of one CPU", "threads"]);
        for load in &self.loads {
            let share = format!("{}.{} %", load.cpu_permille / 10, load.cpu_permille % 10);
            loads.row([
                load.situation.clone(),
                tenths(load.rss_kib),
                tenths(load.peak_kib),
                share,
                load.threads.to_string(),
            ]);
        }
        let mut trace = Table::new(["the daemon with", "line trace KiB an hour", "hours in 64 MiB"]);
        for load in &self.loads {
            let hours = RING / load.trace_per_hour.max(1);
            trace.row([load.situation.clone(), (load.trace_per_hour / 1_024).to_string(), hours.to_string()]);
        }
        let mut programs = Table::new(["program", "MiB"]);
        for (name, bytes) in &self.programs {
            programs.row([name.clone(), tenths(bytes / 1_024)]);
        }
        let build = if cfg!(debug_assertions) { "debug build: sizes and shares mean nothing" } else { "release build" };
        vec![
            ("Memory and processor".into(), loads),
            ("Line trace".into(), trace),
            (format!("Programs ({build})"), programs),
        ]
    }
}
