//! Withdrawing commission: up to 500 yuan at once, above that after review by a person.

use super::{Account, Act, Trouble};
use crate::refusal::Refusal;
use forecourt::time::UtcTime;
use forecourt::units::Money;
use rusqlite::params;
use serde_json::{Value, json};

/// Up to this a withdrawal is paid at once; the table's own constraint says the same.
const AT_ONCE: Money = Money::new(50_000);

impl Act<'_> {
    /// Withdraws; the same key again is the same withdrawal.
    ///
    /// # Errors
    /// `balance_too_small`, also where commission is still to be taken back.
    pub fn withdraw(&mut self, member_id: &str, amount: Money, key: &str) -> Result<Value, Trouble> {
        let sql = "SELECT withdrawal_id, state, amount_minor FROM withdrawal WHERE member_id = ?1 AND key = ?2";
        let known = self.row(sql, [member_id, key], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })?;
        if let Some((id, state, known)) = known {
            if known != amount.get() {
                return Err(Refusal::new("key_reused", "this key stands for another amount").into());
            }
            return Ok(json!({"withdrawal_id": id, "state": state}));
        }
        let owed = self.balance(Account::Clawback(member_id))?;
        let free = self.balance(Account::Wallet(member_id))?.get() + owed.get();
        if !amount.is_positive() || amount.get() > free {
            return Err(Refusal::new("balance_too_small", format!("{free} can be withdrawn")).into());
        }
        let id = self.name("w");
        let (state, to) = if amount <= AT_ONCE {
            ("paid", Account::Outside("sandbox"))
        } else {
            ("review", Account::Withdrawing(&id))
        };
        let sql = "INSERT INTO withdrawal (withdrawal_id, member_id, amount_minor, state, key, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        self.run(sql, params![id, member_id, amount.get(), state, key, self.now_ms()])?;
        self.post(&format!("withdraw:{id}"), None, &[(Account::Wallet(member_id), to, amount)])?;
        Ok(json!({"withdrawal_id": id, "state": state}))
    }

    /// A person decides on a withdrawal under review.
    ///
    /// # Errors
    /// `already_ended` for one that is not under review.
    pub fn review_withdrawal(&self, withdrawal_id: &str, pay: bool, by_whom: &str) -> Result<(), Trouble> {
        let state = if pay { "paid" } else { "refused" };
        let sql = "UPDATE withdrawal SET state = ?2, reviewed_by = ?3 WHERE withdrawal_id = ?1 AND state = 'review'
                   RETURNING member_id, amount_minor";
        let decided = self
            .row(sql, [withdrawal_id, state, by_whom], |row| Ok((row.get::<_, String>(0)?, Money::new(row.get(1)?))))?;
        let (member, amount) =
            decided.ok_or_else(|| Refusal::new("already_ended", "no such withdrawal is under review"))?;
        let to = if pay { Account::Outside("sandbox") } else { Account::Wallet(&member) };
        let key = format!("withdraw:{withdrawal_id}:{state}");
        self.post(&key, None, &[(Account::Withdrawing(withdrawal_id), to, amount)])
    }

    /// A member's wallet for the page.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn wallet_view(&self, member_id: &str) -> Result<Value, Trouble> {
        let at = |ms: i64| UtcTime::from_unix_ms(ms).to_string();
        let commissions = self.rows(
            "SELECT c.sale_id, s.order_id, c.level, c.amount_minor, c.at_ms, c.clawed_back_minor FROM commission AS c
             JOIN sale AS s ON s.sale_id = c.sale_id WHERE c.member_id = ?1 ORDER BY c.at_ms DESC LIMIT 50",
            [member_id],
            |row| {
                let (sale, order): (String, Option<String>) = (row.get(0)?, row.get(1)?);
                let (level, amount, taken): (i64, i64, i64) = (row.get(2)?, row.get(3)?, row.get(5)?);
                Ok(json!({"sale_id": sale, "order_id": order, "level": level, "amount_minor": amount,
                    "clawed_back_minor": taken, "at": at(row.get(4)?)}))
            },
        )?;
        let withdrawals = self.rows(
            "SELECT withdrawal_id, amount_minor, state, at_ms FROM withdrawal WHERE member_id = ?1 ORDER BY at_ms DESC LIMIT 50",
            [member_id],
            |row| {
                let (id, amount, state): (String, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(json!({"withdrawal_id": id, "amount_minor": amount, "state": state, "at": at(row.get(3)?)}))
            },
        )?;
        Ok(json!({
            "wallet_minor": self.balance(Account::Wallet(member_id))?.get(),
            "points": self.number("SELECT sum(points) FROM commission WHERE member_id = ?1", [member_id])?,
            "commissions": commissions,
            "withdrawals": withdrawals,
        }))
    }
}
