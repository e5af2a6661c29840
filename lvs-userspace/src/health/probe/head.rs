//! The head of an HTTP answer: its status, and how long the page is. As little of it is looked at as in keepalived's `html.c`:
//! a server whose header has something in it that is not well-formed is as good as another.

use super::Fault;

/// It may be this long, in bytes.
const LONGEST: usize = 64 << 10;
/// So much of an answer that is none is shown.
const SHOWN: usize = 40;

/// What has come of it.
#[derive(Debug, Default)]
pub(super) struct Head(Vec<u8>);

/// A head that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start<'h> {
    pub(super) status: u16,
    /// How many bytes the page has, if it is said.
    pub(super) length: Option<u64>,
    /// What has come of the page with it.
    pub(super) page: &'h [u8],
}

impl Head {
    /// Whether nothing has come yet.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the next bytes of an answer; gives what they say once they are enough.
    pub(super) fn take(&mut self, part: &[u8]) -> Result<Option<Start<'_>>, Fault> {
        // What was looked at has no blank line, but may have the first two bytes of one at its end.
        let seen = self.0.len().saturating_sub(2);
        self.0.extend_from_slice(part);
        let head = self.0.as_slice();
        let mut lines = head.split_inclusive(|byte| *byte == b'\n');
        let line = lines.next().unwrap_or_default();
        if !line.ends_with(b"\n") {
            return self.more();
        }
        let Some(status) = status(line) else {
            let line = line.trim_ascii_end();
            let line = String::from_utf8_lossy(line.get(..SHOWN).unwrap_or(line));
            return Err(Fault::failed(format!("not HTTP: the answer starts with {line:?}")));
        };
        let Some(end) = end(head, seen) else { return self.more() };
        let page = head.get(end..).unwrap_or_default();
        Ok(Some(Start { status, length: length(head.get(..end).unwrap_or_default()), page }))
    }

    fn more(&self) -> Result<Option<Start<'_>>, Fault> {
        if self.0.len() > LONGEST {
            return Err(Fault::failed(format!("a header of more than {LONGEST} bytes")));
        }
        Ok(None)
    }
}

/// Where the page starts: after the first blank line. Everything up to `from` was looked at.
fn end(head: &[u8], from: usize) -> Option<usize> {
    let breaks = head.iter().enumerate().skip(from).filter(|(_, byte)| **byte == b'\n');
    breaks.map(|(place, _)| place + 1).find_map(|next| match head.get(next..)? {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    })
}

/// The number of three digits after the first blank of the first line, whatever is before and behind.
fn status(line: &[u8]) -> Option<u16> {
    let blank = line.iter().position(|byte| *byte == b' ')?;
    let (digits, rest) = line.get(blank + 1..)?.split_at_checked(3)?;
    if rest.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let one = |digit: &u8| digit.is_ascii_digit().then(|| u16::from(digit - b'0'));
    digits.iter().map(one).try_fold(0, |number, digit| Some(10 * number + digit?))
}

/// What the first `Content-Length` says, if that is a number.
fn length(head: &[u8]) -> Option<u64> {
    let fields = head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line.split_at_checked(colon)
    });
    let mut lengths = fields
        .filter(|(name, _)| name.trim_ascii_end().eq_ignore_ascii_case(b"content-length"))
        .map(|(_, value)| value.get(1..).unwrap_or_default().trim_ascii());
    std::str::from_utf8(lengths.next()?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> Option<(u16, Option<u64>, String)> {
        let mut head = Head::default();
        let start = head.take(answer.as_bytes()).unwrap()?;
        Some((start.status, start.length, String::from_utf8_lossy(start.page).into_owned()))
    }

    #[test]
    fn a_header_need_not_be_well_formed() {
        let many = "a: b\r\n".repeat(2000);
        for field in [
            "bad name: 1",
            "a: b\r\n folded: c",
            "no colon",
            "a: \0b",
            ": no name",
            "\u{e9}: \u{1b}",
            many.trim_end(),
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 2\r\n\r\nhi");
            assert_eq!(read(&answer), Some((200, Some(2), "hi".to_owned())), "{field:?}");
        }
        for line in ["HTTP/2.0 200 OK", "ICY 200 OK", "HTTP/1.1 200 \u{1b}[1m", "HTTP/1.1 200"] {
            let answer = format!("{line}\r\nContent-Length : 2\n\nhi");
            assert_eq!(read(&answer), Some((200, Some(2), "hi".to_owned())), "{line:?}");
        }
    }

    #[test]
    fn a_length_that_is_no_number_is_none() {
        for field in ["-5", "five", "5 6", "", "99999999999999999999"] {
            let answer = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {field}\r\n\r\n");
            assert_eq!(read(&answer), Some((404, None, String::new())), "{field:?}");
        }
        // Of another field, or of the page.
        let answer =
            "A 200 OK\r\nX-Content-Length: 5\r\n Content-Length: 6\r\n\r\nContent-Length: 7";
        assert_eq!(read(answer), Some((200, None, "Content-Length: 7".to_owned())));
    }

    #[test]
    fn what_has_no_status_is_not_http() {
        for (answer, shown) in [
            ("SSH-2.0-OpenSSH_9.9\r\n", "SSH-2.0-OpenSSH_9.9"),
            ("HTTP/1.1  200 OK\r\n", "HTTP/1.1  200 OK"),
            ("HTTP/1.1 2000 OK\r\n", "HTTP/1.1 2000 OK"),
            ("HTTP/1.1 20\r\n", "HTTP/1.1 20"),
            ("HTTP/1.1 +20 OK\r\n", "HTTP/1.1 +20 OK"),
            ("\r\n\r\n", ""),
            ("\u{1b}[1m\n", "\\u{1b}[1m"),
        ] {
            let Err(Fault::Failed(reason)) = Head::default().take(answer.as_bytes()) else {
                panic!("{answer:?} was understood")
            };
            assert_eq!(reason, format!("not HTTP: the answer starts with \"{shown}\""));
        }
    }

    #[test]
    fn it_may_come_in_pieces_but_not_for_ever() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        for size in 1..answer.len() {
            let mut head = Head::default();
            let mut parts = answer.chunks(size);
            let page = loop {
                let part = parts.next().unwrap();
                if let Some(start) = head.take(part).unwrap() {
                    assert_eq!((start.status, start.length), (200, Some(2)));
                    break start.page.to_vec();
                }
            };
            let rest: Vec<u8> = parts.flatten().copied().collect();
            assert_eq!([page, rest].concat(), b"hi", "{size}");
        }
        for start in [&b""[..], b"HTTP/1.1 200 OK\r\n"] {
            let mut head = Head::default();
            assert!(head.take(start).is_ok_and(|start| start.is_none()));
            assert!(
                head.take(&vec![b'a'; LONGEST]).is_ok_and(|more| more.is_none())
                    == start.is_empty()
            );
            assert!(head.take(b"a").is_err());
        }
    }
}
