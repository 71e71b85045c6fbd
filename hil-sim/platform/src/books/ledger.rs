//! Double entry. An entry moves an amount from one account to another, so no posting can be unbalanced, and the sum of all balances is
//! always nothing. Shows: sums that are equal by construction, money flows that can be followed and not altered.

use super::{Act, Trouble};
use forecourt::units::Money;
use rusqlite::params;

/// An account of the ledger. A positive balance is money that the platform owes to, or holds for, its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Account<'a> {
    /// The world behind a payment channel; negative by all the money that came in through it.
    Outside(&'a str),
    /// What was paid for an order that has no end yet.
    Held(&'a str),
    /// What goes back to the payer and has not arrived.
    Refunding(&'a str),
    /// What a station is owed for fuel.
    Station(&'a str),
    /// Pays coupons, group rebates and commissions; negative by what was spent.
    Marketing,
    /// A member's commissions, to be withdrawn.
    Wallet(&'a str),
    /// A withdrawal under review.
    Withdrawing(&'a str),
    /// Commission that was taken back after it had been withdrawn; negative by the debt.
    Clawback(&'a str),
    /// A card account: prepaid not below nothing, fleet down to its credit.
    Card(&'a str),
}

/// Below every sum that is ever booked.
const BOTTOMLESS: i64 = -(1 << 53);

impl<'a> Account<'a> {
    const fn parts(self) -> (&'static str, &'a str, i64) {
        match self {
            Self::Outside(channel) => ("outside", channel, BOTTOMLESS),
            Self::Held(order) => ("held", order, 0),
            Self::Refunding(order) => ("refunding", order, 0),
            Self::Station(station) => ("station", station, BOTTOMLESS),
            Self::Marketing => ("marketing", "platform", BOTTOMLESS),
            Self::Wallet(member) => ("wallet", member, 0),
            Self::Withdrawing(withdrawal) => ("withdrawing", withdrawal, 0),
            Self::Clawback(member) => ("clawback", member, BOTTOMLESS),
            Self::Card(account) => ("card", account, 0),
        }
    }
}

impl Act<'_> {
    fn account(&self, account: Account<'_>) -> Result<i64, Trouble> {
        let (kind, owner, floor) = account.parts();
        self.run(
            "INSERT INTO account (kind, owner, floor_minor) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
            params![kind, owner, floor],
        )?;
        self.number("SELECT account_id FROM account WHERE kind = ?1 AND owner = ?2", params![kind, owner])
    }

    /// Sets how far an account may fall and rise.
    pub(super) fn bound_account(
        &self,
        account: Account<'_>,
        floor: Money,
        ceiling: Option<Money>,
    ) -> Result<(), Trouble> {
        let id = self.account(account)?;
        let sql = "UPDATE account SET floor_minor = ?2, ceiling_minor = ?3 WHERE account_id = ?1";
        self.run(sql, params![id, floor.get(), ceiling.map(Money::get)])?;
        Ok(())
    }

    /// Books entries as one movement. A key that was used before is an error of the database: a movement happens once.
    /// Entries of nothing are left out.
    ///
    /// # Errors
    /// [`Trouble::Books`] where an account would fall below its floor, or the key was used.
    pub fn post(
        &self,
        key: &str,
        order: Option<&str>,
        entries: &[(Account<'_>, Account<'_>, Money)],
    ) -> Result<(), Trouble> {
        let sql = "INSERT INTO movement (key, order_id, at_ms) VALUES (?1, ?2, ?3)";
        self.run(sql, params![key, order, self.now_ms()])?;
        let movement = self.tx.last_insert_rowid();
        for (from, to, amount) in entries.iter().filter(|(.., amount)| *amount != Money::ZERO) {
            let sql = "INSERT INTO entry (movement_id, from_account, to_account, amount_minor) VALUES (?1, ?2, ?3, ?4)";
            self.run(sql, params![movement, self.account(*from)?, self.account(*to)?, amount.get()])?;
        }
        Ok(())
    }

    /// An account's balance; nothing where it was never used.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn balance(&self, account: Account<'_>) -> Result<Money, Trouble> {
        let (kind, owner, _) = account.parts();
        let sql = "SELECT balance_minor FROM account WHERE kind = ?1 AND owner = ?2";
        Ok(Money::new(self.number(sql, params![kind, owner])?))
    }

    /// What is wrong with the ledger as a whole; empty if nothing is. Every balance must be the sum of its entries, all of them
    /// together nothing, and every ended order's money fully accounted for: captured + refunded = paid.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn audit_ledger(&self) -> Result<Vec<String>, Trouble> {
        let mut wrong = self.rows(
            "SELECT kind || ' ' || owner FROM account AS a WHERE balance_minor <>
             (SELECT coalesce(sum(amount_minor), 0) FROM entry WHERE to_account = a.account_id) -
             (SELECT coalesce(sum(amount_minor), 0) FROM entry WHERE from_account = a.account_id)",
            [],
            |row| Ok(format!("account {} is not the sum of its entries", row.get::<_, String>(0)?)),
        )?;
        let total = self.number("SELECT sum(balance_minor) FROM account", [])?;
        if total != 0 {
            wrong.push(format!("all balances together are {total}, not 0"));
        }
        wrong.extend(self.rows(
            "SELECT order_id, paid, charged, refunded, held FROM (
                SELECT o.order_id, o.state,
                    (SELECT coalesce(sum(amount_minor), 0) FROM payment WHERE order_id = o.order_id)
                        + (SELECT coalesce(sum(held_minor), 0) FROM card_order WHERE order_id = o.order_id) AS paid,
                    (SELECT coalesce(sum(charged_minor), 0) FROM sale WHERE sale_id = o.sale_id) AS charged,
                    (SELECT coalesce(sum(amount_minor), 0) FROM refund WHERE order_id = o.order_id)
                        + (SELECT coalesce(sum(held_minor - charged_minor), 0) FROM card_order WHERE order_id = o.order_id) AS refunded,
                    (SELECT coalesce(sum(balance_minor), 0) FROM account WHERE kind = 'held' AND owner = o.order_id) AS held
                FROM fuel_order AS o)
             WHERE held <> paid - charged - refunded
                OR (state IN ('completed', 'released', 'cancelled', 'expired') AND held <> 0)",
            [],
            |row| {
                let order: String = row.get(0)?;
                let [paid, charged, refunded, held]: [i64; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
                Ok(format!("order {order}: paid {paid}, charged {charged}, refunded {refunded}, still held {held}"))
            },
        )?);
        Ok(wrong)
    }
}
