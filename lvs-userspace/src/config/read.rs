//! From a path to text: what can go wrong before there is anything to parse.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IsTerminal as _, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::{code::Code, diag::Diagnostic, source::Place};

/// All files of a configuration together, and what they expand to. One of the most real servers that fit, each with
/// some checks, takes half of it.
pub(super) const SIZE_LIMIT: usize = 32 * 1024 * 1024;

/// Reads a file, or a pipe that somebody writes into; nothing that would have it wait for ever.
pub(super) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Without waiting: a pipe that nobody writes into would not even open, and `/proc/kmsg` has no end.
    let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_dir() {
        return all(file);
    }
    let first = if kind.is_fifo() { first_of_pipe(&file, path)? } else { device(&file, path)? };
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    all(first.chain(file))
}

/// What a pipe begins with.
fn first_of_pipe(mut pipe: &File, path: &Path) -> io::Result<io::Cursor<Vec<u8>>> {
    let mut bytes = vec![0; 4096];
    match pipe.read(&mut bytes) {
        // One that has a name in a folder. The others, as of `<(…)`, have had their writer.
        Ok(0) if fs::canonicalize(path).is_ok() => Err(io::Error::other(
            "it is a pipe that nobody writes into; name a file, or `-` for standard input",
        )),
        Ok(length) => {
            bytes.truncate(length);
            Ok(io::Cursor::new(bytes))
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(io::Cursor::default()),
        Err(error) => Err(error),
    }
}

/// Whether a device is a terminal, or the one that is always empty; nothing has been read then.
fn device(device: &File, path: &Path) -> io::Result<io::Cursor<Vec<u8>>> {
    let is_empty = || fs::canonicalize(path).is_ok_and(|path| path == Path::new("/dev/null"));
    if device.is_terminal() || is_empty() {
        Ok(io::Cursor::default())
    } else {
        Err(io::Error::other("it is a device; name a file, or `-` for standard input"))
    }
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
            let problem = problem_of(&text);
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

/// What is to be said of a text as a whole, if it cannot be read.
pub(super) fn problem_of(text: &str) -> Option<Problem> {
    nul(text).or_else(|| lines_end_with_cr(text))
}

/// What is to be said of a text with a NUL byte.
fn nul(text: &str) -> Option<Problem> {
    let at = text.find('\0')?;
    Some(Box::new(move |start| {
        let place = Place::new(start + at, start + at + 1);
        Diagnostic::new(Code::Nul, place.span(), "a NUL byte stands here: this is no text file")
            .help("name the configuration itself; a file in UTF-16 must be saved as UTF-8")
    }))
}

/// What is to be said of a text whose lines end with CR alone: keepalived takes it for a blank, so all is one line.
fn lines_end_with_cr(text: &str) -> Option<Problem> {
    let bytes = text.as_bytes();
    let lone = |(at, pair): (usize, &[u8])| match pair {
        [b'\r', next] if !matches!(next, b'\r' | b'\n') => Some(at),
        _ => None,
    };
    let first = bytes.windows(2).enumerate().find_map(lone)?;
    let count = bytes.windows(2).enumerate().filter_map(lone).count();
    let feeds = text.matches('\n').count();
    (count > feeds).then(|| -> Problem {
        Box::new(move |start| {
            let place = Place::new(start, start + first);
            let message = "lines end with CR alone in this file, so that all of it is one line";
            Diagnostic::new(Code::CarriageReturns, place.span(), message)
                .label("the first line was meant to end here")
                .help("`tr '\\r' '\\n' < OLD > NEW` writes it with the usual line feeds")
        })
    })
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
        ErrorKind::WouldBlock => "it has no end; name a configuration file".to_owned(),
        ErrorKind::FileTooLarge => {
            format!("it is larger than {} MiB; name a configuration file", SIZE_LIMIT >> 20)
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::fd::AsRawFd as _};

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
            fs::write(&path, content).unwrap();
            path
        };
        for (path, text) in [
            (folder.path().to_owned(), "is a directory"),
            (folder.path().join("absent"), "no such file"),
            (file("huge", &vec![b'\n'; SIZE_LIMIT + 1]), "larger than 32 MiB"),
            (file("latin1", b"# caf\xe9\n# \xe9"), "error[XLVS001]"),
            (file("utf16", b"\xff\xfev\0i\0"), "error[XLVS001]"),
            (file("nul", b"a\0b"), "error[XLVS002]"),
            ("/dev/zero".into(), "it is a device"),
        ] {
            let shown = failure(&path);
            assert!(shown.contains(text), "{}: {shown}", path.display());
        }
    }

    #[test]
    fn pipes_are_read_if_somebody_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(failure(&path).contains("a pipe that nobody writes into"));
        // So that what is written stays until it is read.
        let nonblocking = OFlag::O_NONBLOCK.bits();
        let _reader = OpenOptions::new().read(true).custom_flags(nonblocking).open(&path).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().write_all(b"one").unwrap();
        assert_eq!(bytes(&path).unwrap(), b"one");
        let (read, write) = nix::unistd::pipe().unwrap();
        let path = format!("/dev/fd/{}", read.as_raw_fd());
        let writer = std::thread::spawn(move || File::from(write).write_all(b"two").unwrap());
        assert_eq!(bytes(Path::new(&path)).unwrap(), b"two");
        writer.join().unwrap();
        assert_eq!(bytes(Path::new(&path)).unwrap(), b"");
        assert_eq!(bytes(Path::new("/dev/null")).unwrap(), b"");
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
