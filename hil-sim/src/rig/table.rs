//! Figures in columns, for terminals and READMEs.

use std::fmt;

/// A table with a heading; prints as Markdown that is also readable as it stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    #[must_use]
    pub fn new<const N: usize>(heading: [&str; N]) -> Self {
        Self { heading: heading.map(str::to_owned).into(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the columns are dropped, missing ones stay empty.
    pub fn row<I: IntoIterator<Item = S>, S: Into<String>>(&mut self, cells: I) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.heading.len(), String::new());
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = |column: usize| {
            let cells = self.rows.iter().chain([&self.heading]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.heading.len()).map(longest).collect();
        let line = |f: &mut fmt::Formatter<'_>, row: &[String]| {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")
        };
        line(f, &self.heading)?;
        for width in &widths {
            write!(f, "|{}", "-".repeat(width + 2))?;
        }
        writeln!(f, "|")?;
        self.rows.iter().try_for_each(|row| line(f, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(["a", "long"]);
        table.row(["wide", "1"]);
        table.row(["x"]);
        assert_eq!(table.to_string(), "| a    | long |\n|------|------|\n| wide | 1    |\n| x    |      |\n");
    }
}
