//! `SMTP_CHECK`: a mail server that greets, answers HELO, and lets one go.

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{Fault, socket, within};
use crate::config::{Connection, SmtpCheck};

/// A line may be this long, in bytes.
const LINE: u64 = 4096;

/// Has the dialogue with each host, one after the other.
pub(super) async fn check(check: &SmtpCheck) -> Result<(), Fault> {
    for host in &check.hosts {
        dialogue(check, host).await.map_err(|fault| match fault {
            // Which one, if there are several.
            Fault::Failed(reason) if check.hosts.len() > 1 => {
                Fault::Failed(format!("{}: {reason}", host.address))
            }
            fault => fault,
        })?;
    }
    Ok(())
}

async fn dialogue(check: &SmtpCheck, host: &Connection) -> Result<(), Fault> {
    let mut stream = BufReader::new(socket::tcp(host).await?);
    wanted("greeting", 220, &line(&mut stream, host).await?)?;
    say(&mut stream, host, &format!("HELO {}\r\n", check.helo_name)).await?;
    wanted("answer to HELO", 250, &line(&mut stream, host).await?)?;
    say(&mut stream, host, "QUIT\r\n").await?;
    // Any line does.
    line(&mut stream, host).await.map(drop)
}

async fn say(
    stream: &mut BufReader<TcpStream>,
    host: &Connection,
    text: &str,
) -> Result<(), Fault> {
    match timeout(host.timeout, stream.write_all(text.as_bytes())).await {
        Ok(result) => result.map_err(|error| Fault::of_peer(&error)),
        Err(_) => Err(within("cannot write", host.timeout)),
    }
}

async fn line(stream: &mut BufReader<TcpStream>, host: &Connection) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    let mut limited = stream.take(LINE);
    match timeout(host.timeout, limited.read_until(b'\n', &mut bytes)).await {
        Ok(Ok(_)) if bytes.ends_with(b"\n") => {
            Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        }
        Ok(Ok(_)) if bytes.len() as u64 == LINE => Err(Fault::failed("a line that does not end")),
        Ok(Ok(_)) => Err(Fault::failed("the server closed the connection")),
        Ok(Err(error)) => Err(Fault::of_peer(&error)),
        Err(_) => Err(within("no answer", host.timeout)),
    }
}

/// The code and a space, or nothing more: `smtp_get_status()` in keepalived's `check_smtp.c`. So an answer of several lines
/// is none.
fn wanted(what: &str, code: u16, line: &str) -> Result<(), Fault> {
    let rest = line.strip_prefix(&code.to_string());
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')) {
        return Ok(());
    }
    let start: String = line.chars().take(60).collect();
    Err(Fault::failed(format!("{what} {start:?}, {code} wanted")))
}
