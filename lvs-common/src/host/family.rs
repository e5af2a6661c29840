//! The tables and routes of an address family.

use core::cell::{Cell, RefCell};
use std::{collections::HashMap, rc::Rc, vec::Vec};

use super::{
    env::MemoryEnv,
    handle::{MemoryFlow, MemoryRecent, MemoryTemplate},
};
use crate::{
    abi::{
        Flow, Fragment, FragmentKey, Head, Limits, Mark, NO_SLOT, NextHop, Server, Service,
        ServiceKey, Template, TemplateKey, Tuple, V4, V6,
    },
    env::{Decision, Draft, InsertError, Reach, Route, Tables},
    fault::Report,
    recent::Recent,
};

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
    recent: RefCell<HashMap<u32, Rc<Cell<Recent<A>>>>>,
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
            server: 0,
            limits: Limits::new(0, NO_SLOT),
            mtu: 0,
            head: Head { state: 0, direction: 0, flags: 0, template: 0 },
        };
        let draft = Draft {
            forth: nothing,
            back: nothing,
            key: Tuple::NONE,
            reply_key: Tuple::NONE,
            service: Service::NONE,
            class: 0,
            length: 0,
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
            recent: RefCell::default(),
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
    pub(super) fn marked(&self, servers: &[Server], mark: Mark) -> bool {
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

impl<A: Stored> Tables<A> for MemoryEnv {
    type Flow = MemoryFlow<A>;
    type Template = MemoryTemplate;
    type Recent = MemoryRecent<A>;

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

    fn is_half_open_taken(&self, slot: u32) -> bool {
        self.half_open(slot).is_some_and(|key: Tuple<A>| key.protocol != 0)
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

    fn recent(&self, place: u32) -> Option<MemoryRecent<A>> {
        let mut places = A::tables(self).recent.borrow_mut();
        let recent = places.entry(place).or_insert_with(|| Rc::new(Cell::new(Recent::NONE)));
        Some(MemoryRecent(Rc::clone(recent)))
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
