//! A balancer in memory, seen by the packets of one address family through the services of one method.

use core::marker::PhantomData;

use lvs_common::{
    abi::{Load, Service},
    env::Route,
    host::{
        Frame, MemoryEnv, MemoryPacket,
        sample::{
            self, CLIENT_MAC, CLIENT_SIDE, Kind, LOCAL_MAC, Method, SERVER_MAC, SERVER_SIDE,
            Sample, port, service_key,
        },
    },
    pipeline::{self, Verdict},
    tcp::{
        TcpState,
        flags::{ACK, SYN},
    },
};

pub(crate) const TO_SERVER: Verdict = Verdict::Redirect(SERVER_SIDE);
pub(crate) const TO_CLIENT: Verdict = Verdict::Redirect(CLIENT_SIDE);

/// Makes of each of these functions a test for both address families and both methods.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {
        $($crate::world::cases! { $name
            nat_over_ipv4 V4 Nat, nat_over_ipv6 V6 Nat,
            full_nat_over_ipv4 V4 FullNat, full_nat_over_ipv6 V6 FullNat
        })+
    };
}

/// The same for both families with NAT.
macro_rules! with_nat {
    ($($name:ident),+ $(,)?) => {
        $($crate::world::cases! { $name over_ipv4 V4 Nat, over_ipv6 V6 Nat })+
    };
}

/// The same for both families with full NAT.
macro_rules! with_full_nat {
    ($($name:ident),+ $(,)?) => {
        $($crate::world::cases! { $name over_ipv4 V4 FullNat, over_ipv6 V6 FullNat })+
    };
}

macro_rules! cases {
    ($name:ident $($case:ident $family:ident $method:ident),+) => {
        mod $name {
            $(
                #[test]
                fn $case() {
                    let method = lvs_common::host::sample::Method::$method;
                    super::$name($crate::world::World::<lvs_common::abi::$family>::new(method));
                }
            )+
        }
    };
}

pub(crate) use {cases, everywhere, with_full_nat, with_nat};

pub(crate) struct World<A> {
    pub(crate) env: MemoryEnv,
    pub(crate) method: Method,
    family: PhantomData<A>,
}

impl<A: Sample> World<A> {
    pub(crate) fn new(method: Method) -> Self {
        Self { env: sample::balancer(), method, family: PhantomData }
    }

    pub(crate) fn full_nat(&self) -> bool {
        self.method == Method::FullNat
    }

    pub(crate) fn client() -> A {
        A::CLIENTS[0]
    }

    pub(crate) fn service(&self, kind: Kind) -> Service {
        A::tables(&self.env).services[&service_key(self.method, kind)]
    }

    pub(crate) fn change_service(&mut self, kind: Kind, change: impl FnOnce(&mut Service)) {
        let key = service_key(self.method, kind);
        change(A::tables_mut(&mut self.env).services.get_mut(&key).unwrap());
    }

    /// The id of one of the service's three servers.
    pub(crate) fn server(&self, kind: Kind, place: u32) -> u32 {
        let service = self.service(kind);
        let first = self.env.servers.iter().position(|server| server.service == service.id);
        u32::try_from(first.unwrap()).unwrap() + place
    }

    /// Active and inactive connections of one of the service's servers.
    pub(crate) fn load(&self, kind: Kind, place: u32) -> (u32, u32) {
        let Load { active, inactive, .. } = self.env.load(self.server(kind, place));
        (active, inactive)
    }

    /// The same of all servers there are.
    pub(crate) fn total_load(&self) -> (u32, u32) {
        let loads = self.env.loads.borrow();
        loads.values().fold((0, 0), |(active, inactive), load| {
            (active + load.active, inactive + load.inactive)
        })
    }

    pub(crate) fn pass_seconds(&self, seconds: u64) {
        self.pass_nanoseconds(seconds * 1_000_000_000);
    }

    pub(crate) fn pass_nanoseconds(&self, time: u64) {
        self.env.now.set(self.env.now.get() + time);
    }

    pub(crate) fn route(&self, destination: A, route: Route<A>) {
        A::tables(&self.env).routes.borrow_mut().insert(destination, route);
    }

    /// Sets the MTU of the ways to clients or servers.
    pub(crate) fn set_mtu(&self, side: u32, mtu: u16) {
        for route in A::tables(&self.env).routes.borrow_mut().values_mut() {
            if route.hop.interface == side {
                route.mtu = mtu;
            }
        }
    }

    /// How many entries the connection table has.
    pub(crate) fn entries(&self) -> usize {
        A::tables(&self.env).flows.borrow().len()
    }

    pub(crate) fn state(&self, frame: &Frame<A>) -> Option<TcpState> {
        TcpState::from_number(A::tables(&self.env).entry(&frame.tuple())?.head.state)
    }

    /// Sends a frame as bytes; it comes in on the side that its source is on.
    pub(crate) fn send_bytes(&self, side: u32, bytes: &[u8]) -> (Verdict, Vec<u8>) {
        self.env.ingress.set(side);
        let mut packet = MemoryPacket::new(bytes);
        let verdict = pipeline::process(&mut packet, &self.env);
        (verdict, packet.bytes())
    }

    /// Sends a frame and gives it back as it left, with its checksums checked.
    pub(crate) fn send(&self, frame: &Frame<A>) -> (Verdict, Frame<A>) {
        let (verdict, bytes) = self.send_bytes(side(frame), &frame.bytes().unwrap());
        (verdict, Frame::read(&bytes).unwrap())
    }

    /// Sends a frame that must leave as another one, byte for byte.
    pub(crate) fn expect(&self, frame: &Frame<A>, verdict: Verdict, expected: &Frame<A>) {
        let (found, bytes) = self.send_bytes(side(frame), &frame.bytes().unwrap());
        assert_eq!(found, verdict);
        assert_eq!(Frame::read(&bytes).unwrap(), *expected);
        assert_eq!(bytes, expected.bytes().unwrap());
    }

    /// Sends a frame that must pass untouched.
    pub(crate) fn expect_pass(&self, frame: &Frame<A>, verdict: Verdict) {
        self.expect(frame, verdict, frame);
    }

    /// From the client to the service.
    pub(crate) fn request(&self, kind: Kind, client_port: u16, flags: u8) -> Frame<A> {
        let (client, service) = ((Self::client(), client_port), (A::VIP, port(self.method, kind)));
        match kind {
            Kind::Tcp | Kind::Persistent => Frame::new(client, service, flags),
            Kind::Udp | Kind::OnePacket => Frame::udp(client, service, b"a question"),
        }
    }

    pub(crate) fn segment(&self, client_port: u16, flags: u8) -> Frame<A> {
        self.request(Kind::Tcp, client_port, flags)
    }

    pub(crate) fn datagram(&self, client_port: u16) -> Frame<A> {
        self.request(Kind::Udp, client_port, 0)
    }

    /// Opens a connection up to the answer's answer and gives its first packet as the server sees it.
    pub(crate) fn open(&self, kind: Kind, client_port: u16) -> Frame<A> {
        let (verdict, seen) = self.send(&self.request(kind, client_port, SYN));
        assert_eq!(verdict, TO_SERVER);
        assert_eq!(self.send(&reply(&seen, SYN | ACK)).0, TO_CLIENT);
        assert_eq!(self.send(&self.request(kind, client_port, ACK)).0, TO_SERVER);
        seen
    }
}

/// How a client's frame must look to a server, given how the first one looked.
pub(crate) fn as_server_sees<A: Sample>(frame: &Frame<A>, first: &Frame<A>) -> Frame<A> {
    Frame {
        source: first.source,
        destination: first.destination,
        ports: first.ports,
        ..forwarded(frame, SERVER_MAC)
    }
}

/// How a server's frame must look to a client.
pub(crate) fn as_client_sees<A: Sample>(frame: &Frame<A>, asked: &Frame<A>) -> Frame<A> {
    let [client_port, service_port] = asked.ports;
    Frame {
        source: asked.destination,
        destination: asked.source,
        ports: [service_port, client_port],
        ..forwarded(frame, CLIENT_MAC)
    }
}

/// A frame one hop further.
pub(crate) fn forwarded<A: Sample>(frame: &Frame<A>, mac: [u8; 6]) -> Frame<A> {
    Frame { macs: [LOCAL_MAC, mac], ttl: frame.ttl - 1, ..frame.clone() }
}

/// The side that a frame comes in on.
fn side<A: Sample>(frame: &Frame<A>) -> u32 {
    if A::SERVERS.contains(&frame.source) || A::ROUTER == frame.source {
        SERVER_SIDE
    } else {
        CLIENT_SIDE
    }
}

/// The reply of the server that `frame` was rewritten for.
pub(crate) fn reply<A: Sample>(frame: &Frame<A>, flags: u8) -> Frame<A> {
    if frame.protocol == lvs_common::host::Protocol::Tcp {
        Frame::new(frame.to(), frame.from(), flags)
    } else {
        Frame::udp(frame.to(), frame.from(), b"an answer")
    }
}
