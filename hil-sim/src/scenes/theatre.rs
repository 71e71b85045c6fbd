//! What the scenes are played on: one station with the reference platform, started by the first scene that needs it.

use crate::broker::Broker;
use crate::customer::{Habits, Plan};
use crate::demo::layout;
use crate::platform::Faults;
use crate::prng::Prng;
use crate::rig::bus::Buses;
use crate::rig::daemon;
use crate::rig::page::{Page, nozzle_of};
use crate::rig::people::visit;
use crate::rig::pumps::Build;
use crate::rig::stage::Setting;
use crate::rig::town::{Pages, Town, is_settled};
use anyhow::{Context as _, ensure};
use forecourt::ids::NozzleId;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use pump_drivers::protocol::Protocol;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

/// For anything that happens by itself.
pub const SOON: Duration = Duration::from_secs(20);
/// For a whole fuelling.
pub const FUELLING: Duration = Duration::from_secs(60);
/// Fuel flows so much faster than at a forecourt; the line keeps its real pace.
const SPEED: u32 = 20;

/// The theatre, empty until the first scene.
#[derive(Debug)]
pub struct Theatre {
    /// Everything is below it.
    pub directory: PathBuf,
    /// Where the fault scripts are.
    pub scripts: PathBuf,
    /// The daemon's program, if given.
    pub daemon: Option<PathBuf>,
    /// How long the uplink is out, at least.
    pub outage: Duration,
    set: Option<Set>,
    /// Violations that were told already.
    told: usize,
}

/// The running station.
#[derive(Debug)]
pub struct Set {
    /// Station and platform.
    pub town: Town,
    phones: AtomicU32,
}

impl Theatre {
    /// An empty one.
    #[must_use]
    pub fn new(directory: &Path, daemon: Option<PathBuf>, scripts: PathBuf, outage: Duration) -> Self {
        Self { directory: directory.to_owned(), scripts, daemon, outage, set: None, told: 0 }
    }

    /// What every scene must leave behind: a ledger that adds up, and no violation of the contract or at a pump.
    ///
    /// # Errors
    /// What is wrong and was not told before.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        let Some(set) = &self.set else { return Ok(()) };
        let ledger = set.town.platform.shared().read(|act| act.audit_ledger()).await?;
        ensure!(ledger.is_empty(), "the ledger: {}", ledger.join("; "));
        let wrongs = [set.town.stage.platform.report().violations, set.town.stage.pumps.wrongs()].concat();
        let before = std::mem::replace(&mut self.told, wrongs.len()).min(wrongs.len());
        ensure!(wrongs.len() == before, "the contract or a pump was violated: {}", wrongs[before..].join("; "));
        Ok(())
    }

    /// The station, started if it is not.
    ///
    /// # Errors
    /// What could not be started.
    pub async fn open(&mut self) -> anyhow::Result<&mut Set> {
        if self.set.is_none() {
            let directory = self.directory.join("station");
            std::fs::create_dir_all(&directory)?;
            let setting = Setting {
                daemon: self.daemon.clone(),
                build: Build::usual(SPEED, Prng::new(1).fork("pumps")),
                faults: Faults::default(),
                extra_toml: String::new(),
            };
            let plan = layout(&directory, Buses::Only(Protocol::Dart))?;
            let pages = Pages { data: Some(self.directory.join("platform")), ..Pages::quiet() };
            let town = Town::start(plan, Broker::embedded()?, &setting, &pages).await?;
            self.set = Some(Set { town, phones: AtomicU32::new(1) });
        }
        self.set.as_mut().context("the station")
    }

    /// Ends everything in order.
    ///
    /// # Errors
    /// If the daemon did not end well, or the station broke the contract.
    pub async fn close(self) -> anyhow::Result<()> {
        let Some(Set { town: Town { stage, platform, .. }, .. }) = self.set else { return Ok(()) };
        let (desk, pumps, _broker) = stage.stop().await?;
        platform.stop().await;
        let wrongs = [desk.report().violations, pumps.wrongs()].concat();
        ensure!(wrongs.is_empty(), "the contract or a pump was violated:\n  {}", wrongs.join("\n  "));
        Ok(())
    }
}

impl Set {
    /// A new driver.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub async fn driver(&self) -> anyhow::Result<Page> {
        self.invited(None).await
    }

    /// A new driver, invited by a member.
    ///
    /// # Errors
    /// If the platform does not answer.
    pub async fn invited(&self, inviter: Option<&str>) -> anyhow::Result<Page> {
        let number = self.phones.fetch_add(1, Ordering::Relaxed);
        self.town.driver(&format!("1370000{number:04}"), inviter).await
    }

    /// Waits until a nozzle takes orders.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn free(&self, nozzle: NozzleId) -> anyhow::Result<&str> {
        let code = self.town.code(nozzle)?;
        let asked = code.to_owned();
        let free = move |act: &mut reference_platform::books::Act<'_>| {
            let view = act.nozzle_view(&asked, None)?;
            Ok((view["available"] == true && view["state"] == "idle").then_some(()))
        };
        self.town.wait(&format!("nozzle {nozzle}, free"), SOON, free).await?;
        Ok(code)
    }

    /// Waits until a nozzle's page says why no order can be taken there; the sentence.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn refused(&self, nozzle: NozzleId, limit: Duration, word: &'static str) -> anyhow::Result<Value> {
        let code = self.town.code(nozzle)?.to_owned();
        let shown = move |act: &mut reference_platform::books::Act<'_>| {
            let refusal = act.nozzle_view(&code, None)?["refusal"].take();
            Ok((refusal["error"] == word).then(|| refusal["text"].clone()))
        };
        self.town.wait(&format!("{word} at nozzle {nozzle}"), limit, shown).await
    }

    /// A driver pays at a nozzle that is free; the order once it is armed.
    ///
    /// # Errors
    /// If it is refused or not armed in time.
    pub async fn armed(
        &self,
        driver: &mut Page,
        nozzle: NozzleId,
        limit: Value,
        with: &Value,
    ) -> anyhow::Result<String> {
        let code = self.free(nozzle).await?;
        let order = name_of(&driver.buy(code, limit, with).await?)?;
        self.town.order(&order, "armed", SOON, |view| view["state"] == "armed").await?;
        Ok(order)
    }

    /// A customer who was told that a nozzle is ready. Whether fuel flowed.
    pub async fn customer(&self, nozzle: NozzleId, plan: Plan, habits: Habits) -> bool {
        let (tell, ready) = oneshot::channel();
        let _ = tell.send(());
        visit(&self.town.stage.pumps, nozzle, plan, habits, Prng::new(u64::from(nozzle.0)), ready).await
    }

    /// Pays, fuels, hangs up; the order once all of it is settled.
    ///
    /// # Errors
    /// If it did not end in fuel.
    pub async fn sell(
        &self,
        driver: &mut Page,
        nozzle: NozzleId,
        limit: Value,
        with: &Value,
        plan: Plan,
    ) -> anyhow::Result<Value> {
        let order = self.armed(driver, nozzle, limit, with).await?;
        ensure!(self.customer(nozzle, plan, Habits::brisk()).await, "no fuel flowed for order {order}");
        let sold = self.settled(&order).await?;
        self.agrees(nozzle, &sold)?;
        Ok(sold)
    }

    /// An order's sale must be the last fuelling at its nozzle, to the last digit that the pump showed.
    ///
    /// # Errors
    /// If it did not end in fuel, or with other figures.
    pub fn agrees(&self, nozzle: NozzleId, order: &Value) -> anyhow::Result<()> {
        let (name, end) = (&order["order_id"], &order["end"]);
        ensure!(order["state"] == "completed", "order {name} ended {}: {end}", order["state"]);
        let pump = self.town.stage.pumps.fuellings(nozzle).pop().context("no fuelling at the pump")?;
        let shown = (pump.volume.get(), i64::from(pump.figures.amount.0));
        let sold = (minor(&end["volume_ml"]), minor(&end["amount_minor"]));
        ensure!(
            shown == sold,
            "the pump at nozzle {nozzle} shows {shown:?} (ml, fen), order {name} was sold as {sold:?}"
        );
        Ok(())
    }

    /// Staff of the platform does something.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn staff(&self, driver: &mut Page, path: &str, body: &Value) -> anyhow::Result<Value> {
        let token = self.town.platform.staff_token();
        let path = format!("/api/v1/staff/{path}");
        let (status, answer) = driver.call_as(token, "POST", &path, "application/json", &body.to_string()).await?;
        ensure!((200..300).contains(&status), "{path} was answered {status}: {answer}");
        Ok(answer)
    }

    /// An order with its end and its refund.
    ///
    /// # Errors
    /// If it has none in time.
    pub async fn settled(&self, order: &str) -> anyhow::Result<Value> {
        self.town.order(order, "settled", FUELLING, is_settled).await
    }

    /// Staff sends a price set for a grade, in force at once. Its name.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn send_price(&self, driver: &mut Page, grade: &str, micros: i64) -> anyhow::Result<String> {
        let prices = json!({"effective_at": reference_platform::shared::now().to_string(),
            "prices": [{"grade": grade, "unit_price_micros": micros}]});
        let path = format!("stations/{}/prices", self.town.stage.plan.station);
        let answer = self.staff(driver, &path, &prices).await?;
        Ok(answer["price_set"].as_str().unwrap_or("?").to_owned())
    }

    /// Waits until a nozzle's page shows a price, which it has from the pump's confirmation.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn price_shown(&self, nozzle: NozzleId, micros: i64, limit: Duration) -> anyhow::Result<()> {
        let code = self.town.code(nozzle)?.to_owned();
        let shown = move |act: &mut reference_platform::books::Act<'_>| {
            Ok((act.nozzle_view(&code, None)?["unit_price_micros"] == micros).then_some(()))
        };
        self.town.wait(&format!("{} yuan at nozzle {nozzle}", price(micros)), limit, shown).await
    }

    /// Runs `edgectl` with something on its standard input. Exit code and output.
    ///
    /// # Errors
    /// If it is not built or cannot be started.
    pub async fn edgectl(&self, arguments: &[&str], input: &str) -> anyhow::Result<(i32, String)> {
        edgectl(arguments, input).await
    }

    /// The daemon's configuration file, for `--config`.
    #[must_use]
    pub fn config(&self) -> String {
        self.town.stage.plan.config_file().display().to_string()
    }
}

/// Runs `edgectl`. Exit code and output, standard output first.
///
/// # Errors
/// If it is not built or cannot be started.
pub async fn edgectl(arguments: &[&str], input: &str) -> anyhow::Result<(i32, String)> {
    let program = daemon::find("edgectl").context("build it: cargo build -p edge-daemon")?;
    let mut command = tokio::process::Command::new(program);
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // One that reads nothing may be gone already.
        let _ = pipe.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
}

/// An order's name.
///
/// # Errors
/// If it has none.
pub fn name_of(order: &Value) -> anyhow::Result<String> {
    Ok(order["order_id"].as_str().context("an order's name")?.to_owned())
}

/// A member of minor units.
#[must_use]
pub fn minor(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// Minor units as yuan.
#[must_use]
pub fn yuan(value: &Value) -> String {
    Money::new(minor(value)).major(Currency::CNY)
}

/// A price as people read it.
#[must_use]
pub fn price(micros: i64) -> String {
    reference_platform::refusal::price(UnitPrice::new(micros))
}

/// A sentence of the platform as an English driver reads it.
#[must_use]
pub fn told(text: &Value) -> &str {
    text["en"].as_str().unwrap_or("?")
}

/// What was sold, in one line.
#[must_use]
pub fn sold(order: &Value) -> String {
    let end = &order["end"];
    format!(
        "{}: {} L for {}, charged {}, back {}, nozzle {}",
        order["order_id"].as_str().unwrap_or("?"),
        reference_platform::refusal::litres(Volume::new(minor(&end["volume_ml"]))),
        yuan(&end["amount_minor"]),
        yuan(&end["charged_minor"]),
        yuan(&end["refund"]["amount_minor"]),
        nozzle_of(order)
    )
}
