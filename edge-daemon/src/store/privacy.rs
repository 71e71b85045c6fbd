//! Forgetting a customer: every row that names them, and what SQLite still keeps of it.

use crate::store::Store;
use crate::store::fault::StoreFault;
use forecourt::ids::CustomerToken;
use forecourt::order::Order;
use rusqlite::{Connection, Transaction, params};

const WHAT: &str = "forget a customer";

/// Every table with data of customers, and what takes one of them out of it. Gives how many rows named them.
///
/// The bodies of orders are JSON, and a list is of customers or of plates; all other tables name the customer in a column `customer`.
pub(super) fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('orders', 'customer_day', 'list_entry') ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// Takes a customer out of one of these tables.
fn take_out(transaction: &Transaction<'_>, table: &str, customer: &CustomerToken) -> rusqlite::Result<usize> {
    match table {
        "orders" => from_orders(transaction, customer),
        "list_entry" => {
            let sql = "DELETE FROM list_entry WHERE kind = 'customer' AND subject = ?1";
            transaction.execute(sql, [customer.as_str()])
        }
        table => transaction.execute(&format!("DELETE FROM {table} WHERE customer = ?1"), [customer.as_str()]),
    }
}

fn from_orders(transaction: &Transaction<'_>, customer: &CustomerToken) -> rusqlite::Result<usize> {
    let mut found = Vec::new();
    {
        // The token has no characters that JSON would write otherwise.
        let mut statement =
            transaction.prepare("SELECT order_id, body FROM orders WHERE body LIKE '%' || ?1 || '%'")?;
        let mut rows = statement.query([customer.as_str()])?;
        while let Some(row) = rows.next()? {
            let (id, body): (String, String) = (row.get(0)?, row.get(1)?);
            let Ok(mut order) = serde_json::from_str::<Order>(&body) else { continue };
            if order.request.forget_customer(customer)
                && let Ok(body) = serde_json::to_string(&order)
            {
                found.push((id, body));
            }
        }
    }
    for (id, body) in &found {
        transaction.execute("UPDATE orders SET body = ?2 WHERE order_id = ?1", params![id, body])?;
    }
    Ok(found.len())
}

impl Store {
    /// Takes a customer out of every row that names them, and what named them out of the file and its log. The sales stay: they name
    /// nobody. Gives how many rows there were.
    ///
    /// # Errors
    /// [`StoreFault`]; where rows could not be changed, none is.
    pub fn erase_customer(&mut self, customer: &CustomerToken) -> Result<u64, StoreFault> {
        let rows = self.change(WHAT, |transaction, _| {
            let mut rows = 0;
            for table in tables(transaction)? {
                rows += take_out(transaction, &table, customer)?;
            }
            Ok(rows)
        })?;
        // Overwritten pages go into the log first; the old ones leave the file, and then the log, with a checkpoint.
        self.empty_log().map_err(|error| StoreFault::from_sqlite(WHAT, &self.path, &error))?;
        Ok(u64::try_from(rows).unwrap_or(u64::MAX))
    }
}
