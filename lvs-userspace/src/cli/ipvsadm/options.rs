//! The options of ipvsadm, taken apart as popt does it: short ones may stand together, an argument may follow at once or
//! after `=`, and what is no option is left for the end.

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    AddService,
    EditService,
    DeleteService,
    Clear,
    List,
    Zero,
    AddServer,
    EditServer,
    DeleteServer,
    Set,
    Help,
    Version,
    Restore,
    Save,
    StartDaemon,
    StopDaemon,
    TcpService,
    UdpService,
    SctpService,
    MarkService,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    Masquerading,
    Tunnelling,
    Gatewaying,
    Weight,
    UpperThreshold,
    LowerThreshold,
    Numeric,
    Connection,
    McastInterface,
    SyncId,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    NoSort,
    Sort,
    Exact,
    Ipv6,
    OnePacket,
    PersistenceEngine,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
}

/// Whether an option has an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Text,
    /// A text, unless the next word begins with `-`.
    Perhaps,
}

use Takes::{Nothing, Perhaps, Text};

/// Long name, short name (or 0), argument.
const OPTIONS: &[(&str, char, Takes, Tag)] = &[
    ("add-service", 'A', Nothing, Tag::AddService),
    ("edit-service", 'E', Nothing, Tag::EditService),
    ("delete-service", 'D', Nothing, Tag::DeleteService),
    ("clear", 'C', Nothing, Tag::Clear),
    ("list", 'L', Nothing, Tag::List),
    ("list", 'l', Nothing, Tag::List),
    ("zero", 'Z', Nothing, Tag::Zero),
    ("add-server", 'a', Nothing, Tag::AddServer),
    ("edit-server", 'e', Nothing, Tag::EditServer),
    ("delete-server", 'd', Nothing, Tag::DeleteServer),
    ("set", NONE, Nothing, Tag::Set),
    ("help", 'h', Nothing, Tag::Help),
    ("version", 'v', Nothing, Tag::Version),
    ("restore", 'R', Nothing, Tag::Restore),
    ("save", 'S', Nothing, Tag::Save),
    ("start-daemon", NONE, Text, Tag::StartDaemon),
    ("stop-daemon", NONE, Text, Tag::StopDaemon),
    ("tcp-service", 't', Text, Tag::TcpService),
    ("udp-service", 'u', Text, Tag::UdpService),
    ("sctp-service", NONE, Text, Tag::SctpService),
    ("fwmark-service", 'f', Text, Tag::MarkService),
    ("scheduler", 's', Text, Tag::Scheduler),
    ("persistent", 'p', Perhaps, Tag::Persistent),
    ("netmask", 'M', Text, Tag::Netmask),
    ("real-server", 'r', Text, Tag::RealServer),
    ("masquerading", 'm', Nothing, Tag::Masquerading),
    ("ipip", 'i', Nothing, Tag::Tunnelling),
    ("gatewaying", 'g', Nothing, Tag::Gatewaying),
    ("weight", 'w', Text, Tag::Weight),
    ("u-threshold", 'x', Text, Tag::UpperThreshold),
    ("l-threshold", 'y', Text, Tag::LowerThreshold),
    ("numeric", 'n', Nothing, Tag::Numeric),
    ("connection", 'c', Nothing, Tag::Connection),
    ("mcast-interface", NONE, Text, Tag::McastInterface),
    ("syncid", NONE, Text, Tag::SyncId),
    ("timeout", NONE, Nothing, Tag::Timeout),
    ("daemon", NONE, Nothing, Tag::Daemon),
    ("stats", NONE, Nothing, Tag::Stats),
    ("rate", NONE, Nothing, Tag::Rate),
    ("thresholds", NONE, Nothing, Tag::Thresholds),
    ("persistent-conn", NONE, Nothing, Tag::PersistentConn),
    ("nosort", NONE, Nothing, Tag::NoSort),
    ("sort", NONE, Nothing, Tag::Sort),
    ("exact", 'X', Nothing, Tag::Exact),
    ("ipv6", '6', Nothing, Tag::Ipv6),
    ("ops", 'o', Nothing, Tag::OnePacket),
    ("pe", NONE, Text, Tag::PersistenceEngine),
    ("sched-flags", 'b', Text, Tag::SchedulerFlags),
    ("mcast-group", NONE, Text, Tag::McastGroup),
    ("mcast-port", NONE, Text, Tag::McastPort),
    ("mcast-ttl", NONE, Text, Tag::McastTtl),
    ("sync-maxlen", NONE, Text, Tag::SyncMaxlen),
    ("tun-info", NONE, Nothing, Tag::TunInfo),
    ("tun-type", NONE, Text, Tag::TunType),
    ("tun-port", NONE, Text, Tag::TunPort),
    ("tun-nocsum", NONE, Nothing, Tag::TunNocsum),
    ("tun-csum", NONE, Nothing, Tag::TunCsum),
    ("tun-remcsum", NONE, Nothing, Tag::TunRemcsum),
];

const NONE: char = '\0';

/// What is wrong with an option, in popt's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Unknown,
    NoArgument,
    UnwantedArgument,
}

impl Fault {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "unknown option",
            Self::NoArgument => "missing argument",
            Self::UnwantedArgument => "option does not take an argument",
        }
    }
}

/// An option with its argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) tag: Tag,
    pub(super) argument: Option<String>,
}

/// A walk over the words of a command line.
#[derive(Debug)]
pub(super) struct Options<'w> {
    words: &'w [String],
    next: usize,
    /// What is left of a word with short options.
    short: &'w str,
    rest: Vec<&'w str>,
    only_rest: bool,
}

impl<'w> Options<'w> {
    pub(super) fn of(words: &'w [String]) -> Self {
        Self { words, next: 0, short: "", rest: Vec::new(), only_rest: false }
    }

    /// The next option; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Given>, Fault> {
        while self.short.is_empty() {
            let Some(word) = self.word() else { return Ok(None) };
            if self.only_rest || word == "-" || !word.starts_with('-') {
                self.rest.push(word);
            } else if word == "--" {
                self.only_rest = true;
            } else if let Some(long) = word.strip_prefix("--") {
                return self.long(long).map(Some);
            } else {
                self.short = word.strip_prefix('-').unwrap_or_default();
            }
        }
        let Some(letter) = self.short.chars().next() else { return Ok(None) };
        let after = self.short.strip_prefix(letter).unwrap_or_default();
        let found = OPTIONS.iter().find(|(_, short, ..)| *short == letter && letter != NONE);
        let Some((.., takes, tag)) = found else {
            self.short = "";
            return Err(Fault::Unknown);
        };
        if *takes == Nothing && after.starts_with('=') {
            self.short = "";
            return Err(Fault::UnwantedArgument);
        }
        self.short = after.strip_prefix('=').unwrap_or(after);
        let at_once = (!self.short.is_empty() && *takes != Nothing).then_some(self.short);
        if at_once.is_some() {
            self.short = "";
        }
        self.given(*tag, *takes, at_once).map(Some)
    }

    fn long(&mut self, text: &'w str) -> Result<Given, Fault> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let found = OPTIONS.iter().find(|(long, ..)| *long == name);
        let (.., takes, tag) = found.ok_or(Fault::Unknown)?;
        if *takes == Nothing && value.is_some() {
            return Err(Fault::UnwantedArgument);
        }
        self.given(*tag, *takes, value)
    }

    fn given(&mut self, tag: Tag, takes: Takes, at_once: Option<&str>) -> Result<Given, Fault> {
        let argument = match (takes, at_once) {
            (Nothing, _) => None,
            (_, Some(value)) => Some(value.to_owned()),
            (Perhaps, None) => match self.words.get(self.next) {
                Some(word) if !word.starts_with('-') => self.word().map(str::to_owned),
                _ => None,
            },
            (Text, None) => Some(self.word().ok_or(Fault::NoArgument)?.to_owned()),
        };
        Ok(Given { tag, argument })
    }

    fn word(&mut self) -> Option<&'w str> {
        let word = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    /// The word that was read last, which is the one that popt complains of.
    pub(super) fn last(&self) -> &'w str {
        self.next.checked_sub(1).and_then(|last| self.words.get(last)).map_or("", String::as_str)
    }

    /// What was no option, once all options have been read.
    pub(super) fn rest(self) -> Vec<&'w str> {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options, what is wrong with which word, and what is left.
    type Read = (Vec<(Tag, Option<String>)>, Option<(Fault, String)>, Vec<String>);

    fn read(line: &str) -> Read {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut options = Options::of(&words);
        let (mut given, mut fault) = (Vec::new(), None);
        loop {
            match options.next() {
                Ok(Some(one)) => given.push((one.tag, one.argument)),
                Ok(None) => break,
                Err(error) => {
                    fault = Some((error, options.last().to_owned()));
                    break;
                }
            }
        }
        (given, fault, options.rest().into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn options_stand_together_and_have_their_arguments_anywhere() {
        let service = (Tag::TcpService, Some("10.0.0.1:80".to_owned()));
        for line in [
            "-A -t 10.0.0.1:80",
            "-At 10.0.0.1:80",
            "-At10.0.0.1:80",
            "-A -t=10.0.0.1:80",
            "--add-service --tcp-service 10.0.0.1:80",
            "--add-service --tcp-service=10.0.0.1:80",
        ] {
            let (given, fault, rest) = read(line);
            assert_eq!(given, [(Tag::AddService, None), service.clone()], "{line}");
            assert!(fault.is_none() && rest.is_empty(), "{line}");
        }
    }

    #[test]
    fn an_optional_argument_is_no_option() {
        let persistent = |text: &str| read(text).0[1].clone();
        assert_eq!(persistent("-A -p -s rr"), (Tag::Persistent, None));
        assert_eq!(persistent("-A -p"), (Tag::Persistent, None));
        assert_eq!(persistent("-A -p 30"), (Tag::Persistent, Some("30".to_owned())));
        assert_eq!(persistent("-A -p30"), (Tag::Persistent, Some("30".to_owned())));
    }

    #[test]
    fn faults_name_the_word() {
        for (line, fault, word) in [
            ("-L -nQ", Fault::Unknown, "-nQ"),
            ("-Lx", Fault::NoArgument, "-Lx"),
            ("-A -t", Fault::NoArgument, "-t"),
            ("-L --numeric=3", Fault::UnwantedArgument, "--numeric=3"),
            ("-L -n=3", Fault::UnwantedArgument, "-n=3"),
            ("--set 1 2 -3", Fault::Unknown, "-3"),
        ] {
            assert_eq!(read(line).1, Some((fault, word.to_owned())), "{line}");
        }
    }

    #[test]
    fn what_is_no_option_is_left() {
        assert_eq!(read("--set 1 2 3").2, ["1", "2", "3"]);
        assert_eq!(read("-L -- -n - x").2, ["-n", "-", "x"]);
        assert_eq!(read("foo -L bar").2, ["foo", "bar"]);
    }
}
