//! Scenes 10 to 14: several orders, nozzles and deliveries of the same thing.

use super::Outcome;
use super::theatre::{FUELLING, SOON, Set, Theatre, minor, name_of, sold, told};
use crate::customer::{Habits, Plan};
use crate::rig::page::Page;
use crate::rig::store::FILE;
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::units::Money;
use reference_platform::books::{NewOrder, Trouble};
use rusqlite::OpenFlags;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// From the word that a tank is low to nozzles that nobody can order at.
const HIDDEN_WITHIN: Duration = Duration::from_secs(5);
/// Eleven minutes: an order is good for ten.
const LONG_AGO_MS: i64 = -11 * 60_000;

/// Another nozzle of the same grade is lifted: the driver moves the order on the page, or the attendant does. The nozzle that was paid for
/// first gives nothing any more.
pub async fn wrong_nozzle(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let mut driver = set.driver().await?;
    let by_driver = moved_by_driver(set, &mut driver, NozzleId(1), NozzleId(3)).await?;
    let by_attendant = moved_by_attendant(set, &mut driver, NozzleId(5), NozzleId(7)).await?;
    Ok(Outcome::Shown(vec![
        format!("paid at nozzle 1, lifted 3, moved by the driver on the page: {}", sold(&by_driver)),
        format!("paid at nozzle 5, moved to 7 by the attendant; 5, lifted then, gave nothing: {}", sold(&by_attendant)),
    ]))
}

async fn moved_by_driver(set: &Set, driver: &mut Page, paid_at: NozzleId, lifted: NozzleId) -> anyhow::Result<Value> {
    set.free(lifted).await?;
    let before = set.town.stage.pumps.totaliser(paid_at);
    let order = set.armed(driver, paid_at, json!({"amount_minor": 6_000}), &Value::Null).await?;
    let moving = async {
        let offered =
            set.town.order(&order, "offered the other nozzle", SOON, |view| !view["wrong_nozzle"].is_null()).await?;
        let code = json!({"qr_token": offered["wrong_nozzle"]["qr_token"]});
        driver.good("POST", &format!("/api/v1/orders/{order}/move"), &code).await
    };
    let (moved, fuelled) = tokio::join!(moving, set.customer(lifted, Plan::LiftEarly, Habits::brisk()));
    moved?;
    ensure!(fuelled, "no fuel flowed at nozzle {lifted}");
    let done = set.settled(&order).await?;
    sold_at(set, &order, lifted).await?;
    set.agrees(lifted, &done)?;
    ensure!(set.town.stage.pumps.totaliser(paid_at) == before, "the totaliser of nozzle {paid_at} moved");
    Ok(done)
}

async fn moved_by_attendant(set: &Set, driver: &mut Page, paid_at: NozzleId, to: NozzleId) -> anyhow::Result<Value> {
    set.free(to).await?;
    let before = set.town.stage.pumps.totaliser(paid_at);
    let order = set.armed(driver, paid_at, json!({"amount_minor": 5_000}), &Value::Null).await?;
    let who = json!({"nozzle": to.0, "by_whom": "attendant 7"});
    set.staff(driver, &format!("orders/{order}/move"), &who).await?;
    let there = |view: &Value| view["state"] == "armed" && view["nozzle"] == 7;
    set.town.order(&order, "armed at the other nozzle", SOON, there).await?;
    // Lifted all the same, the first one stays locked, and the page says where to go.
    set.town.stage.pumps.lift(paid_at);
    set.town.order(&order, "told of the wrong nozzle", SOON, |view| view["wrong_nozzle"]["nozzle"] == 5).await?;
    set.town.stage.pumps.hang_up(paid_at);
    ensure!(set.customer(to, Plan::FuelToPreset, Habits::brisk()).await, "no fuel flowed at nozzle {to}");
    let done = set.settled(&order).await?;
    sold_at(set, &order, to).await?;
    set.agrees(to, &done)?;
    ensure!(set.town.stage.pumps.totaliser(paid_at) == before, "the totaliser of nozzle {paid_at} moved");
    Ok(done)
}

/// The station's own record must name the nozzle.
async fn sold_at(set: &Set, order: &str, nozzle: NozzleId) -> anyhow::Result<()> {
    let id = order.to_owned();
    let day = reference_platform::calendar::Day::of(reference_platform::shared::now());
    let books = set.town.platform.shared().read(move |act| act.day_books(day)).await?;
    let sale = books.pumps.iter().find(|sale| sale.order_id.as_deref() == Some(&id)).context("its sale")?;
    ensure!(sale.nozzle == i64::from(nozzle.0), "sold at nozzle {}", sale.nozzle);
    Ok(())
}

/// The same signed order again, and the same sale record again.
pub async fn twice(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let nozzle = NozzleId(5);
    let mut driver = set.driver().await?;
    let before = set.town.stage.pumps.fuellings(nozzle).len();
    let order = set.armed(&mut driver, nozzle, json!({"amount_minor": 8_000}), &Value::Null).await?;
    let view = driver.good("GET", &format!("/api/v1/orders/{order}"), &Value::Null).await?;
    let token = view["jws"].as_str().context("the signed order")?.to_owned();
    let command = id_of(&token)?;
    let desk = &set.town.stage.platform;
    desk.send_copy(command, token.clone());
    let (early, _) = desk.reply(command, SOON).await?;
    ensure!(
        early.repeated && early.result == "armed",
        "the copy was answered {} (repeated {})",
        early.result,
        early.repeated
    );
    ensure!(set.customer(nozzle, Plan::FuelToPreset, Habits::brisk()).await, "no fuel flowed");
    let done = set.settled(&order).await?;
    desk.send_copy(command, token);
    let (late, _) = desk.reply(command, SOON).await?;
    ensure!(late.repeated, "the copy after the end was answered {}", late.result);

    set.agrees(nozzle, &done)?;
    set.town.stage.settle(SOON).await?;
    let record = record_of(&set.town.stage.plan.data_directory().join(FILE), &order)?;
    let totals = set.town.platform.shared().read(|act| act.totals()).await?;
    let path = format!("/fuel/v1/stations/{}/events", set.town.stage.plan.station);
    let (status, answer) =
        driver.call_as("", "POST", &path, "application/cloudevents-batch+json", &format!("[{record}]")).await?;
    let acknowledged = answer["commands"].as_array().map_or(0, Vec::len);
    ensure!(status == 200 && acknowledged == 1, "the sale again was answered {status}: {answer}");
    let after = set.town.platform.shared().read(|act| act.totals()).await?;
    ensure!(after == totals, "the books were {totals:?}, they are {after:?}");
    let fuelled = set.town.stage.pumps.fuellings(nozzle).len() - before;
    ensure!(fuelled == 1, "{fuelled} fuellings at the pump");
    Ok(Outcome::Shown(vec![
        format!(
            "the order again before the lift and after the end: answered {} as before, one fuelling at the pump",
            early.result
        ),
        "the sale record again, by HTTP: acknowledged again, not a fen moved".into(),
        sold(&done),
    ]))
}

/// The id in a signed command.
fn id_of(token: &str) -> anyhow::Result<Uuid> {
    let payload = token.split('.').nth(1).context("a payload")?;
    let event: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload)?)?;
    Ok(Uuid::parse_str(event["id"].as_str().context("an id")?)?)
}

/// The sale record of an order, as the station's store has it.
pub fn record_of(store: &std::path::Path, order: &str) -> anyhow::Result<String> {
    let store = rusqlite::Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut rows = store.prepare("SELECT body FROM event WHERE kind = 'fuel.sale.v1' ORDER BY sequence DESC")?;
    for body in rows.query_map([], |row| row.get::<_, Vec<u8>>(0))? {
        let text = String::from_utf8(body?)?;
        if text.contains(&format!("\"{order}\"")) {
            return Ok(text);
        }
    }
    anyhow::bail!("no sale record of order {order} in the store")
}

/// A second driver pays at a nozzle that is taken, and waits.
pub async fn queue(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let nozzle = NozzleId(7);
    let (mut one, mut two) = (set.driver().await?, set.driver().await?);
    // Both look at the page while the nozzle is free; both pay.
    let code = set.free(nozzle).await?.to_owned();
    let (_, first) = one.place(&code, json!({"amount_minor": 5_000}), &Value::Null).await?;
    let (_, second) = two.place(&code, json!({"amount_minor": 7_000}), &Value::Null).await?;
    let (first, second) = (name_of(&first)?, name_of(&second)?);
    one.pay(&first).await?;
    set.town.order(&first, "armed", SOON, |view| view["state"] == "armed").await?;
    two.pay(&second).await?;
    let waits = |view: &Value| view["state"] == "queued" && view["queue_position"] == 1;
    let waiting = set.town.order(&second, "first in the queue", SOON, waits).await?;
    let page = one.good("GET", &format!("/api/v1/nozzles/{code}"), &Value::Null).await?;
    ensure!(page["queue"] == 2, "{} are before whoever comes now", page["queue"]);
    let before = set.town.stage.pumps.fuellings(nozzle).len();
    ensure!(set.customer(nozzle, Plan::FuelToPreset, Habits::brisk()).await, "no fuel flowed for the first");
    let first = set.settled(&first).await?;
    set.agrees(nozzle, &first)?;
    set.town.order(&second, "armed", SOON, |view| view["state"] == "armed").await?;
    ensure!(set.customer(nozzle, Plan::FuelToPreset, Habits::brisk()).await, "no fuel flowed for the second");
    let second = set.settled(&second).await?;
    set.agrees(nozzle, &second)?;
    let fuelled = set.town.stage.pumps.fuellings(nozzle).len() - before;
    ensure!(fuelled == 2, "{fuelled} fuellings at the pump");
    let amounts = [&first, &second].map(|order| minor(&order["end"]["amount_minor"]));
    ensure!(amounts == [5_000, 7_000], "sold for {amounts:?}");
    Ok(Outcome::Shown(vec![format!("told to the second: {}", told(&waiting["text"])), sold(&first), sold(&second)]))
}

/// An order that was signed eleven minutes ago reaches the station only now.
pub async fn expired(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let nozzle = NozzleId(3);
    let driver = set.driver().await?;
    let code = set.free(nozzle).await?.to_owned();
    let before = set.town.stage.pumps.totaliser(nozzle);
    let member = driver.member_id().to_owned();
    let price = set.town.stage.plan.grade_of(nozzle).and_then(|grade| set.town.stage.plan.price_of(grade));
    let wanted = NewOrder {
        qr_token: code.clone(),
        limit: Limit::Amount(Money::new(20_000)),
        coupon_id: None,
        vehicle_id: None,
        group_id: None,
        pay_with: "sandbox".into(),
        idempotency_key: "long-ago-0001".into(),
        unit_price_micros: price.context("a price")?,
        lat_udeg: None,
        lon_udeg: None,
    };
    let shared = set.town.platform.shared();
    let then = reference_platform::shared::now().plus_ms(LONG_AGO_MS);
    let order = shared
        .with(move |books| {
            books.act(then, |act| {
                // An earlier scene may have set another price.
                let micros = act.nozzle_view(&code, None)?["unit_price_micros"].as_i64().unwrap_or(0);
                let unit_price_micros = forecourt::units::UnitPrice::new(micros);
                let (order, _) = act.place_order(&member, &NewOrder { unit_price_micros, ..wanted })?;
                let paid = act.channel_pay(&order, "sandbox")?;
                act.take_callback(&paid)?;
                Ok::<_, Trouble>(order)
            })
        })
        .await?;
    shared.ring();
    let ended = set.town.order(&order, "settled", FUELLING, crate::rig::town::is_settled).await?;
    ensure!(
        ended["state"] == "released" && ended["end"]["reason"] == "expired",
        "it ended {}: {}",
        ended["state"],
        ended["end"]
    );
    ensure!(ended["end"]["refund"]["amount_minor"] == 20_000, "back: {}", ended["end"]["refund"]);
    // Nothing was armed: whoever lifts the nozzle gets nothing.
    set.town.stage.pumps.lift(nozzle);
    set.town.stage.platform.nozzle_state(nozzle, "calling", SOON).await?;
    set.town.stage.pumps.hang_up(nozzle);
    set.free(nozzle).await?;
    ensure!(set.town.stage.pumps.totaliser(nozzle) == before, "fuel flowed on an expired order");
    Ok(Outcome::Shown(vec![
        format!(
            "{order}, signed 11 minutes before: refused by the station, released ({}), 200.00 back",
            ended["end"]["reason"].as_str().unwrap_or("?")
        ),
        format!("told to the driver: {}", told(&ended["end"]["text"])),
    ]))
}

/// Two nozzles of a tank that runs low are held; who waits at one gets the money back, and the page leads to the third nozzle.
pub async fn tank_low(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let (low, other) = ([NozzleId(1), NozzleId(3)], NozzleId(5));
    set.free(low[1]).await?;
    set.free(other).await?;
    let (mut first, mut late) = (set.driver().await?, set.driver().await?);
    let waiting = set.armed(&mut first, low[0], json!({"amount_minor": 20_000}), &Value::Null).await?;
    let totaliser = set.town.stage.pumps.totaliser(low[0]);
    let path = format!("stations/{}/holds", set.town.stage.plan.station);
    let begun = Instant::now();
    for nozzle in low {
        set.staff(&mut late, &path, &json!({"nozzle": nozzle.0, "hold": true, "reason": "tank_low"})).await?;
    }
    let mut told_late = Value::Null;
    for nozzle in low {
        told_late = set.refused(nozzle, HIDDEN_WITHIN, "tank_low").await?;
    }
    let took = begun.elapsed();
    ensure!(took < HIDDEN_WITHIN, "hidden after {took:?}");
    let code = set.town.code(low[1])?.to_owned();
    let (status, refused) = late.place(&code, json!({"amount_minor": 20_000}), &Value::Null).await?;
    ensure!(
        (status, &refused["error"]) == (409, &json!("tank_low")),
        "an order there was answered {status}: {refused}"
    );
    let page = late.good("GET", &format!("/api/v1/nozzles/{code}"), &Value::Null).await?;
    let instead = page["others"].as_array().into_iter().flatten().find(|nozzle| nozzle["available"] == true);
    let instead = instead.context("another nozzle on the page")?;
    ensure!(instead["nozzle"] == other.0 && instead["grade"] == page["grade"], "offered instead: {instead}");
    let back = set.settled(&waiting).await?;
    ensure!(
        back["state"] == "released" && back["end"]["refund"]["amount_minor"] == 20_000,
        "the order that waited ended {}: {}",
        back["state"],
        back["end"]
    );
    ensure!(set.town.stage.pumps.totaliser(low[0]) == totaliser, "fuel flowed at nozzle {}", low[0]);
    for nozzle in low {
        set.staff(&mut late, &path, &json!({"nozzle": nozzle.0, "hold": false, "reason": "filled up"})).await?;
        set.free(nozzle).await?;
    }
    Ok(Outcome::Shown(vec![
        format!(
            "the platform, which reads the gauge, tells the station; nozzles 1 and 3 hidden {} ms later, held by the station as tank_low",
            took.as_millis()
        ),
        format!("on their pages: {}; nozzle {} of the same grade is offered", told(&told_late), instead["nozzle"]),
        format!("{waiting} waited there: released, 200.00 back: {}", told(&back["end"]["text"])),
    ]))
}
