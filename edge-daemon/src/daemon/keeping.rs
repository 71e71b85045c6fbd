//! Care of the store while the station works: old records leave in quiet hours, and the whole of it is checked once after a start.

use super::clock::Clock;
use crate::store::thread::Handle;
use crate::store::{Store, StoreFault};
use forecourt::period::Plan;
use forecourt::time::UtcTime;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

/// Between two rounds of retention.
const ROUND: Duration = Duration::from_secs(60 * 60);
/// From the start to the first one, so that dispensers are read and the link is up.
const FIRST: Duration = Duration::from_secs(10 * 60);
/// Between two steps of a round: sales go before.
const STEP: Duration = Duration::from_millis(500);
/// Hours of the local day in which a station has no time for this.
const BUSY: [core::ops::Range<i8>; 2] = [7..9, 17..19];
/// From the start to the check of the whole store.
const SETTLE: Duration = Duration::from_secs(20);
/// The lowest priority that a thread can have.
const IDLE: i32 = 19;

/// Whether so many people fuel now that the disk is theirs.
fn is_busy(now: UtcTime, local: &Plan) -> bool {
    let hour = local.hour(now);
    BUSY.iter().any(|hours| hours.contains(&hour))
}

/// Takes away what has been kept long enough, every hour, in small steps. Never ends by itself.
pub async fn prune_in_quiet_hours(store: Handle, clock: Clock, local: Plan) {
    tokio::time::sleep(FIRST).await;
    loop {
        let mut records = 0;
        while !is_busy(clock.now().utc, &local) {
            let now = clock.now();
            if now.clock == forecourt::time::ClockQuality::Unset {
                // Nobody knows how old anything is.
                break;
            }
            match store.run(move |store| store.prune(now.utc)).await {
                Ok(Ok(pruned)) => {
                    records += pruned.records;
                    if !pruned.more {
                        break;
                    }
                }
                Ok(Err(fault)) => {
                    warn!(%fault, "old records stay for now");
                    break;
                }
                Err(_closed) => return,
            }
            tokio::time::sleep(STEP).await;
        }
        debug!(records, "retention");
        tokio::time::sleep(ROUND).await;
    }
}

/// Reads the whole store once, on a thread of its own that makes way for everything else, and tells of damage.
pub fn check_in_background(database: PathBuf, damage: watch::Sender<Option<StoreFault>>) {
    let check = move || {
        std::thread::sleep(SETTLE);
        // Linux keeps a priority for each thread. Where it cannot be lowered, the check is only less considerate.
        let _ = rustix::process::setpriority_process(None, IDLE);
        let begun = std::time::Instant::now();
        match Store::reader(&database).and_then(|reader| reader.check()) {
            Ok(troubles) => match troubles.first() {
                None => info!(ms = begun.elapsed().as_millis(), "the whole store was checked and is sound"),
                Some(first) => {
                    troubles.iter().for_each(|trouble| error!(%trouble, "the store is damaged"));
                    let fault = StoreFault::Damaged { what: "check the store", why: first.to_string() };
                    damage.send_replace(Some(fault));
                }
            },
            Err(fault) => warn!(%fault, "the store could not be checked"),
        }
    };
    if let Err(why) = std::thread::Builder::new().name("check".into()).spawn(check) {
        warn!(%why, "the store is not checked in the background");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_hours_are_those_of_the_local_day() {
        let at = |text| UtcTime::parse(text).expect("a time");
        // Beijing is eight hours ahead.
        let beijing = Plan::fixed(480);
        assert!(is_busy(at("2026-11-21T23:00:00Z"), &beijing));
        assert!(!is_busy(at("2026-11-21T22:59:59Z"), &beijing));
        assert!(is_busy(at("2026-11-21T10:59:59Z"), &beijing));
        assert!(!is_busy(at("2026-11-21T11:00:00Z"), &beijing));
        assert!(is_busy(at("2026-11-21T07:30:00Z"), &Plan::fixed(0)));
    }
}
