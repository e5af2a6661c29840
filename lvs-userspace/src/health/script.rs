//! Programs that the configuration names: run without a shell, as the configured user, in a process group of their own, with
//! nothing on stdin, stdout and stderr, and the controller's environment but for what could lead them astray: keepalived's
//! `system_call_script()` in `notify.c`.

use std::{
    ffi::CString,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use caps::{CapSet, Capability};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Gid, Group, Pid, Uid, User, getgrouplist, getpgid},
};
use tokio::{process::Child, runtime::Handle, sync::oneshot, time::timeout};

use crate::{
    bpf::run_as,
    config::{Check, Config, Global, Script, ScriptUser},
};

/// Who runs scripts if nobody is named, if there is such a user.
const DEFAULT_USER: &str = "keepalived_script";
/// What a script has between the signal that asks and the one that ends.
const GRACE: Duration = Duration::from_secs(2);
/// What it does not get from the environment.
const WITHHELD: [&str; 3] = ["IFS", "LD_PRELOAD", "LD_LIBRARY_PATH"];
/// Who may write to a file beside its owner.
const OTHERS_WRITE: u32 = 0o022;
/// A folder in which everybody may only take away what is theirs.
const STICKY: u32 = 0o1000;

/// A program that runs. Dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    group: Option<Pid>,
}

/// Starts a program, which can take for ever: users are looked up in the network, and a file may be on a server that is dead.
/// So a thread does it that nobody waits for at the end, and that takes no room from other work that blocks. If nobody waits
/// any more the program is ended as soon as it has started. `starting` is dropped once that is over, either way. The error
/// says why the program cannot be started.
pub(crate) async fn start(
    script: &Script,
    global: &Global,
    starting: impl Send + 'static,
) -> Result<Running, String> {
    let script = script.clone();
    let (user, secure) = (global.script_user.clone(), global.script_security);
    let (teller, told) = oneshot::channel();
    // Who waits for children.
    let runtime = Handle::current();
    let start = move || {
        let _context = runtime.enter();
        let started = spawn(&script, user.as_ref(), secure);
        drop(starting);
        drop(teller.send(started));
    };
    let thread = thread::Builder::new().name("script".to_owned()).spawn(start);
    drop(thread.map_err(|error| format!("cannot start a thread: {error}"))?);
    told.await.unwrap_or_else(|_| Err("the thread that was to start it has ended".to_owned()))
}

fn spawn(script: &Script, default: Option<&ScriptUser>, secure: bool) -> Result<Running, String> {
    let (name, arguments) = script.command.split_first().ok_or("no program is named")?;
    let identity = Identity::of(script.user.as_ref().or(default), secure)?;
    let uid = identity.as_ref().map_or_else(Uid::effective, |identity| identity.uid);
    if secure && uid.is_root() {
        check_secure(name)?;
    }
    let mut command = Command::new(name);
    command.args(arguments).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for variable in WITHHELD {
        command.env_remove(variable);
    }
    if let Some(Identity { uid, gid, groups }) = identity {
        run_as(&mut command, uid, gid, groups);
    }
    let child = tokio::process::Command::from(command)
        .spawn()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    Ok(Running { child, group })
}

impl Running {
    /// Waits for its end; once `limit` is over it and all that it started are told to end, and two seconds later they are
    /// ended. Absent if it took too long.
    pub(crate) async fn wait(
        mut self,
        limit: impl Future<Output = ()>,
    ) -> Result<Option<ExitStatus>, String> {
        let ended = tokio::select! {
            biased;
            status = self.child.wait() => Some(status),
            () = limit => None,
        };
        if let Some(status) = ended {
            let group = self.group.take();
            return status.map(Some).map_err(|error| {
                self.group = group;
                format!("cannot wait for a script: {error}")
            });
        }
        self.signal(Signal::SIGTERM);
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::SIGKILL);
            drop(timeout(GRACE, self.child.wait()).await);
        }
        // Dropped: what it had started and is still there goes too.
        Ok(None)
    }

    fn signal(&self, signal: Signal) {
        let Some(group) = self.group else { return };
        // They may be gone.
        let _ = killpg(group, signal);
        // It may have left the group that it was the first of. Until it has been waited for its number is its own.
        if self.child.id().is_some() && getpgid(Some(group)) != Ok(group) {
            let _ = kill(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

/// Whether this process may have programs run as other users, and end them.
pub(crate) fn may_become_others() -> bool {
    let needed = [Capability::CAP_SETUID, Capability::CAP_SETGID, Capability::CAP_KILL];
    caps::read(None, CapSet::Effective)
        .is_ok_and(|held| needed.iter().all(|capability| held.contains(capability)))
}

/// The programs of a configuration that are to run as another user than this process is, each with that user. Users that
/// there are not are not among them.
pub(crate) fn scripts_of_others(config: &Config) -> Vec<(String, String)> {
    let of_services = config.services.iter().flat_map(|service| {
        let of_servers = service.real_servers.iter().flat_map(|server| {
            let checks = server.checkers.iter().filter_map(|checker| match &checker.check {
                Check::Misc(misc) => Some(&misc.script),
                _ => None,
            });
            checks.chain(server.notify_up.as_deref()).chain(server.notify_down.as_deref())
        });
        of_servers.chain(&service.quorum.up).chain(&service.quorum.down)
    });
    let global = &config.global;
    let fifos = [&global.notify_fifo, &global.lvs_notify_fifo];
    let of_fifos = fifos.into_iter().flatten().filter_map(|fifo| fifo.script.as_ref());
    let mut others: Vec<(String, String)> = Vec::new();
    for script in of_services.chain(of_fifos) {
        let user = script.user.as_ref().or(global.script_user.as_ref());
        if let (Some(user), Ok(Some(_))) = (user, Identity::of(user, global.script_security)) {
            let program = script.command.first().cloned().unwrap_or_default();
            others.push((program, user.user.clone()));
        }
    }
    others
}

/// As whom to run.
#[derive(Debug)]
struct Identity {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    /// Absent for whom the controller is: nobody else, if it may not become others and nobody is named. `set_uid_gid()` and `get_default_script_user()` in keepalived's `notify.c`.
    fn of(wanted: Option<&ScriptUser>, secure: bool) -> Result<Option<Self>, String> {
        if wanted.is_none() && !may_become_others() {
            return Ok(None);
        }
        let name = wanted.map_or(DEFAULT_USER, |wanted| wanted.user.as_str());
        let user =
            User::from_name(name).map_err(|error| format!("cannot look up {name}: {error}"))?;
        let Some(user) = user else {
            return match wanted {
                None if !secure => Ok(None),
                _ => Err(format!("there is no user {name}")),
            };
        };
        let mut gid = user.gid;
        if let Some(group) = wanted.and_then(|wanted| wanted.group.as_deref()) {
            let found = Group::from_name(group)
                .map_err(|error| format!("cannot look up the group {group}: {error}"))?;
            gid = found.ok_or_else(|| format!("there is no group {group}"))?.gid;
        }
        // Without the right to be others it may still be oneself.
        if !Uid::effective().is_root() && (user.uid, gid) == (Uid::effective(), Gid::effective()) {
            return Ok(None);
        }
        let c_name = CString::new(name).map_err(|_| format!("there is no user {name:?}"))?;
        let groups = getgrouplist(&c_name, gid)
            .map_err(|error| format!("cannot look up the groups of {name}: {error}"))?;
        Ok(Some(Self { uid: user.uid, gid, groups }))
    }
}

/// `enable_script_security`: nobody but root can change a program that root runs, or what leads to it.
fn check_secure(name: &str) -> Result<(), String> {
    let path = found(name).ok_or_else(|| format!("there is no program {name}"))?;
    let path = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    for part in path.ancestors() {
        let metadata = part.metadata().map_err(|error| format!("{}: {error}", part.display()))?;
        let mode = metadata.mode();
        let shared = mode & OTHERS_WRITE != 0 && !(metadata.is_dir() && mode & STICKY != 0);
        if metadata.uid() != 0 || shared {
            return Err(format!(
                "{} is not run as root: others can write to {} (enable_script_security)",
                path.display(),
                part.display()
            ));
        }
    }
    Ok(())
}

/// As a shell would find it.
fn found(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(Path::new(name).to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}
