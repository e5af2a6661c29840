//! The other end of the control socket: how commands talk to the controller.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{
    protocol::{Answer, Request, SOCKET},
    runtime::holder,
    stop::refuse_stopped,
};

/// How long the controller may take: it may have hundreds of edits to apply, and others' before.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the controller.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    patience: Duration,
}

impl Client {
    /// Connects to the controller that has this runtime directory.
    pub fn connect(runtime_dir: &Path) -> anyhow::Result<Self> {
        Self::connect_for(runtime_dir, PATIENCE)
    }

    /// The same, for who waits for an answer only so long.
    pub(super) fn connect_for(runtime_dir: &Path, patience: Duration) -> anyhow::Result<Self> {
        let path = runtime_dir.join(SOCKET);
        let stream = UnixStream::connect(&path).with_context(|| {
            format!(
                "cannot reach the controller at {}; it takes a running `xlvs run`, its --runtime-dir, and its user's \
                 rights",
                path.display()
            )
        })?;
        // It would be done whenever that goes on, perhaps when nobody wants it any more.
        if let Ok(Some(pid)) = holder(runtime_dir) {
            refuse_stopped(pid)?;
        }
        for set in [UnixStream::set_read_timeout, UnixStream::set_write_timeout] {
            set(&stream, Some(patience))?;
        }
        Ok(Self { stream: BufReader::new(stream), patience })
    }

    /// Asks for something.
    pub fn ask(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        // Who is too busy, or finds it too long, says so and listens no further.
        let heard =
            self.stream.get_mut().write_all(&line).context("the controller does not listen");
        let mut answer = String::new();
        match self.stream.read_line(&mut answer) {
            Ok(read) if read > 0 => {}
            Ok(_) => return heard.and_then(|()| bail!("the controller has closed the connection")),
            Err(_) if heard.is_err() => heard?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                bail!("the controller does not answer within {} s", self.patience.as_secs())
            }
            Err(error) => return Err(error).context("the controller does not answer"),
        }
        serde_json::from_str(&answer).context("the controller's answer is not understood")
    }
}
