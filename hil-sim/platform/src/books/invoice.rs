//! Invoice data from the sale record: one sale, one invoice, and it never changes.

use super::{Act, Trouble};
use crate::refusal::Refusal;
use rusqlite::params;
use serde_json::{Value, json};

/// Longest title of an invoice.
const LONGEST_TITLE: usize = 100;

impl Act<'_> {
    /// The invoice data of a completed order; asked again, the same.
    ///
    /// # Errors
    /// `malformed` without a title or before the sale.
    pub fn invoice(&self, order_id: &str, title: &str, tax_id: Option<&str>) -> Result<Value, Trouble> {
        if title.trim().is_empty() || title.chars().count() > LONGEST_TITLE {
            return Err(Refusal::new("malformed", "a title has 1 to 100 characters").with("at", "/title").into());
        }
        let order = self.order_view(order_id)?;
        let Some(sale_id) = order["end"]["sale_id"].as_str() else {
            return Err(Refusal::new("malformed", "there is no sale to invoice").into());
        };
        let data = &order["end"]["receipt"];
        let sql = "INSERT INTO invoice (sale_id, title, tax_id, data, at_ms) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
        self.run(sql, params![sale_id, title, tax_id, data.to_string(), self.now_ms()])?;
        let found =
            self.row("SELECT invoice_no, title, tax_id, data FROM invoice WHERE sale_id = ?1", [sale_id], |row| {
                let texts: [Option<String>; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
                Ok((row.get::<_, i64>(0)?, texts))
            })?;
        let Some((number, [title, tax_id, data])) = found else { return Ok(Value::Null) };
        let data: Value = serde_json::from_str(&data.unwrap_or_default())?;
        Ok(json!({"invoice_no": number, "title": title, "tax_id": tax_id, "sale": data}))
    }
}
