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
pub(super) fn erase_customer_day(
    connection: &Connection,
    path: &Path,
    customer: &CustomerToken,
) -> Result<usize, StoreFault> {
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
    let token =
        |text: String| CustomerToken::new(text).map_err(|why| StoreFault::Damaged { what: WHAT, why: why.to_string() });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FILE_NAME;
    use forecourt::ids::{Grade, StationId};
    use forecourt::ledger::Write;
    use forecourt::list::{List, ListRule};
    use forecourt::time::UtcTime;
    use forecourt::units::Volume;
    use uuid::Uuid;

    const DAY: i64 = 20_000;

    fn open(directory: &Path) -> Store {
        let station = StationId::new("st-1").expect("an id");
        Store::open(&directory.join(FILE_NAME), station, Uuid::from_u128(7)).expect("opens")
    }

    fn token(text: &str) -> CustomerToken {
        CustomerToken::new(text).expect("a token")
    }

    fn day(customer: &str, day: i64, sold: i64) -> CustomerDay {
        CustomerDay { customer: token(customer), day: BusinessDay::new(day), sold: Money::new(sold) }
    }

    fn update(version: u64, kind: ListKind, put: &[Subject], remove: &[Subject]) -> Write {
        let rule = ListRule {
            grades: [Grade::new("92").expect("a grade")].into(),
            max_volume: Some(Volume::new(60_000)),
            day_amount: None,
        };
        Write::List(Box::new(ListUpdate {
            list: ListName::Allow,
            version: ListVersion(version),
            kind,
            put: put.iter().map(|subject| (subject.clone(), rule.clone())).collect(),
            remove: remove.iter().cloned().collect(),
        }))
    }

    #[test]
    fn a_customers_day_is_one_row_and_goes_two_days_later() {
        let home = tempfile::tempdir().expect("a directory");
        let mut store = open(home.path());
        let rows = [day("a", DAY - 1, 5), day("a", DAY, 7), day("b", DAY - 2, 9)];
        let writes = rows.map(Write::CustomerDay);
        store.apply(&[&writes]).expect("stores");
        assert_eq!(store.memory().expect("reads").customer_days, [day("a", DAY, 7), day("b", DAY - 2, 9)]);
        store.prune(UtcTime::from_unix_ms(DAY * 86_400_000)).expect("prunes");
        assert_eq!(store.memory().expect("reads").customer_days, [day("a", DAY, 7)]);
    }

    #[test]
    fn a_list_is_kept_as_its_updates_left_it() {
        let home = tempfile::tempdir().expect("a directory");
        let (a, b) = (Subject::Customer(token("a")), Subject::Plate("粤B·***88".into()));
        let diff = ListKind::Diff(ListVersion(2));
        let writes = [
            update(1, ListKind::Full, &[Subject::Customer(token("x"))], &[]),
            update(2, ListKind::Full, core::slice::from_ref(&a), &[]),
            update(3, diff, core::slice::from_ref(&b), &[a]),
        ];
        open(home.path()).apply(&[&writes]).expect("stores");
        let memory = open(home.path()).memory().expect("reads");
        let List { version, entries } = &memory.lists[&ListName::Allow];
        assert_eq!((version.0, entries.keys().collect::<Vec<_>>()), (3, vec![&b]));
        assert_eq!(entries[&b].max_volume, Some(Volume::new(60_000)));
    }

    #[test]
    fn a_customer_is_erased_from_days_and_lists_and_nobody_else_is() {
        let home = tempfile::tempdir().expect("a directory");
        let mut store = open(home.path());
        let listed = update(1, ListKind::Full, &[Subject::Customer(token("a")), Subject::Customer(token("b"))], &[]);
        let writes = [Write::CustomerDay(day("a", DAY, 5)), Write::CustomerDay(day("b", DAY, 6)), listed];
        store.apply(&[&writes]).expect("stores");
        assert_eq!(store.erase_customer_day(&token("a")), Ok(2));
        let memory = store.memory().expect("reads");
        assert_eq!(memory.customer_days, [day("b", DAY, 6)]);
        assert_eq!(memory.lists[&ListName::Allow].entries.len(), 1);
        assert_eq!(store.erase_customer_day(&token("a")), Ok(0));
    }
}
