//! What the controller does about requests on the control socket.

use std::{
    io,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context as _;
use lvs_common::abi::ABI_VERSION;
use nix::sys::signal::{Signal, raise};
use tracing::{info, warn};

use super::{
    desired::{self, Desired, Edits, Fate},
    edit::{Edit, ServerSpec, ServiceSpec},
    interfaces,
    protocol::{Answer, Edited, Listed, ListedServer, Problem, Request, Status},
    reload::Running,
    runtime::{keep, kept},
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
        let Order { request, reply } = order;
        let answer = match request {
            Request::Status => Answer::Status(self.status()),
            Request::List => Answer::List(self.list()),
            Request::Edit { edits } => self.edit(&edits, maps).await,
            Request::Reload => match self.reread("control socket", maps).await {
                Ok(line) => Answer::Done(line),
                Err(failure) => Answer::Error(Problem::failed(&failure)),
            },
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
    async fn edit(&mut self, edits: &[Edit], maps: &mut Configured<'_>) -> Answer {
        let mut desired = self.desired.clone();
        let results: Vec<_> = edits.iter().map(|edit| desired.edit(edit)).collect();
        if desired.edits() != self.desired.edits() {
            if let Err(reason) = desired::check_room(&desired.effective()) {
                return Answer::Error(Problem::new("no-room", &reason));
            }
            let line = match self.put(desired, maps).await {
                Ok(line) => line,
                Err(failure) => return Answer::Error(Problem::failed(&failure)),
            };
            let changes = edits.iter().zip(&results);
            let done = changes
                .filter(|(edit, result)| result.is_ok() && !matches!(edit, Edit::Zero { .. }))
                .count();
            info!("edited ({done} of {}): {line}", edits.len());
        }
        for (edit, result) in edits.iter().zip(&results) {
            if let (Edit::Zero { service }, Ok(())) = (edit, result)
                && let Err(error) = self.zero(*service, maps)
            {
                return Answer::Error(Problem::new("failed", &error));
            }
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
        format!("the edits of the last run in {} cannot be used; remove it", path.display())
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

/// Says what became of edits.
pub(super) fn tell(fates: &[Fate]) {
    for (severity, line) in lines(fates) {
        if severity == Severity::Warning {
            warn!("{line}");
        } else {
            info!("{line}");
        }
    }
}

/// The same for who has asked for a reload, below what the file gave rise to.
pub(super) fn show(fates: &[Fate], shown: &mut String) {
    if !fates.is_empty() && !shown.is_empty() {
        shown.push('\n');
    }
    for (severity, line) in lines(fates) {
        shown.extend([severity.as_str(), ": ", &line, "\n"]);
    }
}

/// A line for each edit that the file was compared with, or for so many as one may read.
fn lines(fates: &[Fate]) -> Vec<(Severity, String)> {
    let (dropped, kept): (Vec<_>, Vec<_>) = fates.iter().partition(|fate| fate.dropped.is_some());
    let some = |severity, fates: &[&Fate]| {
        let lines = fates.iter().take(MOST_LINES).map(|fate| (severity, fate.to_string()));
        lines.collect::<Vec<_>>()
    };
    let mut lines = some(Severity::Notice, &kept);
    lines.extend(some(Severity::Warning, &dropped));
    let more = kept.len().saturating_sub(MOST_LINES) + dropped.len().saturating_sub(MOST_LINES);
    if more > 0 {
        let line = format!("… and so on: {} edits are kept, {} dropped", kept.len(), dropped.len());
        lines.push((Severity::Notice, line));
    }
    lines
}

/// Those that are left of a file and edits of before.
pub(super) fn with_edits(file: crate::config::Config, edits: Edits) -> anyhow::Result<Desired> {
    let (desired, fates) = Desired::with(file, edits);
    tell(&fates);
    desired::check_room(&desired.effective()).map_err(anyhow::Error::msg)?;
    Ok(desired)
}
