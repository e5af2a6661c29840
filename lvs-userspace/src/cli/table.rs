//! Tables for people: columns as wide as what is in them, numbers to the right.

use std::io::{self, Write};

/// A table while it is filled.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Which columns hold numbers.
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With this heading. A column whose name begins with `>` holds numbers.
    pub(super) fn new(heading: &[&str]) -> Self {
        let right = heading.iter().map(|name| name.starts_with('>')).collect();
        let names = heading.iter().map(|name| name.trim_start_matches('>').to_owned()).collect();
        Self { right, rows: vec![names] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn print(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
                if *right {
                    line.extend([blanks.as_str(), cell.as_str()]);
                } else {
                    line.extend([cell.as_str(), blanks.as_str()]);
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Table::new(&["SERVER", ">WEIGHT"]);
        table.row(["a".to_owned(), "10".to_owned()]);
        table.row(["longer name".to_owned(), "5".to_owned()]);
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let expected = "SERVER       WEIGHT\na                10\nlonger name       5\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
