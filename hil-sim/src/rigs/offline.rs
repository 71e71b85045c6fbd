//! Many unsent sales: what a commit costs with and without them, and how fast they drain when the broker is back.

use super::Verdict;
use super::bed::{Bed, Setup};
use super::books::Filler;
use super::proxy;
use crate::broker::Broker;
use crate::rig::daemon::usage_of;
use crate::rig::store::FILE;
use crate::rig::table::Table;
use anyhow::ensure;
use forecourt::units::Volume;
use std::path::Path;
use std::time::{Duration, Instant};

/// Commits measured each time.
const MEASURED: u64 = 200;
/// The whole drain.
const LIMIT: Duration = Duration::from_secs(1_200);

/// How many, and over which way.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Unsent sales.
    #[arg(long, default_value_t = 100_000)]
    sales: u64,
    /// Round trip to the broker in milliseconds.
    #[arg(long, default_value_t = 0)]
    rtt_ms: u64,
    /// Use Mosquitto instead of the broker in this process.
    #[arg(long)]
    mosquitto: bool,
}

/// Runs it.
///
/// # Errors
/// What could not be started.
pub async fn run(args: &Args, program: Option<&Path>, directory: &Path) -> anyhow::Result<Verdict> {
    ensure!(args.sales > 2 * MEASURED, "at least {} sales", 2 * MEASURED + 1);
    let broker = if args.mosquitto { Broker::mosquitto(directory)? } else { Broker::embedded()? };
    let kind = broker.kind();
    let through = match args.rtt_ms {
        0 => None,
        rtt => Some(proxy::start(broker.address(), Duration::from_micros(rtt * 500)).await?),
    };
    let bed = Bed::new(directory, program, broker, &Setup { through, ..Setup::default() }).await?;
    let data = bed.plan.data_directory();
    let totalisers: Vec<Volume> =
        bed.plan.nozzles().into_iter().filter_map(|nozzle| bed.pumps.totaliser(nozzle)).collect();
    let mut filler = Filler::open(&data, &bed.plan.station, &totalisers)?;
    let empty = filler.time(MEASURED, args.sales - MEASURED)?;
    filler.fill(args.sales - 2 * MEASURED, MEASURED)?;
    let full = filler.time(MEASURED, 0)?;
    drop(filler);
    let bytes = std::fs::metadata(data.join(FILE))?.len();
    let mut commits = Table::new(["unsent sales", "commit p50 us", "p99 us"]);
    for (rows, times) in [(0, &empty), (args.sales, &full)] {
        let at = |percent: usize| {
            times.get((times.len() * percent / 100).min(times.len() - 1)).map_or(0, Duration::as_micros)
        };
        commits.row([rows.to_string(), at(50).to_string(), at(99).to_string()]);
    }
    println!("{commits}\nthe store is {} KiB, {} bytes a sale", bytes / 1024, bytes / args.sales);

    let mut life = bed.live(None)?;
    let begun = Instant::now();
    let sales = usize::try_from(args.sales)?;
    let nozzles = bed.plan.nozzles();
    bed.platform.nozzles_ready(&nozzles, LIMIT).await?;
    let ready = begun.elapsed();
    let heard_then = bed.platform.look(|desk| desk.sales().count());
    let mut first = None;
    let mut peak = 0;
    loop {
        let heard = bed.platform.look(|desk| desk.sales().count());
        if heard > 0 {
            first.get_or_insert_with(Instant::now);
        }
        if let Some(usage) = life.id().and_then(|id| usage_of(id).ok()) {
            peak = usage.peak_kib.max(peak);
        }
        if heard >= sales {
            break;
        }
        ensure!(!life.is_over(), "the daemon ended");
        ensure!(begun.elapsed() < LIMIT, "{heard} of {sales} after {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let drained = begun.elapsed();
    bed.settle(&data).await?;
    let settled = begun.elapsed();
    let report = bed.platform.report();
    let mut differences = report.violations.clone();
    let counted: u64 = report.nozzles.values().map(|line| line.count).sum();
    if counted != args.sales {
        differences.push(format!("{counted} sales in effect, {} were made", args.sales));
    }
    life.terminate().await?;
    if !differences.is_empty() {
        differences.truncate(10);
        return Ok(Verdict::Broke(differences));
    }
    let rate = |time: Duration| u128::from(args.sales) * 1_000 / time.as_millis().max(1);
    let repeats = report.counts.repeats;
    Ok(Verdict::Held(format!(
        "{} sales over {kind}, {} ms round trip: all heard in {} ms ({}/s), all settled in {} ms ({}/s) from the daemon's start; \
         nozzles ready after {} ms, {heard_then} sales before that; {repeats} came twice, each once in effect; daemon's peak {peak} KiB",
        args.sales,
        args.rtt_ms,
        drained.as_millis(),
        rate(drained),
        settled.as_millis(),
        rate(settled),
        ready.as_millis()
    )))
}
