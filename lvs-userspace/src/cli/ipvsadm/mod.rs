//! `xlvs ipvsadm`, and the same through a link named `ipvsadm`: ipvsadm 1.31's command line, listings, complaints and exit
//! codes. Listings read the pinned maps; edits go to the controller.

mod instance;
mod listing;
mod names;
mod options;
mod order;
mod parse;
mod place;
mod restore;
mod rules;

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use self::{
    names::Names,
    parse::{Format, Job, Misuse},
};
use crate::{
    bpf::PinnedMaps,
    control::{
        Place,
        client::Client,
        edit::Edit,
        protocol::{Answer, Edited, Problem, Request},
    },
    inspect::{self, Filter, ServiceName, Services},
};

/// What ipvsadm itself says for `-v`.
const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)";

/// Where edits end that IPVS refuses: `exit(-1)`.
const REFUSED: i32 = 255;

/// Where a command line ends that xlvs itself does not understand.
const WRONG_USAGE: u8 = 2;

/// Edits that are sent at once.
const MOST_EDITS: usize = 400;

/// Why nothing more is done: what is said on stderr, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fail {
    code: i32,
    text: String,
}

impl Fail {
    /// Something that ipvsadm does not know.
    fn ours(error: &impl std::fmt::Display) -> Self {
        Self { code: 1, text: format!("xlvs: {error:#}") }
    }
}

impl From<io::Error> for Fail {
    fn from(error: io::Error) -> Self {
        // Nobody reads any more: no complaint.
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: 0, text: String::new() };
        }
        Self::ours(&error)
    }
}

/// Runs a command line; the first word is the program's name in messages.
pub(super) fn run(words: &[String]) -> ExitCode {
    let (program, words) = match words.split_first() {
        Some((program, words)) => (program.as_str(), words),
        None => ("ipvsadm", words),
    };
    let (place, words) = match instance::of(words) {
        Ok(found) => found,
        Err(text) => {
            say(&text);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let mut session = Session {
        program,
        place,
        client: None,
        waiting: Vec::new(),
        result: 0,
        out: BufWriter::new(io::stdout().lock()),
    };
    let result = if words.is_empty() {
        session.list(None, Format::default())
    } else {
        session.line(&words, false)
    };
    // Edits that are still to be made come before whatever is wrong.
    let result = session.send().and(result).and_then(|()| Ok(session.out.flush()?));
    let code = match result {
        Ok(()) => session.result,
        Err(Fail { code, text }) => {
            let _nobody_reads = session.out.flush();
            if !text.is_empty() {
                say(&text);
            }
            code
        }
    };
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

/// A line on stderr. That nobody reads it changes nothing.
fn say(text: &str) {
    let _nobody_reads = writeln!(io::stderr(), "{text}");
}

/// One run.
struct Session<'s> {
    program: &'s str,
    place: Place,
    client: Option<Client>,
    /// Edits that are still to be made.
    waiting: Vec<Edit>,
    /// What the last command has come to.
    result: i32,
    out: BufWriter<io::StdoutLock<'static>>,
}

impl Session<'_> {
    /// Does what one command line says, or a line of `-R`.
    fn line(&mut self, words: &[String], restoring: bool) -> Result<(), Fail> {
        let job = match parse::parse(words) {
            Ok(job) => job,
            Err(misuse) => {
                self.send()?;
                return match misuse {
                    Misuse::Fail(fail) => Err(fail),
                    Misuse::TryHelp => Err(self.try_help()),
                    Misuse::Skip(text) => {
                        self.out.flush()?;
                        say(&text);
                        self.result = REFUSED;
                        Ok(())
                    }
                };
            }
        };
        if let Job::Edit(edit) = job {
            self.waiting.push(edit);
            if self.waiting.len() >= MOST_EDITS { self.send() } else { Ok(()) }
        } else {
            self.send()?;
            self.result = 0;
            match job {
                Job::List(service, format) => self.list(service, format),
                Job::ListConnections(format) => self.list_connections(format),
                Job::ListTimeouts => self.list_timeouts(),
                Job::Restore if restoring => Err(self.try_help()),
                Job::Restore => self.restore(),
                Job::Help => Ok(self.out.write_all(help(self.program).as_bytes())?),
                Job::Version => Ok(writeln!(
                    self.out,
                    "{VERSION}\nin its place: xlvs {}",
                    env!("CARGO_PKG_VERSION")
                )?),
                // There is none to be told of.
                Job::ListDaemon | Job::Edit(_) => Ok(()),
            }
        }
    }

    fn try_help(&self) -> Fail {
        let program = self.program;
        let text = format!("Try `{program} -h' or '{program} --help' for more information.");
        Fail { code: REFUSED, text }
    }

    /// `-R`: one command line after the other.
    fn restore(&mut self) -> Result<(), Fail> {
        for line in restore::lines(io::stdin().lock()) {
            let words = line?;
            if !words.is_empty() {
                self.line(&words, true)?;
            }
        }
        Ok(())
    }

    /// Has the controller make the edits that wait, and says what it refuses.
    fn send(&mut self) -> Result<(), Fail> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.out.flush()?;
        let edits = std::mem::take(&mut self.waiting);
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let client = Client::connect(&self.place.runtime_dir);
                none.insert(client.map_err(|error| Fail::ours(&error))?)
            }
        };
        let request = Request::Edit { edits };
        let answer = client.ask(&request).map_err(|error| Fail::ours(&error))?;
        let Request::Edit { edits } = request else { return Ok(()) };
        match answer {
            Answer::Edited(results) => {
                for (edit, result) in edits.iter().zip(results) {
                    self.result = match result {
                        Edited::Done => 0,
                        Edited::Error(problem) => {
                            say(&complaint(edit, &problem));
                            REFUSED
                        }
                    };
                }
                Ok(())
            }
            Answer::Error(problem) => Err(Fail::ours(&problem.message)),
            _ => Err(Fail::ours(&"the controller gave an answer to something else")),
        }
    }

    fn open(&self) -> Result<PinnedMaps, Fail> {
        PinnedMaps::open(&self.place.pin_dir).map_err(|error| Fail::ours(&error))
    }

    fn list(&mut self, service: Option<ServiceName>, format: Format) -> Result<(), Fail> {
        let maps = self.open()?;
        let mut services =
            Services::read(&maps, format.persistent).map_err(|error| Fail::ours(&error))?;
        if let Some(name) = service {
            services.services.retain(|view| view.name == name);
            if services.services.is_empty() {
                return Err(Fail { code: 1, text: "No such service".to_owned() });
            }
        }
        if format.rate && !format.stats {
            inspect::rates(&maps, &mut services).map_err(|error| Fail::ours(&error))?;
        }
        let mut views: Vec<_> = services.services.iter().collect();
        if !format.no_sort {
            order::services(&mut views);
        }
        if service.is_none() && !format.rules {
            listing::version(&mut self.out)?;
        }
        listing::title(&mut self.out, format)?;
        let mut names = Names::new(format.numeric);
        for view in views {
            listing::service(&mut self.out, view, format, &mut names)?;
        }
        Ok(())
    }

    fn list_connections(&mut self, format: Format) -> Result<(), Fail> {
        let maps = self.open()?;
        listing::connections_title(&mut self.out, format)?;
        let mut names = Names::new(format.numeric);
        let out = &mut self.out;
        inspect::connections(&maps, &Filter::default(), |entry| {
            listing::entry(out, &entry, &mut names).map_err(ListFailure::Output)
        })
        .map_err(|failure| match failure {
            ListFailure::Output(error) => error.into(),
            ListFailure::Maps(error) => Fail::ours(&error),
        })
    }

    fn list_timeouts(&mut self) -> Result<(), Fail> {
        let services = Services::read(&self.open()?, false).map_err(|error| Fail::ours(&error))?;
        let [tcp, tcp_fin, udp] =
            [services.timeouts.tcp, services.timeouts.tcp_fin, services.timeouts.udp]
                .map(Option::unwrap_or_default);
        Ok(writeln!(self.out, "Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}")?)
    }
}

/// Why a listing of connections ends early.
enum ListFailure {
    Maps(crate::bpf::Error),
    Output(io::Error),
}

impl From<crate::bpf::Error> for ListFailure {
    fn from(error: crate::bpf::Error) -> Self {
        Self::Maps(error)
    }
}

/// What ipvsadm says when IPVS refuses (`ipvs_strerror` in libipvs).
fn complaint(edit: &Edit, problem: &Problem) -> String {
    let of_server = matches!(
        edit,
        Edit::AddServer { .. } | Edit::EditServer { .. } | Edit::DeleteServer { .. }
    );
    match problem.code.as_str() {
        "service-exists" => "Service already exists",
        "no-service" if of_server => "Service not defined",
        "no-service" => "No such service",
        "no-scheduler" => "Scheduler or persistence engine not found",
        "server-exists" => "Destination already exists",
        "no-server" => "No such destination",
        "range" => "Numerical result out of range",
        "invalid" => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        _ => return format!("xlvs: {}", problem.message),
    }
    .to_owned()
}

fn help(program: &str) -> String {
    format!(
        "\
{VERSION}
in its place: xlvs {}

{program} -A|-E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M MASK] [-o] [-b FLAG,FLAG]   add or edit a service
{program} -D SERVICE                                                      delete it
{program} -C                                                              delete all
{program} -a|-e SERVICE -r ADDRESS[:PORT] -m [-w WEIGHT] [-x UPPER] [-y LOWER]   add or edit a real server
{program} -d SERVICE -r ADDRESS[:PORT]                                    delete it
{program} -L|-l [SERVICE] [-n] [--stats|--rate|--thresholds|--persistent-conn] [--exact] [--nosort]
{program} -L|-l [-n] -c                                                   connections
{program} -L|-l --timeout                                                 time-outs
{program} -Z [SERVICE]                                                    zero counts
{program} --set TCP TCPFIN UDP                                            set time-outs, 0 leaves one alone
{program} -S [-n]                                                         services as commands
{program} -R                                                              such commands from stdin

Of xlvs, anywhere: --pin-dir DIR, --runtime-dir DIR                       as `xlvs run` has them

SERVICE is -t ADDRESS[:PORT], -u ADDRESS[:PORT], or -f MARK with -6 for IPv6.
Long options: --add-service, --edit-service, --delete-service, --clear, --add-server, --edit-server,
--delete-server, --list, --zero, --save, --restore, --tcp-service, --udp-service, --fwmark-service, --ipv6,
--scheduler, --persistent, --netmask, --ops, --sched-flags, --real-server, --masquerading, --weight,
--u-threshold, --l-threshold, --numeric, --connection.
Not here: -g, -i, SCTP, persistence engines, the synchronization daemon.
",
        env!("CARGO_PKG_VERSION")
    )
}
