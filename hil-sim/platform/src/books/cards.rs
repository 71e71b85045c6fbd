//! Prepaid and fleet cards: account, card, relation and flow. Shows: an order may rest on a card's balance, with limits by grade, by fill
//! and by day; the station never learns a balance.

use super::{Account, Act, Trouble};
use crate::calendar::Day;
use crate::refusal::Refusal;
use forecourt::units::Money;
use rusqlite::params;
use serde_json::{Value, json};

/// A named prepaid card holds at most 5,000 yuan (rules for single-purpose prepaid cards).
const PREPAID_CEILING: Money = Money::new(500_000);

/// A card as it is issued.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewCard<'a> {
    /// Whose money.
    pub account_id: &'a str,
    /// Who may use it.
    pub member_id: &'a str,
    /// Grades it may buy; empty for any.
    pub grades: &'a [&'a str],
    /// Most for one fill.
    pub fill_limit: Money,
    /// Most for one day.
    pub day_limit: Money,
}

impl Act<'_> {
    /// Opens a prepaid account with money in it.
    ///
    /// # Errors
    /// [`Trouble::Books`] above the ceiling of a prepaid card.
    pub fn open_prepaid(&mut self, name: &str, money: Money) -> Result<String, Trouble> {
        let id = self.name("ka");
        self.run("INSERT INTO card_account VALUES (?1, 'prepaid', ?2)", [id.as_str(), name])?;
        self.bound_account(Account::Card(&id), Money::ZERO, Some(PREPAID_CEILING))?;
        self.post(&format!("topup:{id}"), None, &[(Account::Outside("sandbox"), Account::Card(&id), money)])?;
        Ok(id)
    }

    /// Opens a fleet's account on credit.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn open_fleet(&mut self, name: &str, credit: Money) -> Result<String, Trouble> {
        let id = self.name("ka");
        self.run("INSERT INTO card_account VALUES (?1, 'fleet', ?2)", [id.as_str(), name])?;
        self.bound_account(Account::Card(&id), Money::new(-credit.get()), None)?;
        Ok(id)
    }

    /// Issues a card.
    ///
    /// # Errors
    /// `malformed` if there is no such account.
    pub fn issue_card(&mut self, card: &NewCard<'_>) -> Result<String, Trouble> {
        let sql = "SELECT count(*) FROM card_account WHERE card_account_id = ?1";
        if self.number(sql, [card.account_id])? == 0 {
            return Err(Refusal::new("malformed", format!("no account {}", card.account_id))
                .with("at", "/account_id")
                .into());
        }
        let id = self.name("k");
        self.run(
            "INSERT INTO card (card_id, card_account_id, grades, fill_limit_minor, day_limit_minor) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![id, card.account_id, card.grades.join(" "), card.fill_limit.get(), card.day_limit.get()],
        )?;
        self.run("INSERT INTO card_relation VALUES (?1, ?2)", [id.as_str(), card.member_id])?;
        Ok(id)
    }

    /// Blocks a card, or takes that back. Orders that it has paid go on.
    ///
    /// # Errors
    /// `malformed` if there is no such card.
    pub fn block_card(&self, card_id: &str, blocked: bool) -> Result<(), Trouble> {
        let state = if blocked { "blocked" } else { "active" };
        match self.run("UPDATE card SET state = ?2 WHERE card_id = ?1", [card_id, state])? {
            0 => Err(Refusal::new("malformed", format!("no card {card_id}")).into()),
            _ => Ok(()),
        }
    }

    /// Holds an order's money on a card.
    pub(super) fn charge_card(
        &self,
        card_id: &str,
        member_id: &str,
        order_id: &str,
        grade: &str,
        money: Money,
    ) -> Result<(), Trouble> {
        let no = |why: String| Trouble::from(Refusal::new("card_refused", why));
        let sql = "SELECT c.card_account_id, c.state, c.grades, c.fill_limit_minor, c.day_limit_minor
                   FROM card AS c JOIN card_relation AS r ON r.card_id = c.card_id WHERE c.card_id = ?1 AND r.member_id = ?2";
        let card = self.row(sql, [card_id, member_id], |row| {
            let texts: [String; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok((texts, Money::new(row.get(3)?), Money::new(row.get(4)?)))
        })?;
        let Some(([account, state, grades], fill_limit, day_limit)) = card else {
            return Err(no("the card is not this member's".into()));
        };
        if state != "active" {
            return Err(no("the card is blocked".into()));
        }
        if !grades.is_empty() && !grades.split(' ').any(|allowed| allowed == grade) {
            return Err(no(format!("the card does not buy grade {grade}")));
        }
        if money > fill_limit {
            return Err(no(format!("more than {} for one fill", fill_limit.get())));
        }
        let day = Day::of(self.now).0;
        let sql = "SELECT sum(coalesce(charged_minor, held_minor)) FROM card_order WHERE card_id = ?1 AND day = ?2";
        if self.number(sql, params![card_id, day])? + money.get() > day_limit.get() {
            return Err(no(format!("more than {} for this day", day_limit.get())));
        }
        if money > self.available(&account)? {
            return Err(no("the balance is too small".into()));
        }
        let sql = "INSERT INTO card_order (order_id, card_id, day, held_minor) VALUES (?1, ?2, ?3, ?4)";
        self.run(sql, params![order_id, card_id, day, money.get()])?;
        self.post(
            &format!("card:{order_id}"),
            Some(order_id),
            &[(Account::Card(&account), Account::Held(order_id), money)],
        )
    }

    /// Gives back what an order on a card did not take. `false` if it does not rest on a card.
    pub(super) fn settle_card(&self, order_id: &str, charged: Money, back: Money) -> Result<bool, Trouble> {
        let sql = "SELECT c.card_account_id FROM card_order AS o JOIN card AS c ON c.card_id = o.card_id WHERE o.order_id = ?1";
        let Some(account) = self.row(sql, [order_id], |row| row.get::<_, String>(0))? else { return Ok(false) };
        let sql = "UPDATE card_order SET charged_minor = ?2 WHERE order_id = ?1";
        self.run(sql, params![order_id, charged.get()])?;
        let entry = (Account::Held(order_id), Account::Card(&account), back);
        self.post(&format!("card-back:{order_id}"), Some(order_id), &[entry])?;
        Ok(true)
    }

    /// What can be spent: the balance above the account's floor.
    fn available(&self, account: &str) -> Result<Money, Trouble> {
        let sql = "SELECT balance_minor - floor_minor FROM account WHERE kind = 'card' AND owner = ?1";
        Ok(Money::new(self.number(sql, [account])?))
    }

    pub(super) fn cards_of(&self, member_id: &str) -> Result<Vec<Value>, Trouble> {
        let sql = "SELECT c.card_id, a.kind, a.name, a.card_account_id FROM card AS c
                   JOIN card_account AS a ON a.card_account_id = c.card_account_id
                   JOIN card_relation AS r ON r.card_id = c.card_id
                   WHERE r.member_id = ?1 AND c.state = 'active' ORDER BY c.card_id";
        let cards = self
            .rows(sql, [member_id], |row| Ok::<[String; 4], _>([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
        let view = |[card_id, kind, name, account]: [String; 4]| {
            Ok(json!({
                "card_id": card_id, "kind": kind, "name": name,
                "balance_minor": self.balance(Account::Card(&account))?.get(),
                "available_minor": self.available(&account)?.get(),
            }))
        };
        cards.into_iter().map(view).collect()
    }
}
