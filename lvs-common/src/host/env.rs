//! Tables in hash maps, a clock and routes that a test sets.

use core::cell::{Cell, RefCell};
use std::{collections::HashMap, rc::Rc, vec::Vec};

use crate::{
    abi::{
        Counter, Direction, Flow4, Interface, NextHop, Server, Service, ServiceKey4, Statistics,
        Template4, TemplateKey4, Tuple4,
    },
    env::{Env, FlowHandle, InsertError, Route},
};

/// An entry of [`MemoryEnv::flows`].
#[derive(Clone, Debug)]
pub struct MemoryFlow(Rc<Cell<Flow4>>);

impl MemoryFlow {
    fn update(&self, change: impl FnOnce(&mut Flow4)) {
        let mut flow = self.0.get();
        change(&mut flow);
        self.0.set(flow);
    }
}

impl FlowHandle for MemoryFlow {
    fn load(&self) -> Flow4 {
        self.0.get()
    }

    fn set_seen(&self, now: u64) {
        self.update(|flow| flow.seen = now);
    }

    fn set_state(&self, state: u8, timeout: u32) {
        self.update(|flow| (flow.state, flow.timeout) = (state, timeout));
    }

    fn set_hop(&self, hop: NextHop, checked: u64) {
        self.update(|flow| (flow.hop, flow.hop_checked) = (hop, checked));
    }
}

/// The tables of one balancer in memory. Every field is what a test sets before or reads after.
#[derive(Debug, Default)]
pub struct MemoryEnv {
    /// The clock, in ns.
    pub now: Cell<u64>,
    /// The interface that packets come in on.
    pub ingress: Cell<u32>,
    /// The connection table.
    pub flows: RefCell<HashMap<Tuple4, Rc<Cell<Flow4>>>>,
    /// How many entries fit in `flows` and in `templates`; 0 for any number.
    pub capacity: Cell<usize>,
    /// The virtual services.
    pub services: HashMap<ServiceKey4, Service>,
    /// The real servers by id.
    pub servers: Vec<Server>,
    /// The member lists.
    pub members: Vec<u32>,
    /// Turns taken, by service.
    pub turns: RefCell<HashMap<u32, u64>>,
    /// The persistence templates.
    pub templates: RefCell<HashMap<TemplateKey4, Template4>>,
    /// Routes by destination; none is [`Route::None`].
    pub routes: RefCell<HashMap<[u8; 4], Route>>,
    /// The attached interfaces.
    pub interfaces: HashMap<u32, Interface>,
    /// Neighbours in use: interface and address, and whether they are resolved.
    pub neighbours: RefCell<HashMap<(u32, [u8; 4]), bool>>,
    /// Counters that have moved.
    pub counters: RefCell<HashMap<Counter, u64>>,
    /// Statistics by server.
    pub statistics: RefCell<HashMap<u32, Statistics>>,
}

impl MemoryEnv {
    /// The entry of the connection table under `key`.
    pub fn entry(&self, key: &Tuple4) -> Option<Flow4> {
        self.flows.borrow().get(key).map(|cell| cell.get())
    }

    fn full(&self, length: usize) -> bool {
        self.capacity.get() != 0 && length >= self.capacity.get()
    }
}

impl Env for MemoryEnv {
    type Flow = MemoryFlow;

    fn now(&self) -> u64 {
        self.now.get()
    }

    fn flow(&self, key: &Tuple4) -> Option<MemoryFlow> {
        self.flows.borrow().get(key).cloned().map(MemoryFlow)
    }

    fn insert_flow(&self, key: &Tuple4, flow: &Flow4) -> Result<(), InsertError> {
        let mut flows = self.flows.borrow_mut();
        if flows.contains_key(key) {
            return Err(InsertError::Exists);
        }
        if self.full(flows.len()) {
            return Err(InsertError::Full);
        }
        flows.insert(*key, Rc::new(Cell::new(*flow)));
        Ok(())
    }

    fn remove_flow(&self, key: &Tuple4) {
        self.flows.borrow_mut().remove(key);
    }

    fn service(&self, key: &ServiceKey4) -> Option<Service> {
        self.services.get(key).copied()
    }

    fn server(&self, id: u32) -> Option<Server> {
        self.servers.get(id as usize).copied()
    }

    fn member(&self, slot: u32) -> Option<u32> {
        self.members.get(slot as usize).copied()
    }

    fn take_turn(&self, service: u32) -> Option<u64> {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(service).or_default();
        *turn += 1;
        Some(*turn - 1)
    }

    fn template(&self, key: &TemplateKey4) -> Option<Template4> {
        self.templates.borrow().get(key).copied()
    }

    fn insert_template(&self, key: &TemplateKey4, template: &Template4) -> Result<(), InsertError> {
        if self.templates.borrow().contains_key(key) {
            return Err(InsertError::Exists);
        }
        self.replace_template(key, template)
    }

    fn replace_template(
        &self,
        key: &TemplateKey4,
        template: &Template4,
    ) -> Result<(), InsertError> {
        let mut templates = self.templates.borrow_mut();
        if !templates.contains_key(key) && self.full(templates.len()) {
            return Err(InsertError::Full);
        }
        templates.insert(*key, *template);
        Ok(())
    }

    fn route(&self, _source: [u8; 4], destination: [u8; 4], _tos: u8) -> Route {
        self.routes.borrow().get(&destination).copied().unwrap_or(Route::None)
    }

    fn interface(&self, index: u32) -> Option<Interface> {
        self.interfaces.get(&index).copied()
    }

    fn use_neighbour(&self, interface: u32, neighbour: [u8; 4], resolved: bool) {
        self.neighbours.borrow_mut().insert((interface, neighbour), resolved);
    }

    fn ingress(&self) -> u32 {
        self.ingress.get()
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
