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

/// What is asked for many things of a kind.
pub(super) struct Question<Q, T> {
    /// The flags of the requests, beside that they are some.
    pub(super) flags: u16,
    /// The request, which has one answer.
    pub(super) ask: fn(&Q) -> io::Result<RouteNetlinkMessage>,
    /// What to make of the answer.
    pub(super) tell: fn(&Q, Answer) -> T,
}

/// Asks for each, and tells the answers in the same order. The kernel is asked in a thread of its own.
pub(super) async fn exchange<Q: Send + 'static, T: Send + 'static>(
    all: Vec<Q>,
    question: Question<Q, T>,
) -> io::Result<Vec<T>> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    spawn_blocking(move || question.answers(&all)).await.map_err(io::Error::other)?
}

impl<Q, T> Question<Q, T> {
    fn answers(&self, all: &[Q]) -> io::Result<Vec<T>> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let mut told = Vec::with_capacity(all.len());
        let mut received = Vec::with_capacity(RECEIVED);
        for together in all.chunks(TOGETHER) {
            let first = told.len();
            socket.send(&self.requests(together, first as u32)?, 0)?;
            let mut answers: Vec<Option<Answer>> = together.iter().map(|_| None).collect();
            while answers.iter().any(Option::is_none) {
                received.clear();
                socket.recv(&mut received, 0)?;
                take(&received, first as u32, &mut answers)?;
            }
            let answers = together.iter().zip(answers.into_iter().flatten());
            told.extend(answers.map(|(one, answer)| (self.tell)(one, answer)));
        }
        Ok(told)
    }

    /// Requests in one piece, numbered from `first` on.
    fn requests(&self, together: &[Q], first: u32) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        for (number, one) in (first..).zip(together) {
            let mut message = NetlinkMessage::from((self.ask)(one)?);
            message.header.flags = NLM_F_REQUEST | self.flags;
            message.header.sequence_number = number;
            message.finalize();
            let start = out.len();
            out.resize(start + message.buffer_len(), 0);
            message.serialize(out.get_mut(start..).unwrap_or_default());
        }
        Ok(out)
    }
}

/// Puts what was received into the places of the requests that it answers, of which the first one has this number.
fn take(mut received: &[u8], first: u32, answers: &mut [Option<Answer>]) -> io::Result<()> {
    while !received.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(received)
            .map_err(io::Error::other)?;
        // Messages begin at multiples of four bytes.
        let length = (message.header.length as usize).next_multiple_of(4).max(4);
        received = received.get(length..).unwrap_or_default();
        let place = message.header.sequence_number.wrapping_sub(first) as usize;
        if let Some(place @ None) = answers.get_mut(place) {
            *place = Some(answer(message.payload));
        }
    }
    Ok(())
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
