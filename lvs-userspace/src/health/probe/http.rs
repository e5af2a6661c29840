//! `HTTP_GET` and `SSL_GET`: a page that is as expected. The request is written and the answer read as it stands, without
//! an HTTP client: digests are of the bytes that follow the header, chunks and all, as in keepalived's `check_http.c`.

use std::{ops::RangeInclusive, time::Duration};

use md5::{Digest as _, Md5};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    task::yield_now,
    time::{Instant, timeout, timeout_at},
};

use super::{Fault, Tls, head::Head, regex::Pattern, socket, tls, within, words};
use crate::{
    config::{HttpCheck, HttpVersion, RegexError, Url},
    health::identity::Endpoint,
};

/// An expression looks at the first bytes of a page only, so many.
const SEARCHED: usize = 256 << 10;
/// So many bytes are read at once.
const READ: usize = 16 << 10;
/// After so many bytes of an answer it is the turn of others: a server can send as fast as they are read, for ever.
const TURN: usize = 4 * READ;

/// What to ask whom.
pub(super) struct Page<'p> {
    pub(super) http: &'p HttpCheck,
    pub(super) url: &'p Url,
    /// `delay_loop`: when the next check is due.
    pub(super) limit: Duration,
    pub(super) tls: &'p Result<Tls, String>,
}

/// What there is of an answer whose status is well.
struct Answer {
    /// Only if something looks at it.
    digest: Option<[u8; 16]>,
    /// Only if something looks at it.
    text: Vec<u8>,
    /// Until when it must be clear whether it is well.
    deadline: Instant,
}

impl Page<'_> {
    /// Asks for the page, and looks at it.
    pub(super) async fn check(
        &self,
        regex: Option<&Result<Pattern, RegexError>>,
    ) -> Result<(), Fault> {
        let regex = regex.map(Result::as_ref).transpose().map_err(Fault::unable)?;
        let connection = &self.http.connection;
        let stream = socket::tcp(connection).await?;
        let answer = if self.http.tls {
            let context = self.tls.as_ref().map_err(Fault::unable)?;
            let own = self.http.sni_name.as_deref().or(self.url.virtualhost.as_deref());
            let name = own.filter(|_| self.http.sni);
            let shaken =
                timeout(connection.timeout, context.connect(stream, connection.address, name));
            let mut stream = match shaken.await {
                Ok(result) => result
                    .map_err(|error| Fault::failed(format!("TLS: {}", tls::reason(&error))))?,
                Err(_) => return Err(within("no TLS handshake", connection.timeout)),
            };
            let answer = self.ask(&mut stream, regex.is_some()).await;
            if self.url.tls_compliant {
                // Says goodbye; whether the server does so too is not asked, as in keepalived.
                drop(timeout(connection.timeout, stream.shutdown()).await);
            }
            answer
        } else {
            let mut stream = stream;
            self.ask(&mut stream, regex.is_some()).await
        }?;
        self.judge(answer, regex).await
    }

    async fn ask(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        keep: bool,
    ) -> Result<Answer, Fault> {
        let limit = self.http.connection.timeout;
        let request = self.request();
        match timeout(limit, async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await
        })
        .await
        {
            Ok(result) => result.map_err(|error| Fault::of_peer(&error))?,
            Err(_) => return Err(within("cannot send the request", limit)),
        }
        let whole = self.whole();
        let deadline = Instant::now() + whole;
        let (digest, text) = timeout_at(deadline, self.read(stream, keep))
            .await
            .unwrap_or_else(|_| Err(within("no complete answer", whole)))?;
        Ok(Answer { digest, text, deadline })
    }

    /// How long it may take from the question on until it is clear whether the answer is well.
    fn whole(&self) -> Duration {
        self.http.connection.timeout.max(self.limit)
    }

    /// As keepalived writes it, so that servers that know its checks by that know these.
    fn request(&self) -> String {
        let (minor, close) = match self.http.version {
            HttpVersion::V10 => (0, ""),
            HttpVersion::V10Close => (0, "Connection: close\r\n"),
            HttpVersion::V11 => (1, "Connection: close\r\n"),
        };
        let connection = &self.http.connection;
        let host = self.url.virtualhost.clone().unwrap_or_else(|| {
            Endpoint { address: connection.address, port: connection.port }.to_string()
        });
        format!(
            "GET {} HTTP/1.{minor}\r\nUser-Agent: KeepAliveClient\r\n{close}Host: {host}\r\n\r\n",
            self.url.path
        )
    }

    /// Reads an answer to its end: where its length says, or where the server closes. Whatever comes after a status that is not
    /// wanted makes it no better.
    pub(super) async fn read(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        keep: bool,
    ) -> Result<(Option<[u8; 16]>, Vec<u8>), Fault> {
        let limit = self.http.connection.timeout;
        let mut buffer = vec![0; READ];
        let mut digest = self.url.digest.map(|_| Md5::new());
        let mut text = Vec::new();
        let mut take = |part: &[u8], left: &mut Option<u64>| {
            let room = left.map_or(part.len(), |left| {
                part.len().min(usize::try_from(left).unwrap_or(usize::MAX))
            });
            let part = part.get(..room).unwrap_or(part);
            *left = left.map(|left| left - room as u64);
            if let Some(digest) = &mut digest {
                digest.update(part);
            }
            if keep {
                let room = SEARCHED.saturating_sub(text.len());
                text.extend_from_slice(part.get(..room).unwrap_or(part));
            }
        };
        let mut head = Head::default();
        let mut left = loop {
            let length = some(stream, &mut buffer, limit).await?;
            if length == 0 {
                let what = if head.is_empty() { "no answer" } else { "half an answer" };
                return Err(Fault::failed(format!("{what}: the server closed the connection")));
            }
            if let Some(start) = head.take(buffer.get(..length).unwrap_or_default())? {
                self.expect(start.status)?;
                let mut left = start.length;
                take(start.page, &mut left);
                break left;
            }
        };
        drop(head);
        let mut turn = 0;
        while left != Some(0) {
            let length = some(stream, &mut buffer, limit).await?;
            if length == 0 {
                break;
            }
            take(buffer.get(..length).unwrap_or_default(), &mut left);
            turn += length;
            if turn >= TURN {
                turn = 0;
                yield_now().await;
            }
        }
        Ok((digest.map(|digest| digest.finalize().into()), text))
    }

    fn expect(&self, status: u16) -> Result<(), Fault> {
        let codes = &self.url.status_codes;
        if codes.iter().any(|range| range.contains(&status)) {
            return Ok(());
        }
        Err(Fault::failed(format!("status {status}, {} wanted", listed(codes))))
    }

    async fn judge(&self, answer: Answer, regex: Option<&Pattern>) -> Result<(), Fault> {
        if let Some((wanted, found)) = self.url.digest.zip(answer.digest)
            && wanted != found
        {
            let (found, wanted) = (hex(&found), hex(&wanted));
            return Err(Fault::failed(format!("digest {found}, {wanted} wanted")));
        }
        let Some(pattern) = regex else { return Ok(()) };
        match pattern.check(answer.text, answer.deadline).await {
            Some(found) => found,
            None => Err(within("no result of the regex", self.whole())),
        }
    }
}

/// Reads once. Many servers end TLS without saying so: keepalived takes that as an end like others.
async fn some(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    limit: Duration,
) -> Result<usize, Fault> {
    match timeout(limit, stream.read(buffer)).await {
        Ok(Ok(length)) => Ok(length),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(0),
        Ok(Err(error)) => Err(Fault::failed(words(&error))),
        Err(_) => Err(within("no answer", limit)),
    }
}

/// `200, 204, 300-399`.
fn listed(codes: &[RangeInclusive<u16>]) -> String {
    let one = |range: &RangeInclusive<u16>| {
        if range.start() == range.end() {
            range.start().to_string()
        } else {
            format!("{}-{}", range.start(), range.end())
        }
    };
    codes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn hex(digest: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*digest))
}
