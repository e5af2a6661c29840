//! `~SEQ(…)` and `~LST(…)`: a line that is repeated, each time with other values of variables.

use super::{
    super::source::Place,
    line::{BLANKS, Line},
    variables::Value,
};

/// The values of a name, one for each repetition.
#[derive(Debug)]
pub(super) struct Sequence {
    values: Values,
    /// The line to repeat.
    pub(super) text: Line,
}

#[derive(Debug)]
enum Values {
    Numbers {
        name: String,
        next: Option<i64>,
        step: i64,
        last: i64,
        hexadecimal: bool,
        place: Place,
    },
    Lists {
        names: Vec<String>,
        rows: std::vec::IntoIter<Vec<(String, Place)>>,
    },
}

/// The line begins with one of them.
pub(super) fn begins(text: &str) -> bool {
    text.starts_with("~SEQ") || text.starts_with("~LST")
}

impl Sequence {
    /// The values of the next repetition, if there is one.
    pub(super) fn next(&mut self) -> Option<Vec<(String, Value)>> {
        match &mut self.values {
            Values::Numbers { name, next, step, last, hexadecimal, place } => {
                let number = (*next)?;
                let further = number.checked_add(*step);
                *next = further.filter(|next| if *step > 0 { next <= last } else { next >= last });
                let text = if *hexadecimal { format!("{number:x}") } else { number.to_string() };
                Some(vec![(name.clone(), Value::Text(text, *place))])
            }
            Values::Lists { names, rows } => {
                let row = rows.next()?.into_iter().map(|(text, place)| Value::Text(text, place));
                Some(names.iter().cloned().zip(row).collect())
            }
        }
    }

    /// Reads a line; the numbers of `~SEQ` are without variables already. The error says what is wrong.
    pub(super) fn read(line: &Line) -> Result<Self, &'static str> {
        let mut cursor = Cursor { text: line.text(), at: 4 };
        let hexadecimal = line.text().starts_with("~SEQ") && cursor.takes('x');
        cursor.blanks();
        if !cursor.takes('(') {
            return Err("`(` must follow");
        }
        let values = if line.text().starts_with("~SEQ") {
            cursor.numbers(hexadecimal, line)?
        } else {
            cursor.lists(line)?
        };
        cursor.blanks();
        Ok(Self { values, text: line.slice(cursor.at, line.len()) })
    }
}

/// Where the numbers of a `~SEQ` are, which variables may stand for.
pub(super) fn numbers(text: &str) -> Option<(usize, usize)> {
    let comma = text.strip_prefix("~SEQ").map(|_| text.find(','))??;
    let close = text.get(comma..)?.find(')')?;
    Some((comma + 1, comma + close))
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(BLANKS).len();
    }

    fn takes(&mut self, c: char) -> bool {
        let takes = self.rest().starts_with(c);
        self.at += if takes { c.len_utf8() } else { 0 };
        takes
    }

    /// Up to a blank or one of these, and the blanks behind it.
    fn word(&mut self, ends: &[char]) -> (&'t str, usize) {
        self.blanks();
        let (start, rest) = (self.at, self.rest());
        let length = rest.find(|c| BLANKS.contains(&c) || ends.contains(&c)).unwrap_or(rest.len());
        self.at += length;
        self.blanks();
        (rest.get(..length).unwrap_or_default(), start)
    }

    fn numbers(&mut self, hexadecimal: bool, line: &Line) -> Result<Values, &'static str> {
        let (name, _) = self.word(&[',', ')']);
        if !is_name(name) {
            return Err("a variable's name must come first");
        }
        let mut numbers = Vec::new();
        while self.takes(',') {
            let (word, _) = self.word(&[',', ')']);
            numbers.push(number(word).ok_or("whole numbers must follow, decimal or with `0x`")?);
        }
        if !self.takes(')') {
            return Err("its `)` is missing");
        }
        let sign = |down: bool| if down { -1 } else { 1 };
        let (first, step, last) = match *numbers {
            [last] => (sign(last < 0), sign(last < 1), last),
            [first, last] => (first, sign(first > last), last),
            [first, step, last] => (first, step, last),
            _ => return Err("one to three numbers must follow: FIRST, STEP and LAST"),
        };
        if step == 0 || (first < last && step < 0) || (first > last && step > 0) {
            return Err("it does not get from the first number to the last in such steps");
        }
        if hexadecimal && (first < 0 || last < 0) {
            return Err("`~SEQx` is for numbers that are not negative");
        }
        let place = line.place(0, self.at);
        let name = name.to_owned();
        Ok(Values::Numbers { name, next: Some(first), step, last, hexadecimal, place })
    }

    fn lists(&mut self, line: &Line) -> Result<Values, &'static str> {
        let names = self.row(line)?;
        let names: Vec<String> = names.into_iter().map(|(name, _)| name).collect();
        if !names.iter().all(|name| is_name(name)) {
            return Err("a variable's name must come first, or names in braces");
        }
        let mut rows = Vec::new();
        while self.takes(',') {
            let at = self.at;
            let mut row = self.row(line)?;
            if row.len() > names.len() {
                return Err("there are more values than names");
            }
            // What is missing is empty.
            row.resize_with(names.len(), || (String::new(), line.place(at, self.at)));
            rows.push(row);
        }
        if !self.takes(')') {
            return Err("a `,` or the `)` is missing");
        }
        if rows.is_empty() {
            return Err("values must follow the name");
        }
        Ok(Values::Lists { names, rows: rows.into_iter() })
    }

    /// A word, or some in braces.
    fn row(&mut self, line: &Line) -> Result<Vec<(String, Place)>, &'static str> {
        self.blanks();
        let mut words = Vec::new();
        let braces = self.takes('{');
        loop {
            let (word, start) = self.word(&[',', ')', '}']);
            words.push((word.to_owned(), line.place(start, start + word.len())));
            if !braces {
                break;
            }
            if self.takes('}') {
                self.blanks();
                break;
            }
            if !self.takes(',') {
                return Err("a `,` or `}` is missing between the braces");
            }
        }
        Ok(words)
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// As C's `strtol` with base 0.
fn number(word: &str) -> Option<i64> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (&*lower, 10),
    };
    let plain = digits.starts_with(|c: char| c.is_ascii_alphanumeric());
    let number = plain.then(|| i64::from_str_radix(digits, radix).ok()).flatten()?;
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::super::super::source::Source;
    use super::*;

    /// `NAME=VALUE` of each repetition, and the line behind.
    fn read(text: &str) -> Result<(Vec<String>, String), &'static str> {
        let line = Line::of_file(&Source::new("f", text), Place::new(0, text.len()), None);
        let mut sequence = Sequence::read(&line)?;
        let mut all = Vec::new();
        while let Some(values) = sequence.next() {
            let one = values.iter().map(|(name, value)| match value {
                Value::Text(text, _) => format!("{name}={text}"),
                other => panic!("{other:?}"),
            });
            all.push(one.collect::<Vec<_>>().join(" "));
        }
        Ok((all, sequence.text.text().to_owned()))
    }

    /// All of these are what keepalived 2.2.7 made of them.
    #[test]
    fn numbers_as_keepalived_counts_them() {
        for (text, numbers) in [
            ("~SEQ(i,1,3) x", "1 2 3"),
            ("~SEQ ( i , 1 , 2 ) x", "1 2"),
            ("~SEQ(i,5,1) x", "5 4 3 2 1"),
            ("~SEQ(i,5,2,9) x", "5 7 9"),
            ("~SEQ(i,5,-2,1) x", "5 3 1"),
            ("~SEQ(i,2) x", "1 2"),
            ("~SEQ(i,-2) x", "-1 -2"),
            ("~SEQ(i,0) x", "1 0"),
            ("~SEQ(i,1,3,2) x", "1"),
            ("~SEQ(i,0x0b,010) x", "11 10 9 8"),
            ("~SEQx(i,0x0e,0x11) x", "e f 10 11"),
            (
                "~SEQ(i,9223372036854775806,9223372036854775807)x",
                "9223372036854775806 9223372036854775807",
            ),
        ] {
            let expected = numbers.split(' ').map(|number| format!("i={number}")).collect();
            assert_eq!(read(text), Ok((expected, "x".to_owned())), "{text}");
        }
    }

    #[test]
    fn lists_as_keepalived_reads_them() {
        for (text, rows) in [
            ("~LST(i,a,,d) x", &["i=a", "i=", "i=d"][..]),
            ("~LST(i, a , d )x", &["i=a", "i=d"]),
            ("~LST({i, j}, {a,b},{c},{,d}) x", &["i=a j=b", "i=c j=", "i= j=d"]),
            ("~LST({i,j},a,{c,d}) x", &["i=a j=", "i=c j=d"]),
            ("~LST({i},a,b) x", &["i=a", "i=b"]),
        ] {
            let rows = rows.iter().map(ToString::to_string).collect();
            assert_eq!(read(text), Ok((rows, "x".to_owned())), "{text}");
        }
    }

    #[test]
    fn what_keepalived_refuses_is_refused() {
        for text in [
            "~SEQ",
            "~SEQy(i,1,3)",
            "~SEQ(i)",
            "~SEQ(i,",
            "~SEQ(i,1",
            "~SEQ(1,3)",
            "~SEQ({i},1,3)",
            "~SEQ(i,1,0,3)",
            "~SEQ(i,1,-1,3)",
            "~SEQ(i,3,1,1)",
            "~SEQx(i,-1,3)",
            "~SEQ(i,a)",
            "~SEQ(i,)",
            "~SEQ(i,1,2,3,4)",
            "~SEQ(i,0x)",
            "~SEQ(i,--1)",
            "~LST",
            "~LST(i)",
            "~LST(i,a b)",
            "~LST(i,a",
            "~LST({i,j},{a,b,c})",
            "~LST(i,{a,b})",
            "~LST({i,a)",
            "~LST(,a)",
            "~LST(é,a)",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn where_variables_may_stand_for_numbers() {
        assert_eq!(numbers("~SEQ(i, $A,${B}) $C"), Some((7, 15)));
        assert_eq!(numbers("~LST(i, $A)"), None);
        assert_eq!(numbers("~SEQ(i)"), None);
    }
}
