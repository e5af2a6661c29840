//! What the controller does about requests on the control socket.

use std::{
    io,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context as _;
use lvs_common::abi::ABI_VERSION;
use nix::sys::signal::{Signal, raise};
use tokio::net::unix::UCred;
use tracing::{info, warn};

use super::{
    desired::{self, Desired, Edits, Fate, Kind, Outcome},
    edit::{Edit, Refusal, ServerSpec, ServiceSpec},
    interfaces,
    protocol::{Answer, Edited, Listed, ListedServer, Problem, Request, Status},
    reload::Running,
    runtime::{keep, kept},
    said::{Said, Topic},
    socket::Order,
    write,
};
use crate::{bpf::Configured, config::Severity, inspect::ServiceName};

/// The file of edits in the runtime directory.
pub(super) const EDITS: &str = "edits.json";

/// Lines about single edits in the log at most.
const MOST_LINES: usize = 20;

impl Running<'_> {
    /// Does what is asked for, and says so.
    pub(super) async fn obey(&mut self, order: Order, maps: &mut Configured<'_>) {
        let Order { request, peer, reply } = order;
        let answer = match request {
            Request::Status => Answer::Status(self.status()),
            Request::List => Answer::List(self.list()),
            Request::Edit { edits } => self.edit(&edits, &who(peer), maps).await,
            Request::Reload { discard_edits } => {
                match self.reread("control socket", discard_edits, maps).await {
                    Ok(line) => Answer::Done(line),
                    Err(failure) => Answer::Error(Problem::failed(&failure)),
                }
            }
            Request::Stop => match raise(Signal::SIGTERM) {
                Ok(()) => Answer::Done("stopping".to_owned()),
                Err(errno) => Answer::Error(Problem::new("failed", &errno)),
            },
        };
        let _may_have_gone = reply.send(answer);
    }

    fn status(&self) -> Status {
        let config = self.desired.effective();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: ABI_VERSION,
            process: process::id(),
            config: self.options.config.display().to_string(),
            since: self.status.since(),
            outdated: self.status.outdated().map(str::to_owned),
            interfaces: interfaces::there(&self.interfaces.borrow())
                .into_iter()
                .map(|interface| interface.name)
                .collect(),
            services: config.services.len(),
            servers: config.services.iter().map(|service| service.real_servers.len()).sum(),
            edits: self.desired.edits().len(),
        }
    }

    fn list(&self) -> Vec<Listed> {
        let edited = self.desired.edits().services();
        let services = self.desired.effective().services;
        services
            .iter()
            .map(|service| {
                let name = desired::service_name(service);
                let servers = service.real_servers.iter();
                Listed {
                    service: name,
                    forwarding: service.forwarding.to_string(),
                    edited: edited.contains(&name),
                    spec: ServiceSpec::of(service),
                    servers: servers
                        .map(|server| ListedServer {
                            server: desired::server_name(server),
                            spec: ServerSpec::of(server),
                        })
                        .collect(),
                }
            })
            .collect()
    }

    /// Makes edits one after the other, and applies together what has come of them.
    async fn edit(&mut self, edits: &[Edit], who: &str, maps: &mut Configured<'_>) -> Answer {
        let mut desired = self.desired.clone();
        let results: Vec<_> = edits.iter().map(|edit| desired.edit(edit)).collect();
        let made = self.make_edits(edits, &results, desired, maps).await;
        if let Err(problem) = &made {
            warn!(
                "nothing that {who} has edited is in use ({} edits): {}",
                edits.len(),
                problem.message
            );
        } else {
            tell_edits(edits, &results, who);
        }
        if let Err(problem) = made {
            return Answer::Error(problem);
        }
        Answer::Edited(
            results
                .into_iter()
                .map(|result| match result {
                    Ok(()) => Edited::Done,
                    Err(refusal) => Edited::Error(refusal.into()),
                })
                .collect(),
        )
    }

    /// Has what has come of edits be in use.
    async fn make_edits(
        &mut self,
        edits: &[Edit],
        results: &[Result<(), Refusal>],
        desired: Desired,
        maps: &mut Configured<'_>,
    ) -> Result<(), Problem> {
        if desired.edits() != self.desired.edits() {
            desired::check_room(&desired.effective())
                .map_err(|reason| Problem::new("no-room", &reason))?;
            self.put(desired, maps).await.map_err(|failure| Problem::failed(&failure))?;
            self.said.forget(Topic::Edits);
        }
        for (edit, result) in edits.iter().zip(results) {
            if let (Edit::Zero { service }, Ok(())) = (edit, result) {
                self.zero(*service, maps).map_err(|error| Problem::new("failed", &error))?;
            }
        }
        Ok(())
    }

    /// Has counts begin at zero.
    fn zero(
        &self,
        service: Option<ServiceName>,
        maps: &mut Configured<'_>,
    ) -> Result<(), crate::bpf::Error> {
        let tables = &self.ledger.tables;
        let id = service.and_then(|name| tables.id(name));
        let of_service = |server: &lvs_common::abi::Server| match service {
            None => true,
            Some(_) => Some(server.service) == id,
        };
        for (place, _) in (0..).zip(&tables.servers).filter(|(_, server)| of_service(server)) {
            write::zero(place, maps)?;
        }
        Ok(())
    }

    /// Has the edits be there after a restart.
    pub(super) fn keep_edits(&self) {
        let path = edits_file(&self.options.runtime_dir);
        if let Err(error) = save(&path, self.desired.edits()) {
            warn!("a restart will not know of the edits: cannot write {}: {error}", path.display());
        }
    }
}

/// Where edits are kept in a runtime directory.
pub(super) fn edits_file(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join(EDITS)
}

/// The edits of a controller that did not end properly.
pub(super) fn left_edits(runtime_dir: &Path) -> anyhow::Result<Edits> {
    let path = edits_file(runtime_dir);
    let edits = kept(&path).and_then(|text| match text {
        Some(text) => serde_json::from_slice(&text).map_err(io::Error::from),
        None => Ok(Edits::default()),
    });
    edits.with_context(|| {
        format!(
            "the edits of the last run in {} cannot be used. See what they have come to with `xlvs ipvsadm -S -n`; then \
             remove that file, and make them again after the start (servers that were drained have clients again meanwhile)",
            path.display()
        )
    })
}

/// Has the next start not know of any.
pub(super) fn forget_edits(runtime_dir: &Path) {
    let path = edits_file(runtime_dir);
    if let Err(error) = save(&path, &Edits::default()) {
        warn!("cannot remove {}: {error}", path.display());
    }
}

fn save(path: &Path, edits: &Edits) -> io::Result<()> {
    keep(path, (!edits.is_empty()).then_some(edits))
}

/// Who has made a request.
fn who(peer: Option<UCred>) -> String {
    let Some(peer) = peer else { return "somebody".to_owned() };
    let process = peer.pid().map(|pid| format!(" (process {pid})"));
    format!("user {}{}", peer.uid(), process.unwrap_or_default())
}

/// Says which edits were made, and which were refused, in the words of ipvsadm.
fn tell_edits(edits: &[Edit], results: &[Result<(), Refusal>], who: &str) {
    for (edit, result) in edits.iter().zip(results).take(MOST_LINES) {
        match result {
            Ok(()) => info!("edit by {who}: {edit}"),
            Err(refusal) => info!("edit by {who} refused: {edit}: {refusal}"),
        }
    }
    if edits.len() > MOST_LINES {
        let made = results.iter().filter(|result| result.is_ok()).count();
        info!("… and so on: {made} edits by {who}, {} refused", results.len() - made);
    }
}

/// Says what became of edits when a file was read; of those that are kept once.
pub(super) fn tell(fates: &[Fate], said: &mut Said) {
    let (kept, others): (Vec<_>, Vec<_>) =
        lines(fates).into_iter().partition(|(fate, _)| fate.outcome == Outcome::Kept);
    said.tell(Topic::Edits, kept.into_iter().map(|(fate, line)| (severity(fate), line)));
    for (fate, line) in others {
        if severity(fate) == Severity::Warning {
            warn!("{line}");
        } else {
            info!("{line}");
        }
    }
}

/// The same, all of it, for who has asked for a reload, below what the file gave rise to.
pub(super) fn show(fates: &[Fate], shown: &mut String) {
    if !fates.is_empty() && !shown.is_empty() {
        shown.push('\n');
    }
    for (fate, line) in lines(fates) {
        shown.extend([severity(fate).as_str(), ": ", &line, "\n"]);
    }
}

/// That something of the file is left out may be a surprise.
const fn severity(Fate { outcome, kind, .. }: &Fate) -> Severity {
    match outcome {
        Outcome::Kept if matches!(kind, Kind::Deleted) => Severity::Warning,
        Outcome::Kept | Outcome::InFile => Severity::Notice,
        Outcome::Dropped(_) => Severity::Warning,
    }
}

/// A line for each edit that the file was compared with, or for so many as one may read: first those that are kept.
fn lines(fates: &[Fate]) -> Vec<(&Fate, String)> {
    let (kept, others): (Vec<&Fate>, Vec<_>) =
        fates.iter().partition(|fate| fate.outcome == Outcome::Kept);
    let mut lines = Vec::new();
    for (some, more) in [(&kept, "are kept"), (&others, "are none any more")] {
        let shown = some.iter().take(MOST_LINES);
        lines.extend(shown.map(|fate| (*fate, fate.to_string())));
        if let Some(last) = some.get(MOST_LINES) {
            lines.push((*last, format!("… and so on: {} edits {more}", some.len())));
        }
    }
    lines
}

/// Those that are left of a file and edits of before, and what has become of those.
pub(super) fn with_edits(
    file: crate::config::Config,
    edits: Edits,
) -> anyhow::Result<(Desired, Vec<Fate>)> {
    let (desired, fates) = Desired::with(file, edits);
    desired::check_room(&desired.effective()).map_err(anyhow::Error::msg)?;
    Ok((desired, fates))
}
