//! `edgectl doctor`: the state of the store, what the daemon would do with it, and what a person should do.

use crate::config::{Config, DiskLimits};
use crate::ctl::{Failure, show};
use crate::daemon::disk::{Guard, Level, Space};
use crate::store::doctor::{Examination, Use, examine};
use forecourt::time::UtcTime;
use serde_json::json;
use std::io::Write;
use std::path::Path;

/// How bad it is: also the exit code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Severity {
    Fine = 0,
    Look = 1,
    Damaged = 2,
}

struct Advice {
    severity: Severity,
    text: String,
}

pub(super) fn run(
    directory: &Path,
    config: Option<&Config>,
    quick: bool,
    as_json: bool,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let found = examine(directory, !quick);
    let space = Space::on(directory);
    let limits = config.map_or_else(DiskLimits::default, |config| config.disk);
    let (plan, advice) = judge(&found, space, limits);
    let worst = advice.iter().map(|advice| advice.severity).max().unwrap_or(Severity::Fine);
    if as_json {
        let document = json!({
            "store": found.path, "exists": found.exists, "use": found.used, "bytes": found.bytes,
            "log_bytes": found.log_bytes, "reserve": found.has_ballast, "rescue_pending": found.rescue_pending,
            "set_aside": found.set_aside, "hindered": found.hindered,
            "troubles": found.troubles.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "contents": found.contents,
            "disk": space.map(|space| json!({"free_mb": space.free_mb(), "used_percent": space.used_percent()})),
            "daemon_would": plan, "advice": advice.iter().map(|advice| &advice.text).collect::<Vec<_>>(),
            "severity": worst as u8,
        });
        writeln!(out, "{document}")?;
    } else {
        print(&found, space, out)?;
        writeln!(out, "\nThe daemon would: {plan}")?;
        for advice in &advice {
            writeln!(out, "- {}", advice.text)?;
        }
    }
    Ok(worst as u8)
}

fn print(found: &Examination, space: Option<Space>, out: &mut dyn Write) -> Result<(), Failure> {
    let mut line = |name: &str, value: String| writeln!(out, "{name:<16}  {value}");
    line("store", found.path.display().to_string())?;
    line(
        "in use",
        match found.used {
            Use::Running => "yes, edge-daemon has it open".into(),
            Use::Closed => "no, it was closed in order".into(),
            Use::NotClosed => "no, and the last run did not close it (killed, or a power cut)".into(),
        },
    )?;
    line(
        "size",
        format!(
            "{} KiB, log {}",
            found.bytes / 1024,
            found.log_bytes.map_or("none".into(), |bytes| format!("{} KiB", bytes / 1024))
        ),
    )?;
    line("reserve", if found.has_ballast { "8 MiB, whole".into() } else { "none".into() })?;
    if let Some(space) = space {
        line("disk", format!("{} MB free, {} % used", space.free_mb(), space.used_percent()))?;
    }
    if let Some(contents) = &found.contents {
        line("schema", format!("version {}", contents.schema))?;
        line("records", format!("{}, the last is {:012}", contents.records, contents.last_sequence))?;
        let gaps: Vec<String> = contents.gaps.iter().map(|(first, last)| format!("{first} to {last}")).collect();
        line("gaps", if gaps.is_empty() { "none".into() } else { gaps.join(", ") })?;
        let oldest = contents
            .oldest_pending_ms
            .map_or(String::new(), |ms| format!(", the oldest of {}", UtcTime::from_unix_ms(ms)));
        line("outbox", format!("{} pending, {} set aside{oldest}", contents.pending, contents.set_aside))?;
        let orders: Vec<String> = contents.open_orders.iter().map(|order| show::cell(&json!(order))).collect();
        line("open orders", if orders.is_empty() { "none".into() } else { orders.join(", ") })?;
        line("open releases", contents.open_releases.to_string())?;
    }
    for path in &found.set_aside {
        line("set aside", path.display().to_string())?;
    }
    match found.troubles.as_slice() {
        [] => line("damage", "none found".into())?,
        troubles => troubles.iter().try_for_each(|trouble| line("damage", trouble.to_string()))?,
    }
    Ok(())
}

/// What the daemon would do at its next start, and what a person should.
fn judge(found: &Examination, space: Option<Space>, limits: DiskLimits) -> (String, Vec<Advice>) {
    let mut advice = Vec::new();
    let mut say = |severity, text: String| advice.push(Advice { severity, text });
    if !found.exists && !found.rescue_pending {
        say(Severity::Look, "there is no store: check the directory, or start edge-daemon once".into());
        return ("make an empty store".into(), advice);
    }
    if let Some(why) = &found.hindered {
        say(Severity::Look, format!("not all could be looked at: {why}"));
    }
    if let Some(level) = space.and_then(|space| Guard::new(limits).look(space)).map(|(_, level)| level) {
        say(
            Severity::Look,
            match level {
                Level::Full => "the disk is full: no order is taken until there is space".into(),
                _ => "the disk fills up: free space or get a larger one".to_owned(),
            },
        );
    }
    if !found.has_ballast {
        say(Severity::Look, "the reserve for sales in progress is gone; it comes back once there is space".into());
    }
    if let Some(contents) = &found.contents {
        if contents.set_aside > 0 {
            say(Severity::Look, "the platform refused records: edgectl outbox lists them with its reasons".into());
        }
        if !contents.gaps.is_empty() {
            say(
                Severity::Look,
                "the chain has gaps from an earlier rescue: settle with the platform what it holds of them".into(),
            );
        }
    }
    if !found.set_aside.is_empty() {
        say(
            Severity::Look,
            "a damaged store was set aside: keep it until the books are settled, then delete it".into(),
        );
    }
    if found.rescue_pending {
        say(Severity::Damaged, "a rescue was interrupted: start edge-daemon, it goes on".into());
        return ("go on with the rescue that was interrupted".into(), advice);
    }
    if found.troubles.is_empty() {
        let contents = found.contents.as_ref();
        let releases = contents.map_or(0, |contents| contents.open_releases);
        let pending = contents.map_or(0, |contents| contents.pending);
        let plan = format!(
            "go on: read every dispenser first, settle {releases} open releases by record and totaliser, send {pending} records"
        );
        return (plan, advice);
    }
    say(Severity::Damaged, "check the disk (smartctl, dmesg) before it is trusted again".into());
    if found.used == Use::Running {
        say(Severity::Damaged, "restart edge-daemon when no nozzle is in use: systemctl restart edge-daemon".into());
    }
    let mut plan =
        "set the store aside whole, begin a new one, send every unacknowledged record that proves itself as it is"
            .to_owned();
    if found.troubles.iter().any(crate::store::Trouble::is_deep) {
        plan.push_str(
            ", leave 1,000 sequences out, put every open order into review (none is released again), and refuse orders sent before",
        );
    }
    (plan, advice)
}
