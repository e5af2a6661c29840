//! What both address families share: tables in hash maps, a clock and settings that a test sets.

use core::cell::{Cell, RefCell};
use std::{collections::HashMap, rc::Rc, vec::Vec};

use super::{family::Family, handle::MemoryDestination};
use crate::{
    abi::{
        Counter, Destination, DestinationKey, Direction, Interface, Load, MEMBERS_EACH, Mark, Run,
        Server, Settings, Statistics, V4, V6, settings_flags,
    },
    connection,
    env::{Env, Step},
    fault::Fault,
    tcp::TcpState,
};

/// ICMP errors in a second unless a test says otherwise: what a CPU of the kernel's may send.
const ERRORS_PER_SECOND: u32 = 1000;

/// One balancer in memory. Every field is what a test sets before or reads after.
#[derive(Debug)]
pub struct MemoryEnv {
    /// The clock, in ns.
    pub now: Cell<u64>,
    /// The interface that packets come in on.
    pub ingress: Cell<u32>,
    /// All that is IPv4.
    pub four: Family<V4>,
    /// All that is IPv6.
    pub six: Family<V6>,
    /// The real servers by id.
    pub servers: Vec<Server>,
    /// The member lists.
    pub members: Vec<[u32; MEMBERS_EACH]>,
    /// The parts of wrr's rounds.
    pub runs: Vec<Run>,
    /// Turns taken, by scheduler.
    pub turns: RefCell<HashMap<u32, u64>>,
    /// What lblc and lblcr remember.
    pub destinations: RefCell<HashMap<DestinationKey, Rc<Cell<Destination>>>>,
    /// The firewall mark of the packet.
    pub mark: Cell<u32>,
    /// Connections of each server.
    pub loads: RefCell<HashMap<u32, Load>>,
    /// Local addresses of full NAT.
    pub locals: Vec<[u8; 16]>,
    /// Ports of full NAT; [`Settings::ports`] is not looked at.
    pub ports: Vec<u16>,
    /// Settings of the data path.
    pub settings: Settings,
    /// The attached interfaces.
    pub interfaces: HashMap<u32, Interface>,
    /// Whether the filter lets everything through; it knows the marks of all services and servers.
    pub unfiltered: bool,
    /// Counters that have moved.
    pub counters: RefCell<HashMap<Counter, u64>>,
    /// Statistics by server.
    pub statistics: RefCell<HashMap<u32, Statistics>>,
    /// How many ICMP errors may be sent in a second.
    pub errors_per_second: u32,
    /// Whether decisions are kept in [`Family::traces`].
    pub tracing: bool,
    /// The last second in which an ICMP error was asked for, and how many there were.
    errors: Cell<(u64, u32)>,
    fault: Cell<Option<Fault>>,
    random: Cell<u32>,
}

impl Default for MemoryEnv {
    /// Without services, with IPVS's time-outs.
    fn default() -> Self {
        Self {
            now: Cell::default(),
            ingress: Cell::default(),
            four: Family::default(),
            six: Family::default(),
            servers: Vec::new(),
            members: Vec::new(),
            runs: Vec::new(),
            turns: RefCell::default(),
            destinations: RefCell::default(),
            mark: Cell::default(),
            loads: RefCell::default(),
            locals: Vec::new(),
            ports: Vec::new(),
            settings: Settings { timeouts: timeouts(), ports: 0, half_open: 1024, flags: 0 },
            interfaces: HashMap::new(),
            unfiltered: false,
            counters: RefCell::default(),
            statistics: RefCell::default(),
            errors_per_second: ERRORS_PER_SECOND,
            tracing: false,
            errors: Cell::default(),
            fault: Cell::default(),
            random: Cell::new(0x9e37_79b9),
        }
    }
}

/// IPVS's time-outs by state.
fn timeouts() -> [u32; 16] {
    core::array::from_fn(|state| match u8::try_from(state) {
        Ok(connection::UDP) => 300,
        Ok(state) => TcpState::from_number(state).map_or(0, TcpState::timeout),
        Err(_) => 0,
    })
}

impl MemoryEnv {
    /// How often a counter has moved.
    pub fn counted(&self, counter: Counter) -> u64 {
        self.counters.borrow().get(&counter).copied().unwrap_or_default()
    }

    /// The connections of a server.
    pub fn load(&self, server: u32) -> Load {
        self.loads.borrow().get(&server).copied().unwrap_or_default()
    }
}

impl Env for MemoryEnv {
    type Destination = MemoryDestination;

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn random(&self) -> u32 {
        // Marsaglia's xorshift, the same numbers in each run.
        let mut next = self.random.get();
        next ^= next << 13;
        next ^= next >> 17;
        next ^= next << 5;
        self.random.set(next);
        next
    }

    fn ingress(&self) -> u32 {
        self.ingress.get()
    }

    fn mark(&self) -> u32 {
        self.mark.get()
    }

    fn marked(&self, mark: Mark) -> bool {
        self.unfiltered
            || mark == Mark::WIDE
                && self.settings.flags & (settings_flags::ALL_PORTS | settings_flags::MARKS) != 0
            || self.four.marked(&self.servers, mark)
            || self.six.marked(&self.servers, mark)
    }

    fn timeout(&self, state: u8) -> u32 {
        self.settings.timeouts.get(usize::from(state)).copied().unwrap_or_default()
    }

    fn settings_flags(&self) -> u32 {
        self.settings.flags
    }

    fn ports(&self) -> u32 {
        u32::try_from(self.ports.len()).unwrap_or(u32::MAX)
    }

    fn port(&self, index: u32) -> Option<u16> {
        self.ports.get(index as usize).copied()
    }

    fn local(&self, slot: u32) -> Option<[u8; 16]> {
        self.locals.get(slot as usize).copied()
    }

    fn server(&self, id: u32) -> Option<Server> {
        self.servers.get(id as usize).copied()
    }

    fn load(&self, id: u32) -> Option<Load> {
        ((id as usize) < self.servers.len())
            .then(|| self.loads.borrow().get(&id).copied().unwrap_or_default())
    }

    fn member(&self, place: u32) -> Option<u32> {
        let place = place as usize;
        let element = self.members.get(place / MEMBERS_EACH)?;
        element.get(place % MEMBERS_EACH).copied()
    }

    fn run(&self, slot: u32) -> Option<Run> {
        self.runs.get(slot as usize).copied()
    }

    fn destination(&self, key: &DestinationKey) -> Option<MemoryDestination> {
        self.destinations.borrow().get(key).cloned().map(MemoryDestination)
    }

    fn add_destination(&self, key: &DestinationKey, destination: &Destination) {
        self.destinations.borrow_mut().insert(*key, Rc::new(Cell::new(*destination)));
    }

    fn repeat<S: Step<Self>>(&self, times: u32, step: &mut S) {
        for index in 0..times {
            if !step.step(self, index) {
                return;
            }
        }
    }

    fn take_turns(&self, state: u32, turns: u64) -> Option<u64> {
        let mut states = self.turns.borrow_mut();
        let turn = states.entry(state).or_default();
        *turn = turn.wrapping_add(turns);
        Some(turn.wrapping_sub(turns))
    }

    fn restart_turns(&self, state: u32, turns: u64) {
        let _first = self.take_turns(state, turns);
    }

    fn take_port_turn(&self, server: u32) -> Option<u64> {
        let mut loads = self.loads.borrow_mut();
        let load = loads.entry(server).or_default();
        load.port_cursor += 1;
        Some(load.port_cursor - 1)
    }

    fn add_load(&self, server: u32, difference: u64) -> u64 {
        let mut loads = self.loads.borrow_mut();
        let load = loads.entry(server).or_default();
        // One addition to the 64 bits that both are, as the kernel does it.
        let before = u64::from(load.active) << 32 | u64::from(load.inactive);
        let packed = before.wrapping_add(difference);
        (load.active, load.inactive) = ((packed >> 32) as u32, packed as u32);
        before
    }

    fn set_overload(&self, server: u32, threshold: u32) {
        self.loads.borrow_mut().entry(server).or_default().overload = threshold;
    }

    fn interface<T>(&self, index: u32, read: impl FnOnce(&Interface) -> T) -> Option<T> {
        self.interfaces.get(&index).map(read)
    }

    fn set_fault(&self, fault: Fault) {
        self.fault.set(Some(fault));
    }

    fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    fn may_send_error(&self, now: u64) -> bool {
        let current = now / 1_000_000_000;
        let (second, errors) = self.errors.get();
        let errors = if second == current { errors + 1 } else { 1 };
        self.errors.set((current, errors));
        errors <= self.errors_per_second
    }

    fn count(&self, counter: Counter) {
        *self.counters.borrow_mut().entry(counter).or_default() += 1;
    }

    fn count_connection(&self, server: u32) {
        self.statistics.borrow_mut().entry(server).or_default().connections += 1;
    }

    fn count_packet(&self, server: u32, direction: Direction, bytes: u32) {
        let mut statistics = self.statistics.borrow_mut();
        let entry = statistics.entry(server).or_default();
        match direction {
            Direction::ToServer => {
                entry.in_packets += 1;
                entry.in_bytes += u64::from(bytes);
            }
            Direction::ToClient => {
                entry.out_packets += 1;
                entry.out_bytes += u64::from(bytes);
            }
        }
    }
}
