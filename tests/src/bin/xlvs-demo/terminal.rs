//! What the demo prints. A reader that goes away, such as `head`, does not stop the demo, which
//! still has to take down what it has set up.

use std::io::Write as _;

/// One line on standard output.
pub(crate) fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// One line on standard error.
pub(crate) fn complain(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// The heading of a part.
pub(crate) fn heading(line: &str) {
    say(&format!("\n== {line}"));
}

/// A command line that a reader can repeat.
pub(crate) fn prompt(line: &str) {
    say(&format!("$ {line}"));
}

/// Rows under headings, all columns as wide as they need to be; the first column is text and stands
/// left, the others right.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) {
    let head = headings.map(str::to_owned);
    let lines = || std::iter::once(&head).chain(rows);
    for line in lines() {
        let mut text = String::from(" ");
        for (column, cell) in line.iter().enumerate() {
            let of_column = lines().filter_map(|line| line.get(column));
            let width = of_column.map(|cell| cell.chars().count()).max().unwrap_or_default();
            text += &" ".repeat(if column == 0 { 1 } else { 2 });
            let padding = " ".repeat(width - cell.chars().count());
            let (left, right) = if column == 0 { (cell, &padding) } else { (&padding, cell) };
            text.push_str(left);
            text.push_str(right);
        }
        say(text.trim_end());
    }
}
