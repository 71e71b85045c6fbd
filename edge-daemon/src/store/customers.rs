//! Rows that name customers: what they were sold on their last day, and the lists of the platform.

use crate::store::Store;
use crate::store::fault::StoreFault;
use crate::store::reader::{all, parse};
use crate::store::writes::{Pen, integer, json};
use forecourt::customer::{BusinessDay, CustomerDay};
use forecourt::ids::CustomerToken;
use forecourt::ledger::Memory;
use forecourt::list::{ListKind, ListName, ListUpdate, ListVersion, Subject};
use forecourt::units::Money;
use rusqlite::{Connection, params};
use std::path::Path;

const WHAT: &str = "read the customers";
const DAY: &str = "INSERT INTO customer_day (customer, day, sold_minor) VALUES (?1, ?2, ?3)
    ON CONFLICT (customer) DO UPDATE SET day = ?2, sold_minor = ?3";
const DAYS: &str = "SELECT customer, day, sold_minor FROM customer_day";
/// Takes away days that are over everywhere on earth.
pub(super) const OLD_DAYS: &str = "DELETE FROM customer_day WHERE day < ?1";
const VERSION: &str = "INSERT INTO list (list, version) VALUES (?1, ?2) ON CONFLICT (list) DO UPDATE SET version = ?2";
const EMPTY: &str = "DELETE FROM list_entry WHERE list = ?1";
const PUT: &str = "INSERT INTO list_entry (list, kind, subject, rule) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (list, kind, subject) DO UPDATE SET rule = ?4";
const REMOVE: &str = "DELETE FROM list_entry WHERE list = ?1 AND kind = ?2 AND subject = ?3";
const LISTS: &str = "SELECT list, version FROM list";
const ENTRIES: &str = "SELECT list, kind, subject, rule FROM list_entry";
const ERASE_DAY: &str = "DELETE FROM customer_day WHERE customer = ?1";
const ERASE_ENTRIES: &str = "DELETE FROM list_entry WHERE kind = 'customer' AND subject = ?1";

impl Pen<'_> {
    pub(super) fn customer_day(&self, row: &CustomerDay) -> Result<(), StoreFault> {
        self.run(DAY, params![row.customer.as_str(), row.day.number(), row.sold.get()])
    }

    pub(super) fn list(&self, update: &ListUpdate) -> Result<(), StoreFault> {
        let list = update.list.word();
        if update.kind == ListKind::Full {
            self.run(EMPTY, [list])?;
        }
        for subject in &update.remove {
            let (kind, name) = words(subject);
            self.run(REMOVE, [list, kind, name])?;
        }
        for (subject, rule) in &update.put {
            let (kind, name) = words(subject);
            self.run(PUT, params![list, kind, name, json(rule)?])?;
        }
        self.run(VERSION, params![list, integer(update.version.0)?])
    }
}

impl Store {
    /// Takes away what names a customer in the days and the lists. Returns how many rows went; the core is told separately, by
    /// [`forecourt::site::Site::forget_customer`].
    ///
    /// # Errors
    /// [`StoreFault`]; then nothing may have gone.
    pub fn erase_customer_day(&mut self, customer: &CustomerToken) -> Result<usize, StoreFault> {
        erase_customer_day(&self.connection, &self.path, customer)
    }
}

/// Takes away what names a customer here: the day and the entries of lists. Returns how many rows went.
pub(super) fn erase_customer_day(connection: &Connection, path: &Path, customer: &CustomerToken) -> Result<usize, StoreFault> {
    let erase = |sql: &str| connection.prepare_cached(sql)?.execute([customer.as_str()]);
    let rows = erase(ERASE_DAY).and_then(|days| Ok(days + erase(ERASE_ENTRIES)?));
    rows.map_err(|error| StoreFault::from_sqlite("erase a customer", path, &error))
}

fn words(subject: &Subject) -> (&'static str, &str) {
    match subject {
        Subject::Customer(token) => ("customer", token.as_str()),
        Subject::Plate(plate) => ("plate", plate.as_str()),
    }
}

pub(super) fn recall(connection: &Connection, path: &Path, memory: &mut Memory) -> Result<(), StoreFault> {
    let token = |text: String| {
        CustomerToken::new(text).map_err(|why| StoreFault::Damaged { what: WHAT, why: why.to_string() })
    };
    let days = all(connection, path, WHAT, DAYS, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    for (customer, day, sold) in days {
        let (day, sold) = (BusinessDay::new(day), Money::new(sold));
        memory.customer_days.push(CustomerDay { customer: token(customer)?, day, sold });
    }
    let named = |word: String| {
        let name = ListName::ALL.into_iter().find(|name| name.word() == word);
        name.ok_or_else(|| StoreFault::Damaged { what: WHAT, why: format!("no list is called {word}") })
    };
    let lists = all(connection, path, WHAT, LISTS, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (list, version) in lists {
        memory.lists.entry(named(list)?).or_default().version = ListVersion(version);
    }
    let entries =
        all(connection, path, WHAT, ENTRIES, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    for (list, kind, subject, rule) in entries {
        let (kind, subject, rule): (String, String, String) = (kind, subject, rule);
        let subject = if kind == "plate" { Subject::Plate(subject) } else { Subject::Customer(token(subject)?) };
        memory.lists.entry(named(list)?).or_default().entries.insert(subject, parse(WHAT, &rule)?);
    }
    Ok(())
}
