//! Scenes 5 to 9: what a fuelling is worth to whom.

use super::Outcome;
use super::theatre::{Set, Theatre, minor, name_of, sold, told, yuan};
use crate::customer::{Habits, Plan};
use crate::rig::page::Page;
use anyhow::{Context as _, ensure};
use forecourt::ids::NozzleId;
use forecourt::units::Volume;
use serde_json::{Value, json};
use std::time::Duration;

/// From the hang-up to the commission in the ledger.
const COMMISSION_MS: i64 = 10_000;

/// Who invited whom: the second of them invited the driver, the first invited the second.
struct Chain {
    first: Page,
    second: Page,
    driver: Page,
}

impl Chain {
    async fn new(set: &Set) -> anyhow::Result<Self> {
        let first = set.driver().await?;
        let second = set.invited(Some(first.member_id())).await?;
        let driver = set.invited(Some(second.member_id())).await?;
        Ok(Self { first, second, driver })
    }

    /// The wallets of both: 5 % and 0.8 % of what flowed.
    async fn check(&mut self, dispensed: i64) -> anyhow::Result<[Value; 2]> {
        let wallets = [self.second.wallet().await?, self.first.wallet().await?];
        for (wallet, basis_points) in wallets.iter().zip([500, 80]) {
            let share = (dispensed * basis_points + 5_000) / 10_000;
            ensure!(
                wallet["wallet_minor"] == share,
                "{share} expected in the wallet, there is {}",
                wallet["wallet_minor"]
            );
            ensure!(wallet["points"] == share, "{share} points expected, there are {}", wallet["points"]);
        }
        Ok(wallets)
    }
}

/// Two levels, from the hang-up to the wallets.
pub async fn commission(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let mut chain = Chain::new(set).await?;
    let nozzle = NozzleId(1);
    let order = with_coupon(set, &mut chain.driver, nozzle, Plan::FuelToPreset).await?;
    ensure!(order["end"]["amount_minor"] == 20_000, "{} flowed", yuan(&order["end"]["amount_minor"]));
    let [second, first] = chain.check(20_000).await?;
    let id = name_of(&order)?;
    let trace = set.town.platform.shared().read(move |act| act.trace(&id)).await?;
    let at = |step: &str| trace.iter().find(|stage| stage.step == step).map(|stage| stage.at);
    let (hung_up, booked) = (at("hung_up").context("the hang-up")?, at("commission").context("the commission")?);
    let took = booked.ms_since(hung_up);
    ensure!(took < COMMISSION_MS, "the commission was booked {took} ms after the hang-up");
    Ok(Outcome::Shown(vec![
        sold(&order),
        format!(
            "commission {} and {}, booked {took} ms after the hang-up",
            yuan(&second["wallet_minor"]),
            yuan(&first["wallet_minor"])
        ),
        format!("points {} and {}", second["points"], first["points"]),
        poster(set, &chain.driver, nozzle, &order)?,
    ]))
}

/// The driver's poster with what was fuelled and saved, and the code that invites to the same nozzle.
fn poster(set: &Set, driver: &Page, nozzle: NozzleId, order: &Value) -> anyhow::Result<String> {
    let link = reference_platform::poster::link(&set.town.platform.url(), set.town.code(nozzle)?, driver.member_id());
    let picture = reference_platform::poster::svg(order, &link, true)?;
    let code = reference_platform::qr::svg(&link)?;
    let dots = code.split(" d=\"").nth(1).and_then(|rest| rest.split('"').next()).context("a path in the code")?;
    for part in ["升 · 200.00 元", "省了 10.00 元", dots] {
        ensure!(picture.contains(part), "the poster lacks {part}");
    }
    Ok(format!("poster: litres, 200.00, 10.00 saved, and a code to {link}"))
}

/// The tank is full before the money is spent.
pub async fn under_fill(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let mut chain = Chain::new(set).await?;
    let early = Plan::HangUpEarly { at: Volume::new(10_000) };
    let order = set.sell(&mut chain.driver, NozzleId(3), json!({"amount_minor": 20_000}), &Value::Null, early).await?;
    let (amount, back) = (minor(&order["end"]["amount_minor"]), minor(&order["end"]["refund"]["amount_minor"]));
    ensure!((1..20_000).contains(&amount) && amount + back == 20_000, "{amount} sold and {back} back of 20000");
    let [second, first] = chain.check(amount).await?;
    let commission = format!("commission {} and {}", yuan(&second["wallet_minor"]), yuan(&first["wallet_minor"]));
    Ok(Outcome::Shown(vec![sold(&order), format!("{commission}, of what flowed and not of what was paid")]))
}

/// The coupon's condition, above and below its threshold.
pub async fn coupon(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let (mut one, mut other) = (set.driver().await?, set.driver().await?);
    let full = with_coupon(set, &mut one, NozzleId(1), Plan::FuelToPreset);
    let early = with_coupon(set, &mut other, NozzleId(5), Plan::HangUpEarly { at: Volume::new(15_000) });
    let (full, early) = tokio::try_join!(full, early)?;
    for order in [&full, &early] {
        let amount = minor(&order["end"]["amount_minor"]);
        let discount = if amount >= 20_000 { 1_000 } else { amount * 1_000 / 20_000 };
        let charged = minor(&order["end"]["charged_minor"]);
        ensure!(charged == amount - discount, "{charged} charged for {amount} with {discount} off");
        let back = minor(&order["end"]["refund"]["amount_minor"]);
        ensure!(charged + back == 19_000, "{charged} charged and {back} back of 19000");
    }
    ensure!(
        minor(&full["end"]["amount_minor"]) == 20_000 && minor(&early["end"]["amount_minor"]) < 20_000,
        "neither flowed as meant"
    );
    let line = |order: &Value| format!("190.00 paid; {} off; {}", yuan(&order["end"]["discount_minor"]), sold(order));
    Ok(Outcome::Shown(vec![line(&full), line(&early)]))
}

async fn with_coupon(set: &Set, driver: &mut Page, nozzle: NozzleId, plan: Plan) -> anyhow::Result<Value> {
    let coupons = driver.member["coupons"].as_array().cloned().unwrap_or_default();
    let coupon = coupons.iter().find(|coupon| coupon["threshold_minor"] == 20_000).context("a coupon of 200-10")?;
    let with = json!({"coupon_id": coupon["coupon_id"]});
    set.sell(driver, nozzle, json!({"amount_minor": 20_000}), &with, plan).await
}

/// Three drivers, three pumps, one group.
pub async fn group(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let station = json!({"station_id": set.town.stage.plan.station});
    let (mut one, mut two, mut three) = (set.driver().await?, set.driver().await?, set.driver().await?);
    let founded = one.good("POST", "/api/v1/groups", &station).await?;
    let name = founded["group_id"].as_str().context("a group")?.to_owned();
    let code = set.free(NozzleId(1)).await?.to_owned();
    let with = json!({"group_id": name});
    let (status, alone) = one.place(&code, json!({"volume_ml": 10_000}), &with).await?;
    ensure!(
        (status, &alone["error"]) == (409, &json!("group_not_complete")),
        "one alone was answered {status}: {alone}"
    );
    for other in [&mut two, &mut three] {
        other.good("POST", &format!("/api/v1/groups/{name}/join"), &json!({})).await?;
    }
    let litres = |amount| json!({"volume_ml": amount});
    let orders = tokio::try_join!(
        set.sell(&mut one, NozzleId(1), litres(10_000), &with, Plan::FuelToPreset),
        set.sell(&mut two, NozzleId(3), litres(12_000), &with, Plan::FuelToPreset),
        set.sell(&mut three, NozzleId(5), litres(15_000), &with, Plan::FuelToPreset),
    )?;
    let mut lines = vec![format!("{name}: one alone is refused: {}", told(&alone["text"]))];
    for order in [&orders.0, &orders.1, &orders.2] {
        let (volume, rebate) = (minor(&order["end"]["volume_ml"]), minor(&order["end"]["group_rebate_minor"]));
        ensure!(rebate == volume * 30 / 1_000, "{rebate} back on {volume} ml");
        let charged = minor(&order["end"]["charged_minor"]);
        ensure!(charged + rebate == minor(&order["end"]["amount_minor"]), "{charged} charged, {rebate} off");
        lines.push(format!("{} off: {}", yuan(&order["end"]["group_rebate_minor"]), sold(order)));
    }
    let leader = one.wallet().await?;
    ensure!(leader["wallet_minor"] == 500, "the leader has {}", leader["wallet_minor"]);
    lines.push("the leader gets 5.00".into());
    Ok(Outcome::Shown(lines))
}

/// The nozzle is lifted, nothing flows, and it is hung up.
pub async fn zero_fill(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let mut chain = Chain::new(set).await?;
    let nozzle = NozzleId(7);
    let before = set.town.stage.pumps.totaliser(nozzle);
    let order = set.armed(&mut chain.driver, nozzle, json!({"amount_minor": 20_000}), &Value::Null).await?;
    let second = Duration::from_secs(1);
    let habits = Habits { patience: (second, second), ..Habits::brisk() };
    ensure!(!set.customer(nozzle, Plan::NeverSqueeze, habits).await, "fuel flowed");
    let ended = set.settled(&order).await?;
    ensure!(ended["state"] == "released", "it ended {}", ended["state"]);
    ensure!(ended["end"]["refund"]["amount_minor"] == 20_000, "back: {}", ended["end"]["refund"]);
    ensure!(set.town.stage.pumps.totaliser(nozzle) == before, "the totaliser moved");
    chain.check(0).await?;
    // The nozzle serves the next driver.
    set.free(nozzle).await?;
    Ok(Outcome::Shown(vec![
        format!(
            "{order}: released ({}), {} back, no commission",
            ended["end"]["reason"].as_str().unwrap_or("?"),
            yuan(&ended["end"]["refund"]["amount_minor"])
        ),
        format!("told to the driver: {}", told(&ended["end"]["text"])),
    ]))
}
