//! Programs that the configuration names: `notify_up`, `notify_down`, `quorum_up`, `quorum_down`, `misc_path`.

use serde::Serialize;

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Script {
    /// The program and its arguments, with the quotes taken off; never empty. No shell is involved.
    pub command: Vec<String>,
    /// As whom it runs; absent for [`Global::script_user`](super::Global::script_user), and keepalived's choice
    /// without that: the user `keepalived_script` if there is one, else root.
    pub user: Option<ScriptUser>,
}

/// A user, and perhaps a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ScriptUser {
    /// The user's name.
    pub user: String,
    /// The group's name; absent for the user's own.
    pub group: Option<String>,
}
