//! Entries of tables in hash maps: cells that the tables and those who have looked one up share.

use core::cell::Cell;
use std::rc::Rc;

use crate::{
    abi::{Destination, Flow, Head, Limits, NextHop, Template},
    env::{DestinationHandle, FlowHandle, RecentHandle, TemplateHandle},
    recent::Recent,
};

/// An entry of [`Family::flows`](super::Family::flows).
#[derive(Clone, Debug)]
pub struct MemoryFlow<A: Copy>(pub(super) Rc<Cell<Flow<A>>>);

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
        self.update(|flow| flow.limits = Limits::new(seconds, flow.limits.half_open()));
    }

    fn set_half_open(&self, slot: u32) {
        self.update(|flow| flow.limits = Limits::new(flow.limits.timeout(), slot));
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

/// An entry of [`Family::templates`](super::Family::templates).
#[derive(Clone, Debug)]
pub struct MemoryTemplate(pub(super) Rc<Cell<Template>>);

impl TemplateHandle for MemoryTemplate {
    fn load(&self) -> Template {
        self.0.get()
    }

    fn prolong(&self, expires: u64, timeout: u32) {
        self.0.set(Template { expires, timeout, ..self.0.get() });
    }

    fn add_connection(&self) {
        let template = self.0.get();
        self.0.set(Template { connections: template.connections + 1, ..template });
    }

    fn remove_connection(&self) {
        let template = self.0.get();
        let connections = template.connections.saturating_sub(1);
        self.0.set(Template { connections, ..template });
    }
}

/// An entry of [`MemoryEnv::destinations`](super::MemoryEnv::destinations).
#[derive(Clone, Debug)]
pub struct MemoryDestination(pub(super) Rc<Cell<Destination>>);

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

/// One of the ways to servers that were found a moment ago.
#[derive(Clone, Debug)]
pub struct MemoryRecent<A: Copy>(pub(super) Rc<Cell<Recent<A>>>);

impl<A: Copy> RecentHandle<A> for MemoryRecent<A> {
    fn get<T>(&self, read: impl FnOnce(&Recent<A>) -> T) -> T {
        read(&self.0.get())
    }

    fn set(&self, recent: &Recent<A>) {
        self.0.set(*recent);
    }
}
