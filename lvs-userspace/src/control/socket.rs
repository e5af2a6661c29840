//! The control socket. Who may connect is decided by its file's permissions: it belongs to the user who runs the
//! controller, and to nobody else. A client that is slow, silent or talks nonsense costs one of a few places until its time
//! is over, and nothing else waits for it.

use std::{
    fs, io,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::sys::stat::{Mode, umask};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::UCred},
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    protocol::{Answer, LONGEST_REQUEST, Problem, Request, SOCKET},
    read,
};

/// Clients at a time.
const MOST_CLIENTS: usize = 16;

/// How long a client may take to send a request from its first byte to its last, to begin with one, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long not to accept anybody after that has failed: the process has no file descriptors left, most likely.
const PAUSE: Duration = Duration::from_millis(500);

/// A request with the way back to who has made it.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) request: Request,
    /// Whose it is, if the kernel knows.
    pub(super) peer: Option<UCred>,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// The socket. Dropping it removes its file.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Makes it in the runtime directory, which is locked: one that is there was left behind.
    pub(super) fn listen(runtime_dir: &Path) -> anyhow::Result<Self> {
        let path = runtime_dir.join(SOCKET);
        let cannot = || format!("cannot listen on {}", path.display());
        match fs::symlink_metadata(&path) {
            Ok(file) if file.file_type().is_socket() => {
                fs::remove_file(&path).with_context(cannot)?;
            }
            Ok(_) => bail!("{}: something else has its name; remove it", cannot()),
            Err(_) => {}
        }
        // Nobody else may connect at any moment.
        let before = umask(Mode::S_IRWXG | Mode::S_IRWXO | Mode::S_IXUSR);
        let listener = UnixListener::bind(&path);
        umask(before);
        Ok(Self { listener: listener.with_context(cannot)?, path })
    }

    /// Talks to clients and passes on what they ask for. Never ends.
    pub(super) async fn serve(&self, orders: mpsc::Sender<Order>) {
        let places = Arc::new(Semaphore::new(MOST_CLIENTS));
        // What is still talking when this is dropped ends with it.
        let mut clients = JoinSet::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("cannot accept on {}: {error}", self.path.display());
                    sleep(PAUSE).await;
                    continue;
                }
            };
            while clients.try_join_next().is_some() {}
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                refuse(&stream);
                continue;
            };
            let orders = orders.clone();
            clients.spawn(async move {
                if let Err(error) = talk(stream, &orders).await {
                    debug!("control socket: {error}");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Tells a client that there is no place for it, if it can be told without waiting.
fn refuse(stream: &UnixStream) {
    let problem = Problem::new(
        "busy",
        &format!("{MOST_CLIENTS} clients are connected already; try again in some seconds"),
    );
    if let Ok(line) = line(&Answer::Error(problem)) {
        let _too_busy_to_listen = stream.try_write(&line);
    }
}

/// One request after the other, until the client has gone or was too slow.
async fn talk(stream: UnixStream, orders: &mpsc::Sender<Order>) -> io::Result<()> {
    let peer = stream.peer_cred().ok();
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    loop {
        let mut request = Vec::new();
        let limit = LONGEST_REQUEST as u64 + 1;
        let mut line_of = (&mut reading).take(limit);
        timeout(PATIENCE, line_of.read_until(b'\n', &mut request)).await??;
        if request.is_empty() {
            return Ok(());
        }
        let whole = request.ends_with(b"\n");
        let answer = if !whole && request.len() > LONGEST_REQUEST {
            Answer::Error(Problem::new(
                "too-long",
                &format!("a request has {LONGEST_REQUEST} bytes at most; send several"),
            ))
        } else {
            match read::request(&request) {
                Ok(request) => ask(request, peer, orders).await?,
                Err(error) => Answer::Error(Problem::new(
                    "not-understood",
                    &format!("this is no request: {error}; see docs/control.md"),
                )),
            }
        };
        timeout(PATIENCE, writing.write_all(&line(&answer)?)).await??;
        if !whole {
            return Ok(());
        }
    }
}

async fn ask(
    request: Request,
    peer: Option<UCred>,
    orders: &mpsc::Sender<Order>,
) -> io::Result<Answer> {
    let gone = || io::Error::other("the controller is ending");
    let (reply, answer) = oneshot::channel();
    orders.send(Order { request, peer, reply }).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}

fn line(answer: &Answer) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answer).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests;
