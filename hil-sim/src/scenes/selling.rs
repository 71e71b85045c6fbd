//! Scenes 1 to 4: from the installed station to the sale.

use super::Outcome;
use super::theatre::{SOON, Theatre, price, sold, told, yuan};
use crate::bench::witness::WireWitness;
use crate::customer::Plan;
use crate::dispenser::Condition;
use crate::dispenser::calculator::AmountDigits;
use crate::dispenser::physics::Limit;
use crate::dispenser::record::Moment;
use anyhow::{Context as _, ensure};
use forecourt::ids::NozzleId;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// From the tap on "pay" to a limit standing in the pump.
const ARMED_WITHIN: Duration = Duration::from_secs(1);
/// A nozzle in the hand, to look at the price.
const A_MOMENT: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(5);

/// The configuration is checked, the station gets its certificate, and the platform hears of every nozzle.
pub async fn install(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let credentials = theatre.directory.join("credentials");
    let set = theatre.open().await?;
    let plan = &set.town.stage.plan;
    let (code, said) = set.edgectl(&["validate", &set.config()], "").await?;
    ensure!(code == 0, "edgectl validate says {code}: {said}");
    let one_time = set.town.platform.enrolment_code(&plan.station).await?;
    let (url, directory) = (set.town.platform.url(), credentials.display().to_string());
    let enrol = ["enrol", "--url", &url, "--station", &plan.station, "--code", "-", "--directory", &directory];
    let (code, said) = set.edgectl(&enrol, &one_time).await?;
    ensure!(code == 0, "edgectl enrol says {code}: {said}");
    let certificate = std::fs::read_to_string(credentials.join("station.pem")).context("the certificate")?;
    ensure!(certificate.contains("BEGIN CERTIFICATE"), "station.pem is no certificate");
    let stations = set.town.platform.shared().read(|act| act.stations_view()).await?;
    let station =
        stations.iter().find(|station| station["station_id"] == plan.station.as_str()).context("the station")?;
    let hash = station["state"]["layout_hash"].as_str().context("a layout_hash in the station's state")?;
    let mut lines = vec![
        "edgectl validate: the configuration is good; edgectl enrol: certificate against a one-time code".to_owned(),
        format!("station {} is online, layout {}…", plan.station, hash.get(..12).unwrap_or(hash)),
    ];
    for nozzle in plan.nozzles() {
        let known = station["nozzles"].as_array().into_iter().flatten().find(|known| known["nozzle"] == nozzle.0);
        let known = known.with_context(|| format!("nozzle {nozzle} is not at the platform"))?;
        let grade = plan.grade_of(nozzle).context("a nozzle of the plan")?;
        let price = plan.price_of(grade).context("a grade of the plan")?;
        ensure!(known["grade"] == grade.as_str(), "nozzle {nozzle} has grade {}", known["grade"]);
        // An earlier scene may have set another price.
        ensure!(
            known["unit_price_micros"].as_i64().is_some_and(|shown| shown > 0),
            "nozzle {nozzle} has no price beside {price:?}"
        );
        lines.push(format!("nozzle {nozzle}, {grade}: {}", set.town.link(nozzle)?));
    }
    Ok(Outcome::Shown(lines))
}

/// 95 costs ten fen more, at every nozzle of it once its pump has said so.
pub async fn price_set(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let mut staff = set.driver().await?;
    let nozzles: Vec<NozzleId> =
        set.town.stage.plan.nozzles().into_iter().filter(|nozzle| grade(set, *nozzle) == "95").collect();
    let first = *nozzles.first().context("a nozzle of 95")?;
    let code = set.free(first).await?.to_owned();
    let page = staff.good("GET", &format!("/api/v1/nozzles/{code}"), &Value::Null).await?;
    let old = page["unit_price_micros"].as_i64().context("a price")?;
    let new = old + 100_000;
    let begun = Instant::now();
    let name = set.send_price(&mut staff, "95", new).await?;
    for nozzle in &nozzles {
        // A DART head at rest has no nozzle selected and shows no price: lifted and hung up, it does. One that is out when the price comes
        // takes it only when it is back, so it is lifted again.
        while !shows(set, *nozzle, new).await {
            ensure!(begun.elapsed() < SOON, "nozzle {nozzle} was lifted and did not confirm {} yuan", price(new));
        }
    }
    let took = begun.elapsed();
    // Who still sees the old price is asked again, before anything is paid.
    let late = json!({"qr_token": code, "limit": {"amount_minor": 20_000}, "unit_price_micros": old, "idempotency_key": "late-0001"});
    let (status, refused) = staff.call("POST", "/api/v1/orders", &late).await?;
    ensure!(
        (status, &refused["error"]) == (409, &json!("price_changed")),
        "the old price was answered {status}: {refused}"
    );
    let order = set.sell(&mut staff, first, json!({"amount_minor": 5_000}), &Value::Null, Plan::FuelToPreset).await?;
    ensure!(order["end"]["unit_price_micros"] == new, "sold at {}", order["end"]["unit_price_micros"]);
    Ok(Outcome::Shown(vec![
        format!(
            "{name}: 95 from {} to {} yuan a litre, confirmed by nozzles {} after {} ms, each lifted once: a DART head at rest shows no price",
            price(old),
            price(new),
            nozzles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
            took.as_millis()
        ),
        format!("an order at the old price: {}", told(&refused["text"])),
        format!("sold at the new price, as the pump has it: {}", sold(&order)),
    ]))
}

/// Lifts a nozzle for a moment. Whether its page shows the price then.
async fn shows(set: &super::theatre::Set, nozzle: NozzleId, micros: i64) -> bool {
    set.town.stage.pumps.lift(nozzle);
    let shown = set.price_shown(nozzle, micros, A_MOMENT).await.is_ok();
    set.town.stage.pumps.hang_up(nozzle);
    shown || set.price_shown(nozzle, micros, A_MOMENT).await.is_ok()
}

fn grade(set: &super::theatre::Set, nozzle: NozzleId) -> &str {
    set.town.stage.plan.grade_of(nozzle).map_or("", forecourt::ids::Grade::as_str)
}

/// The tap on "pay", and the release with its limit in the pump.
pub async fn pay(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let nozzle = NozzleId(1);
    let place = set.town.stage.pumps.place(nozzle).context("nozzle 1")?;
    let line = set.town.stage.pumps.line(place.line).context("its line")?;
    let mut driver = set.driver().await?;
    let code = set.free(nozzle).await?.to_owned();
    let (status, order) = driver.place(&code, json!({"amount_minor": 20_000}), &Value::Null).await?;
    ensure!(status == 201, "the order was answered {status}: {order}");
    let id = super::theatre::name_of(&order)?;
    // Some dispensers release only a nozzle that is out, so it is lifted first.
    set.town.stage.pumps.lift(nozzle);
    set.town.stage.platform.nozzle_state(nozzle, "calling", SOON).await?;
    let witness = WireWitness::new(line);
    let tapped = Instant::now();
    driver.pay(&id).await?;
    let armed = loop {
        if let Some(armed) = witness.first_since(place.device, Moment::AuthoriseArrived, tapped) {
            break armed;
        }
        ensure!(tapped.elapsed() < SOON, "no release on the wire");
        tokio::time::sleep(GLANCE).await;
    };
    let took = armed.duration_since(tapped);
    ensure!(took < ARMED_WITHIN, "armed after {took:?}");
    while !set.town.stage.pumps.view(nozzle).is_some_and(|view| view.condition == Condition::Finished) {
        ensure!(tapped.elapsed() < SOON, "the flow did not end");
        tokio::time::sleep(GLANCE).await;
    }
    set.town.stage.pumps.hang_up(nozzle);
    let done = set.settled(&id).await?;
    set.agrees(nozzle, &done)?;
    let limit = set.town.stage.pumps.fuellings(nozzle).pop().map(|fuelling| fuelling.released_by.limit);
    ensure!(limit == Some(Limit::Amount(AmountDigits(20_000))), "the limit in the pump was {limit:?}");
    Ok(Outcome::Shown(vec![
        format!("{id}: 200.00 paid, released with the limit of 200.00 in the pump after {} ms", took.as_millis()),
        sold(&done),
    ]))
}

/// A fuelling to its end, with the same figures in pump and books.
pub async fn fuel(theatre: &mut Theatre) -> anyhow::Result<Outcome> {
    let set = theatre.open().await?;
    let (nozzle, mut driver) = (NozzleId(5), set.driver().await?);
    let order =
        set.sell(&mut driver, nozzle, json!({"amount_minor": 20_000}), &Value::Null, Plan::FuelToPreset).await?;
    let amount = &order["end"]["amount_minor"];
    ensure!(*amount == 20_000, "{} flowed", yuan(amount));
    let id = super::theatre::name_of(&order)?;
    // Acknowledged only after the commit, so a little later.
    let whole = move |act: &mut reference_platform::books::Act<'_>| {
        let trace = act.trace(&id)?;
        Ok(trace.iter().any(|stage| stage.step == "acknowledged").then_some(trace))
    };
    let trace = set.town.wait("the acknowledgement", SOON, whole).await?;
    let steps: Vec<&str> = trace.iter().map(|stage| stage.step.as_str()).collect();
    for step in ["ordered", "paid", "armed", "fuelling", "hung_up", "completed", "acknowledged"] {
        ensure!(steps.contains(&step), "no step {step} in {steps:?}");
    }
    Ok(Outcome::Shown(vec![
        format!("{}, to the digit as the pump shows it", sold(&order)),
        format!("its way: {}", steps.join(", ")),
    ]))
}
