//! A client, a service and its server: how the frames of each look to the other. All is known beforehand: round robin
//! begins with the newest server, full NAT with the first local address and port.

use lvs_common::{
    abi::Counter,
    host::{
        Frame,
        sample::{CLIENT_MAC, Kind, Method, SERVER_MAC},
    },
};

use crate::world::{FIRST_PORT, LOCAL_MACS, Place, Special, server_port};

/// How much of a packet an ICMP error of our own quotes.
const QUOTE: usize = 128;

/// What is to become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It leaves towards the servers.
    ToServer,
    /// It leaves towards the clients.
    ToClient,
    /// An ICMP error goes back where it came from.
    Back,
    /// It goes to the stack for this reason.
    Pass(Counter),
    /// It goes nowhere for this reason.
    Drop(Counter),
}

/// A frame, what is to become of it, and how it must look then.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) sent: Vec<u8>,
    pub(crate) fate: Fate,
    pub(crate) left: Vec<u8>,
}

impl Step {
    pub(crate) fn new<A: Place>(sent: &Frame<A>, fate: Fate, left: &Frame<A>) -> Self {
        Self { sent: sent.bytes().unwrap(), fate, left: left.bytes().unwrap() }
    }

    /// It passes untouched.
    pub(crate) fn passes<A: Place>(frame: &Frame<A>, reason: Counter) -> Self {
        Self::new(frame, Fate::Pass(reason), frame)
    }

    /// It is dropped as it is.
    pub(crate) fn dropped<A: Place>(frame: &Frame<A>, reason: Counter) -> Self {
        Self::new(frame, Fate::Drop(reason), frame)
    }

    /// Its sender is told why not, by `speaker`.
    pub(crate) fn refused<A: Place>(frame: &Frame<A>, error: Error, speaker: A) -> Self {
        let packet = frame.packet().unwrap();
        Self {
            sent: frame.bytes().unwrap(),
            ..Self::refused_packet(frame, &packet, error, speaker)
        }
    }

    /// The same of a packet that is not all of the frame.
    pub(crate) fn refused_packet<A: Place>(
        frame: &Frame<A>,
        packet: &[u8],
        error: Error,
        speaker: A,
    ) -> Self {
        let quote = &packet[..packet.len().min(QUOTE) & !1];
        let [from, to] = frame.macs;
        let (kind, rest) = error.of::<A>();
        let left = Frame {
            macs: [to, from],
            tags: frame.tags.clone(),
            class: 0xc0,
            identification: 0,
            dont_fragment: A::VERSION == 4,
            ..Frame::icmp(speaker, frame.source, kind, rest, quote)
        };
        Self { sent: Vec::new(), fate: Fate::Back, left: left.bytes().unwrap() }
    }
}

/// An ICMP error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Error {
    PortUnreachable,
    TimeExceeded,
    TooBig(u16),
}

impl Error {
    /// Type, code and what follows the checksum.
    pub(crate) fn of<A: Place>(self) -> ([u8; 2], u32) {
        match (self, A::VERSION) {
            (Self::PortUnreachable, 4) => ([3, 3], 0),
            (Self::PortUnreachable, _) => ([1, 4], 0),
            (Self::TimeExceeded, 4) => ([11, 0], 0),
            (Self::TimeExceeded, _) => ([3, 0], 0),
            (Self::TooBig(mtu), 4) => ([3, 4], mtu.into()),
            (Self::TooBig(mtu), _) => ([2, 0], mtu.into()),
        }
    }
}

/// A connection, or what would be one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk<A> {
    pub(crate) client: (A, u16),
    pub(crate) service: (A, u16),
    /// The client as the server sees it.
    pub(crate) seen: (A, u16),
    pub(crate) server: (A, u16),
    pub(crate) tcp: bool,
}

impl<A: Place> Talk<A> {
    /// The first connection of a service.
    pub(crate) fn new(method: Method, kind: Kind) -> Self {
        let tcp = matches!(kind, Kind::Tcp | Kind::Persistent);
        let port = lvs_common::host::sample::port(method, kind);
        Self::between(method, port, tcp, A::CLIENTS[0], A::SERVERS[1])
    }

    /// The first connection of a service with one server.
    pub(crate) fn special(method: Method, special: Special, tcp: bool) -> Self {
        let server = match special {
            Special::Narrow => A::NARROW_SERVER,
            Special::Unresolved => A::UNRESOLVED_SERVER,
            Special::Empty | Special::Own => A::SERVERS[0],
        };
        Self::between(method, special.port(method), tcp, A::CLIENTS[0], server)
    }

    fn between(method: Method, port: u16, tcp: bool, client: A, server: A) -> Self {
        let client = (client, 40000);
        let seen = match method {
            Method::Nat => client,
            Method::FullNat => (A::LOCALS[0], FIRST_PORT),
        };
        Self {
            client,
            service: (A::VIP, port),
            seen,
            server: (server, server_port(method, port)),
            tcp,
        }
    }

    /// The same with another client.
    pub(crate) fn of_client(self, client: A) -> Self {
        let seen = if self.seen == self.client { (client, 40000) } else { self.seen };
        Self { client: (client, 40000), seen, ..self }
    }

    /// The connection after the first one, which goes to the other server.
    pub(crate) fn second(self) -> Self {
        Self { server: (A::SERVERS[0], self.server.1), ..self }
    }

    /// From the client to the service.
    pub(crate) fn question(&self, flags: u8) -> Frame<A> {
        let Self { client, service, .. } = *self;
        if self.tcp {
            Frame::new(client, service, flags)
        } else {
            Frame::udp(client, service, b"a question")
        }
    }

    /// From the server to whom it sees.
    pub(crate) fn answer(&self, flags: u8) -> Frame<A> {
        if self.tcp {
            Frame::new(self.server, self.seen, flags)
        } else {
            Frame::udp(self.server, self.seen, b"an answer")
        }
    }

    /// How a client's frame must look to the server.
    pub(crate) fn asked(&self, frame: &Frame<A>) -> Frame<A> {
        Frame { macs: [LOCAL_MACS[1], SERVER_MAC], ttl: frame.ttl - 1, ..self.rewritten(frame) }
    }

    /// The same before the stack has sent it on.
    pub(crate) fn rewritten(&self, frame: &Frame<A>) -> Frame<A> {
        Frame {
            source: self.seen.0,
            destination: self.server.0,
            ports: [self.seen.1, self.server.1],
            ..frame.clone()
        }
    }

    /// How a server's frame must look to the client.
    pub(crate) fn answered(&self, frame: &Frame<A>) -> Frame<A> {
        Frame {
            macs: [LOCAL_MACS[0], CLIENT_MAC],
            ttl: frame.ttl - 1,
            source: self.service.0,
            destination: self.client.0,
            ports: [self.service.1, self.client.1],
            ..frame.clone()
        }
    }

    /// A client's frame reaches the server.
    pub(crate) fn there(&self, frame: &Frame<A>) -> Step {
        Step::new(frame, Fate::ToServer, &self.asked(frame))
    }

    /// A server's frame reaches the client.
    pub(crate) fn back(&self, frame: &Frame<A>) -> Step {
        Step::new(frame, Fate::ToClient, &self.answered(frame))
    }

    /// The same of all fragments of a frame, in this order.
    pub(crate) fn fragments(&self, frame: &Frame<A>, fate: Fate, order: &[usize]) -> Vec<Step> {
        const SIZE: usize = 256;
        let after = if fate == Fate::ToServer { self.asked(frame) } else { self.answered(frame) };
        let (sent, left) = (frame.fragments(SIZE).unwrap(), after.fragments(SIZE).unwrap());
        let step = |at: &usize| Step { sent: sent[*at].clone(), fate, left: left[*at].clone() };
        order.iter().map(step).collect()
    }

    /// An error about a client's packet, as the server or a router before it sends it, reaches the client.
    pub(crate) fn error_back(&self, question: &Frame<A>, error: Error, speaker: A) -> Step {
        let (kind, rest) = error.of::<A>();
        let quoted = Frame { ttl: question.ttl - 1, ..question.clone() };
        let quote = self.asked(question).packet().unwrap();
        let sent = Frame::icmp(speaker, self.seen.0, kind, rest, &quote);
        let left = Frame {
            macs: [LOCAL_MACS[0], CLIENT_MAC],
            ttl: sent.ttl - 1,
            ..Frame::icmp(A::VIP, self.client.0, kind, rest, &quoted.packet().unwrap())
        };
        Step::new(&sent, Fate::ToClient, &left)
    }

    /// An error about a server's packet, as the client or a router before it sends it, reaches the server.
    pub(crate) fn error_there(&self, answer: &Frame<A>, error: Error, speaker: A) -> Step {
        let (kind, rest) = error.of::<A>();
        let quoted = Frame { ttl: answer.ttl - 1, ..answer.clone() };
        let quote = self.answered(answer).packet().unwrap();
        let sent = Frame::icmp(speaker, A::VIP, kind, rest, &quote);
        // NAT leaves a router's own name on its error.
        let source = if self.seen == self.client { speaker } else { self.seen.0 };
        let left = Frame {
            macs: [LOCAL_MACS[1], SERVER_MAC],
            ttl: sent.ttl - 1,
            ..Frame::icmp(source, self.server.0, kind, rest, &quoted.packet().unwrap())
        };
        Step::new(&sent, Fate::ToServer, &left)
    }
}
