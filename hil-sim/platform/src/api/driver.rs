//! The driver's calls, as `API.md` lists them.

use super::call::{Answer, Call, Problem};
use crate::books::{Coupon, Invitation, Member, NewCard, NewOrder, SESSION_MS, Trouble};
use crate::distance::Position;
use crate::shared::Shared;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use forecourt::units::Money;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Coupons that a new member of the sandbox finds: threshold and discount.
const GIFTS: [(i64, i64); 2] = [(20_000, 1_000), (30_000, 2_000)];
const GIFT_CARD: Money = Money::new(50_000);
const GIFTS_LAST_MS: i64 = 30 * 86_400_000;

type Platform = State<Arc<Shared>>;

#[derive(Deserialize)]
struct LogIn {
    phone: String,
    #[serde(default)]
    inviter: Option<String>,
    #[serde(default)]
    station_id: Option<String>,
    #[serde(default)]
    lat_udeg: Option<i64>,
    #[serde(default)]
    lon_udeg: Option<i64>,
}

impl LogIn {
    fn invitation(&self) -> Option<Invitation> {
        Some(Invitation {
            inviter_id: self.inviter.clone()?,
            station_id: self.station_id.clone()?,
            position: Position { lat_udeg: self.lat_udeg?, lon_udeg: self.lon_udeg? },
        })
    }
}

pub async fn log_in(State(shared): Platform, call: Call) -> Result<Response, Problem> {
    let who: LogIn = call.read()?;
    let gifts = shared.terms.gifts;
    let (token, view) = shared
        .write(move |act| {
            let (token, member, is_new) = act.log_in(&who.phone)?;
            if let Some(invitation) = who.invitation() {
                act.bind(&member.member_id, &invitation)?;
            }
            if is_new && gifts {
                give(act, &member)?;
            }
            Ok((token, act.member_view(&member)?))
        })
        .await?;
    let cookie = format!("session={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}", SESSION_MS / 1_000);
    Ok(([(header::SET_COOKIE, cookie)], Json(json!({"token": token, "member": view}))).into_response())
}

fn give(act: &mut crate::books::Act<'_>, member: &Member) -> Result<(), Trouble> {
    let expires = act.now().plus_ms(GIFTS_LAST_MS);
    for (threshold, discount) in GIFTS {
        let coupon = Coupon { threshold: Money::new(threshold), discount: Money::new(discount) };
        act.give_coupon(&member.member_id, coupon, expires)?;
    }
    let account = act.open_prepaid(&member.phone_masked, GIFT_CARD)?;
    let limits = Money::new(100_000);
    act.issue_card(&NewCard {
        account_id: &account,
        member_id: &member.member_id,
        grades: &[],
        fill_limit: limits,
        day_limit: limits,
    })?;
    Ok(())
}

pub async fn who(State(shared): Platform, call: Call) -> Answer {
    let member = call.member()?;
    let view = shared.read(move |act| act.member_view(&member)).await?;
    Ok(Json(json!({"member": view})))
}

pub async fn log_out(State(shared): Platform, call: Call) -> Result<Response, Problem> {
    if let Some(token) = call.token {
        shared.write(move |act| act.log_out(&token)).await?;
    }
    let cookie = "session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

#[derive(Deserialize)]
struct NewVehicle {
    plate: String,
    grade: String,
}

pub async fn add_vehicle(State(shared): Platform, call: Call) -> Answer {
    let (member, new): (Member, NewVehicle) = (call.member()?, call.read()?);
    Ok(Json(shared.write(move |act| act.add_vehicle(&member.member_id, &new.plate, &new.grade)).await?))
}

pub async fn nozzle(State(shared): Platform, Path(qr_token): Path<String>, call: Call) -> Answer {
    let member = call.guest_or_member();
    Ok(Json(shared.read(move |act| act.nozzle_view(&qr_token, member.as_ref())).await?))
}

pub async fn place(State(shared): Platform, call: Call) -> Result<Response, Problem> {
    let (member, wanted): (Member, NewOrder) = (call.member()?, call.read()?);
    let (view, is_new) = shared
        .write(move |act| {
            let (order_id, is_new) = act.place_order(&member.member_id, &wanted)?;
            Ok((act.order_view(&order_id)?, is_new))
        })
        .await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(view)).into_response())
}

pub async fn orders(State(shared): Platform, call: Call) -> Answer {
    let member = call.member()?;
    let orders = shared.read(move |act| act.orders_of(&member.member_id)).await?;
    Ok(Json(json!({"orders": orders})))
}

/// Does something with one's own order and shows it.
async fn own(
    shared: &Arc<Shared>,
    call: &Call,
    order_id: String,
    work: impl FnOnce(&mut crate::books::Act<'_>, &str) -> Result<(), Trouble> + Send + 'static,
) -> Answer {
    let member = call.member()?;
    let work = move |act: &mut crate::books::Act<'_>| {
        act.check_owner(&member.member_id, &order_id)?;
        work(act, &order_id)?;
        act.order_view(&order_id)
    };
    Ok(Json(shared.write(work).await?))
}

pub async fn order(State(shared): Platform, Path(order_id): Path<String>, call: Call) -> Answer {
    let member = call.member()?;
    let mut view: Value = shared
        .read(move |act| {
            act.check_owner(&member.member_id, &order_id)?;
            act.order_view(&order_id)
        })
        .await?;
    super::events::add_live(&shared, &mut view);
    Ok(Json(view))
}

/// The signed order as a picture, for a station that is not heard.
pub async fn qr_code(State(shared): Platform, Path(order_id): Path<String>, call: Call) -> Result<Response, Problem> {
    let member = call.member()?;
    let view: Value = shared
        .read(move |act| {
            act.check_owner(&member.member_id, &order_id)?;
            act.order_view(&order_id)
        })
        .await?;
    let refused = |detail: String| crate::refusal::Refusal::new("unknown_order", detail);
    let jws = view["jws"].as_str().ok_or_else(|| refused("not paid, so not signed".into()))?;
    let picture = crate::qr::svg(jws).map_err(|error| refused(error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], picture).into_response())
}

#[derive(Deserialize)]
pub struct Reader {
    #[serde(default)]
    lang: String,
}

/// What the driver may show to friends: what was fuelled and saved, and the code that invites them to the same nozzle.
pub async fn poster(
    State(shared): Platform,
    Path(order_id): Path<String>,
    Query(reader): Query<Reader>,
    headers: HeaderMap,
    call: Call,
) -> Result<Response, Problem> {
    let member = call.member()?;
    let inviter = member.member_id.clone();
    let (view, code) = shared
        .read(move |act| {
            act.check_owner(&member.member_id, &order_id)?;
            let view = act.order_view(&order_id)?;
            let there = |(station, nozzle, _): &(String, i64, String)| {
                view["station_id"] == station.as_str() && view["nozzle"] == *nozzle
            };
            let code = act.qr_tokens()?.into_iter().find(there).map(|(.., code)| code);
            Ok((view, code))
        })
        .await?;
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or("");
    let link = crate::poster::link(&format!("http://{host}"), &code.unwrap_or_default(), &inviter);
    let picture = crate::poster::svg(&view, &link, reader.lang != "en")?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], picture).into_response())
}

/// The sandbox's "pay" button: the channel takes the money, then its callback is delivered as any other would be.
pub async fn pay(State(shared): Platform, Path(order_id): Path<String>, call: Call) -> Answer {
    own(&shared, &call, order_id, |act, order_id| {
        let view = act.order_view(order_id)?;
        if view["state"] != "awaiting_payment" {
            return match view["state"].as_str() {
                Some(end @ ("cancelled" | "expired")) => {
                    Err(crate::refusal::Refusal::new(end, "the order ended unpaid").into())
                }
                _ => Ok(()),
            };
        }
        match view["pay_with"].as_str() {
            Some(channel @ ("sandbox" | "sandbox_other")) => {
                let callback = act.channel_pay(order_id, channel)?;
                act.take_callback(&callback)
            }
            _ => act.pay_by_card(order_id),
        }
    })
    .await
}

pub async fn cancel(State(shared): Platform, Path(order_id): Path<String>, call: Call) -> Answer {
    own(&shared, &call, order_id, |act, order_id| act.cancel_order(order_id)).await
}

#[derive(Deserialize)]
struct Where {
    qr_token: String,
}

pub async fn move_to(State(shared): Platform, Path(order_id): Path<String>, call: Call) -> Result<Response, Problem> {
    let to: Where = call.read()?;
    let view = own(&shared, &call, order_id, move |act, order_id| act.move_order(order_id, &to.qr_token)).await?;
    Ok((StatusCode::ACCEPTED, view).into_response())
}

#[derive(Deserialize)]
struct InvoiceTo {
    title: String,
    #[serde(default)]
    tax_id: Option<String>,
}

pub async fn invoice(State(shared): Platform, Path(order_id): Path<String>, call: Call) -> Answer {
    let (member, to): (Member, InvoiceTo) = (call.member()?, call.read()?);
    let work = move |act: &mut crate::books::Act<'_>| {
        act.check_owner(&member.member_id, &order_id)?;
        act.invoice(&order_id, &to.title, to.tax_id.as_deref())
    };
    Ok(Json(shared.write(work).await?))
}

pub async fn wallet(State(shared): Platform, call: Call) -> Answer {
    let member = call.member()?;
    Ok(Json(shared.read(move |act| act.wallet_view(&member.member_id)).await?))
}

#[derive(Deserialize)]
struct Withdrawal {
    amount_minor: Money,
    idempotency_key: String,
}

pub async fn withdraw(State(shared): Platform, call: Call) -> Result<Response, Problem> {
    let (member, wanted): (Member, Withdrawal) = (call.member()?, call.read()?);
    let work = move |act: &mut crate::books::Act<'_>| {
        act.withdraw(&member.member_id, wanted.amount_minor, &wanted.idempotency_key)
    };
    Ok((StatusCode::CREATED, Json(shared.write(work).await?)).into_response())
}

#[derive(Deserialize)]
struct At {
    station_id: String,
}

pub async fn found_group(State(shared): Platform, call: Call) -> Result<Response, Problem> {
    let (member, at): (Member, At) = (call.member()?, call.read()?);
    let view = shared.write(move |act| act.found_group(&member.member_id, &at.station_id)).await?;
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

pub async fn join_group(State(shared): Platform, Path(group_id): Path<String>, call: Call) -> Answer {
    let member = call.member()?;
    Ok(Json(shared.write(move |act| act.join_group(&member.member_id, &group_id)).await?))
}
