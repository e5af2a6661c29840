//! Reading what the rules go by. What cannot be read is told as such and keeps nothing else from being looked at.

mod ethtool;
mod host;
mod interfaces;
mod kernel;
mod netdev;
mod servers;
mod state;

use std::{fs, io, path::Path};

use super::{
    Options,
    facts::{Facts, File, expected_mode},
};
use crate::{
    bpf::{Mode, Survey},
    clock,
    config::{self, Config, Policy, Severity},
    control::answers,
    net,
};

/// What could not be looked at, and why.
type Unseen = Vec<(&'static str, String)>;

/// keepalived's configuration.
const CONFIG: &str = "/etc/keepalived/keepalived.conf";

/// Reads everything.
pub(super) async fn everything(options: Options) -> anyhow::Result<Facts> {
    let mut unseen = Unseen::new();
    let (netlink, _events) = net::connect()?;
    let mut state = state::read(&options.place, &mut unseen);
    let (file, config) = configuration(&options, &state);
    let links = interfaces::links(&netlink).await?;
    let names = interfaces_asked_for(&options, &state);
    let seen = interfaces::look(&netlink, &names, &links, &state.survey, &mut unseen).await;
    let mode = options.mode.unwrap_or_else(|| mode_in_place(&state.survey, &seen.there));
    let mut host = host::read(&netlink, &links, &seen.there, &mut unseen).await?;
    let mut wanted = answers::virtual_addresses(&config);
    wanted.extend(answers::marked_addresses(&config));
    wanted.extend(answers::local_addresses(&config));
    host.unanswered = answers::unanswered(wanted, |address| host.has(address)).await;

    let before = state::counters(&options.place.pin_dir);
    let tried = servers::look(&netlink, &config, &host).await;
    // Not at the same time: the verifier takes the CPU that answers are waited for with.
    let (kernel, why_not) = kernel::read(expected_mode(mode, &seen.there));
    unseen.extend(why_not);
    if let Some(after) = state::counters(&options.place.pin_dir) {
        state.counters = state::during(&before.unwrap_or_default(), after);
    }
    Ok(Facts {
        kernel,
        file,
        config,
        mode,
        interfaces: seen.there,
        no_interfaces: seen.not_there,
        host,
        servers: tried.servers,
        not_tried: tried.not_tried,
        state,
        unseen,
    })
}

/// The interfaces that were given, else those that the run was given that the data plane is from (some may not be there),
/// else those of the controller, else those that have pins.
fn interfaces_asked_for(options: &Options, state: &super::facts::State) -> Vec<String> {
    if !options.interfaces.is_empty() {
        return options.interfaces.clone();
    }
    match (&state.controller, &state.last_run) {
        (_, Some(last)) if !last.interfaces.is_empty() => last.interfaces.clone(),
        (Some(controller), None) if !controller.interfaces.is_empty() => {
            controller.interfaces.clone()
        }
        _ => {
            let live = state.survey.links.iter().filter(|link| link.interface != 0);
            let mut names: Vec<String> = live.map(|link| link.name.clone()).collect();
            names.sort();
            names.dedup();
            names
        }
    }
}

/// How the links that are pinned are attached.
fn mode_in_place(survey: &Survey, interfaces: &[super::facts::Interface]) -> Mode {
    let found = survey.links.iter().find_map(|link| {
        let interface = interfaces.iter().find(|interface| interface.index == link.interface)?;
        Some(match (link.xdp, interface.xdp_in_stack) {
            (false, _) => Mode::Tc,
            (true, true) => Mode::Generic,
            (true, false) => Mode::Native,
        })
    });
    found.unwrap_or(Mode::Auto)
}

/// Reads the configuration file as `xlvs run` does.
fn configuration(options: &Options, state: &super::facts::State) -> (File, Config) {
    // Of the controller that runs, else of the one before.
    let (in_use, id_in_use) = match (&state.controller, &state.last_run) {
        (Some(running), _) => (running.config.clone(), running.config_id.clone()),
        (None, Some(last)) => (last.config.clone(), last.config_id.clone()),
        (None, None) => (None, None),
    };
    let path = options.config.clone().or_else(|| in_use.clone()).unwrap_or_else(|| CONFIG.into());
    let of_running = id_in_use
        .filter(|_| in_use.as_ref() == Some(&path) && options.config_id == config::host_name());
    let config_id = of_running.unwrap_or_else(|| options.config_id.clone());
    let changed = changed(&path).unwrap_or_default();
    let mut file = File { path, changed, config_id, ..File::default() };
    let config = match load(&file.path, &file.config_id, &options.policy) {
        Ok(loaded) => {
            file.warnings = loaded.notes.count(Severity::Warning);
            loaded.balanced().config
        }
        Err(config::Failure::Invalid(report)) => {
            file.errors = report.errors();
            file.warnings = report.count(Severity::Warning);
            Config::default()
        }
        Err(error @ config::Failure::Io { .. }) => {
            file.unreadable = Some(error.to_string());
            Config::default()
        }
    };
    (file, config)
}

fn load(path: &Path, id: &str, policy: &Policy) -> Result<config::Loaded, config::Failure> {
    if path == Path::new("-") {
        return config::load_stdin(id, policy);
    }
    config::load(path, id, policy)
}

fn changed(path: &Path) -> io::Result<u64> {
    Ok(clock::since_1970(fs::metadata(path)?.modified()?))
}

/// A file's contents without the line's end; `None` if it cannot be read.
fn text(path: impl AsRef<Path>) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}
