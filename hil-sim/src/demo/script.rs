//! Six orders with what may happen to each: the script of `hil-sim demo --once`.

use crate::customer::{Habits, Plan};
use crate::platform::{Command, End, OrderSpec};
use crate::prng::Prng;
use crate::rig::people::visit;
use crate::rig::stage::Stage;
use anyhow::{Context as _, ensure};
use forecourt::ids::{NozzleId, OrderId};
use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use std::ops::Range;
use std::time::Duration;
use tokio::sync::oneshot;

/// For a reply.
const REPLY: Duration = Duration::from_secs(5);
/// For the end of a fuelling.
const FUELLING: Duration = Duration::from_secs(60);
/// The contract's least time to lift, seconds: the order that nobody comes for need not wait longer.
const LIFT_TIMEOUT_S: u32 = 30;
/// Beyond the lift timeout, for the release to be written, sent and heard.
const RELEASE_GRACE: Duration = Duration::from_secs(10);
/// Tank full, in the third order.
const TANK_FULL: Volume = Volume::new(8_000);

/// What came of one order, for the comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Played {
    /// What happened.
    pub title: &'static str,
    /// Its name.
    pub order_id: OrderId,
    /// Where it should have ended.
    pub nozzle: NozzleId,
    /// Of the fuellings that the pump counted at that nozzle, those between the order and its end.
    pub fuellings: Range<usize>,
    /// What is special about it was seen.
    pub proof: String,
}

/// One order of the script.
struct Act<'a> {
    stage: &'a Stage,
    title: &'static str,
    spec: OrderSpec,
    chance: Prng,
}

/// Plays all six, those at different fuelling points at the same time. Needs the plan of [`super::layout`].
///
/// # Errors
/// Which order went wrong, and how.
pub async fn play(stage: &Stage, prng: &Prng) -> anyhow::Result<Vec<Played>> {
    let act = |number: u16, title, nozzle: u16, limit| Act::new(stage, number, title, NozzleId(nozzle), limit, prng);
    let amount = |minor| Limit::Amount(Money::new(minor));
    let first = act(1, "amount preset to the end", 1, amount(10_000))?;
    let second = act(2, "volume preset", 5, Limit::Volume(Volume::new(12_000)))?;
    let third = act(3, "early hang-up", 7, amount(20_000))?;
    let fourth = act(4, "never lifted", 3, amount(5_000))?;
    let fifth = act(5, "wrong nozzle, moved", 7, amount(6_000))?;
    let sixth = act(6, "command delivered twice", 2, amount(4_000))?;
    let at_one = async { anyhow::Ok([first.plain(Plan::FuelToPreset).await?, sixth.delivered_twice().await?]) };
    let at_three_and_four = async {
        let (second, third) =
            tokio::try_join!(second.plain(Plan::FuelToPreset), third.plain(Plan::HangUpEarly { at: TANK_FULL }))?;
        anyhow::Ok([second, third, fifth.moved_to(NozzleId(5)).await?])
    };
    let ([first, sixth], [second, third, fifth], fourth) =
        tokio::try_join!(at_one, at_three_and_four, fourth.never_lifted())?;
    Ok(vec![first, second, third, fourth, fifth, sixth])
}

impl<'a> Act<'a> {
    fn new(
        stage: &'a Stage,
        number: u16,
        title: &'static str,
        nozzle: NozzleId,
        limit: Limit,
        prng: &Prng,
    ) -> anyhow::Result<Self> {
        let grade = stage.plan.grade_of(nozzle).with_context(|| format!("no nozzle {nozzle} in the plan"))?;
        let price = stage.plan.price_of(grade).with_context(|| format!("no price for {grade}"))?;
        let id = OrderId::new(format!("once-{number}"))?;
        let spec = OrderSpec::prepaid(id, nozzle, grade.clone(), limit, price, stage.plan.currency);
        Ok(Self { stage, title, spec, chance: prng.fork(&format!("customer-{number}")) })
    }

    fn played(&self, nozzle: NozzleId, before: usize, proof: String) -> Played {
        let (title, order_id) = (self.title, self.spec.order_id.clone());
        Played { title, order_id, nozzle, fuellings: before..self.stage.pumps.fuellings(nozzle).len(), proof }
    }

    fn told(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!("order {} ({})", self.spec.order_id, self.title))
    }

    /// Pays, and returns once the station says `armed`.
    async fn armed(&self) -> anyhow::Result<crate::platform::OrderHandle<'a>> {
        let order = self.stage.platform.pay(self.spec.clone());
        let (reply, _) = order.reply(REPLY).await?;
        ensure!(reply.result == "armed", "answered {}: {}", reply.result, reply.detail);
        Ok(order)
    }

    /// Lets the customer come who has been told that the nozzle is ready.
    async fn customer(&self, nozzle: NozzleId, plan: Plan) -> bool {
        let (tell, ready) = oneshot::channel();
        let _ = tell.send(());
        visit(&self.stage.pumps, nozzle, plan, Habits::brisk(), self.chance.clone(), ready).await
    }

    async fn plain(&self, plan: Plan) -> anyhow::Result<Played> {
        let nozzle = self.spec.nozzle;
        let before = self.stage.pumps.fuellings(nozzle).len();
        let run = async {
            let order = self.armed().await?;
            ensure!(self.customer(nozzle, plan).await, "no fuel flowed");
            let End::Sale(sale) = order.end(FUELLING).await? else { anyhow::bail!("it did not end in a sale") };
            match (self.spec.limit, plan) {
                (_, Plan::HangUpEarly { at }) => {
                    ensure!(sale.volume_ml >= at && sale.amount_minor < self.paid(), "{sale:?}");
                }
                (Limit::Volume(volume), _) => ensure!(sale.volume_ml == volume, "sold {:?}", sale.volume_ml),
                (Limit::Amount(money) | Limit::FullTank(money), _) => {
                    ensure!(sale.amount_minor == money, "sold for {:?}", sale.amount_minor);
                }
            }
            Ok(format!("finish {}", sale.finish))
        };
        let proof = run.await.map_err(|error| self.told(error))?;
        Ok(self.played(nozzle, before, proof))
    }

    fn paid(&self) -> Money {
        match self.spec.limit {
            Limit::Amount(money) | Limit::FullTank(money) => money,
            Limit::Volume(_) => Money::new(i64::MAX),
        }
    }

    async fn never_lifted(mut self) -> anyhow::Result<Played> {
        let nozzle = self.spec.nozzle;
        let before = self.stage.pumps.fuellings(nozzle).len();
        self.spec.lift_timeout_s = Some(LIFT_TIMEOUT_S);
        let run = async {
            let order = self.armed().await?;
            let end = order.end(Duration::from_secs(LIFT_TIMEOUT_S.into()) + RELEASE_GRACE).await?;
            let End::Released { reason, .. } = end else { anyhow::bail!("ended as {}", end.word()) };
            ensure!(reason == "not_lifted", "released as {reason}");
            Ok(format!("all money back after {LIFT_TIMEOUT_S} s"))
        };
        let proof = run.await.map_err(|error| self.told(error))?;
        Ok(self.played(nozzle, before, proof))
    }

    /// The customer lifts another nozzle of the same grade than the one paid for; the driver moves the order there.
    async fn moved_to(&self, other: NozzleId) -> anyhow::Result<Played> {
        let before = self.stage.pumps.fuellings(other).len();
        let run = async {
            let order = self.armed().await?;
            let guide = async {
                self.stage.platform.nozzle_state(other, "calling", REPLY).await?;
                let command = self.stage.platform.send(Command::Move(order.order_id.clone(), other));
                let (reply, _) = self.stage.platform.reply(command, REPLY).await?;
                ensure!(reply.result == "moved", "the move was answered {}: {}", reply.result, reply.detail);
                anyhow::Ok(())
            };
            let (guided, fuelled) = tokio::join!(guide, self.customer(other, Plan::LiftEarly));
            guided?;
            ensure!(fuelled, "no fuel flowed at nozzle {other}");
            let End::Sale(sale) = order.end(FUELLING).await? else { anyhow::bail!("it did not end in a sale") };
            ensure!(sale.nozzle == other, "sold at nozzle {}", sale.nozzle);
            Ok(format!("paid at {}, sold at {other}", self.spec.nozzle))
        };
        let proof = run.await.map_err(|error| self.told(error))?;
        Ok(self.played(other, before, proof))
    }

    /// The same bytes come again before the lift and after the end.
    async fn delivered_twice(&self) -> anyhow::Result<Played> {
        let nozzle = self.spec.nozzle;
        let before = self.stage.pumps.fuellings(nozzle).len();
        let run = async {
            let order = self.armed().await?;
            self.stage.platform.send_again(order.command);
            self.stage.platform.replies(order.command, 2, REPLY).await?;
            ensure!(self.customer(nozzle, Plan::FuelToPreset).await, "no fuel flowed");
            let End::Sale(_) = order.end(FUELLING).await? else { anyhow::bail!("it did not end in a sale") };
            self.stage.platform.send_again(order.command);
            let replies = self.stage.platform.replies(order.command, 3, REPLY).await?;
            let words: Vec<_> = replies.iter().map(|(reply, _)| (reply.result.as_str(), reply.repeated)).collect();
            let [first, again @ ..] = &words[..] else { anyhow::bail!("no reply") };
            let same = *first == ("armed", false) && again.iter().all(|reply| *reply == ("armed", true));
            ensure!(same, "answered {words:?}");
            Ok(format!("came {} times, sold once", replies.len()))
        };
        let proof = run.await.map_err(|error| self.told(error))?;
        Ok(self.played(nozzle, before, proof))
    }
}
