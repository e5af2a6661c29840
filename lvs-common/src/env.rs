//! What the engine asks of its surroundings: tables, clock, routes and counters.

use crate::abi::{
    Counter, Direction, Flow4, Interface, NextHop, Server, Service, ServiceKey4, Template4,
    TemplateKey4, Tuple4,
};

/// Why an entry was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// The key is there already.
    Exists,
    /// No room, or no memory.
    Full,
}

/// What the routing table says of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The next hop is known down to its MAC address.
    Via {
        /// Interface and MAC addresses.
        hop: NextHop,
        /// Address of the neighbour: a gateway, or the destination itself.
        neighbour: [u8; 4],
    },
    /// The route is known, the neighbour is not resolved.
    Unresolved {
        /// Egress interface.
        interface: u32,
        /// As above.
        neighbour: [u8; 4],
    },
    /// IP forwarding is switched off on the ingress interface.
    ForwardingDisabled,
    /// There is none: unreachable, prohibited, or the destination is this host.
    None,
}

/// An entry of the connection table that stays where it is while the packet is processed. Other CPUs
/// may write to it at the same time; each of the setters stores whole words.
pub trait FlowHandle {
    /// A copy of the entry.
    fn load(&self) -> Flow4;
    /// Sets [`Flow4::seen`].
    fn set_seen(&self, now: u64);
    /// Sets [`Flow4::state`] and [`Flow4::timeout`].
    fn set_state(&self, state: u8, timeout: u32);
    /// Sets [`Flow4::hop`] and [`Flow4::hop_checked`].
    fn set_hop(&self, hop: NextHop, checked: u64);
}

/// The tables, the clock and the routes of one balancer, seen by one packet.
pub trait Env {
    /// An entry of the connection table.
    type Flow: FlowHandle;

    /// The monotonic clock in ns; a resolution of some milliseconds is enough.
    fn now(&self) -> u64;

    /// The entry of the connection table under `key`, ended or not.
    fn flow(&self, key: &Tuple4) -> Option<Self::Flow>;
    /// Adds an entry; never overwrites one.
    fn insert_flow(&self, key: &Tuple4, flow: &Flow4) -> Result<(), InsertError>;
    /// Removes an entry if it is there.
    fn remove_flow(&self, key: &Tuple4);

    /// The virtual service that `key` addresses.
    fn service(&self, key: &ServiceKey4) -> Option<Service>;
    /// The real server with this id.
    fn server(&self, id: u32) -> Option<Server>;
    /// The server id in this slot of `MEMBERS`.
    fn member(&self, slot: u32) -> Option<u32>;
    /// Takes the next turn of a service: no two connections get the same, whatever CPU they are on.
    fn take_turn(&self, service: u32) -> Option<u64>;

    /// The persistence template under `key`, ended or not.
    fn template(&self, key: &TemplateKey4) -> Option<Template4>;
    /// Adds a template; never overwrites one.
    fn insert_template(&self, key: &TemplateKey4, template: &Template4) -> Result<(), InsertError>;
    /// Adds or overwrites a template.
    fn replace_template(&self, key: &TemplateKey4, template: &Template4)
    -> Result<(), InsertError>;

    /// The way of a forwarded packet from `source` to `destination` with this type of service, which
    /// came in on the interface of the packet at hand.
    fn route(&self, source: [u8; 4], destination: [u8; 4], tos: u8) -> Route;
    /// The attached interface with this index.
    fn interface(&self, index: u32) -> Option<Interface>;
    /// Tells the controller that packets go to this neighbour, so that it has the kernel resolve or confirm
    /// it: the kernel does not see that the packets need it.
    fn use_neighbour(&self, interface: u32, neighbour: [u8; 4], resolved: bool);

    /// Index of the interface that the packet at hand came in on.
    fn ingress(&self) -> u32;

    /// Adds one to a counter.
    fn count(&self, counter: Counter);
    /// Counts a new connection of a server.
    fn count_connection(&self, server: u32);
    /// Counts a packet of `bytes` IP bytes for a server.
    fn count_packet(&self, server: u32, direction: Direction, bytes: u32);
}
