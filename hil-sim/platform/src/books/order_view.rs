//! An order as the page shows it.

use super::stations::{Nozzle, grade_name};
use super::{Act, Trouble};
use crate::refusal::{self, Refusal, text};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use rusqlite::Row;
use serde_json::{Value, json};

/// After an order's end.
const STILL_THERE_MS: i64 = 10 * 60_000;
/// Ends without fuel that another nozzle may mend.
const ELSEWHERE: [&str; 5] = ["nozzle_busy", "nozzle_unavailable", "station_held", "no_flow", "fault"];

fn yuan(minor: i64) -> String {
    Money::new(minor).major(Currency::CNY)
}

/// `null` for no time.
fn stamp(ms: Option<i64>) -> Value {
    ms.map_or(Value::Null, |ms| json!(UtcTime::from_unix_ms(ms).to_string()))
}

impl Act<'_> {
    /// The whole order.
    ///
    /// # Errors
    /// `unknown_order`.
    pub fn order_view(&self, order_id: &str) -> Result<Value, Trouble> {
        let order = self.row("SELECT * FROM fuel_order WHERE order_id = ?1", [order_id], order_row)?;
        let (mut order, station_id) =
            order.ok_or_else(|| Refusal::new("unknown_order", format!("no order {order_id}")))?;
        order["limit"] = serde_json::from_str(order["limit"].as_str().unwrap_or("null"))?;
        let mut station = self.station_view(&station_id)?;
        order["station_name"] = station["name"].take();
        order["station_online"] = station["online"].take();
        order["wrong_nozzle"] = self.wrong_nozzle(&station_id, &order)?;
        order["grade_name"] = grade_name(order["grade"].as_str().unwrap_or(""));
        order["currency"] = json!(self.currency_of(&station_id)?);
        order["live"] = Value::Null;
        order["payment"] = self.payment_view(order_id)?;
        order["steps"] = self
            .rows("SELECT step, at_ms FROM step WHERE order_id = ?1 ORDER BY at_ms, rowid", [order_id], |row| {
                Ok(json!({"step": row.get::<_, String>(0)?, "at": stamp(row.get(1)?)}))
            })?
            .into();
        order["end"] = match order["state"].as_str() {
            Some("completed") => self.completed_view(order_id, &order)?,
            Some("released" | "cancelled" | "expired") => self.released_view(order_id, &station_id, &order)?,
            _ => Value::Null,
        };
        order["alarm"] = self.alarm_view(&station_id, &order)?;
        order["text"] = if order["end"].is_null() { self.sentence(&order) } else { order["end"]["text"].clone() };
        Ok(order)
    }

    /// Another nozzle that is lifted while this order waits at its own, and that the order could be moved to; `null` for none.
    fn wrong_nozzle(&self, station_id: &str, order: &Value) -> Result<Value, Trouble> {
        if order["state"] != "armed" {
            return Ok(Value::Null);
        }
        let nozzles = self.nozzles(station_id)?;
        let lifted = nozzles.iter().find(|other| {
            other.state["state"] == "calling"
                && other.state["order_id"].is_null()
                && order["nozzle"] != other.nozzle
                && order["grade"] == other.grade()
                && order["unit_price_micros"].as_i64() == other.price_micros()
        });
        Ok(lifted.map_or(Value::Null, |other| json!({"nozzle": other.nozzle, "qr_token": other.qr_token})))
    }

    /// An alarm for who stands at the pump with this order, or fuelled on it until the alarm; `null` for none.
    fn alarm_view(&self, station_id: &str, order: &Value) -> Result<Value, Trouble> {
        let there = order["end"].is_null() || (order["end"]["finish"] == "emergency" && self.is_fresh(order));
        match order["nozzle"].as_i64().filter(|_| there) {
            Some(nozzle) => self.alarm_at(station_id, nozzle),
            None => Ok(Value::Null),
        }
    }

    /// What to say while there is no end.
    fn sentence(&self, order: &Value) -> Value {
        let nozzle = &order["nozzle"];
        match (order["state"].as_str().unwrap_or(""), &order["queue_position"]) {
            ("armed", _) => {
                json!({"zh": format!("{nozzle} 号枪已就绪,请提枪"), "en": format!("Nozzle {nozzle} is ready: lift it")})
            }
            ("queued", Value::Number(place)) => json!({
                "zh": format!("{nozzle} 号枪正在使用,已为您排队第 {place} 位"),
                "en": format!("Nozzle {nozzle} is busy: you are number {place} in its queue"),
            }),
            (state, _) => text(state),
        }
    }

    fn payment_view(&self, order_id: &str) -> Result<Value, Trouble> {
        let paid: Option<i64> =
            self.row("SELECT at_ms FROM step WHERE order_id = ?1 AND step = 'paid'", [order_id], |row| row.get(0))?;
        let (held, refunded) = (self.paid_sum(order_id)?, self.refund_view(order_id)?);
        let state = match (paid, refunded["amount_minor"].as_i64()) {
            (None, _) => "open",
            (_, Some(back)) if back >= held => "refunded",
            (_, Some(_)) => "part_refunded",
            _ => "paid",
        };
        Ok(json!({"intent_id": format!("pi-{order_id}"), "state": state, "paid_at": stamp(paid)}))
    }

    fn paid_sum(&self, order_id: &str) -> Result<i64, Trouble> {
        let sql = "SELECT coalesce((SELECT amount_minor FROM payment WHERE order_id = ?1 AND counts = 1),
                                   (SELECT held_minor FROM card_order WHERE order_id = ?1))";
        self.number(sql, [order_id])
    }

    /// The refund of the payment that counts; `null` for none.
    fn refund_view(&self, order_id: &str) -> Result<Value, Trouble> {
        let sql = "SELECT r.amount_minor, r.state FROM refund AS r JOIN payment AS p ON p.payment_ref = r.payment_ref
                   WHERE r.order_id = ?1 AND p.counts = 1
                   UNION ALL SELECT held_minor - charged_minor, 'done' FROM card_order WHERE order_id = ?1 AND charged_minor < held_minor";
        let refund = self.row(sql, [order_id], |row| {
            Ok(json!({"amount_minor": row.get::<_, i64>(0)?, "state": row.get::<_, String>(1)?}))
        })?;
        Ok(refund.unwrap_or(Value::Null))
    }

    fn completed_view(&self, order_id: &str, order: &Value) -> Result<Value, Trouble> {
        let sql = "SELECT sale_id, volume_ml, amount_minor, unit_price_micros, finish, ended_ms, charged_minor, coupon_minor, group_minor
                   FROM sale WHERE order_id = ?1 AND charged_minor IS NOT NULL";
        let sale = self.row(sql, [order_id], |row| {
            let [coupon, group]: [i64; 2] = [row.get(7)?, row.get(8)?];
            Ok(json!({"kind": "completed", "sale_id": row.get::<_, String>(0)?, "volume_ml": row.get::<_, i64>(1)?,
                "amount_minor": row.get::<_, i64>(2)?, "unit_price_micros": row.get::<_, i64>(3)?,
                "finish": row.get::<_, String>(4)?, "ended_at": stamp(row.get(5)?), "charged_minor": row.get::<_, i64>(6)?,
                "discount_minor": coupon, "group_rebate_minor": group}))
        })?;
        let Some(mut end) = sale else { return Ok(Value::Null) };
        let mut receipt = json!({"order_id": order_id, "station": order["station_name"], "nozzle": order["nozzle"], "grade": order["grade"]});
        for name in [
            "sale_id",
            "volume_ml",
            "unit_price_micros",
            "amount_minor",
            "discount_minor",
            "group_rebate_minor",
            "charged_minor",
            "ended_at",
        ] {
            receipt[name] = end[name].clone();
        }
        end["receipt"] = receipt;
        end["refund"] = self.refund_view(order_id)?;
        end["coupon"] = match &order["coupon_id"] {
            Value::String(id) => json!({"coupon_id": id, "state": "used", "discount_minor": end["discount_minor"]}),
            _ => Value::Null,
        };
        let sql = "SELECT c.level, m.phone_masked, c.amount_minor FROM commission AS c JOIN member AS m ON m.member_id = c.member_id
                   WHERE c.sale_id = ?1 ORDER BY c.level";
        end["commission"] = self
            .rows(sql, [end["sale_id"].as_str().unwrap_or("")], |row| {
                let (level, to, amount): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(json!({"level": level, "to_masked": to, "amount_minor": amount}))
            })?
            .into();
        end["text"] = completed_text(&end);
        Ok(end)
    }

    fn released_view(&self, order_id: &str, station_id: &str, order: &Value) -> Result<Value, Trouble> {
        let kind = order["state"].as_str().unwrap_or("released");
        let reason = order["reason"].as_str().unwrap_or(kind);
        let reply: Option<Option<String>> =
            self.row("SELECT reply FROM fuel_order WHERE order_id = ?1", [order_id], |row| row.get(0))?;
        let reply: Value = reply.flatten().map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?;
        let nozzles = self.nozzles(station_id)?;
        let suggested = reply["suggested_nozzles"].as_array().into_iter().flatten().filter_map(Value::as_i64);
        let mut suggested: Vec<_> =
            suggested.filter_map(|number| nozzles.iter().find(|nozzle| nozzle.nozzle == number)).collect();
        // Not the driver's fault: the same grade may be had beside it.
        if suggested.is_empty() && ELSEWHERE.contains(&reason) && self.is_fresh(order) {
            let beside =
                |other: &&Nozzle| other.is_free() && order["nozzle"] != other.nozzle && order["grade"] == other.grade();
            suggested = nozzles.iter().filter(beside).collect();
        }
        let suggested: Vec<Value> =
            suggested.into_iter().map(|nozzle| json!({"nozzle": nozzle.nozzle, "qr_token": nozzle.qr_token})).collect();
        let coupon = match &order["coupon_id"] {
            Value::String(id) => json!({"coupon_id": id, "state": "returned", "discount_minor": 0}),
            _ => Value::Null,
        };
        Ok(json!({
            "kind": kind, "reason": reason, "refund": self.refund_view(order_id)?, "coupon": coupon,
            "suggested_nozzles": suggested, "unit_price_micros": reply["unit_price_micros"],
            "text": self.released_text(reason, station_id, order, &reply)?,
        }))
    }

    /// Whether its driver may still stand at the pump.
    fn is_fresh(&self, order: &Value) -> bool {
        let since = order["since"].as_str().and_then(|text| UtcTime::parse(text).ok());
        since.is_some_and(|since| self.now.ms_since(since) < STILL_THERE_MS)
    }

    /// The sentence of an order that ended without fuel, with what its refusal named.
    fn released_text(&self, reason: &str, station_id: &str, order: &Value, reply: &Value) -> Result<Value, Trouble> {
        // What the nozzle says now is the reason only of an end that was just now.
        let nozzles = if self.is_fresh(order) { self.nozzles(station_id)? } else { Vec::new() };
        let here = nozzles.into_iter().find(|nozzle| order["nozzle"] == nozzle.nozzle);
        Ok(match (reason, here) {
            ("price_changed", here) => {
                let now = reply["unit_price_micros"].as_i64().or_else(|| here.and_then(|nozzle| nozzle.price_micros()));
                match (order["unit_price_micros"].as_i64(), now) {
                    (Some(old), Some(new)) if old != new => {
                        refusal::price_changed(UnitPrice::new(old), UnitPrice::new(new))
                    }
                    _ => text(reason),
                }
            }
            ("grade_mismatch", Some(here)) if order["grade"] != here.grade() => {
                let right = reply["suggested_nozzles"].as_array().into_iter().flatten().filter_map(Value::as_i64);
                let whose = ["您的订单是", "your order is"];
                let right: Vec<i64> = right.collect();
                refusal::grade_mismatch(&grade_name(here.grade()), whose, &order["grade_name"], &right)
            }
            ("nozzle_busy", _) => refusal::nozzle_busy(order["nozzle"].as_i64().unwrap_or(0)),
            // Held for a reason that the driver may know.
            ("station_held" | "nozzle_unavailable", Some(here)) => {
                here.refusal().map_or_else(|| text(reason), |refusal| refusal.problem()["text"].take())
            }
            _ => text(reason),
        })
    }
}

/// The sentence of a fuelling: what flowed, what goes back, and why it ended unless by the driver or at the limit.
fn completed_text(end: &Value) -> Value {
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let volume = refusal::litres(Volume::new(number(&end["volume_ml"])));
    let amount = yuan(number(&end["amount_minor"]));
    let [why_zh, why_en] = refusal::stopped_by(end["finish"].as_str().unwrap_or("")).unwrap_or_default();
    let (zh, en) = match end["refund"]["amount_minor"].as_i64() {
        Some(back) => (
            format!("实加 {volume} 升 {amount} 元,退回 {} 元", yuan(back)),
            format!("{volume} L for {amount} yuan; {} goes back", yuan(back)),
        ),
        None => (format!("加油完成,{volume} 升 {amount} 元"), format!("Done: {volume} L for {amount} yuan")),
    };
    if why_zh.is_empty() {
        return json!({"zh": zh, "en": en});
    }
    json!({"zh": format!("{why_zh}:{zh}"), "en": format!("{why_en}: {en}")})
}

/// The columns that are shown as they stand, and the station.
fn order_row(row: &Row<'_>) -> rusqlite::Result<(Value, String)> {
    let text = |name: &str| row.get::<_, String>(name);
    let optional = |name: &str| row.get::<_, Option<String>>(name);
    let number = |name: &str| row.get::<_, i64>(name);
    let station_id = text("station_id")?;
    let paid = row.get::<_, Option<String>>("jws")?.is_some();
    let view = json!({
        "order_id": text("order_id")?, "state": text("state")?, "since": stamp(row.get("since_ms")?),
        "station_id": station_id, "nozzle": number("nozzle")?, "grade": text("grade")?,
        "unit_price_micros": number("unit_price_micros")?, "limit": text("limit_json")?,
        "gross_minor": number("gross_minor")?, "discount_minor": number("discount_minor")?,
        "payable_minor": number("payable_minor")?, "coupon_id": optional("coupon_id")?,
        "group_id": optional("group_id")?, "vehicle_id": optional("vehicle_id")?, "pay_with": text("pay_with")?,
        "expires_at": stamp(row.get("expires_ms")?), "lift_deadline": stamp(row.get("lift_deadline_ms")?),
        "queue_position": row.get::<_, Option<i64>>("queue_position")?,
        "code": paid.then(|| text("code")).transpose()?, "jws": optional("jws")?, "reason": optional("reason")?,
    });
    Ok((view, station_id))
}
