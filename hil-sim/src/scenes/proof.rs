//! Scenes 19 and 20: the books prove themselves, or say where they do not.

use super::Outcome;
use super::forecourt::record_of;
use super::theatre::{SOON, Theatre, edgectl, name_of};
use crate::customer::Plan;
use crate::rig::store::FILE;
use anyhow::{Context as _, ensure};
use forecourt::ids::NozzleId;
use reference_platform::calendar::Day;
use reference_platform::reconcile::reconcile;
use rusqlite::OpenFlags;
use serde_json::{Value, json};

/// A day's worth that is still quick, and what is put in.
const SALES: usize = 2_000;
const INJECTED: usize = 50;

/// This run's own day, and a day with differences put in.
pub async fn night(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    set.town.settle(SOON).await?;
    let (books, wrong) =
        set.town.platform.shared().read(|act| Ok((act.day_books(Day::of(act.now()))?, act.audit_ledger()?))).await?;
    ensure!(wrong.is_empty(), "the ledger: {}", wrong.join("; "));
    let found = reconcile(&books);
    ensure!(
        found.is_empty(),
        "this run's day: {}",
        found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    );
    let report = tokio::task::spawn_blocking(|| reference_platform::bench::run(SALES, INJECTED, 1)).await??;
    ensure!(report.is_perfect(), "{report}");
    let last = report.to_string();
    Ok(Outcome::Shown(vec![
        format!(
            "this run's day: {} sales, {} orders, {} payments, no difference",
            books.pumps.len(),
            books.orders.len(),
            books.payments[0].len()
        ),
        last.lines().last().unwrap_or_default().to_owned(),
    ]))
}

/// One byte of a stored sale is changed: the verifier at the station and the platform both say which record it is.
pub async fn tamper(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let copy = theatre.directory.join("tampered");
    let set = theatre.open().await?;
    let mut driver = set.driver().await?;
    let order =
        set.sell(&mut driver, NozzleId(3), json!({"amount_minor": 6_000}), &Value::Null, Plan::FuelToPreset).await?;
    set.town.stage.settle(SOON).await?;
    std::fs::create_dir_all(&copy)?;
    let file = copy.join(FILE);
    let store = set.town.stage.plan.data_directory().join(FILE);
    rusqlite::Connection::open_with_flags(&store, OpenFlags::SQLITE_OPEN_READ_ONLY)?
        .execute("VACUUM INTO ?1", [file.display().to_string()])?;
    let data = copy.display().to_string();
    let verify = ["chain", "--data", &data];
    let (exit, said) = edgectl(&verify, "").await?;
    ensure!(exit == 0, "edgectl chain of the untouched copy says {exit}: {said}");

    let record = record_of(&store, &name_of(&order)?)?;
    let sequence = serde_json::from_str::<Value>(&record)?["sequence"].as_str().context("a sequence")?.to_owned();
    let from = "\"amount_minor\":6000,";
    ensure!(record.contains(from), "the record has no {from}: {record}");
    // Within the record, so that no other row with the same amount is hit.
    let mut bytes = std::fs::read(&file)?;
    let at = find(&bytes, record.as_bytes()).context("the record in the file")?
        + record.find(from).unwrap_or(0)
        + from.len()
        - 2;
    ensure!(bytes[at] == b'0', "byte {at} is {}", bytes[at]);
    bytes[at] = b'1';
    std::fs::write(&file, &bytes)?;
    let (exit, said) = edgectl(&verify, "").await?;
    let number = sequence.trim_start_matches('0');
    ensure!(exit != 0 && said.contains(number), "edgectl chain of the changed copy says {exit}: {said}");

    let forged = record.replace(from, "\"amount_minor\":6001,");
    let path = format!("/fuel/v1/stations/{}/events", set.town.stage.plan.station);
    let before = set.town.platform.shared().read(|act| act.totals()).await?;
    let (status, answer) =
        driver.call_as("", "POST", &path, "application/cloudevents-batch+json", &format!("[{forged}]")).await?;
    let after = set.town.platform.shared().read(|act| act.totals()).await?;
    let disputes = set.town.platform.shared().read(|act| act.disputes()).await?;
    let named = disputes.first().map(|(_, what)| what.clone()).unwrap_or_default();
    ensure!(
        after == before && named.contains("hash"),
        "the platform took the forged record: {status} {answer} {named}"
    );
    Ok(Outcome::Shown(vec![
        format!(
            "byte {at} of the store changed, 60.00 to 60.01 in record {number}; edgectl chain: {}",
            said.lines().find(|line| line.contains(number)).unwrap_or("").trim()
        ),
        format!("the same sent to the platform: {named}"),
    ]))
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
