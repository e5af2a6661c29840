//! Tables in hash maps, a clock and routes that a test sets.

use core::cell::{Cell, RefCell};
use std::{collections::HashMap, rc::Rc, vec::Vec};

use crate::{
    abi::{
        Counter, Destination, DestinationKey, Direction, Flow, Fragment, FragmentKey, Head,
        Interface, Load, MEMBERS_EACH, Mark, NO_SLOT, NextHop, Run, Server, Service, ServiceKey,
        Settings, Statistics, Template, TemplateKey, Tuple, V4, V6, settings_flags,
    },
    connection,
    env::{
        Decision, DestinationHandle, Draft, Env, FlowHandle, InsertError, Reach, Route, Step,
        Tables, TemplateHandle,
    },
    fault::{Fault, Report},
    tcp::TcpState,
};

/// ICMP errors in a second unless a test says otherwise: what a CPU of the kernel's may send.
const ERRORS_PER_SECOND: u32 = 1000;

/// An entry of [`Family::flows`].
#[derive(Clone, Debug)]
pub struct MemoryFlow<A: Copy>(Rc<Cell<Flow<A>>>);

impl<A: Copy> MemoryFlow<A> {
    fn update(&self, change: impl FnOnce(&mut Flow<A>)) {
        let mut flow = self.0.get();
        change(&mut flow);
        self.0.set(flow);
    }
}

impl<A: Copy> FlowHandle<A> for MemoryFlow<A> {
    fn get<T>(&self, read: impl FnOnce(&Flow<A>) -> T) -> T {
        read(&self.0.get())
    }

    fn load(&self) -> Flow<A> {
        self.0.get()
    }

    fn set_seen(&self, now: u32) {
        self.update(|flow| flow.seen = now);
    }

    fn set_timeout(&self, seconds: u32) {
        self.update(|flow| flow.timeout = seconds);
    }

    fn set_half_open(&self, slot: u32) {
        self.update(|flow| flow.half_open = slot);
    }

    fn set_state(&self, state: u8) {
        self.update(|flow| flow.head.state = state);
    }

    fn swap_state(&self, old: Head, state: u8) -> bool {
        let same = self.0.get().head == old;
        if same {
            self.set_state(state);
        }
        same
    }

    fn set_hop(&self, hop: NextHop, mtu: u16, checked: u32) {
        self.update(|flow| (flow.hop, flow.mtu, flow.hop_checked) = (hop, mtu, checked));
    }
}

/// An entry of [`Family::templates`].
#[derive(Clone, Debug)]
pub struct MemoryTemplate(Rc<Cell<Template>>);

impl TemplateHandle for MemoryTemplate {
    fn load(&self) -> Template {
        self.0.get()
    }

    fn prolong(&self, expires: u64, timeout: u32) {
        self.0.set(Template { expires, timeout, ..self.0.get() });
    }

    fn add_connections(&self, difference: u32) {
        let template = self.0.get();
        let connections = template.connections.wrapping_add(difference);
        self.0.set(Template { connections, ..template });
    }
}

/// An entry of [`MemoryEnv::destinations`].
#[derive(Clone, Debug)]
pub struct MemoryDestination(Rc<Cell<Destination>>);

impl DestinationHandle for MemoryDestination {
    fn get<T>(&self, read: impl FnOnce(&Destination) -> T) -> T {
        read(&self.0.get())
    }

    fn change(&self, change: impl FnOnce(&mut Destination)) {
        let mut destination = self.0.get();
        change(&mut destination);
        self.0.set(destination);
    }
}

/// A connection table.
pub type Flows<A> = HashMap<Tuple<A>, Rc<Cell<Flow<A>>>>;

/// The tables and routes of one address family. Every field is what a test sets before or reads after.
#[derive(Debug)]
pub struct Family<A: Copy> {
    /// The connection table.
    pub flows: RefCell<Flows<A>>,
    /// The virtual services.
    pub services: HashMap<ServiceKey<A>, Service>,
    /// The persistence templates.
    pub templates: RefCell<HashMap<TemplateKey<A>, Rc<Cell<Template>>>>,
    /// What first fragments have told.
    pub fragments: RefCell<HashMap<FragmentKey<A>, Fragment>>,
    /// The slots of half-open connections that were used so far.
    pub half_open: RefCell<HashMap<u32, Tuple<A>>>,
    /// How many slots were given.
    pub half_open_cursor: Cell<u64>,
    /// How many entries fit in `flows` and in `templates`; 0 for any number.
    pub capacity: Cell<usize>,
    /// Routes by destination; none is [`Reach::None`].
    pub routes: RefCell<HashMap<A, Route<A>>>,
    /// Neighbours in use: interface and address, and whether they are resolved.
    pub neighbours: RefCell<HashMap<(u32, A), bool>>,
    /// What was decided, if [`MemoryEnv::tracing`] is on.
    pub traces: RefCell<Vec<(Tuple<A>, Decision<A>)>>,
    draft: RefCell<Draft<A>>,
}

impl<A: Stored> Default for Family<A> {
    fn default() -> Self {
        let nothing = Flow {
            source: A::UNSPECIFIED,
            destination: A::UNSPECIFIED,
            source_port: 0,
            destination_port: 0,
            address_difference: 0,
            port_difference: 0,
            hop: NextHop::NONE,
            seen: 0,
            hop_checked: 0,
            timeout: 0,
            half_open: NO_SLOT,
            server: 0,
            mtu: 0,
            head: Head { state: 0, direction: 0, flags: 0, template: 0 },
        };
        let draft = Draft {
            forth: nothing,
            back: nothing,
            key: Tuple::NONE,
            reply_key: Tuple::NONE,
            service: Service::NONE,
        };
        Self {
            flows: RefCell::default(),
            services: HashMap::new(),
            templates: RefCell::default(),
            fragments: RefCell::default(),
            half_open: RefCell::default(),
            half_open_cursor: Cell::default(),
            capacity: Cell::default(),
            routes: RefCell::default(),
            neighbours: RefCell::default(),
            traces: RefCell::default(),
            draft: RefCell::new(draft),
        }
    }
}

impl<A: Stored> Family<A> {
    /// The entry of the connection table under `key`.
    pub fn entry(&self, key: &Tuple<A>) -> Option<Flow<A>> {
        self.flows.borrow().get(key).map(|cell| cell.get())
    }

    /// The persistence template under `key`.
    pub fn template_of(&self, key: &TemplateKey<A>) -> Option<Template> {
        self.templates.borrow().get(key).map(|cell| cell.get())
    }

    /// A copy of the connection table.
    pub fn entries(&self) -> HashMap<Tuple<A>, Flow<A>> {
        self.flows.borrow().iter().map(|(key, cell)| (*key, cell.get())).collect()
    }

    /// Whether a table of that length takes no more.
    fn full(&self, length: usize) -> bool {
        self.capacity.get() != 0 && length >= self.capacity.get()
    }

    /// Whether a service or one of its servers has this mark.
    fn marked(&self, servers: &[Server], mark: Mark) -> bool {
        self.services.iter().any(|(key, service)| {
            let protocol = u32::from(key.protocol);
            let of_server = |server: &Server| {
                server.service == service.id
                    && Mark::new(A::narrow(server.address), server.port, protocol) == mark
            };
            Mark::new(key.address, key.port, protocol) == mark || servers.iter().any(of_server)
        })
    }
}

/// An address family that [`MemoryEnv`] has tables for, which is both.
pub trait Stored: Report {
    /// Its tables.
    fn tables(env: &MemoryEnv) -> &Family<Self>;
    /// Its tables, to be changed.
    fn tables_mut(env: &mut MemoryEnv) -> &mut Family<Self>;
}

impl Stored for V4 {
    fn tables(env: &MemoryEnv) -> &Family<Self> {
        &env.four
    }

    fn tables_mut(env: &mut MemoryEnv) -> &mut Family<Self> {
        &mut env.four
    }
}

impl Stored for V6 {
    fn tables(env: &MemoryEnv) -> &Family<Self> {
        &env.six
    }

    fn tables_mut(env: &mut MemoryEnv) -> &mut Family<Self> {
        &mut env.six
    }
}

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
    pub members: Vec<[u16; MEMBERS_EACH]>,
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

impl<A: Stored> Tables<A> for MemoryEnv {
    type Flow = MemoryFlow<A>;
    type Template = MemoryTemplate;

    fn flow(&self, key: &Tuple<A>) -> Option<MemoryFlow<A>> {
        A::tables(self).flows.borrow().get(key).cloned().map(MemoryFlow)
    }

    fn insert_flow(&self, key: &Tuple<A>, flow: &Flow<A>) -> Result<(), InsertError> {
        let family = A::tables(self);
        let mut flows = family.flows.borrow_mut();
        if flows.contains_key(key) {
            return Err(InsertError::Exists);
        }
        if family.full(flows.len()) {
            return Err(InsertError::Full);
        }
        flows.insert(*key, Rc::new(Cell::new(*flow)));
        Ok(())
    }

    fn remove_flow(&self, key: &Tuple<A>) {
        A::tables(self).flows.borrow_mut().remove(key);
    }

    fn next_half_open(&self) -> Option<u32> {
        let cursor = &A::tables(self).half_open_cursor;
        let turn = cursor.get();
        let slot = turn.checked_rem(self.settings.half_open.into())?;
        cursor.set(turn + 1);
        u32::try_from(slot).ok()
    }

    fn half_open(&self, slot: u32) -> Option<Tuple<A>> {
        let slots = A::tables(self).half_open.borrow();
        (slot < self.settings.half_open)
            .then(|| slots.get(&slot).copied().unwrap_or(Tuple::<A>::NONE))
    }

    fn set_half_open(&self, slot: u32, key: &Tuple<A>) {
        if slot < self.settings.half_open {
            A::tables(self).half_open.borrow_mut().insert(slot, *key);
        }
    }

    fn free_half_open(&self, slot: u32) {
        if let Some(key) = A::tables(self).half_open.borrow_mut().get_mut(&slot) {
            key.protocol = 0;
        }
    }

    fn draft<T>(&self, work: impl FnOnce(&mut Draft<A>) -> T) -> Option<T> {
        Some(work(&mut A::tables(self).draft.borrow_mut()))
    }

    fn service(&self, key: &ServiceKey<A>) -> Option<Service> {
        A::tables(self).services.get(key).copied()
    }

    fn template(&self, key: &TemplateKey<A>) -> Option<MemoryTemplate> {
        A::tables(self).templates.borrow().get(key).cloned().map(MemoryTemplate)
    }

    fn insert_template(
        &self,
        key: &TemplateKey<A>,
        template: &Template,
    ) -> Result<(), InsertError> {
        if A::tables(self).templates.borrow().contains_key(key) {
            return Err(InsertError::Exists);
        }
        self.replace_template(key, template)
    }

    fn replace_template(
        &self,
        key: &TemplateKey<A>,
        template: &Template,
    ) -> Result<(), InsertError> {
        let family = A::tables(self);
        let mut templates = family.templates.borrow_mut();
        if !templates.contains_key(key) && family.full(templates.len()) {
            return Err(InsertError::Full);
        }
        templates.insert(*key, Rc::new(Cell::new(*template)));
        Ok(())
    }

    fn fragment(&self, key: &FragmentKey<A>) -> Option<Fragment> {
        A::tables(self).fragments.borrow().get(key).copied()
    }

    fn set_fragment(&self, key: &FragmentKey<A>, fragment: &Fragment) {
        A::tables(self).fragments.borrow_mut().insert(*key, *fragment);
    }

    fn route(&self, _source: A, destination: A, _protocol: u32, _class: u8) -> Route<A> {
        A::tables(self)
            .routes
            .borrow()
            .get(&destination)
            .copied()
            .unwrap_or(Route::nowhere(Reach::None))
    }

    fn use_neighbour(&self, interface: u32, neighbour: A, resolved: bool) {
        A::tables(self).neighbours.borrow_mut().insert((interface, neighbour), resolved);
    }

    fn trace(&self, tuple: &Tuple<A>, decision: Decision<A>) {
        if self.tracing {
            A::tables(self).traces.borrow_mut().push((*tuple, decision));
        }
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
        element.get(place % MEMBERS_EACH).copied().map(u32::from)
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
