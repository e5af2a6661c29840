//! From a path to text: what can go wrong before there is anything to parse.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _},
    path::Path,
};

use super::{code::Code, diag::Diagnostic, source::Span};

/// A configuration of the most real servers that fit takes a few MiB.
const SIZE_LIMIT: usize = 16 * 1024 * 1024;

/// A file that is no UTF-8, with replacement characters where it is not.
#[derive(Debug)]
pub(super) struct NotUtf8 {
    pub(super) lossy: String,
    first: usize,
}

impl NotUtf8 {
    pub(super) fn diagnostic(&self) -> Diagnostic {
        let end = self.first + char::REPLACEMENT_CHARACTER.len_utf8();
        Diagnostic::new(
            Code::NotUtf8,
            Span::new(self.first, end),
            "the file is not in UTF-8 from here on",
        )
        .help("save it as UTF-8; for an older file, `iconv -f latin1 -t utf-8 OLD > NEW`")
    }
}

/// Reads a file. It is never read beyond the limit, so pipes and devices are safe too.
pub(super) fn text(path: &Path) -> io::Result<Result<String, NotUtf8>> {
    all(File::open(path)?)
}

/// Reads standard input, in the same way.
pub(super) fn stdin() -> io::Result<Result<String, NotUtf8>> {
    all(io::stdin().lock())
}

fn all(from: impl io::Read) -> io::Result<Result<String, NotUtf8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(SIZE_LIMIT).unwrap_or(u64::MAX);
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    check_size(bytes.len())?;
    Ok(String::from_utf8(bytes).map_err(|error| NotUtf8 {
        lossy: String::from_utf8_lossy(error.as_bytes()).into_owned(),
        first: error.utf8_error().valid_up_to(),
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
        match load(path, &Policy::default()).unwrap_err() {
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
            (file("huge", &vec![b'\n'; SIZE_LIMIT + 1]), "larger than 16 MiB"),
            (file("latin1", b"# caf\xe9\n# \xe9"), "error[XLVS001]"),
            (file("utf16", b"\xff\xfev\0i\0"), "error[XLVS001]"),
            (file("nul", b"a\0b"), "error[XLVS002]"),
            ("/dev/zero".into(), "larger than 16 MiB"),
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
