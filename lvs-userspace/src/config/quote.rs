//! Words written so that the parser reads the same words again.

/// One word of a plain keyword: in quotes if it has to be. There are no escapes there, and no way to write a `"`, which
/// such a word cannot have either.
pub(super) fn plain(word: &str) -> String {
    // A `$NAME` without quotes would be taken for a variable. A `\` at the end of a line would be drawn to the word before.
    let bare = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '#' | '!' | '{' | '}' | '$');
    let is_bare = !word.is_empty() && !word.starts_with('\\') && word.chars().all(bare);
    if is_bare { word.to_owned() } else { first(word) }
}

/// The same at the beginning of a line, where the preprocessor looks for more: always in quotes.
pub(super) fn first(word: &str) -> String {
    format!("\"{word}\"")
}

/// A word behind a program, where escapes are read: in quotes if it has to be.
pub(super) fn behind_program(word: &str) -> String {
    if is_bare_argument(word) { word.to_owned() } else { escaped(word) }
}

/// One word where escapes are read, such as a regular expression: always in quotes.
pub(super) fn escaped(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            // Not `\"`: the line is cut into words before escapes are read.
            '"' => text.push_str("\\042"),
            // Not to be taken for a variable's name.
            '$' => text.push_str("\\044"),
            c if c.is_ascii_control() => octal(c, &mut text),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// A program and its arguments, in the two layers of quotes that keepalived takes off.
pub(super) fn command(words: &[String]) -> String {
    let inner: Vec<String> = words.iter().map(|word| argument(word)).collect();
    escaped(&inner.join(" "))
}

fn argument(word: &str) -> String {
    if is_bare_argument(word) {
        return word.to_owned();
    }
    let mut text = String::from("'");
    for c in word.chars() {
        match c {
            '\\' | '\'' => text.extend(['\\', c]),
            c if c.is_ascii_control() => octal(c, &mut text),
            c => text.push(c),
        }
    }
    text.push('\'');
    text
}

fn is_bare_argument(word: &str) -> bool {
    let bare = |c: char| c.is_alphanumeric() || "/._-=:,@%+".contains(c);
    !word.is_empty() && word.chars().all(bare)
}

/// Three digits, so that none behind it is taken for another one.
fn octal(c: char, text: &mut String) {
    text.push('\\');
    text.extend([6, 3, 0].map(|shift| char::from(b'0' + (c as u8 >> shift & 7))));
}
