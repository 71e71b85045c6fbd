//! The disk fails or is slow at the nth call: errors, no space, writes that take nothing, late syncs.

use super::Verdict;
use super::bed::{Bed, Course, Setup};
use super::trace::{self, Injection};
use crate::broker::Broker;
use crate::rig::store::FILE;
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls, fault, whether it goes on for the rest of that daemon's life.
const FAULTS: [(&str, &str, bool); 8] = [
    ("fsync,fdatasync", "error=EIO", false),
    ("pwrite64", "error=EIO", false),
    ("pwrite64", "error=ENOSPC", false),
    ("pwrite64", "retval=0", false),
    ("fsync,fdatasync", "delay_enter=100000", true),
    ("fsync,fdatasync", "delay_enter=2000000", false),
    ("fsync,fdatasync", "error=EIO", true),
    ("pwrite64", "error=ENOSPC", true),
];
/// How long a daemon whose disk never recovers is let live.
const HOPELESS: Duration = Duration::from_millis(1_200);
/// Orders in the life of one daemon.
const ORDERS: u32 = 2;

/// How many.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Faults.
    #[arg(long, default_value_t = 80)]
    points: u64,
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
    let data = bed.plan.data_directory();
    // The first life makes the files, so that the faults meet a store that is in use.
    let mut open = bed.pay()?;
    let mut life = bed.live(None)?;
    bed.drive(&mut open, &mut life).await?;
    life.terminate().await?;
    let begun = Instant::now();
    let mut deaths = 0_u64;
    for point in 0..args.points {
        let (calls, what, lasting) = FAULTS[usize::try_from(point)? % FAULTS.len()];
        let injection = Injection {
            calls: calls.into(),
            what: what.into(),
            at: 1 + point / u64::try_from(FAULTS.len())?,
            from_then_on: lasting,
            on: Some(data.join(format!("{FILE}-wal"))),
        };
        let mut life = bed.live(Some(&injection))?;
        let born = Instant::now();
        let hopeless = lasting && what.starts_with("error");
        for _ in 0..ORDERS {
            if hopeless {
                // Nothing can be stored: what is under way is left to the next life.
                open = bed.pay()?;
                while born.elapsed() < HOPELESS && !life.is_over() {
                    bed.act(&mut open);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                break;
            }
            if bed.sell(&mut life).await? == Course::Died {
                deaths += 1;
                break;
            }
        }
        life.kill().await;
        let mut healthy = bed.live(None)?;
        let driven = bed.drive(&mut open, &mut healthy).await?;
        if driven == Course::Died || bed.sell(&mut healthy).await? == Course::Died {
            return Ok(Verdict::Broke(vec![format!(
                "after {what} at {calls} {} the daemon does not live",
                injection.at
            )]));
        }
        healthy.kill().await;
    }
    let took = begun.elapsed();
    let mut life = bed.live(None)?;
    bed.sell(&mut life).await?;
    bed.settle(&data).await?;
    let differences = bed.differences(&data)?;
    life.terminate().await?;
    if !differences.is_empty() {
        return Ok(Verdict::Broke(differences));
    }
    Ok(Verdict::Held(format!(
        "{} faults of {} kinds, {} orders, {} sales, 0 lost, 0 doubled; the daemon ended by itself {deaths} times; {} s",
        args.points,
        FAULTS.len(),
        bed.orders(),
        bed.sales(),
        took.as_secs()
    )))
}
