//! What only a person of the platform may do, with the staff's token: decide on withdrawals, correct sales, set prices, run fleets' cards,
//! move an order to another nozzle, hold a nozzle.

use super::call::{Answer, Problem, parse};
use crate::books::NewCard;
use crate::platform::is_token;
use crate::refusal::Refusal;
use crate::shared::Shared;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use forecourt::time::UtcTime;
use forecourt::units::{Money, UnitPrice};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

fn check(shared: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    if given.strip_prefix("Bearer ").is_some_and(|token| is_token(token, &shared.terms.staff_token)) {
        return Ok(());
    }
    Err(Refusal::new("not_logged_in", "this needs the staff's token").into())
}

#[derive(Deserialize)]
struct Decision {
    pay: bool,
    by_whom: String,
}

pub async fn review(
    State(shared): State<Arc<Shared>>,
    Path(withdrawal): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    check(&shared, &headers)?;
    let Decision { pay, by_whom } = parse(&body)?;
    shared.write(move |act| act.review_withdrawal(&withdrawal, pay, &by_whom)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Correction {
    amount_minor: Money,
    by_whom: String,
    why: String,
}

pub async fn correct(
    State(shared): State<Arc<Shared>>,
    Path(sale): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    check(&shared, &headers)?;
    let Correction { amount_minor, by_whom, why } = parse(&body)?;
    shared.write(move |act| act.correct_sale(&sale, amount_minor, &by_whom, &why)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct Move {
    nozzle: i64,
    by_whom: String,
}

pub async fn move_order(
    State(shared): State<Arc<Shared>>,
    Path(order): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    check(&shared, &headers)?;
    let Move { nozzle, by_whom } = parse(&body)?;
    shared.write(move |act| act.move_order_by_staff(&order, nozzle, &by_whom)).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
struct Hold {
    nozzle: i64,
    hold: bool,
    reason: String,
}

pub async fn hold(
    State(shared): State<Arc<Shared>>,
    Path(station): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    check(&shared, &headers)?;
    let Hold { nozzle, hold, reason } = parse(&body)?;
    shared.write(move |act| act.hold_nozzle(&station, nozzle, hold, &reason)).await?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Deserialize)]
struct Prices {
    effective_at: String,
    prices: Vec<Price>,
}

#[derive(Deserialize)]
struct Price {
    grade: String,
    unit_price_micros: UnitPrice,
}

pub async fn prices(
    State(shared): State<Arc<Shared>>,
    Path(station): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    check(&shared, &headers)?;
    let Prices { effective_at, prices } = parse(&body)?;
    let effective = UtcTime::parse(&effective_at).map_err(|error| Refusal::new("malformed", error.to_string()))?;
    let work = move |act: &mut crate::books::Act<'_>| {
        let prices: Vec<_> = prices.iter().map(|price| (price.grade.as_str(), price.unit_price_micros)).collect();
        act.set_prices(&station, effective, &prices)
    };
    Ok(Json(json!({"price_set": shared.write(work).await?})))
}

#[derive(Deserialize)]
struct Fleet {
    name: String,
    credit_minor: Money,
}

pub async fn fleet(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Answer {
    check(&shared, &headers)?;
    let Fleet { name, credit_minor } = parse(&body)?;
    if credit_minor < Money::ZERO {
        return Err(Refusal::new("malformed", "a credit is not below nothing").with("at", "/credit_minor").into());
    }
    Ok(Json(json!({"account_id": shared.write(move |act| act.open_fleet(&name, credit_minor)).await?})))
}

#[derive(Deserialize)]
struct Card {
    account_id: String,
    member_id: String,
    #[serde(default)]
    grades: Vec<String>,
    fill_limit_minor: Money,
    day_limit_minor: Money,
}

pub async fn card(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Answer {
    check(&shared, &headers)?;
    let asked: Card = parse(&body)?;
    if !asked.fill_limit_minor.is_positive() || !asked.day_limit_minor.is_positive() {
        return Err(Refusal::new("malformed", "a card's limits are above nothing").into());
    }
    let work = move |act: &mut crate::books::Act<'_>| {
        act.member(&asked.member_id)?;
        let grades: Vec<&str> = asked.grades.iter().map(String::as_str).collect();
        act.issue_card(&NewCard {
            account_id: &asked.account_id,
            member_id: &asked.member_id,
            grades: &grades,
            fill_limit: asked.fill_limit_minor,
            day_limit: asked.day_limit_minor,
        })
    };
    Ok(Json(json!({"card_id": shared.write(work).await?})))
}

#[derive(Deserialize)]
struct Blocked {
    blocked: bool,
}

pub async fn block(
    State(shared): State<Arc<Shared>>,
    Path(card): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    check(&shared, &headers)?;
    let Blocked { blocked } = parse(&body)?;
    shared.write(move |act| act.block_card(&card, blocked)).await?;
    Ok(StatusCode::NO_CONTENT)
}
