//! Scenes 15 to 18: what happens in the middle of a fuelling.

use super::Outcome;
use super::theatre::{FUELLING, SOON, Set, Theatre, name_of, price, sold};
use crate::customer::{Habits, Plan};
use crate::prng::Prng;
use crate::rig::people::visit;
use crate::rig::pumps::Pumps;
use crate::rigs::{Verdict, link};
use crate::script;
use anyhow::{Context as _, ensure};
use forecourt::ids::NozzleId;
use forecourt::units::Volume;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Fuels for about four seconds.
const MUCH: i64 = 45_000;
/// In the middle of it.
const MIDDLE: Volume = Volume::new(8_000);
/// What the scene is named after.
const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);
const GLANCE: Duration = Duration::from_millis(10);

/// Waits until so much flowed at a nozzle.
async fn middle(pumps: &Pumps, nozzle: NozzleId) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !pumps.view(nozzle).is_some_and(|view| view.flowing && pumps.shown(&view).0 >= MIDDLE) {
        ensure!(begun.elapsed() < SOON, "no fuel flows at nozzle {nozzle}");
        tokio::time::sleep(GLANCE).await;
    }
    Ok(())
}

/// The new price waits until the nozzle is hung up.
pub async fn price_change(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let nozzle = NozzleId(6);
    let (mut driver, mut staff) = (set.driver().await?, set.driver().await?);
    let order = set.armed(&mut driver, nozzle, json!({"volume_ml": MUCH}), &Value::Null).await?;
    let old = driver.good("GET", &format!("/api/v1/orders/{order}"), &Value::Null).await?["unit_price_micros"]
        .as_i64()
        .context("a price")?;
    let new = old + 50_000;
    let change = async {
        middle(&set.town.stage.pumps, nozzle).await?;
        set.send_price(&mut staff, "diesel", new).await
    };
    let (name, fuelled) = tokio::join!(change, set.customer(nozzle, Plan::FuelToPreset, Habits::brisk()));
    let name = name?;
    ensure!(fuelled, "no fuel flowed");
    let done = set.settled(&order).await?;
    ensure!(done["end"]["unit_price_micros"] == old, "sold at {}", done["end"]["unit_price_micros"]);
    set.agrees(nozzle, &done)?;
    set.price_shown(nozzle, new, SOON).await?;
    Ok(Outcome::Shown(vec![
        format!("{name} came while fuel flowed: sold at the old price of {} yuan a litre", price(old)),
        sold(&done),
        format!("after the hang-up the pump confirmed {}", price(new)),
    ]))
}

/// The daemon is killed, the pump goes on to its limit, and the next daemon books it once.
pub async fn power_cut(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let nozzle = NozzleId(5);
    let mut driver = set.driver().await?;
    let before = set.town.stage.pumps.fuellings(nozzle).len();
    let order = set.armed(&mut driver, nozzle, json!({"volume_ml": MUCH}), &Value::Null).await?;
    let stage = &mut set.town.stage;
    let (tell, ready) = oneshot::channel();
    let _ = tell.send(());
    let cut = async {
        middle(&stage.pumps, nozzle).await?;
        stage.daemon.cut_power().await?;
        anyhow::Ok(Instant::now())
    };
    let customer = visit(&stage.pumps, nozzle, Plan::FuelToPreset, Habits::brisk(), Prng::new(5), ready);
    let (cut, fuelled) = tokio::join!(cut, customer);
    let dark = cut?;
    ensure!(fuelled, "no fuel flowed");
    stage.start_daemon_again()?;
    let off = dark.elapsed();
    let done = set.settled(&order).await?;
    let fuellings = set.town.stage.pumps.fuellings(nozzle).len() - before;
    set.agrees(nozzle, &done)?;
    ensure!(fuellings == 1, "{fuellings} fuellings at the pump");
    let nozzles = set.town.stage.plan.nozzles();
    set.town.stage.platform.nozzles_ready(&nozzles, FUELLING).await?;
    Ok(Outcome::Shown(vec![
        format!(
            "killed at {} of {} L and off for {} ms, while the pump went on to its limit",
            MIDDLE.litres(),
            Volume::new(MUCH).litres(),
            off.as_millis()
        ),
        format!("booked once, as the pump has it: {}", sold(&done)),
    ]))
}

/// No uplink: what was armed is fuelled, a signed order is handed in, and all of it drains.
pub async fn wan_out(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let (scripts, outage) = (theatre.scripts.clone(), theatre.outage);
    let set = theatre.open().await?;
    let (one, two) = (NozzleId(1), NozzleId(7));
    let (mut first, mut second) = (set.driver().await?, set.driver().await?);
    let armed = set.armed(&mut first, one, json!({"amount_minor": 10_000}), &Value::Null).await?;
    let code = set.free(two).await?.to_owned();
    let begun = Instant::now();
    set.town.stage.broker.take_down();
    let shown = async {
        offline(set).await?;
        // The platform has not heard of the cut; the driver pays, nothing comes, and the page shows the signed order.
        let paid = second.buy(&code, json!({"amount_minor": 9_000}), &Value::Null).await?;
        let signed = name_of(&paid)?;
        let token = paid["jws"].as_str().context("the signed order")?;
        let (exit, said) = set.edgectl(&["order", "-", "--json", "--config", &set.config()], token).await?;
        ensure!(exit == 0 && said.contains("armed"), "edgectl order says {exit}: {said}");
        let habits = Habits::brisk();
        let fuelled =
            tokio::join!(set.customer(one, Plan::FuelToPreset, habits), set.customer(two, Plan::FuelToPreset, habits));
        ensure!(fuelled == (true, true), "no fuel flowed");
        let waiting = set.town.stage.books()?.outbox()?;
        ensure!(waiting > 0, "nothing waits in the outbox");
        tokio::time::sleep(outage.saturating_sub(begun.elapsed())).await;
        anyhow::Ok((signed, waiting))
    };
    let shown = shown.await;
    set.town.stage.broker.restore();
    let out = begun.elapsed();
    let (signed, waiting) = shown?;
    let back = Instant::now();
    let (armed, signed) = (set.settled(&armed).await?, set.settled(&signed).await?);
    set.town.stage.settle(SOON).await?;
    let drained = back.elapsed();
    set.agrees(one, &armed)?;
    set.agrees(two, &signed)?;
    let script = played(&scripts, "wan_out")?;
    Ok(Outcome::Shown(vec![
        format!(
            "uplink down for {} s{}; {waiting} records waited, drained {} ms after it was back",
            out.as_secs(),
            if out < HALF_AN_HOUR { ", for the whole half hour give --outage 1800" } else { "" },
            drained.as_millis()
        ),
        format!("armed before the cut: {}", sold(&armed)),
        format!("handed in as a signed order: {}", sold(&signed)),
        format!("at full length on an invented clock: {script}"),
    ]))
}

/// Waits until the station knows that it has no uplink.
async fn offline(set: &Set) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let (_, said) = set.edgectl(&["status", "--json", "--config", &set.config()], "").await?;
        let status: Value = serde_json::from_str(&said).unwrap_or_default();
        if status["uplink"] == false {
            return Ok(());
        }
        ensure!(begun.elapsed() < SOON, "the station still has its uplink: {said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Plays a fault script; its title, if all was as it says.
fn played(directory: &std::path::Path, name: &str) -> anyhow::Result<String> {
    let script = script::load(directory, name)?;
    let outcome = script::play(&script, 0)?;
    ensure!(outcome.failures.is_empty(), "script {name}: {:?}", outcome.failures);
    Ok(format!("script {name}, {}", script.title))
}

/// The real daemon's clock is set an hour on and back, years on and back, while fuel flows.
pub async fn clock_jump(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let directory = theatre.directory.join("clock");
    std::fs::create_dir_all(&directory)?;
    match link::clock(theatre.daemon.as_deref(), &directory).await? {
        Verdict::Held(text) => Ok(Outcome::Shown(vec![format!("the real daemon: {text}")])),
        Verdict::Broke(differences) => anyhow::bail!("{}", differences.join("; ")),
        Verdict::Skipped(why) => Ok(Outcome::Partly(
            vec![format!("on an invented clock: {}", played(&theatre.scripts, "clock_jump")?)],
            format!("the real daemon: {why}"),
        )),
    }
}
