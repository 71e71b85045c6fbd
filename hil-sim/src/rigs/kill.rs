//! SIGKILL at every call that writes: to the database, to its log, to the wire, to the broker.

use super::Verdict;
use super::bed::{Bed, Course, Setup};
use super::trace::{self, Injection};
use crate::broker::Broker;
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls whose effect outlives the process, in kinds that are counted apart: strace counts those of each thread, and the store's
/// thread must not be outrun by the line's.
const KINDS: [&str; 5] = [
    "pwrite64",
    "fsync,fdatasync",
    "sendto,writev,sendmsg",
    "write",
    "ftruncate,unlink,rename,unlinkat,renameat,renameat2",
];
/// A life longer than this has had its calls: it is killed at once, and the count begins anew.
const LIFE: Duration = Duration::from_millis(2_500);

/// How many.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kills.
    #[arg(long, default_value_t = 100)]
    pub points: u64,
    /// Stations beside one another: mostly they wait.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=16))]
    pub beds: u64,
}

/// What the kills at one station came to.
struct Tally {
    points: u64,
    by_kind: [u64; KINDS.len()],
    deepest: [u64; KINDS.len()],
    orders: u64,
    sales: u64,
    differences: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// What could not be started, or an order that never came to an end.
pub async fn run(args: &Args, program: Option<&Path>, directory: &Path) -> anyhow::Result<Verdict> {
    if trace::find("strace").is_none() {
        return Ok(Verdict::Skipped("strace is not installed: apt-get install strace".into()));
    }
    let begun = Instant::now();
    let beds = args.beds.min(args.points).max(1);
    let stations = tokio::task::LocalSet::new();
    let played = (0..beds).map(|number| {
        // Each begins where the one before ends, so that no call is met twice at the same depth while others are not met at all.
        let share = args.points / beds + u64::from(number < args.points % beds);
        let (directory, program) = (directory.join(format!("bed-{number}")), program.map(Path::to_owned));
        let (first, total) = (1 + number * share / u64::try_from(KINDS.len()).unwrap_or(1), args.points);
        stations.spawn_local(async move { one(share, first, total, program.as_deref(), &directory).await })
    });
    let played: Vec<_> = played.collect();
    let tallies = stations
        .run_until(async {
            let mut tallies = Vec::new();
            for station in played {
                tallies.push(station.await??);
            }
            anyhow::Ok(tallies)
        })
        .await?;
    let took = begun.elapsed();
    let differences: Vec<String> = tallies.iter().flat_map(|tally| tally.differences.clone()).collect();
    if !differences.is_empty() {
        return Ok(Verdict::Broke(differences));
    }
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    let kinds: Vec<String> = (0..KINDS.len())
        .map(|kind| {
            let count: u64 = tallies.iter().map(|tally| tally.by_kind[kind]).sum();
            let deepest = tallies.iter().map(|tally| tally.deepest[kind]).max().unwrap_or(0);
            format!("{}: {count}, the deepest at call {deepest}", KINDS[kind])
        })
        .collect();
    let points = sum(|tally| tally.points);
    Ok(Verdict::Held(format!(
        "{points} kills, {} orders, {} sales, 0 lost, 0 doubled, each with one end; {} s, {} ms each ({})",
        sum(|tally| tally.orders),
        sum(|tally| tally.sales),
        took.as_secs(),
        took.as_millis() / u128::from(points.max(1)),
        kinds.join("; ")
    )))
}

/// The kills at one station, from call `first` on.
async fn one(share: u64, first: u64, total: u64, program: Option<&Path>, directory: &Path) -> anyhow::Result<Tally> {
    std::fs::create_dir_all(directory)?;
    let mut bed = Bed::new(directory, program, Broker::embedded()?, &Setup::default()).await?;
    let begun = Instant::now();
    let (mut points, mut by_kind, mut deepest) = (0, [0_u64; KINDS.len()], [0_u64; KINDS.len()]);
    let mut next = [first; KINDS.len()];
    let mut open = bed.pay()?;
    let mut turn = 0;
    while points < share {
        let kind = turn % KINDS.len();
        turn += 1;
        let injection = Injection {
            calls: KINDS[kind].into(),
            what: "signal=SIGKILL".into(),
            at: next[kind],
            from_then_on: false,
            on: None,
        };
        let mut life = bed.live(Some(&injection))?;
        let born = Instant::now();
        // Orders follow one another as long as the daemon lives.
        let killed = loop {
            match bed.drive(&mut open, &mut life).await? {
                Course::Died => break true,
                Course::Ended if born.elapsed() > LIFE => break false,
                Course::Ended => open = bed.pay()?,
            }
        };
        if killed {
            points += 1;
            by_kind[kind] += 1;
            deepest[kind] = deepest[kind].max(next[kind]);
            next[kind] += 1;
        } else {
            next[kind] = 1;
        }
        life.kill().await;
        if points % 50 == 0 && killed {
            let (orders, ms) = (bed.orders(), begun.elapsed().as_millis() / u128::from(points));
            eprintln!(
                "{}: {points} kills of {share} ({total} in all), {orders} orders, {ms} ms each",
                directory.display()
            );
        }
    }
    let mut life = bed.live(None)?;
    bed.drive(&mut open, &mut life).await?;
    // However early all the kills were, the station has then read its pumps.
    bed.sell(&mut life).await?;
    let data = bed.plan.data_directory();
    bed.settle(&data).await?;
    let differences = bed.differences(&data)?;
    life.terminate().await?;
    Ok(Tally { points, by_kind, deepest, orders: bed.orders(), sales: bed.sales().try_into()?, differences })
}
