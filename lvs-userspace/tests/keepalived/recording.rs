//! A recording of keepalived, and what of it can be compared.

/// What keepalived made of a file.
pub(crate) struct Recording {
    /// The dump, without what [`compared`] leaves out.
    pub(crate) dump: Vec<String>,
    /// What `ipvsadm -Sn` printed.
    pub(crate) ipvsadm: Vec<String>,
}

impl Recording {
    /// Absent if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("# dump\n")?;
        let (dump, ipvsadm) = rest.split_once("# ipvsadm\n")?;
        let ipvsadm = sorted(ipvsadm.lines().map(str::to_owned).collect());
        Some(Self { dump: compared(dump), ipvsadm })
    }
}

/// Where a line of the dump stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Nothing of it is compared.
    LeftOut,
    Service,
    RealServer,
    Checkers,
}

impl Section {
    fn of(header: &str) -> Self {
        match header.trim_end_matches(" >------") {
            "Virtual server" => Self::Service,
            "Real server" => Self::RealServer,
            "Health checkers" => Self::Checkers,
            // A group is compared by what is in IPVS, a track file by what the checkers have of it.
            _ => Self::LeftOut,
        }
    }

    /// What is left out: what is inherited by the checkers, where it is compared, and what is not configuration.
    fn left_out(self) -> &'static [&'static str] {
        match self {
            Self::LeftOut => &[""],
            Self::Service => &[
                "connection timeout",
                "delay_loop",
                "alpha is",
                "Retry ",
                "Warmup",
                "Inhibit on failure",
                "Hashed",
                "Virtual host",
                "VirtualHost",
                "virtualhost",
            ],
            Self::RealServer => &[
                "connection timeout",
                "Delay loop",
                "Alpha is",
                "Retry ",
                "Warmup",
                "initial weight",
                "VirtualHost",
                "Virtual host",
                "virtualhost",
            ],
            Self::Checkers => &[
                "Default delay before retry",
                "Last ran",
                "Last status",
                "Reloaded",
                "Regex ref count",
                // 2.2.7 prints those that are not set.
                "Regex options",
                // keepalived prints the one that a page itself has; here each page has the one that counts.
                "Virtualhost",
                "Virtual host",
                // A server of an earlier run.
                "Deactivating",
            ],
        }
    }
}

/// The lines that say what the configuration means, without their indentation.
fn compared(dump: &str) -> Vec<String> {
    let mut section = Section::LeftOut;
    let mut kept = Vec::new();
    for line in dump.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix("------< ") {
            section = Section::of(header);
        }
        if !section.left_out().iter().any(|left_out| line.starts_with(left_out)) {
            let line = line.split(" EFF WEIGHT").next().unwrap_or(line);
            kept.push(line.replace(" (duplicates rs)", "").replace('\'', ""));
        }
    }
    kept
}

/// `ipvsadm` sorts by addresses in its own way; each rule says all that it is about.
pub(crate) fn sorted(mut rules: Vec<String>) -> Vec<String> {
    rules.sort();
    rules
}

/// What is different, line by line, with the lines around the first difference.
pub(crate) fn differences(what: &str, theirs: &[String], ours: &[String]) -> Option<String> {
    if theirs == ours {
        return None;
    }
    let at = theirs.iter().zip(ours).take_while(|(theirs, ours)| theirs == ours).count();
    let shown = |lines: &[String]| {
        let around = lines.iter().skip(at.saturating_sub(3)).take(8);
        around.map(|line| "        ".to_owned() + line + "\n").collect::<Vec<_>>().concat()
    };
    Some(format!("{what}:\n    keepalived\n{}    xlvs\n{}", shown(theirs), shown(ours)))
}
