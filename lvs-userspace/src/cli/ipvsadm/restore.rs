//! The lines of `-R`, as ipvsadm cuts them into words: a word `ipvsadm` is passed over, and after one that holds a `#` is
//! no more of the line.

use std::io::{self, BufRead};

/// The words of each line.
pub(super) fn lines(input: impl BufRead) -> impl Iterator<Item = io::Result<Vec<String>>> {
    input.lines().map(|line| line.map(|line| words(&line)))
}

fn words(line: &str) -> Vec<String> {
    let words = line.split([' ', '\t', '\r']).filter(|word| !word.is_empty() && *word != "ipvsadm");
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_blanks() {
        let text = "-A -t 10.0.0.1:80\n\n  ipvsadm -C  \r\n-Z";
        let lines: Vec<_> = lines(text.as_bytes()).map(Result::unwrap).collect();
        let expected: [&[&str]; 4] = [&["-A", "-t", "10.0.0.1:80"], &[], &["-C"], &["-Z"]];
        assert_eq!(lines, expected);
    }
}
