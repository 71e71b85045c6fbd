//! `bench loop`: from the driver's tap on "pay" to the limit in the pump, and from the hang-up to the commission in the ledger.
//!
//! Everything that is between them in the field is between them here: the page's HTTP call, the payment channel's signed callback, the
//! ledger's commit to disk, MQTT, the station's checks and store, the wire at its real pace, and all of it back.

use super::stats::{Summary, Times, ms};
use super::witness::WireWitness;
use super::{Bench, Figures, Tables, calibration};
use crate::demo::layout;
use crate::dispenser::Condition;
use crate::dispenser::record::Moment;
use crate::platform::Faults;
use crate::prng::Prng;
use crate::rig::bus::Buses;
use crate::rig::pumps::Build;
use crate::rig::stage::Setting;
use crate::rig::table::Table;
use crate::rig::town::{Pages, Town, is_settled};
use anyhow::{Context as _, ensure};
use forecourt::ids::NozzleId;
use pump_drivers::protocol::Protocol;
use reference_platform::books::Act;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Fuel flows so much faster than at a forecourt, so that many orders take minutes and not hours.
const SPEED: u32 = 50;
const LIMIT: Duration = Duration::from_secs(60);
const GLANCE: Duration = Duration::from_millis(5);
const PROGRESS: Duration = Duration::from_secs(10);

/// What was measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Loop {
    /// Orders, each paid, fuelled and settled.
    pub orders: u32,
    /// The HTTP call "pay" to its answer.
    pub answered: Summary,
    /// The HTTP call "pay" to the last byte of the frame that releases the dispenser, its limit being there before.
    pub armed: Summary,
    /// The nozzle in its boot to the commission in the ledger.
    pub booked: Summary,
}

struct Run<'a> {
    town: &'a Town,
    witnesses: Vec<WireWitness>,
    /// Invited each driver, so that every sale has a commission.
    inviter: String,
    left: AtomicU32,
    orders: u32,
    times: Mutex<[Times; 3]>,
}

/// Measures so many orders at the four fuelling points of two DART lines, one customer at each.
///
/// # Errors
/// What could not be started, or which order went wrong.
pub async fn run(bench: &Bench, root: &Path, orders: u32) -> anyhow::Result<Figures<Loop>> {
    let calibration = calibration::measure(root).await?;
    let setting = Setting {
        daemon: bench.daemon.clone(),
        build: Build::usual(SPEED, Prng::new(bench.seed)),
        faults: Faults::default(),
        extra_toml: String::new(),
    };
    let plan = layout(root, Buses::Only(Protocol::Dart))?;
    let broker = bench.broker.start(root)?;
    let kind = broker.kind();
    let pages = Pages { data: Some(root.join("platform")), ..Pages::quiet() };
    let town = Town::start(plan, broker, &setting, &pages).await?;
    let inviter = town.driver("13600000000", None).await?.member_id().to_owned();
    let lines = 0..town.stage.plan.lines.len();
    let witnesses: Vec<WireWitness> =
        lines.filter_map(|line| town.stage.pumps.line(line).map(WireWitness::new)).collect();
    let (left, times) = (AtomicU32::new(orders), Mutex::default());
    let run = Run { town: &town, witnesses, inviter, left, orders, times };
    let at = |nozzle: u16| run.customers(NozzleId(nozzle), Prng::new(bench.seed).fork(&format!("customers-{nozzle}")));
    tokio::select! {
        done = async { tokio::try_join!(at(1), at(3), at(5), at(7)) } => done.map(|_| ())?,
        () = run.progress() => {}
        died = town.stage.daemon.died() => return Err(died.into()),
    }
    let times = run.times.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (wrong, disputes) = town.platform.shared().read(|act| Ok((act.audit_ledger()?, act.disputes()?))).await?;
    ensure!(wrong.is_empty() && disputes.is_empty(), "the books do not agree: {wrong:?} {disputes:?}");
    let Town { stage, platform, .. } = town;
    let (desk, pumps, _broker) = stage.stop().await?;
    platform.stop().await;
    let wrongs = [desk.report().violations, pumps.wrongs()].concat();
    ensure!(wrongs.is_empty(), "the contract or a pump was violated: {wrongs:?}");
    let [answered, armed, booked] = times.map(|times| times.summary().context("no order was measured"));
    Ok(Figures {
        calibration,
        broker: kind,
        figures: Loop { orders, answered: answered?, armed: armed?, booked: booked? },
    })
}

impl Run<'_> {
    /// One customer after another at a nozzle.
    async fn customers(&self, nozzle: NozzleId, mut prng: Prng) -> anyhow::Result<()> {
        loop {
            let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            let Ok(left) = taken else { return Ok(()) };
            let number = self.orders - left + 1;
            self.order(number, nozzle, &mut prng)
                .await
                .with_context(|| format!("order {number} at nozzle {nozzle}"))?;
        }
    }

    async fn order(&self, number: u32, nozzle: NozzleId, prng: &mut Prng) -> anyhow::Result<()> {
        let town = self.town;
        let place = town.stage.pumps.place(nozzle).context("a nozzle of the plan")?;
        let witness = self.witnesses.get(place.line).context("its line")?;
        let code = town.code(nozzle)?.to_owned();
        let asked = code.clone();
        let free = move |act: &mut Act<'_>| {
            let view = act.nozzle_view(&asked, None)?;
            Ok((view["available"] == true && view["state"] == "idle").then_some(()))
        };
        town.wait("a free nozzle", LIMIT, free).await?;
        // A driver of their own for each order, so that nobody meets the limit of a day.
        let mut driver = town.driver(&format!("136{number:08}"), Some(&self.inviter)).await?;
        let minor = 7_000 + prng.below(3_000) / 10 * 10;
        let (status, placed) = driver.place(&code, json!({"amount_minor": minor}), &Value::Null).await?;
        ensure!(status == 201, "the order was answered {status}: {placed}");
        let order = placed["order_id"].as_str().context("an order's name")?.to_owned();

        // The nozzle is out before: DART releases no other, so that the customer is not what is measured.
        town.stage.pumps.lift(nozzle);
        town.stage.platform.nozzle_state(nozzle, "calling", LIMIT).await?;
        let tapped = Instant::now();
        driver.pay(&order).await?;
        let answered = tapped.elapsed();
        let armed = loop {
            if let Some(armed) = witness.first_since(place.device, Moment::AuthoriseArrived, tapped) {
                break armed.duration_since(tapped);
            }
            ensure!(tapped.elapsed() < LIMIT, "no release on the wire");
            tokio::time::sleep(GLANCE).await;
        };
        while !town.stage.pumps.view(nozzle).is_some_and(|view| view.condition == Condition::Finished) {
            ensure!(tapped.elapsed() < LIMIT, "the flow did not end");
            tokio::time::sleep(GLANCE).await;
        }
        tokio::time::sleep(prng.between(Duration::from_millis(50), Duration::from_millis(400))).await;
        let hung_up = Instant::now();
        town.stage.pumps.hang_up(nozzle);
        let id = order.clone();
        let commission = move |act: &mut Act<'_>| {
            let view = act.order_view(&id)?;
            Ok(view["end"]["commission"].as_array().is_some_and(|levels| !levels.is_empty()).then_some(()))
        };
        town.wait("the commission", LIMIT, commission).await?;
        let booked = hung_up.elapsed();
        town.order(&order, "settled", LIMIT, is_settled).await?;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for (times, time) in times.iter_mut().zip([answered, armed, booked]) {
            times.add(time);
        }
        Ok(())
    }

    async fn progress(&self) {
        loop {
            tokio::time::sleep(PROGRESS).await;
            eprintln!("{} of {} orders are left", self.left.load(Ordering::Relaxed), self.orders);
        }
    }
}

impl Tables for Loop {
    fn tables(&self) -> Vec<(String, Table)> {
        let mut table = Table::new(["from … to", "median ms", "p95 ms", "max ms"]);
        for (what, times) in [
            ("tap on \"pay\" … answered", self.answered),
            ("tap on \"pay\" … pump armed", self.armed),
            ("hang-up … commission booked", self.booked),
        ] {
            table.row([what.to_owned(), ms(times.p50_us), ms(times.p95_us), ms(times.max_us)]);
        }
        vec![(format!("{} orders, two DART lines, four fuelling points", self.orders), table)]
    }
}
