//! How long the configuration front end takes for a large file, and how much memory.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lvs_userspace::config::{Failure, Policy, parse};

use crate::statistics::median;

/// The name of this part.
pub(crate) const NAME: &str = "config";

/// Services of the file.
const SERVICES: u32 = 1_000;

/// Real servers of each, with a check of its own.
const SERVERS: u32 = 100;

/// The targets.
const TIME: Duration = Duration::from_secs(1);
const MEMORY: u64 = 300_000_000;

/// What was measured.
#[derive(Debug)]
pub(crate) struct Figures {
    bytes: usize,
    lines: usize,
    seconds: f64,
    memory: u64,
}

/// Reads the file so often; the median of the times counts, and the most memory.
pub(crate) fn measure(rounds: u32) -> Result<Figures> {
    let text = file();
    let before = field("VmRSS:")?;
    // From here on the peak is counted anew.
    fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak of the memory")?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        let begin = Instant::now();
        // More than the tables hold is an error, which is found at the end.
        let read = match parse("bench", &text, &Policy::default()) {
            Ok(loaded) => loaded.config.services.len(),
            Err(Failure::Invalid(report)) => report.errors(),
            Err(error @ Failure::Io { .. }) => return Err(error.into()),
        };
        times.push(begin.elapsed().as_secs_f64());
        std::hint::black_box(read);
    }
    let memory = field("VmHWM:")?.saturating_sub(before);
    Ok(Figures {
        bytes: text.len(),
        lines: text.lines().count(),
        seconds: median(&times).unwrap_or_default(),
        memory,
    })
}

/// The file.
fn file() -> String {
    let mut text = String::new();
    for service in 0..SERVICES {
        let (high, low) = (service / 250, service % 250);
        let _ = writeln!(
            text,
            "virtual_server 10.{high}.{low}.1 443 {{\n  delay_loop 10\n  lb_algo wrr\n  lb_kind NAT\n  \
             persistence_timeout 60\n  protocol TCP"
        );
        for server in 1..=SERVERS {
            let _ = writeln!(
                text,
                "  real_server 172.{}.{low}.{server} 8443 {{\n    weight {}\n    TCP_CHECK {{\n      \
                 connect_timeout 3\n    }}\n  }}",
                16 + high,
                server % 10 + 1
            );
        }
        text.push_str("}\n");
    }
    text
}

/// A figure of this process, in bytes.
fn field(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.context("the kernel does not tell the memory")?.parse::<u64>()? * 1024)
}

/// Writes the section, and into `missed` which targets are missed.
pub(crate) fn section(figures: &Figures, text: &mut String, missed: &mut Vec<String>) {
    let Figures { bytes, lines, seconds, memory } = figures;
    let (megabytes, peak) = (bytes / 1_000_000, memory / 1_000_000);
    let _ = writeln!(
        text,
        "### Configuration\n\nA file of {SERVICES} services with {SERVERS} real servers each, {lines} lines, \
         {megabytes} MB, read and checked: {seconds:.2} s (target: 1 s), {peak} MB of memory at most beside the \
         text (target: 300 MB).\n"
    );
    if *seconds > TIME.as_secs_f64() {
        missed.push(format!("the configuration takes {seconds:.2} s"));
    }
    if *memory > MEMORY {
        missed.push(format!("the configuration takes {peak} MB"));
    }
}
