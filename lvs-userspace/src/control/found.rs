//! What can be found out about a controller from outside: whether one runs, and what it has told.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tracing::debug;

use super::{
    client::Client,
    last_run::LastRun,
    place::Place,
    protocol::{Answer, Request},
    runtime::{self, holder},
    status::Status,
};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A controller that runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Controller {
    /// Its process.
    pub(crate) process: i32,
    /// Its configuration file, once it has started.
    pub(crate) config: Option<PathBuf>,
    /// When what is in use was read from it, in seconds since 1970.
    pub(crate) since: u64,
    /// Why what is in use is not what the file says, if so.
    pub(crate) outdated: Option<String>,
    /// Its interfaces.
    pub(crate) interfaces: Vec<String>,
    /// What lines `@ID` of its configuration are compared with, if that was said.
    pub(crate) config_id: Option<String>,
    /// Why it does not answer on its socket, if so.
    pub(crate) silent: Option<String>,
}

impl Controller {
    /// The one that has this runtime directory; `None` if none runs.
    pub(crate) fn of(place: &Place) -> anyhow::Result<Option<Self>> {
        let runtime_dir = &place.runtime_dir;
        let Some(process) = holder(runtime_dir)? else {
            place.refuse_elsewhere()?;
            return Ok(None);
        };
        let mut found = Self { process: process.as_raw(), ..Self::default() };
        match Status::read(&runtime::status(runtime_dir)) {
            Ok(None) => {}
            Ok(Some(status)) => {
                found.config = Some(status.config);
                found.since = status.since;
                found.outdated = status.out_of_date.map(|why| why.reason);
            }
            Err(error) => debug!("{error:#}"),
        }
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let words = line.split(|byte| *byte == 0).skip(1);
        let words = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let Given { interfaces, config_id, .. } = Given::of(words);
        (found.interfaces, found.config_id) = (interfaces, config_id);
        let asked = Client::connect_for(runtime_dir, PATIENCE)
            .and_then(|mut client| client.ask(&Request::Status));
        match asked {
            Ok(Answer::Status(status)) => found.interfaces = status.interfaces,
            Ok(answer) => debug!("an answer that was not asked for: {answer:?}"),
            Err(error) => found.silent = Some(format!("{error:#}")),
        }
        Ok(Some(found))
    }
}

/// What `xlvs run` was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// The words behind the program's name.
    words: Vec<String>,
    /// The configuration file, if it was named.
    pub(crate) config: Option<PathBuf>,
    /// The interfaces.
    pub(crate) interfaces: Vec<String>,
    /// What lines `@ID` of its configuration are compared with, if that was said.
    pub(crate) config_id: Option<String>,
}

impl Given {
    /// That of the run that a data plane is from whose controller has this runtime directory, or had it before it was killed;
    /// `None` where nothing is known.
    pub(crate) fn last(runtime_dir: &Path) -> Option<Self> {
        let words = LastRun::read(runtime_dir).command;
        (!words.is_empty()).then(|| Self::of(words))
    }

    fn of(words: Vec<String>) -> Self {
        let given: Vec<&str> = words.iter().map(String::as_str).collect();
        let config = option(&given, &["--config"]).pop().map(PathBuf::from);
        let interfaces = option(&given, &["--interface"]);
        let config_id = option(&given, &["--config-id", "-i"]).pop();
        Self { words, config, interfaces, config_id }
    }

    /// The same again, for a shell.
    pub(crate) fn command(&self) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/.:,@+%[]".contains(&byte);
        let quoted = self.words.iter().map(|word| {
            if !word.is_empty() && word.bytes().all(plain) {
                return word.clone();
            }
            format!("'{}'", word.replace('\'', r"'\''"))
        });
        format!("xlvs {}", quoted.collect::<Vec<_>>().join(" "))
    }
}

/// The values of an option in the words of a command line.
fn option(words: &[&str], names: &[&str]) -> Vec<String> {
    let mut values = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some((name, value)) if names.contains(&name) => values.push(value.to_owned()),
            _ if names.contains(word) => {
                values.extend(words.next().map(|value| (*value).to_owned()));
            }
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_can_be_repeated_by_a_shell() {
        let words = [
            "run",
            "--config",
            "/etc/my file",
            "--interface=eth0",
            "--mode",
            "tc",
            "-i",
            "o'k",
            "",
        ];
        let given = Given::of(words.map(str::to_owned).to_vec());
        assert_eq!(
            given.command(),
            r"xlvs run --config '/etc/my file' --interface=eth0 --mode tc -i 'o'\''k' ''"
        );
        assert_eq!(given.config.as_deref(), Some(Path::new("/etc/my file")));
        assert_eq!(
            (given.interfaces.join(","), given.config_id.as_deref()),
            ("eth0".to_owned(), Some("o'k"))
        );
        let folder = tempfile::tempdir().unwrap();
        assert!(Given::last(folder.path()).is_none());
    }

    #[test]
    fn options_are_found_in_both_spellings() {
        let words = ["xlvs", "run", "--interface", "eth0", "--interface=eth1", "-i", "one", ""];
        assert_eq!(option(&words, &["--interface"]), ["eth0", "eth1"]);
        assert_eq!(option(&words, &["--config-id", "-i"]), ["one"]);
        assert_eq!(option(&["--interface"], &["--interface"]), Vec::<String>::new());
    }
}
