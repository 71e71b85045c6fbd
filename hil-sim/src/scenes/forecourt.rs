//! Scenes 10 to 14: several orders, nozzles and deliveries of the same thing.

use super::Outcome;
use super::theatre::{FUELLING, SOON, Theatre, minor, name_of, sold};
use crate::customer::{Habits, Plan};
use crate::rig::store::FILE;
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forecourt::ids::NozzleId;
use forecourt::order::Limit;
use forecourt::units::{Money, Volume};
use reference_platform::books::{NewOrder, Trouble};
use reference_platform::rehearsal::Rehearsal;
use rusqlite::OpenFlags;
use serde_json::{Value, json};
use uuid::Uuid;

/// Eleven minutes: an order is good for ten.
const LONG_AGO_MS: i64 = -11 * 60_000;

/// Another nozzle of the same grade is lifted; the page offers the move.
pub async fn wrong_nozzle(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let (paid_at, lifted) = (NozzleId(1), NozzleId(3));
    set.free(lifted).await?;
    let mut driver = set.driver().await?;
    let order = set.armed(&mut driver, paid_at, json!({"amount_minor": 6_000}), &Value::Null).await?;
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
    let id = order.clone();
    let day = reference_platform::calendar::Day::of(reference_platform::shared::now());
    let books = set.town.platform.shared().read(move |act| act.day_books(day)).await?;
    let sale = books.pumps.iter().find(|sale| sale.order_id.as_deref() == Some(&id)).context("its sale")?;
    ensure!(sale.nozzle == i64::from(lifted.0), "sold at nozzle {}", sale.nozzle);
    Ok(Outcome::Partly(
        vec![
            format!("paid at nozzle {paid_at}, lifted at {lifted}, moved on the driver's page, sold at {lifted}"),
            sold(&done),
        ],
        "the attendant's part: the station has no attendant's console yet, so the driver moved it".into(),
    ))
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
    let waiting = set.town.order(&second, "queued", SOON, |view| view["state"] == "queued").await?;
    ensure!(set.customer(nozzle, Plan::FuelToPreset, Habits::brisk()).await, "no fuel flowed for the first");
    let first = set.settled(&first).await?;
    set.town.order(&second, "armed", SOON, |view| view["state"] == "armed").await?;
    ensure!(set.customer(nozzle, Plan::FuelToPreset, Habits::brisk()).await, "no fuel flowed for the second");
    let second = set.settled(&second).await?;
    let amounts = [&first, &second].map(|order| minor(&order["end"]["amount_minor"]));
    ensure!(amounts == [5_000, 7_000], "sold for {amounts:?}");
    Ok(Outcome::Shown(vec![format!("told to the second: {}", waiting["text"]["en"]), sold(&first), sold(&second)]))
}

/// An order that was signed eleven minutes ago reaches the station only now.
pub async fn expired(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let nozzle = NozzleId(3);
    let driver = set.driver().await?;
    let code = set.free(nozzle).await?.to_owned();
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
    Ok(Outcome::Shown(vec![
        format!(
            "{order}, signed 11 minutes before: refused by the station, released ({}), 200.00 back",
            ended["end"]["reason"]
        ),
        format!("told to the driver: {}", ended["end"]["text"]["en"]),
    ]))
}

/// The platform's half alone: what it does with the hold. No gauge tells the station.
pub async fn tank_low(_: &mut Theatre) -> anyhow::Result<Outcome> {
    let mut play = Rehearsal::new()?;
    let member = play.member(1)?;
    play.nozzle(1, false, &["tank_low"])?;
    let wanted = play.wanted(1, Limit::Volume(Volume::new(10_000)))?;
    let refused = match play.buy(&member, &wanted) {
        Err(Trouble::Refused(refusal)) => refusal,
        other => anyhow::bail!("an order at the held nozzle: {other:?}"),
    };
    ensure!(
        refused.to_string().contains("takes no orders") || refused.to_string().contains("tank_low"),
        "refused as {refused}"
    );
    Ok(Outcome::NotShown(format!(
        "no gauge is connected: the station does not read tanks yet, so nothing holds a nozzle for a low one. The platform's half was \
         tried with the hold made up: an order there is refused before it is paid ({refused})"
    )))
}
