//! Words with quotes and escapes, as keepalived reads them for programs and regular expressions:
//! `alloc_strvec_quoted_escaped()` in its `lib/parser.c`.

/// Cuts a text into words. `'…'` and `"…"` may stand anywhere in one, a backslash before any character; `\a \b \E \f \n
/// \r \t \v`, `\NNN`, `\xHH` and `\cC` stand for control characters. Nothing if a quote or an escape does not end.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        match (byte, quote) {
            (b'\\', _) => {
                let escaped = escape(&mut rest)?;
                word.get_or_insert_default().push(escaped);
            }
            (_, Some(end)) if byte == end => quote = None,
            (b'"' | b'\'', None) => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (b' ' | b'\t' | b'\r' | b'\n' | b'\x0b' | b'\x0c', None) => all.extend(word.take()),
            _ => word.get_or_insert_default().push(byte),
        }
    }
    all.extend(word);
    // An escape can make bytes that are no text; keepalived would hand them on, we need not.
    let text = all.into_iter().map(String::from_utf8).collect::<Result<_, _>>().ok();
    if quote.is_some() { None } else { text }
}

fn escape(rest: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> Option<u8> {
    let first = rest.next()?;
    let digit = |byte: u8, radix| char::from(byte).to_digit(radix).map(|digit| digit as u8);
    Some(match first {
        b'x' if rest.peek().is_some_and(u8::is_ascii_hexdigit) => {
            let mut value = 0_u8;
            while let Some(next) = rest.peek().and_then(|byte| digit(*byte, 16)) {
                value = (value << 4) | next;
                rest.next();
            }
            value
        }
        b'c' if rest.peek().is_some() => rest.next()? & 0x1f,
        b'0'..=b'7' => {
            let mut value = first - b'0';
            for _ in 0..2 {
                let Some(next) = rest.peek().and_then(|byte| digit(*byte, 8)) else { break };
                value = (value << 3) | next;
                rest.next();
            }
            value
        }
        b'a' => 7,
        b'b' => 8,
        b'E' => 0x1b,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotes_and_escapes_are_keepaliveds() {
        for (text, expected) in [
            ("a b", Some(vec!["a", "b"])),
            (r#""a b"c 'd e'"#, Some(vec!["a bc", "d e"])),
            (r#"'a "b" c'"#, Some(vec![r#"a "b" c"#])),
            (r#""a \"b\" c""#, Some(vec![r#"a "b" c"#])),
            (r"a\ b \x41\101\t", Some(vec!["a b", "AA\t"])),
            (r#""""#, Some(vec![""])),
            ("", Some(vec![])),
            ("'a", None),
            (r"a\", None),
        ] {
            let expected = expected.map(|all| all.into_iter().map(str::to_owned).collect());
            assert_eq!(words(text), expected, "{text}");
        }
    }
}
