//! The sandbox payment channel and the platform's side of it. Shows: callbacks are signed, forged and replayed ones have no effect; one
//! order paid twice is fuelled once and the other payment goes back; a refund is accepted first and done when the channel says so.
//!
//! The channel's own books (`channel_payment`, `channel_refund`) are its statement for reconciliation. The platform writes to them only in
//! the channel's name.

use super::{Account, Act, Trouble};
use crate::refusal::Refusal;
use crate::signature::Secret;
use forecourt::order::Basis;
use forecourt::time::UtcTime;
use forecourt::units::Money;
use rusqlite::params;
use serde::{Deserialize, Serialize};

/// A callback older or newer than this is refused.
const CALLBACK_AGE_MS: i64 = 5 * 60_000;

/// What the channel tells.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum News {
    /// A driver paid.
    Paid {
        /// The channel's name of the payment.
        payment_ref: String,
        /// Which channel.
        channel: String,
        /// For which order.
        order_id: String,
        /// How much.
        amount_minor: Money,
    },
    /// A refund arrived.
    Refunded {
        /// The platform's name of the refund.
        refund_id: String,
        /// How much.
        amount_minor: Money,
    },
}

/// A callback as it travels: the headers `x-sandbox-timestamp` (ms), `x-sandbox-nonce`, `x-sandbox-signature`, and the body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Callback {
    /// Milliseconds since 1970, decimal.
    pub timestamp: String,
    /// New for each sending.
    pub nonce: String,
    /// HMAC-SHA-256 over timestamp, nonce and body, each followed by a line end; hex.
    pub signature: String,
    /// JSON of [`News`].
    pub body: String,
}

impl Callback {
    /// Signs news as the channel does.
    #[must_use]
    pub fn sign(secret: &Secret, at: UtcTime, nonce: &str, news: &News) -> Self {
        let (timestamp, body) = (at.unix_ms().to_string(), serde_json::json!(news).to_string());
        let signature = secret.sign(&[&timestamp, nonce, &body]);
        Self { timestamp, nonce: nonce.into(), signature, body }
    }
}

impl Act<'_> {
    /// The channel's side: the driver taps "pay". The callback to be delivered; paying again moves no more money.
    ///
    /// # Errors
    /// `unknown_order`.
    pub fn channel_pay(&mut self, order_id: &str, channel: &str) -> Result<Callback, Trouble> {
        let (_, _, sum) = self.payable(order_id)?;
        let payment_ref = format!("{channel}:{order_id}");
        let sql = "INSERT INTO channel_payment VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
        self.run(sql, params![payment_ref, channel, order_id, sum.get(), self.now_ms()])?;
        let news = News::Paid { payment_ref, channel: channel.into(), order_id: order_id.into(), amount_minor: sum };
        Ok(self.callback(&news))
    }

    fn callback(&mut self, news: &News) -> Callback {
        let nonce = self.ids.make(self.now).simple().to_string();
        Callback::sign(&self.secrets.channel, self.now, &nonce, news)
    }

    /// The channel's side: carries out what was accepted and calls back. To be called every now and then.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn channel_refunds(&mut self) -> Result<Vec<Callback>, Trouble> {
        let sql =
            "SELECT refund_id, payment_ref, amount_minor FROM refund WHERE state = 'accepted' ORDER BY at_ms LIMIT 100";
        let due = self
            .rows(sql, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, Money::new(row.get(2)?))))?;
        let mut callbacks = Vec::new();
        for (refund_id, payment_ref, amount_minor) in due {
            let sql = "INSERT INTO channel_refund VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";
            self.run(sql, params![refund_id, payment_ref, amount_minor.get(), self.now_ms()])?;
            callbacks.push(self.callback(&News::Refunded { refund_id, amount_minor }));
        }
        Ok(callbacks)
    }

    /// The platform's side: takes a callback.
    ///
    /// # Errors
    /// `bad_signature`; `too_old` by its timestamp; `replayed`; `malformed`; `unknown_order`.
    pub fn take_callback(&mut self, callback: &Callback) -> Result<(), Trouble> {
        let Callback { timestamp, nonce, signature, body } = callback;
        if !self.secrets.channel.verifies(&[timestamp, nonce, body], signature) {
            return Err(Refusal::new("bad_signature", "the callback is not the channel's").into());
        }
        let age = timestamp.parse::<i64>().map_or(i64::MAX, |at| self.now_ms().saturating_sub(at));
        if !(-CALLBACK_AGE_MS..=CALLBACK_AGE_MS).contains(&age) {
            return Err(Refusal::new("too_old", "the callback's timestamp is more than 5 minutes away").into());
        }
        self.run("DELETE FROM callback WHERE at_ms < ?1", [self.now_ms() - 2 * CALLBACK_AGE_MS])?;
        if self.run("INSERT INTO callback VALUES (?1, ?2) ON CONFLICT DO NOTHING", params![nonce, self.now_ms()])? == 0
        {
            return Err(Refusal::new("replayed", "this callback came before").into());
        }
        let news = serde_json::from_str(body).map_err(|error| Refusal::new("malformed", error.to_string()))?;
        match news {
            News::Paid { payment_ref, channel, order_id, amount_minor } => {
                self.paid(&payment_ref, &channel, &order_id, amount_minor)
            }
            News::Refunded { refund_id, amount_minor } => self.refunded(&refund_id, amount_minor),
        }
    }

    fn paid(&mut self, payment_ref: &str, channel: &str, order_id: &str, amount: Money) -> Result<(), Trouble> {
        let (state, _, payable) = self.payable(order_id)?;
        // The right sum for an order that waits for it counts; everything else goes back whole.
        let counts = state == "awaiting_payment" && amount == payable;
        let sql = "INSERT INTO payment VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
        let row = params![payment_ref, order_id, channel, amount.get(), self.now_ms(), counts];
        if self.run(sql, row)? == 0 {
            return Ok(());
        }
        let entry = (Account::Outside(channel), Account::Held(order_id), amount);
        self.post(&format!("pay:{payment_ref}"), Some(order_id), &[entry])?;
        if counts { self.authorise(order_id, Basis::Prepaid) } else { self.refund(order_id, payment_ref, amount) }
    }

    /// Asks the channel to give money back. One refund for a payment, named after it.
    pub(super) fn refund(&self, order_id: &str, payment_ref: &str, amount: Money) -> Result<(), Trouble> {
        let refund_id = format!("rf-{payment_ref}");
        let sql = "INSERT INTO refund (refund_id, payment_ref, order_id, amount_minor, state, at_ms) VALUES (?1, ?2, ?3, ?4, 'accepted', ?5)";
        self.run(sql, params![refund_id, payment_ref, order_id, amount.get(), self.now_ms()])?;
        let entry = (Account::Held(order_id), Account::Refunding(order_id), amount);
        self.post(&format!("refund:{refund_id}"), Some(order_id), &[entry])?;
        self.step(order_id, "refund_accepted", None)
    }

    fn refunded(&self, refund_id: &str, amount: Money) -> Result<(), Trouble> {
        let sql = "UPDATE refund SET state = 'done', done_ms = ?2 WHERE refund_id = ?1 AND state = 'accepted' AND amount_minor = ?3
                   RETURNING order_id, (SELECT channel FROM payment WHERE payment_ref = refund.payment_ref)";
        let done = self.row(sql, params![refund_id, self.now_ms(), amount.get()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })?;
        let Some((order_id, channel)) = done else { return Ok(()) };
        let entry = (Account::Refunding(&order_id), Account::Outside(&channel), amount);
        self.post(&format!("refunded:{refund_id}"), Some(&order_id), &[entry])?;
        self.step(&order_id, "refund_done", None)
    }
}
