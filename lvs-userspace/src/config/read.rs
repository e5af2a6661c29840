//! From a path to text: what can go wrong before there is anything to parse.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::Path,
};

use super::{code::Code, diag::Diagnostic, source::Place};

/// All files of a configuration together, and what they expand to. One of the most real servers that fit, each with
/// some checks, takes half of it.
pub(super) const SIZE_LIMIT: usize = 32 * 1024 * 1024;

/// Reads a file. It is never read beyond the limit, so pipes and devices are safe too.
pub(super) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    all(File::open(path)?)
}

/// Reads standard input, in the same way.
pub(super) fn stdin() -> io::Result<Vec<u8>> {
    all(io::stdin().lock())
}

fn all(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(SIZE_LIMIT).unwrap_or(u64::MAX);
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    check_size(bytes.len())?;
    Ok(bytes)
}

/// What is to be said of a file that is no text, once it is known where it lies among the files.
pub(super) type Problem = Box<dyn FnOnce(usize) -> Diagnostic>;

/// The text of a file, with replacement characters where it is not UTF-8; and the problem if it is no text.
pub(super) fn decode(bytes: Vec<u8>) -> (String, Option<Problem>) {
    match String::from_utf8(bytes) {
        Ok(text) => {
            let problem = nul(&text);
            (text, problem)
        }
        Err(error) => {
            let first = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            (text, Some(Box::new(move |start| not_utf8(start + first))))
        }
    }
}

fn not_utf8(first: usize) -> Diagnostic {
    let place = Place::new(first, first + char::REPLACEMENT_CHARACTER.len_utf8());
    Diagnostic::new(Code::NotUtf8, place.span(), "the file is not in UTF-8 from here on")
        .help("save it as UTF-8; for an older file, `iconv -f latin1 -t utf-8 OLD > NEW`")
}

/// What is to be said of a text with a NUL byte.
pub(super) fn nul(text: &str) -> Option<Problem> {
    let at = text.find('\0')?;
    Some(Box::new(move |start| {
        let place = Place::new(start + at, start + at + 1);
        Diagnostic::new(Code::Nul, place.span(), "a NUL byte stands here: this is no text file")
            .help("name the configuration itself; a file in UTF-16 must be saved as UTF-8")
    }))
}

pub(super) fn check_size(bytes: usize) -> io::Result<()> {
    if bytes > SIZE_LIMIT { Err(ErrorKind::FileTooLarge.into()) } else { Ok(()) }
}

/// What the user can do about a file that cannot be read.
pub(super) fn advice(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file; check the path".to_owned(),
        ErrorKind::PermissionDenied => {
            "permission denied; run as root, or make the file and its folders readable".to_owned()
        }
        ErrorKind::IsADirectory => "it is a directory; name the file in it".to_owned(),
        ErrorKind::FileTooLarge => {
            format!("it is larger than {} MiB; name a configuration file", SIZE_LIMIT >> 20)
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, Policy, load};
    use super::*;

    fn failure(path: &Path) -> String {
        match load(path, "", &Policy::default()).unwrap_err() {
            Failure::Invalid(report) => report.render(false),
            io @ Failure::Io { .. } => io.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_read_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        for (path, text) in [
            (folder.path().to_owned(), "is a directory"),
            (folder.path().join("absent"), "no such file"),
            (file("huge", &vec![b'\n'; SIZE_LIMIT + 1]), "larger than 32 MiB"),
            (file("latin1", b"# caf\xe9\n# \xe9"), "error[XLVS001]"),
            (file("utf16", b"\xff\xfev\0i\0"), "error[XLVS001]"),
            (file("nul", b"a\0b"), "error[XLVS002]"),
            ("/dev/zero".into(), "larger than 32 MiB"),
        ] {
            let shown = failure(&path);
            assert!(shown.contains(text), "{}: {shown}", path.display());
        }
    }

    #[test]
    fn an_unreadable_file_names_the_permission() {
        let shown = advice(&ErrorKind::PermissionDenied.into());
        assert!(shown.contains("permission denied"));
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        assert!(check_size(SIZE_LIMIT).is_ok());
        assert!(check_size(SIZE_LIMIT + 1).is_err());
    }
}
