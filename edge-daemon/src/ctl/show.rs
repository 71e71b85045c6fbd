//! Tables and JSON values as text for people.

use serde_json::Value;
use std::io::Write;

/// Prints rows below headings, columns as wide as their widest cell.
pub(super) fn table(out: &mut dyn Write, headings: &[&str], rows: &[Vec<String>], bold: bool) -> std::io::Result<()> {
    let mut widths: Vec<usize> = headings.iter().map(|text| text.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let heading = line(&mut headings.iter().copied());
    if bold {
        writeln!(out, "\x1b[1m{heading}\x1b[0m")?;
    } else {
        writeln!(out, "{heading}")?;
    }
    for row in rows {
        writeln!(out, "{}", line(&mut row.iter().map(String::as_str)))?;
    }
    Ok(())
}

/// A value in one line.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        // Text from outside must not move the cursor of a terminal.
        Value::String(text) => text.chars().map(|c| if c.is_control() { '·' } else { c }).collect(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let parts: Vec<String> = members.iter().map(|(key, value)| format!("{key} {}", cell(value))).collect();
            parts.join(", ")
        }
        other => other.to_string(),
    }
}
