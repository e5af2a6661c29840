//! What the engine asks of its surroundings: tables, clock, routes and counters.

use crate::{
    abi::{
        Address, Counter, Destination, DestinationKey, Direction, Flow, Fragment, FragmentKey,
        Head, Interface, Load, Mark, NextHop, Run, Server, Service, ServiceKey, Template,
        TemplateKey, Tuple, V4, V6,
    },
    fault::Fault,
    recent::Recent,
};

/// Why an entry was not inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// The key is there already.
    Exists,
    /// No room, or no memory.
    Full,
}

/// What the routing table says of a destination. (Every field has a value in every case: see [`Part`](crate::ip::Part).)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<A> {
    /// How far the destination is known.
    pub reach: Reach,
    /// Egress interface and, if the neighbour is resolved, MAC addresses.
    pub hop: NextHop,
    /// Address of the neighbour: a gateway, or the destination itself.
    pub neighbour: A,
    /// The largest IP packet that the way takes.
    pub mtu: u16,
}

/// How far a destination is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Down to the MAC address of the next hop.
    Resolved,
    /// There is a route, but the neighbour is not resolved.
    Unresolved,
    /// IP forwarding is switched off on the ingress interface.
    ForwardingDisabled,
    /// Not at all: unreachable, prohibited, or the destination is this host.
    None,
}

impl<A: Address> Route<A> {
    /// One that leads nowhere.
    #[inline(always)]
    #[must_use]
    pub const fn nowhere(reach: Reach) -> Self {
        Self { reach, hop: NextHop::NONE, neighbour: A::UNSPECIFIED, mtu: 0 }
    }
}

/// An entry of a connection table that stays where it is while the packet is processed. Other CPUs
/// may write to it at the same time; each of the setters stores whole words.
pub trait FlowHandle<A> {
    /// Something of the entry, read where it lies.
    fn get<T>(&self, read: impl FnOnce(&Flow<A>) -> T) -> T;
    /// A copy of the entry.
    fn load(&self) -> Flow<A>;
    /// Sets [`Flow::seen`].
    fn set_seen(&self, now: u32);
    /// Sets the time-out in [`Flow::limits`].
    fn set_timeout(&self, seconds: u32);
    /// Sets the slot in [`Flow::limits`].
    fn set_half_open(&self, slot: u32);
    /// Sets the copy of the state in the entry of the server's direction.
    fn set_state(&self, state: u8);
    /// Sets the state if the head is still `old`; tells whether it was. Of several CPUs that try the same, one
    /// succeeds.
    fn swap_state(&self, old: Head, state: u8) -> bool;
    /// Sets [`Flow::hop`], [`Flow::mtu`] and [`Flow::hop_checked`].
    fn set_hop(&self, hop: NextHop, mtu: u16, checked: u32);
}

/// A persistence template that stays where it is while the packet is processed. Other CPUs may write to it at the same
/// time.
pub trait TemplateHandle {
    /// A copy.
    fn load(&self) -> Template;
    /// Sets [`Template::expires`] and [`Template::timeout`].
    fn prolong(&self, expires: u64, timeout: u32);
    /// One connection more.
    fn add_connection(&self);
    /// One connection less, but not less than none: a template may take a connection for its own that was another's before
    /// it, since a connection knows eight bits of its template's number.
    fn remove_connection(&self);
}

/// A CPU's own memory of a way to a server.
pub trait RecentHandle<A> {
    /// Something of it, read where it lies.
    fn get<T>(&self, read: impl FnOnce(&Recent<A>) -> T) -> T;
    /// Writes it.
    fn set(&self, recent: &Recent<A>);
}

/// What lblc or lblcr remember of a destination, which stays where it is while the packet is processed. Other CPUs may
/// write to it at the same time.
pub trait DestinationHandle {
    /// Something of it, read where it lies.
    fn get<T>(&self, read: impl FnOnce(&Destination) -> T) -> T;
    /// Changes it where it lies.
    fn change(&self, change: impl FnOnce(&mut Destination));
}

/// One step of what is done many times.
pub trait Step<E> {
    /// Does it once more; `false` to end.
    fn step(&mut self, env: &E, index: u32) -> bool;
}

/// The entries of a connection that is being made. They are too much for the kernel's stack.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Draft<A> {
    /// Of the client's packets.
    pub forth: Flow<A>,
    /// Of the replies.
    pub back: Flow<A>,
    /// The key of `forth`.
    pub key: Tuple<A>,
    /// The key of `back`.
    pub reply_key: Tuple<A>,
    /// The service.
    pub service: Service,
    /// The type of service or traffic class of the first packet.
    pub class: u32,
    /// Length of that IP packet in bytes.
    pub length: u32,
}

/// The tables and routes of one address family.
pub trait Tables<A: Address> {
    /// An entry of the connection table.
    type Flow: FlowHandle<A>;
    /// A persistence template.
    type Template: TemplateHandle;
    /// A way that was found a moment ago.
    type Recent: RecentHandle<A>;

    /// The entry of the connection table under `key`, ended or not.
    fn flow(&self, key: &Tuple<A>) -> Option<Self::Flow>;
    /// Adds an entry; never overwrites one.
    fn insert_flow(&self, key: &Tuple<A>, flow: &Flow<A>) -> Result<(), InsertError>;
    /// Removes an entry if it is there.
    fn remove_flow(&self, key: &Tuple<A>);

    /// The slot for the next half-open connection; the slots are given in turn.
    fn next_half_open(&self) -> Option<u32>;
    /// Whether a slot has a half-open connection.
    fn is_half_open_taken(&self, slot: u32) -> bool;
    /// The key of the half-open connection in a slot; its protocol is 0 where the slot is free.
    fn half_open(&self, slot: u32) -> Option<Tuple<A>>;
    /// Writes a slot.
    fn set_half_open(&self, slot: u32, key: &Tuple<A>);
    /// Frees a slot: sets its key's protocol to 0.
    fn free_half_open(&self, slot: u32);

    /// Lends room for the entries of a new connection, with any content.
    fn draft<T>(&self, work: impl FnOnce(&mut Draft<A>) -> T) -> Option<T>;

    /// The virtual service that `key` addresses.
    fn service(&self, key: &ServiceKey<A>) -> Option<Service>;

    /// The persistence template under `key`, ended or not.
    fn template(&self, key: &TemplateKey<A>) -> Option<Self::Template>;
    /// Adds a template; never overwrites one.
    fn insert_template(&self, key: &TemplateKey<A>, template: &Template)
    -> Result<(), InsertError>;
    /// Adds or overwrites a template.
    fn replace_template(
        &self,
        key: &TemplateKey<A>,
        template: &Template,
    ) -> Result<(), InsertError>;

    /// What the first fragment of a datagram has told.
    fn fragment(&self, key: &FragmentKey<A>) -> Option<Fragment>;
    /// Notes it; the least used one gives way.
    fn set_fragment(&self, key: &FragmentKey<A>, fragment: &Fragment);

    /// The way of a forwarded packet from `source` to `destination` with this protocol and type of service,
    /// which came in on the interface of the packet at hand.
    fn route(&self, source: A, destination: A, protocol: u32, class: u8) -> Route<A>;
    /// This CPU's memory of a way to a server, one of [`PLACES`](crate::recent::PLACES).
    fn recent(&self, place: u32) -> Option<Self::Recent>;
    /// Tells the controller that packets go to this neighbour, so that it has the kernel resolve or confirm
    /// it: the kernel does not see that the packets need it.
    fn use_neighbour(&self, interface: u32, neighbour: A, resolved: bool);

    /// Tells what was decided on a connection, where somebody wants to know.
    fn trace(&self, tuple: &Tuple<A>, decision: Decision<A>);
}

/// What a trace tells.
#[derive(Clone, Copy, Debug)]
pub enum Decision<A> {
    /// A new connection goes to this server, whose packets come back under this key.
    Opened {
        /// Its id.
        server: u32,
        /// The key of the replies.
        reply: Tuple<A>,
    },
    /// A connection is in another state now.
    State(u8),
    /// The packet went no further for this reason.
    Stopped(Counter),
}

/// All else: the clock, what is the same for both families, and counters, seen by one packet.
pub trait Env: Tables<V4> + Tables<V6> + Sized {
    /// What is remembered of a destination.
    type Destination: DestinationHandle;

    /// A clock in ns that never goes back; a resolution of some milliseconds is enough.
    fn now(&self) -> u64;
    /// Any number.
    fn random(&self) -> u32;
    /// Index of the interface that the packet at hand came in on.
    fn ingress(&self) -> u32;
    /// The firewall mark that the packet carries; 0 for none.
    fn mark(&self) -> u32;
    /// Whether this bit of the filter is set.
    fn marked(&self, mark: Mark) -> bool;

    /// The time-out of a state in seconds.
    fn timeout(&self, state: u8) -> u32;
    /// Bits of [`settings_flags`](crate::abi::settings_flags).
    fn settings_flags(&self) -> u32;
    /// How many ports full NAT can take.
    fn ports(&self) -> u32;
    /// One of them.
    fn port(&self, index: u32) -> Option<u16>;
    /// One of the local addresses of full NAT, IPv4 in the first four bytes.
    fn local(&self, slot: u32) -> Option<[u8; 16]>;

    /// The real server with this id.
    fn server(&self, id: u32) -> Option<Server>;
    /// The connections of the real server with this id.
    fn load(&self, id: u32) -> Option<Load>;
    /// The server id in this place of `MEMBERS`.
    fn member(&self, place: u32) -> Option<u32>;
    /// The part of a wrr round in this slot of `RUNS`.
    fn run(&self, slot: u32) -> Option<Run>;
    /// Takes the next turns of a scheduler, and gives the first of them: no two connections get the same, whatever CPU
    /// they are on.
    fn take_turns(&self, state: u32, turns: u64) -> Option<u64>;
    /// The same where a wrr round begins anew with the turn after them, which is noted.
    fn restart_turns(&self, state: u32, turns: u64);
    /// What lblc and lblcr remember of a destination.
    fn destination(&self, key: &DestinationKey) -> Option<Self::Destination>;
    /// Remembers a destination; where there is no room, the one longest unused gives way.
    fn add_destination(&self, key: &DestinationKey, destination: &Destination);
    /// Goes through the steps until one ends it, `times` at most.
    fn repeat<S: Step<Self>>(&self, times: u32, step: &mut S);
    /// Takes the next turn of a server's ports, in the same way.
    fn take_port_turn(&self, server: u32) -> Option<u64>;
    /// Adds to the numbers of active and inactive connections of a server, see [`Load`]; gives what they were.
    fn add_load(&self, server: u32, difference: u64) -> u64;
    /// Sets [`Load::overload`].
    fn set_overload(&self, server: u32, threshold: u32);

    /// Something of the attached interface with this index.
    fn interface<T>(&self, index: u32, read: impl FnOnce(&Interface) -> T) -> Option<T>;

    /// Leaves word for the stage that sends ICMP errors.
    fn set_fault(&self, fault: Fault);
    /// What was left.
    fn fault(&self) -> Option<Fault>;
    /// Whether one more ICMP error may be sent now.
    fn may_send_error(&self, now: u64) -> bool;

    /// Adds one to a counter.
    fn count(&self, counter: Counter);
    /// Counts a new connection of a server.
    fn count_connection(&self, server: u32);
    /// Counts a packet of `bytes` IP bytes for a server.
    fn count_packet(&self, server: u32, direction: Direction, bytes: u32);
}
