//! The log: to systemd's journal with priorities and fields of its own if that reads stderr, else to stderr, as text or as
//! JSON. Whoever reads stderr may stop reading: the controller waits for nobody, but leaves out lines, and says how many.

use std::{
    env,
    future::pending,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use nix::sys::stat::fstat;
use tokio::time::sleep;
use tracing::{error, level_filters::LevelFilter, warn};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, writer::BoxMakeWriter},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use super::args::{LogFormat, LogLevel};

/// What systemd calls its journal's end of stdout or stderr: device and inode of the socket (systemd.exec(5)).
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// To stderr, for people.
    Text,
    /// To stderr, one JSON object in each line.
    Json,
    /// To the journal's own socket.
    Journal,
}

/// Lines that wait to be written, of some 150 bytes each. Many servers that fail together have one each.
const WAITING: usize = 8192;

/// How often it is looked whether lines were left out.
const LOOK: Duration = Duration::from_secs(1);

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// A log that was started.
pub(super) struct Log {
    pub(super) sink: Sink,
    /// Where what is for stderr waits for its thread to write it, if it does.
    queue: Option<(NonBlocking, WorkerGuard)>,
}

/// Who writes to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// Whoever logs, and waits for it: a command that ends soon.
    Itself,
    /// Another thread.
    Thread,
}

/// Starts logging, the data path's messages included. Of the libraries only warnings are of interest.
pub(super) fn start(level: LogLevel, format: Option<LogFormat>, writer: Writer) -> Log {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // At the end it warns of answers that nobody waits for any more.
        .with_target("netlink_proto", LevelFilter::ERROR)
        .with_target("lvs_userspace", level)
        .with_target("lvs_ebpf", level);
    let queue = (writer == Writer::Thread).then(|| {
        NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING)
            .lossy(true)
            .thread_name("log")
            .finish(io::stderr())
    });
    let stderr = || match &queue {
        Some((queue, _)) => BoxMakeWriter::new(queue.clone()),
        None => BoxMakeWriter::new(io::stderr),
    };
    let wanted = sink(format, || journal_reads(env::var(JOURNAL_STREAM).ok().as_deref()));
    let (sink, layer, trouble) = match wanted {
        Sink::Journal => match tracing_journald::layer() {
            Ok(layer) => (Sink::Journal, to_journal(layer), None),
            Err(error) => (Sink::Text, lines(stderr()), Some(error)),
        },
        Sink::Text => (Sink::Text, lines(stderr()), None),
        Sink::Json => (Sink::Json, objects(stderr()), None),
    };
    tracing_subscriber::registry().with(layer).with(filter).init();
    if let Some(error) = trouble {
        warn!("the journal does not answer, so that the log goes to stderr: {error}");
    }
    Log { sink, queue }
}

impl Log {
    /// Writes to stderr what is no message, behind all messages. That it cannot be written changes nothing.
    pub(super) fn write(&self, text: &str) {
        let _nobody_listens = match &self.queue {
            Some((queue, _)) => queue.clone().write_all(text.as_bytes()),
            None => io::stderr().write_all(text.as_bytes()),
        };
    }

    /// Says how many lines were left out, once there is room for that line. Never ends.
    pub(super) async fn watch(&self) {
        let Some((queue, _)) = &self.queue else { return pending().await };
        let lost = queue.error_counter();
        let mut told = 0;
        loop {
            sleep(LOOK).await;
            let now = lost.dropped_lines();
            if now == told {
                continue;
            }
            warn!(
                "{} lines of this log were left out: whoever reads it does not keep up",
                now - told
            );
            // Else that line is one of them.
            if lost.dropped_lines() == now {
                told = now;
            }
        }
    }
}

/// What is asked for; if nothing is, what suits.
fn sink(format: Option<LogFormat>, journal_reads: impl FnOnce() -> bool) -> Sink {
    match format {
        Some(LogFormat::Json) => Sink::Json,
        None if journal_reads() => Sink::Journal,
        Some(LogFormat::Text) | None => Sink::Text,
    }
}

/// Whether stderr is the socket that the variable names: it is inherited by whatever a service starts, also where stderr is
/// a file or a terminal then.
fn journal_reads(stream: Option<&str>) -> bool {
    let Some((device, inode)) = stream.and_then(|stream| stream.split_once(':')) else {
        return false;
    };
    fstat(io::stderr()).is_ok_and(|stderr| {
        device.parse() == Ok(stderr.st_dev) && inode.parse() == Ok(stderr.st_ino)
    })
}

/// syslog's priorities, by which `journalctl -p` sorts: info is 6, not 5, and debug 7.
fn to_journal(layer: tracing_journald::Layer) -> BoxedLayer {
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    layer.with_priority_mappings(priorities).with_syslog_identifier("xlvs".to_owned()).boxed()
}

fn lines(stderr: BoxMakeWriter) -> BoxedLayer {
    let lines = fmt::layer().with_writer(stderr).with_ansi(colour()).with_target(false);
    // The journal has a clock of its own.
    if env::var_os(JOURNAL_STREAM).is_some() { lines.without_time().boxed() } else { lines.boxed() }
}

fn objects(stderr: BoxMakeWriter) -> BoxedLayer {
    fmt::layer().json().flatten_event(true).with_writer(stderr).boxed()
}

/// Logs why a command failed. Text on stderr is not for this.
pub(super) fn failure(text: &str) {
    error!("{}", text.trim_end());
}

/// Whether stderr shows colours.
pub(super) fn colour() -> bool {
    io::stderr().is_terminal() && colour_allowed()
}

/// Whether the user wants colours where they can be shown (<https://no-color.org>).
pub(super) fn colour_allowed() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_for_who_asks_for_nothing_else() {
        for (format, journal, expected) in [
            (None, true, Sink::Journal),
            (None, false, Sink::Text),
            (Some(LogFormat::Text), true, Sink::Text),
            (Some(LogFormat::Json), true, Sink::Json),
            (Some(LogFormat::Json), false, Sink::Json),
        ] {
            assert_eq!(sink(format, || journal), expected, "{format:?}, {journal}");
        }
    }

    #[test]
    fn the_journal_reads_stderr_only_if_it_is_that_very_socket() {
        let stderr = fstat(io::stderr()).unwrap();
        let (device, inode) = (stderr.st_dev, stderr.st_ino);
        assert!(journal_reads(Some(&format!("{device}:{inode}"))));
        let other = inode.wrapping_add(1);
        for stream in
            [format!("{device}:{other}"), format!("{other}:{inode}"), "8".into(), "x:y".into()]
        {
            assert!(!journal_reads(Some(&stream)), "{stream}");
        }
        assert!(!journal_reads(None));
    }
}
