//! The end of an order as its station reports it: what was dispensed is charged, the rest goes back. Shows: the sale alone suffices,
//! whatever was missed before it; captured and refunded are together what was paid; never more is charged than was held.

use super::group::rebate_on;
use super::{Account, Act, Trouble};
use crate::calendar::Day;
use crate::contract::message::{ReleaseData, ReviewData, SaleData};
use forecourt::units::Money;
use rusqlite::params;
use serde_json::Value;

/// What of an order settles it.
struct Open {
    member_id: String,
    station_id: String,
    state: String,
    coupon_id: Option<String>,
    group_id: Option<String>,
}

impl Act<'_> {
    fn open_order(&self, order_id: &str) -> Result<Option<Open>, Trouble> {
        let sql = "SELECT member_id, station_id, state, coupon_id, group_id FROM fuel_order WHERE order_id = ?1";
        self.row(sql, [order_id], |row| {
            Ok(Open {
                member_id: row.get(0)?,
                station_id: row.get(1)?,
                state: row.get(2)?,
                coupon_id: row.get(3)?,
                group_id: row.get(4)?,
            })
        })
    }

    /// Something a person must look at; nothing is booked for it.
    pub(super) fn dispute(&self, station_id: &str, what: &str) -> Result<(), Trouble> {
        tracing::warn!(station_id, what, "disputed");
        let sql = "INSERT INTO dispute (station_id, at_ms, what) VALUES (?1, ?2, ?3)";
        self.run(sql, params![station_id, self.now_ms(), what])?;
        Ok(())
    }

    /// Books a sale record: the fuel always, and the end of its order where that is ours and open.
    pub(super) fn book_sale(
        &mut self,
        station_id: &str,
        sequence: u64,
        sale: &SaleData,
        whole: &Value,
    ) -> Result<(), Trouble> {
        let known = self.number("SELECT count(*) FROM sale WHERE sale_id = ?1", [sale.sale_id.to_string()])?;
        if known != 0 {
            return self.dispute(station_id, &format!("sale {} stands in two records", sale.sale_id));
        }
        let sale_id = sale.sale_id.to_string();
        if self.currency_of(station_id)?.as_deref() != Some(&sale.currency) {
            return self
                .dispute(station_id, &format!("sale {sale_id} is in {}, not in the station's money", sale.currency));
        }
        let order_id = sale.order_id.as_ref().map(forecourt::ids::OrderId::as_str);
        self.run(
            "INSERT INTO sale (sale_id, station_id, sequence, order_id, basis, nozzle, grade, unit_price_micros, volume_ml, amount_minor,
                totaliser_start_ml, totaliser_end_ml, unaccounted_ml, started_ms, ended_ms, finish, flags, day)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
            params![
                sale_id, station_id, i64::try_from(sequence).unwrap_or(0), order_id, sale.basis, sale.nozzle.0,
                whole["grade"].as_str().unwrap_or(""), sale.unit_price_micros.get(), sale.volume_ml.get(),
                sale.amount_minor.get(), sale.totaliser_start_ml.map(forecourt::units::Volume::get),
                sale.totaliser_end_ml.map(forecourt::units::Volume::get), sale.unaccounted_ml.get(),
                sale.started_at.unix_ms(), sale.ended_at.unix_ms(), sale.finish, sale.flags.join(" "),
                Day::of(sale.ended_at).0
            ],
        )?;
        let Some(order_id) = order_id else { return Ok(()) };
        let Some(order) = self.open_order(order_id)? else {
            // A typed-in voucher is an order that only its code tells of.
            return if sale.basis == "voucher" {
                Ok(())
            } else {
                self.dispute(station_id, &format!("sale {sale_id} names the unknown order {order_id}"))
            };
        };
        if order.station_id != station_id
            || !["paid", "queued", "armed", "lifted", "fuelling", "review"].contains(&order.state.as_str())
        {
            return self.dispute(
                station_id,
                &format!("sale {sale_id} for order {order_id}, which is {} at {}", order.state, order.station_id),
            );
        }
        self.settle(&sale_id, order_id, &order, sale)
    }

    fn settle(&mut self, sale_id: &str, order_id: &str, order: &Open, sale: &SaleData) -> Result<(), Trouble> {
        let dispensed = sale.amount_minor.get();
        let coupon = match &order.coupon_id {
            Some(id) => self.coupon(id)?.map_or(Money::ZERO, |coupon| coupon.discount_on(sale.amount_minor)),
            None => Money::ZERO,
        };
        let group = match &order.group_id {
            Some(_) => Money::new(rebate_on(sale.volume_ml).get().min(dispensed - coupon.get())),
            None => Money::ZERO,
        };
        let held = self.balance(Account::Held(order_id))?;
        let net = dispensed - coupon.get() - group.get();
        // The pump ran over the limit: the station bears it.
        let charged = Money::new(net.min(held.get()));
        let back = Money::new(held.get() - charged.get());
        let station = Account::Station(&order.station_id);
        self.post(
            &format!("capture:{order_id}"),
            Some(order_id),
            &[
                (Account::Held(order_id), station, charged),
                (Account::Marketing, station, Money::new(coupon.get() + group.get())),
            ],
        )?;
        let sql = "UPDATE sale SET charged_minor = ?2, coupon_minor = ?3, group_minor = ?4 WHERE sale_id = ?1";
        self.run(sql, params![sale_id, charged.get(), coupon.get(), group.get()])?;
        let sql = "UPDATE fuel_order SET state = 'completed', sale_id = ?2, since_ms = ?3 WHERE order_id = ?1";
        self.run(sql, params![order_id, sale_id, self.now_ms()])?;
        self.step(order_id, "completed", Some(sale_id))?;
        self.give_back(order_id, charged, back)?;
        if let Some(coupon) = &order.coupon_id {
            self.end_coupon(coupon, dispensed > 0)?;
        }
        if let Some(group) = &order.group_id {
            self.thank_leader(group)?;
        }
        if dispensed > 0 {
            self.book_commission(sale_id, order_id, &order.member_id, &order.station_id, sale.amount_minor)?;
        }
        Ok(())
    }

    /// Books a release: nothing flowed, everything goes back.
    pub(super) fn book_release(&mut self, station_id: &str, release: &ReleaseData) -> Result<(), Trouble> {
        let order_id = release.order_id.as_str();
        match self.open_order(order_id)? {
            Some(order) if order.station_id == station_id => match order.state.as_str() {
                // The reply gave the money back already.
                "released" => Ok(()),
                "completed" | "cancelled" | "expired" | "awaiting_payment" => {
                    self.dispute(station_id, &format!("release of order {order_id}, which is {}", order.state))
                }
                _ => {
                    let reason = release.reason.strip_prefix("refused:").unwrap_or(&release.reason).to_owned();
                    self.end_without_fuel(order_id, &reason)
                }
            },
            _ if order_id.starts_with("V-") => Ok(()),
            _ => self.dispute(station_id, &format!("release of the unknown order {order_id}")),
        }
    }

    /// Ends a paid order without fuel.
    pub(super) fn end_without_fuel(&self, order_id: &str, reason: &str) -> Result<(), Trouble> {
        let back = self.balance(Account::Held(order_id))?;
        self.end(order_id, "released", Some(reason))?;
        self.give_back(order_id, Money::ZERO, back)
    }

    /// Not yet known what flowed: nothing is charged and nothing goes back.
    pub(super) fn book_review(&self, station_id: &str, review: &ReviewData) -> Result<(), Trouble> {
        let sql = "UPDATE fuel_order SET state = 'review', since_ms = ?3 WHERE order_id = ?1 AND station_id = ?2
                   AND state IN ('paid', 'queued', 'armed', 'lifted', 'fuelling')";
        self.run(sql, params![review.order_id.as_str(), station_id, self.now_ms()])?;
        self.step(review.order_id.as_str(), "review", Some(&review.why))
    }

    fn give_back(&self, order_id: &str, charged: Money, back: Money) -> Result<(), Trouble> {
        if self.settle_card(order_id, charged, back)? || !back.is_positive() {
            return Ok(());
        }
        let sql = "SELECT payment_ref FROM payment WHERE order_id = ?1 AND counts = 1";
        let payment: Option<String> = self.row(sql, [order_id], |row| row.get(0))?;
        payment.map_or(Ok(()), |payment| self.refund(order_id, &payment, back))
    }
}
