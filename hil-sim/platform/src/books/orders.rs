//! Orders from the tap to their one end. Shows: preset by money, litres or fill-up; one order for one key however often it is sent; the
//! grade guard; the limit of 5,000 yuan a day; an order is signed and sent only when it is paid.

use super::stations::{AMOUNTS, Nozzle, VOLUMES, grade_name, is_diesel};
use super::{Account, Act, Trouble};
use crate::calendar::Day;
use crate::contract::command::{Command, OrderSpec};
use crate::distance::Position;
use crate::refusal::{self, Refusal};
use forecourt::ids::{Grade, NozzleId, OrderId};
use forecourt::order::{Basis, Limit};
use forecourt::time::UtcTime;
use forecourt::units::{Currency, Money, UnitPrice, Volume};
use rusqlite::params;
use serde::Deserialize;
use serde_json::{Value, json};

/// One driver's payments of one business day.
pub(super) const DAILY_LIMIT: Money = Money::new(500_000);
/// How long a driver may think before paying.
const PAY_WITHIN_MS: i64 = 5 * 60_000;
/// How long the station may take an order after it is paid.
const VALID_FOR_S: u32 = 600;
/// An order is given to a driver within this distance, where the page tells one.
const AT_STATION_M: u32 = 3_000;

/// What the page asks for.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct NewOrder {
    /// The nozzle's code.
    pub qr_token: String,
    /// How much.
    pub limit: Limit,
    /// A coupon to use.
    #[serde(default)]
    pub coupon_id: Option<String>,
    /// For which vehicle.
    #[serde(default)]
    pub vehicle_id: Option<String>,
    /// A complete group of the driver's.
    #[serde(default)]
    pub group_id: Option<String>,
    /// `sandbox`, `sandbox_other` or a card.
    #[serde(default = "sandbox")]
    pub pay_with: String,
    /// New for each intended order.
    pub idempotency_key: String,
    /// The price the driver saw.
    pub unit_price_micros: UnitPrice,
    /// Where the driver is; looked at and forgotten.
    #[serde(default)]
    pub lat_udeg: Option<i64>,
    /// Where the driver is.
    #[serde(default)]
    pub lon_udeg: Option<i64>,
}

fn sandbox() -> String {
    "sandbox".into()
}

impl NewOrder {
    fn position(&self) -> Option<Position> {
        Some(Position { lat_udeg: self.lat_udeg?, lon_udeg: self.lon_udeg? })
    }

    /// What tells one order from another under the same key.
    fn fingerprint(&self) -> String {
        let limit = json!(self.limit);
        json!([self.qr_token, limit, self.coupon_id, self.vehicle_id, self.group_id, self.pay_with]).to_string()
    }
}

/// The steps before an end, in the order they come.
const LADDER: [&str; 5] = ["paid", "queued", "armed", "lifted", "fuelling"];

impl Act<'_> {
    /// Places an order; money is not yet asked for. The same key gives the same order, and `false`.
    ///
    /// # Errors
    /// Any refusal of the API's list.
    pub fn place_order(&mut self, member_id: &str, wanted: &NewOrder) -> Result<(String, bool), Trouble> {
        let key = wanted.idempotency_key.as_str();
        if !(8..=64).contains(&key.len()) {
            return Err(malformed("/idempotency_key", "a key has 8 to 64 characters"));
        }
        let sql = "SELECT order_id, request FROM fuel_order WHERE member_id = ?1 AND key = ?2";
        let known = self.row(sql, [member_id, key], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        if let Some((order_id, request)) = known {
            if request != wanted.fingerprint() {
                return Err(Refusal::new("key_reused", "this key stands for another order").into());
            }
            return Ok((order_id, false));
        }

        let nozzle = self.nozzle(&wanted.qr_token)?;
        if let Some(refusal) = nozzle.refusal() {
            return Err(refusal.into());
        }
        let station_id = nozzle.station_id.as_str();
        if let Some(position) = wanted.position()
            && !self.station_position(station_id)?.is_within(position, AT_STATION_M)
        {
            return Err(Refusal::new("too_far", format!("more than {AT_STATION_M} m from the station")).into());
        }
        let price = UnitPrice::new(nozzle.price_micros().unwrap_or(0));
        if price != wanted.unit_price_micros {
            let detail = format!("nozzle {} now sells at {} micros", nozzle.nozzle, price.get());
            let refusal = Refusal::new("price_changed", detail).with("unit_price_micros", price.get());
            return Err(refusal.with("text", refusal::price_changed(wanted.unit_price_micros, price)).into());
        }
        self.guard_grade(member_id, wanted.vehicle_id.as_deref(), nozzle.grade(), station_id)?;

        let currency = self.currency_of(station_id)?.unwrap_or_default();
        let gross = gross(wanted.limit, price, Currency::from_code(&currency).unwrap_or(Currency::CNY))?;
        let number = self.number("SELECT max(number) FROM fuel_order", [])? + 1;
        let day = Day::of(self.now);
        let order_id = format!("{}-{number:06}", day.date().replace('-', ""));
        let discount = match &wanted.coupon_id {
            Some(coupon) => self.reserve_coupon(member_id, coupon, gross)?,
            None => Money::ZERO,
        };
        let payable = Money::new(gross.get() - discount.get());
        let left = self.day_left(member_id)?;
        if payable > left {
            let detail = format!("{} of this day's limit are left", left.get());
            return Err(Refusal::new("daily_limit", detail).with("day_left_minor", left.get()).into());
        }
        if let Some(group) = &wanted.group_id {
            self.use_group(group, member_id, station_id, &order_id)?;
        }
        if !["sandbox", "sandbox_other"].contains(&wanted.pay_with.as_str())
            && !self.cards_of(member_id)?.iter().any(|card| card["card_id"] == wanted.pay_with.as_str())
        {
            return Err(malformed("/pay_with", "no channel and none of this member's cards"));
        }
        let code = self.ids.make(self.now).as_u128() % 1_000_000;
        self.run(
            "INSERT INTO fuel_order (order_id, number, member_id, station_id, nozzle, grade, unit_price_micros, limit_json, gross_minor,
                discount_minor, payable_minor, coupon_id, group_id, vehicle_id, pay_with, key, request, state, since_ms, day, created_ms,
                expires_ms, code)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, 'awaiting_payment', ?18, ?19, ?18, ?20, ?21)",
            params![
                order_id, number, member_id, station_id, nozzle.nozzle, nozzle.grade(), price.get(),
                json!(wanted.limit).to_string(), gross.get(), discount.get(), payable.get(), wanted.coupon_id,
                wanted.group_id, wanted.vehicle_id, wanted.pay_with, key, wanted.fingerprint(), self.now_ms(), day.0,
                self.now_ms() + PAY_WITHIN_MS, format!("{code:06}")
            ],
        )?;
        let last = json!({"grade": nozzle.grade(), "limit": wanted.limit, "vehicle_id": wanted.vehicle_id, "pay_with": wanted.pay_with});
        self.run("UPDATE member SET last = ?2 WHERE member_id = ?1", params![member_id, last.to_string()])?;
        self.step(&order_id, "ordered", None)?;
        Ok((order_id, true))
    }

    /// Petrol is not sold to a diesel vehicle nor the other way round, before anything is paid.
    fn guard_grade(
        &self,
        member_id: &str,
        vehicle: Option<&str>,
        grade: &str,
        station_id: &str,
    ) -> Result<(), Trouble> {
        let Some(vehicle) = vehicle else { return Ok(()) };
        let sql = "SELECT grade FROM vehicle WHERE vehicle_id = ?1 AND member_id = ?2";
        let own: Option<String> = self.row(sql, [vehicle, member_id], |row| row.get(0))?;
        let own = own.ok_or_else(|| malformed("/vehicle_id", "no such vehicle of this member"))?;
        if is_diesel(&own) == is_diesel(grade) {
            return Ok(());
        }
        let right = self.nozzles(station_id)?;
        let right: Vec<i64> = right
            .iter()
            .filter(|nozzle| is_diesel(nozzle.grade()) == is_diesel(&own) && nozzle.refusal().is_none())
            .map(|nozzle| nozzle.nozzle)
            .collect();
        let detail = format!("the vehicle takes {own}, the nozzle gives {grade}");
        let whose = ["您的车辆用", "your vehicle takes"];
        let sentence = refusal::grade_mismatch(&grade_name(grade), whose, &grade_name(&own), &right);
        Err(Refusal::new("grade_mismatch", detail)
            .with("suggested_nozzles", json!(right))
            .with("text", sentence)
            .into())
    }

    pub(super) fn day_left(&self, member_id: &str) -> Result<Money, Trouble> {
        let spent = self.number(
            "SELECT sum(CASE WHEN state = 'completed' THEN (SELECT charged_minor FROM sale WHERE sale_id = o.sale_id)
                             WHEN state IN ('released', 'cancelled', 'expired') THEN 0 ELSE payable_minor END)
             FROM fuel_order AS o WHERE member_id = ?1 AND day = ?2",
            params![member_id, Day::of(self.now).0],
        )?;
        Ok(Money::new((DAILY_LIMIT.get() - spent).max(0)))
    }

    /// The member's own order.
    ///
    /// # Errors
    /// `unknown_order`, `not_yours`.
    pub fn check_owner(&self, member_id: &str, order_id: &str) -> Result<(), Trouble> {
        let owner: Option<String> =
            self.row("SELECT member_id FROM fuel_order WHERE order_id = ?1", [order_id], |row| row.get(0))?;
        match owner {
            None => Err(Refusal::new("unknown_order", format!("no order {order_id}")).into()),
            Some(owner) if owner != member_id => Err(Refusal::new("not_yours", "another member's order").into()),
            Some(_) => Ok(()),
        }
    }

    /// How an order is to be paid: its state, channel and sum.
    pub(super) fn payable(&self, order_id: &str) -> Result<(String, String, Money), Trouble> {
        let sql = "SELECT state, pay_with, payable_minor FROM fuel_order WHERE order_id = ?1";
        let found = self.row(sql, [order_id], |row| Ok((row.get(0)?, row.get(1)?, Money::new(row.get(2)?))))?;
        found.ok_or_else(|| Refusal::new("unknown_order", format!("no order {order_id}")).into())
    }

    /// Pays an order with the card it names, at once.
    ///
    /// # Errors
    /// `card_refused`; `expired` or `already_ended` if it no longer waits for payment.
    pub fn pay_by_card(&mut self, order_id: &str) -> Result<(), Trouble> {
        let (state, card, sum) = self.payable(order_id)?;
        if state != "awaiting_payment" {
            return Ok(());
        }
        let sql = "SELECT member_id, grade FROM fuel_order WHERE order_id = ?1";
        let found = self.row(sql, [order_id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        let Some((member, grade)) = found else { return Ok(()) };
        self.charge_card(&card, &member, order_id, &grade, sum)?;
        self.authorise(order_id, Basis::Card)
    }

    /// Paid: signs the order and queues it for the station.
    pub(super) fn authorise(&mut self, order_id: &str, basis: Basis) -> Result<(), Trouble> {
        let found = self.row(
            "SELECT o.station_id, o.nozzle, o.grade, o.unit_price_micros, o.limit_json, o.code, o.pay_with, m.customer, v.plate_masked,
                    s.currency
             FROM fuel_order AS o JOIN member AS m ON m.member_id = o.member_id JOIN station AS s ON s.station_id = o.station_id
             LEFT JOIN vehicle AS v ON v.vehicle_id = o.vehicle_id WHERE o.order_id = ?1",
            [order_id],
            |row| {
                let texts: [String; 6] = [row.get(0)?, row.get(2)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?];
                Ok((texts, row.get::<_, u16>(1)?, row.get(3)?, row.get::<_, Option<String>>(8)?, row.get::<_, String>(9)?))
            },
        )?;
        let Some(([station, grade, limit, code, channel, customer], nozzle, price, plate, currency)) = found else {
            return Err(Refusal::new("unknown_order", format!("no order {order_id}")).into());
        };
        let broken = |error: &dyn std::fmt::Display| Trouble::from(Refusal::new("malformed", error.to_string()));
        let spec = OrderSpec {
            valid_for_s: VALID_FOR_S,
            basis,
            code: Some(code),
            customer: Some(customer),
            plate_masked: plate,
            context: json!({"channel": if basis == Basis::Card { "card" } else { channel.as_str() }}),
            ..OrderSpec::prepaid(
                OrderId::new(order_id).map_err(|error| broken(&error))?,
                NozzleId(nozzle),
                Grade::new(grade).map_err(|error| broken(&error))?,
                serde_json::from_str(&limit)?,
                UnitPrice::new(price),
                Currency::from_code(&currency).map_err(|error| broken(&error))?,
            )
        };
        let expires = self.now.plus_ms(i64::from(VALID_FOR_S) * 1_000);
        let command = Command::Authorise(Box::new(spec));
        let (id, token) = self.issue(&station, &command, Some(order_id), Some(expires))?;
        self.run(
            "UPDATE fuel_order SET state = 'paid', since_ms = ?2, expires_ms = ?3, command_id = ?4, jws = ?5 WHERE order_id = ?1",
            params![order_id, self.now_ms(), expires.unix_ms(), id.to_string(), token],
        )?;
        self.step(order_id, "paid", None)
    }

    /// A step up the ladder. Steps are best effort and may come late: never down, never after an end.
    pub(super) fn advance(
        &self,
        order_id: &str,
        step: &str,
        position: Option<u32>,
        lift_deadline: Option<UtcTime>,
    ) -> Result<(), Trouble> {
        let Some(rank) = LADDER.iter().position(|known| *known == step) else { return Ok(()) };
        self.step(order_id, step, None)?;
        let sql = "UPDATE fuel_order SET state = ?2, since_ms = ?3, queue_position = coalesce(?4, queue_position), lift_deadline_ms = coalesce(?5, lift_deadline_ms)
                   WHERE order_id = ?1 AND instr(?6, ' ' || state || ' ') > 0";
        let lower = format!(" {} ", LADDER[..=rank].join(" "));
        let deadline = lift_deadline.map(UtcTime::unix_ms);
        self.run(sql, params![order_id, step, self.now_ms(), position, deadline, lower])?;
        Ok(())
    }

    /// Remembers when an order first reached a step.
    pub(super) fn step(&self, order_id: &str, step: &str, detail: Option<&str>) -> Result<(), Trouble> {
        let sql = "INSERT INTO step SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM fuel_order WHERE order_id = ?1) ON CONFLICT DO NOTHING";
        self.run(sql, params![order_id, step, self.now_ms(), detail])?;
        Ok(())
    }

    /// The driver cancels. Unpaid it ends here; paid, the station is asked, and its release gives the money back.
    ///
    /// # Errors
    /// `cannot_cancel` once the nozzle is lifted, `already_ended`.
    pub fn cancel_order(&mut self, order_id: &str) -> Result<(), Trouble> {
        let (state, ..) = self.payable(order_id)?;
        match state.as_str() {
            "awaiting_payment" => self.end_unpaid(order_id, "cancelled"),
            "paid" | "queued" | "armed" => {
                let name = OrderId::new(order_id).map_err(|error| Refusal::new("malformed", error.to_string()))?;
                self.issue(&self.station_of(order_id)?, &Command::Cancel(name), Some(order_id), None)?;
                self.step(order_id, "cancel_asked", None)
            }
            "completed" | "released" | "cancelled" | "expired" => {
                Err(Refusal::new("already_ended", format!("the order is {state}")).into())
            }
            _ => Err(Refusal::new("cannot_cancel", format!("the order is {state}")).into()),
        }
    }

    /// Asks the station to move an order to another nozzle.
    ///
    /// # Errors
    /// `cannot_move` unless it waits there; `unknown_nozzle`; `grade_mismatch`.
    pub fn move_order(&mut self, order_id: &str, qr_token: &str) -> Result<(), Trouble> {
        let nozzle = self.nozzle(qr_token)?;
        self.move_to(order_id, &nozzle, None)
    }

    /// The same for an attendant, who knows the nozzle by the number painted on it.
    ///
    /// # Errors
    /// As [`Act::move_order`].
    pub fn move_order_by_staff(&mut self, order_id: &str, nozzle: i64, by_whom: &str) -> Result<(), Trouble> {
        let station = self.station_of(order_id)?;
        let found = self.nozzles(&station)?.into_iter().find(|known| known.nozzle == nozzle);
        let found = found.ok_or_else(|| Refusal::new("unknown_nozzle", format!("{station} has no nozzle {nozzle}")))?;
        self.move_to(order_id, &found, Some(by_whom))
    }

    fn move_to(&mut self, order_id: &str, nozzle: &Nozzle, by_whom: Option<&str>) -> Result<(), Trouble> {
        let (state, ..) = self.payable(order_id)?;
        let station = self.station_of(order_id)?;
        if !["queued", "armed"].contains(&state.as_str()) || nozzle.station_id != station {
            return Err(Refusal::new("cannot_move", format!("the order is {state}, at {station}")).into());
        }
        let name = OrderId::new(order_id).map_err(|error| Refusal::new("malformed", error.to_string()))?;
        let to = NozzleId(u16::try_from(nozzle.nozzle).unwrap_or(0));
        self.issue(&station, &Command::Move(name, to), Some(order_id), None)?;
        self.step(order_id, "move_asked", by_whom)
    }

    pub(super) fn station_of(&self, order_id: &str) -> Result<String, Trouble> {
        let station =
            self.row("SELECT station_id FROM fuel_order WHERE order_id = ?1", [order_id], |row| row.get(0))?;
        station.ok_or_else(|| Refusal::new("unknown_order", format!("no order {order_id}")).into())
    }

    /// Ends what was not paid in time. To be called every few seconds.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn expire_unpaid(&self) -> Result<usize, Trouble> {
        let sql = "SELECT order_id FROM fuel_order WHERE state = 'awaiting_payment' AND expires_ms < ?1";
        let late: Vec<String> = self.rows(sql, [self.now_ms()], |row| row.get(0))?;
        late.iter().try_for_each(|order| self.end_unpaid(order, "expired"))?;
        Ok(late.len())
    }

    fn end_unpaid(&self, order_id: &str, state: &str) -> Result<(), Trouble> {
        debug_assert_eq!(self.balance(Account::Held(order_id)).ok(), Some(Money::ZERO));
        self.end(order_id, state, None)
    }

    /// Writes an end without fuel and frees what the order had taken.
    pub(super) fn end(&self, order_id: &str, state: &str, reason: Option<&str>) -> Result<(), Trouble> {
        let sql = "UPDATE fuel_order SET state = ?2, reason = ?3, since_ms = ?4 WHERE order_id = ?1";
        self.run(sql, params![order_id, state, reason, self.now_ms()])?;
        let coupon: Option<Option<String>> =
            self.row("SELECT coupon_id FROM fuel_order WHERE order_id = ?1", [order_id], |row| row.get(0))?;
        if let Some(Some(coupon)) = coupon {
            self.end_coupon(&coupon, false)?;
        }
        self.leave_group(order_id)?;
        self.step(order_id, state, reason)
    }

    /// The orders of a member, newest first.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn orders_of(&self, member_id: &str) -> Result<Vec<Value>, Trouble> {
        let sql = "SELECT order_id FROM fuel_order WHERE member_id = ?1 ORDER BY number DESC LIMIT 50";
        let ids: Vec<String> = self.rows(sql, [member_id], |row| row.get(0))?;
        ids.iter().map(|id| self.order_view(id)).collect()
    }
}

fn malformed(at: &str, detail: &str) -> Trouble {
    Refusal::new("malformed", detail).with("at", at).into()
}

/// The most an order may cost at its price.
fn gross(limit: Limit, price: UnitPrice, currency: Currency) -> Result<Money, Trouble> {
    let (value, [least, most], gross) = match limit {
        Limit::Amount(money) | Limit::FullTank(money) => (money.get(), AMOUNTS, Some(money)),
        Limit::Volume(volume) => (volume.get(), VOLUMES, price.cost_of(Volume::new(volume.get()), currency)),
    };
    match gross {
        _ if value < least => Err(Refusal::new("limit_too_small", format!("at least {least}")).into()),
        Some(gross) if value <= most && gross.get() <= AMOUNTS[1] => Ok(gross),
        _ => Err(Refusal::new("limit_exceeded", format!("at most {most}, and {} in money", AMOUNTS[1])).into()),
    }
}
