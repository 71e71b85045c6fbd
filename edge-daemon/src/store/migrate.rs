//! Brings a database to the schema of this program: numbered steps, each in a transaction of its own with its `user_version`.

use crate::store::fault::StoreFault;
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;

/// All steps; the version of a database is the number of steps it has seen. A step that was released never changes.
pub(super) const STEPS: &[&str] = &[
    include_str!("migrations/001.sql"),
    include_str!("migrations/002.sql"),
    include_str!("migrations/003.sql"),
    include_str!("migrations/004.sql"),
];

const WHAT: &str = "bring the schema up to date";

/// Takes the steps that are still to be taken.
///
/// # Errors
/// [`StoreFault::TooNew`] for a database from the future; else what the failing step met: that step is rolled back, those before
/// it stand.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str], path: &Path) -> Result<(), StoreFault> {
    let fault = |error: rusqlite::Error| StoreFault::from_sqlite(WHAT, path, &error);
    let found = version(connection).map_err(fault)?;
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let done = match usize::try_from(found) {
        Ok(done) if done <= steps.len() => done,
        _ => return Err(StoreFault::TooNew { path: path.into(), found, known }),
    };
    for (version, step) in (1_i64..).zip(steps).skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        transaction.execute_batch(step).map_err(fault)?;
        transaction.pragma_update(None, "user_version", version).map_err(fault)?;
        transaction.commit().map_err(fault)?;
    }
    Ok(())
}

/// How many steps a database has seen.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(connection: &Connection) -> Vec<String> {
        let mut names =
            connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").expect("prepares");
        let names = names.query_map([], |row| row.get(0)).expect("runs");
        names.map(|name| name.expect("a name")).collect()
    }

    #[test]
    fn every_earlier_version_comes_up_to_the_present_one() {
        let mut fresh = Connection::open_in_memory().expect("opens");
        migrate(&mut fresh, STEPS, Path::new("m")).expect("migrates");
        for seen in 0..=STEPS.len() {
            let mut old = Connection::open_in_memory().expect("opens");
            migrate(&mut old, &STEPS[..seen], Path::new("m")).expect("migrates");
            migrate(&mut old, STEPS, Path::new("m")).expect("goes on");
            assert_eq!(tables(&old), tables(&fresh), "from version {seen}");
            assert_eq!(version(&old), Ok(i64::try_from(STEPS.len()).expect("few")));
        }
    }

    #[test]
    fn a_failing_step_is_rolled_back_and_those_before_it_stand() {
        let mut connection = Connection::open_in_memory().expect("opens");
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1)"];
        let fault = migrate(&mut connection, &steps, Path::new("m")).expect_err("the second step fails");
        assert!(fault.to_string().contains("nowhere"), "{fault}");
        assert_eq!(tables(&connection), ["a"]);
        assert_eq!(version(&connection), Ok(1));
    }

    #[test]
    fn a_database_from_the_future_is_refused() {
        let mut connection = Connection::open_in_memory().expect("opens");
        connection.pragma_update(None, "user_version", 99).expect("sets");
        let fault = migrate(&mut connection, STEPS, Path::new("m")).expect_err("too new");
        assert!(matches!(fault, StoreFault::TooNew { found: 99, .. }), "{fault}");
        assert!(fault.to_string().contains("schema version 99"), "{fault}");
    }
}
