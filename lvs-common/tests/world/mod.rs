//! One balancer in memory: a service with three servers (the first of weight 0), a client network and a
//! server network.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test helper: what is missing fails the test"
)]

use lvs_common::{
    abi::{Interface, NextHop, Server, Service, ServiceKey4, forwarding, scheduler, server_flags},
    env::Route,
    host::{Frame, MemoryEnv, SlicePacket},
    pipeline::{self, Verdict},
};

pub(crate) const CLIENT: [u8; 4] = [10, 64, 1, 1];
pub(crate) const VIP: [u8; 4] = [10, 64, 1, 2];
pub(crate) const PORT: u16 = 10000;
pub(crate) const FIRST: [u8; 4] = [192, 168, 1, 100];
pub(crate) const SECOND: [u8; 4] = [192, 168, 1, 101];
pub(crate) const SERVER_PORT: u16 = 8089;
pub(crate) const CLIENT_SIDE: u32 = 3;
pub(crate) const SERVER_SIDE: u32 = 4;
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
pub(crate) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
pub(crate) const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 3, 1];

pub(crate) const NEIGHBOUR: [u8; 4] = [10, 0, 0, 77];

const SERVICE: ServiceKey4 = ServiceKey4 { address: VIP, port: PORT, protocol: 6 };

pub(crate) struct World {
    pub(crate) env: MemoryEnv,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut env = MemoryEnv::default();
        // Frames are sent to the second of `Frame`'s MAC addresses.
        let interface = Interface { mac: [2, 0, 0, 0, 0, 2], reserved: 0 };
        env.interfaces = [(CLIENT_SIDE, interface), (SERVER_SIDE, interface)].into();
        env.now.set(1_000_000_000_000);
        env.ingress.set(CLIENT_SIDE);
        for (weight, address) in [(1, FIRST), (1, SECOND), (0, [192, 168, 1, 102])] {
            env.servers.push(Server {
                address,
                port: SERVER_PORT,
                flags: server_flags::AVAILABLE,
                weight,
                service: 0,
            });
        }
        env.members = vec![1, 0];
        env.services.insert(
            SERVICE,
            Service {
                id: 0,
                first_member: 0,
                members: 2,
                persistence: 0,
                scheduler: scheduler::ROUND_ROBIN,
                forwarding: forwarding::NAT,
                reserved: 0,
            },
        );
        let world = Self { env };
        world.reset_routes();
        world
    }

    /// With a second service on the next port, which chooses the same server first.
    pub(crate) fn with_second_service() -> Self {
        let mut world = Self::new();
        let service = Service { id: 1, ..world.env.services[&SERVICE] };
        world
            .env
            .services
            .insert(ServiceKey4 { port: PORT + 1, ..SERVICE }, Service { members: 1, ..service });
        world
    }

    pub(crate) fn set_persistence(&mut self, seconds: u32) {
        self.env.services.get_mut(&SERVICE).unwrap().persistence = seconds;
    }

    pub(crate) fn set_members(&mut self, members: u32) {
        self.env.services.get_mut(&SERVICE).unwrap().members = members;
    }

    pub(crate) fn pass_seconds(&self, seconds: u64) {
        self.env.now.set(self.env.now.get() + seconds * 1_000_000_000);
    }

    pub(crate) fn via(interface: u32, destination_mac: [u8; 6]) -> Route {
        let hop = NextHop { interface, destination_mac, source_mac: LOCAL_MAC };
        Route::Via { hop, neighbour: NEIGHBOUR }
    }

    pub(crate) fn route(&self, destination: [u8; 4], route: Route) {
        self.env.routes.borrow_mut().insert(destination, route);
    }

    pub(crate) fn reset_routes(&self) {
        self.route(CLIENT, Self::via(CLIENT_SIDE, CLIENT_MAC));
        for server in &self.env.servers {
            self.route(server.address, Self::via(SERVER_SIDE, SERVER_MAC));
        }
    }

    pub(crate) fn send_bytes(&self, bytes: &mut [u8]) -> Verdict {
        pipeline::process(&SlicePacket::new(bytes), &self.env)
    }

    /// Sends a frame and gives it back as it left, with its checksums checked.
    pub(crate) fn send(&self, frame: &Frame) -> (Verdict, Frame) {
        let mut bytes = frame.bytes().unwrap();
        let verdict = self.send_bytes(&mut bytes);
        (verdict, Frame::read(&bytes).unwrap())
    }
}
