//! Many netlink requests at once: a configuration can have 100,000 real servers, and a request that waits for the one
//! before it to be answered takes ten times as long as the kernel does.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};
use tokio::task::spawn_blocking;

/// Requests that are sent together. The socket has room for as many answers; the kernel gives each some kilobytes.
const TOGETHER: usize = 16;

/// Bytes that are read at a time: more than an answer has.
const RECEIVED: usize = 1 << 15;

/// What the kernel answers to a request: a message, or that it is done.
pub(super) type Answer = io::Result<Option<RouteNetlinkMessage>>;

/// Sends requests with these flags, each of which has one answer, and gives the answers in the same order. The kernel is
/// asked in a thread of its own.
pub(super) async fn exchange(
    requests: Vec<RouteNetlinkMessage>,
    flags: u16,
) -> io::Result<Vec<Answer>> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    spawn_blocking(move || ask(requests, flags)).await.map_err(io::Error::other)?
}

fn ask(requests: Vec<RouteNetlinkMessage>, flags: u16) -> io::Result<Vec<Answer>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut answers = Vec::with_capacity(requests.len());
    let mut requests = (0..).zip(requests).peekable();
    let (mut out, mut received) = (Vec::new(), Vec::with_capacity(RECEIVED));
    while requests.peek().is_some() {
        out.clear();
        let first = answers.len();
        for (number, request) in requests.by_ref().take(TOGETHER) {
            let mut message = NetlinkMessage::from(request);
            message.header.flags = NLM_F_REQUEST | flags;
            message.header.sequence_number = number;
            message.finalize();
            let start = out.len();
            out.resize(start + message.buffer_len(), 0);
            message.serialize(out.get_mut(start..).unwrap_or_default());
            answers.push(None);
        }
        socket.send(&out, 0)?;
        let mut missing = answers.len() - first;
        while missing > 0 {
            received.clear();
            socket.recv(&mut received, 0)?;
            let mut rest = received.as_slice();
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                // Messages begin at multiples of four bytes.
                let length = (message.header.length as usize).next_multiple_of(4).max(4);
                rest = rest.get(length..).unwrap_or_default();
                let place = answers.get_mut(message.header.sequence_number as usize);
                if let Some(place @ None) = place {
                    *place = Some(answer(message.payload));
                    missing -= 1;
                }
            }
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

fn answer(payload: NetlinkPayload<RouteNetlinkMessage>) -> Answer {
    match payload {
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        NetlinkPayload::Error(error) => match error.code {
            None => Ok(None),
            Some(code) => Err(io::Error::from_raw_os_error(-code.get())),
        },
        _ => Ok(None),
    }
}
