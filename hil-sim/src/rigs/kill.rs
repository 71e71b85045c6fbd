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
}

/// Runs it.
///
/// # Errors
/// What could not be started, or an order that never came to an end.
pub async fn run(args: &Args, program: Option<&Path>, directory: &Path) -> anyhow::Result<Verdict> {
    if trace::find("strace").is_none() {
        return Ok(Verdict::Skipped("strace is not installed: apt-get install strace".into()));
    }
    let mut bed = Bed::new(directory, program, Broker::embedded()?, &Setup::default()).await?;
    let begun = Instant::now();
    let (mut points, mut by_kind, mut deepest) = (0, [0_u64; KINDS.len()], [0_u64; KINDS.len()]);
    let mut next = [1_u64; KINDS.len()];
    let mut open = bed.pay()?;
    let mut turn = 0;
    while points < args.points {
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
            let ms = begun.elapsed().as_millis() / u128::from(points);
            eprintln!("{points} kills, {} orders, {ms} ms each", bed.orders());
        }
    }
    let took = begun.elapsed();
    let mut life = bed.live(None)?;
    bed.drive(&mut open, &mut life).await?;
    let data = bed.plan.data_directory();
    bed.settle(&data).await?;
    let differences = bed.differences(&data)?;
    life.terminate().await?;
    if !differences.is_empty() {
        return Ok(Verdict::Broke(differences));
    }
    let kinds: Vec<String> = KINDS
        .iter()
        .zip(by_kind.iter().zip(deepest))
        .map(|(kind, (count, deepest))| format!("{kind}: {count}, the deepest at call {deepest}"))
        .collect();
    let each = took.as_millis() / u128::from(points.max(1));
    Ok(Verdict::Held(format!(
        "{points} kills, {} orders, {} sales, 0 lost, 0 doubled, each with one end; {} s, {each} ms each ({})",
        bed.orders(),
        bed.sales(),
        took.as_secs(),
        kinds.join("; ")
    )))
}
