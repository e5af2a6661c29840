//! A namespace with a client side, a server side and known neighbours, the loaded object in it, and the same balancer
//! in memory. Addresses, services and MAC addresses are those of [`lvs_common::host::sample`], with a few more of what
//! tests need.

mod place;
mod program;
mod services;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use lvs_common::{
    abi::{Counter, Interface, Load, NextHop, Server, Service, ServiceKey, Settings, V4, V6},
    env::{Reach, Route},
    host::{
        MemoryEnv, MemoryPacket,
        sample::{CLIENT_MAC, HERE_MAC, SERVER_MAC, Sample},
    },
    pipeline::{self, Verdict},
};
use lvs_tests::netns::Netns;
use lvs_userspace::{
    bpf::{Collector, Dataplane, LoadOptions, Trace},
    config,
    control::{
        ledger::Ledger,
        tables::{Choices, Tables},
        write,
    },
};

use crate::{compare, show::show};

use self::services::configuration;
pub(crate) use self::{
    place::Place,
    program::{Action, Hook, run, run_in_context},
    services::{Special, server_port, service},
};

/// The interface that `BPF_PROG_TEST_RUN` lets packets come in on: the loopback interface.
pub(crate) const HERE: u32 = 1;
/// MAC addresses that the balancer sends from, on the sides of the clients and of the servers.
pub(crate) const LOCAL_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 3, 1], [2, 0, 0, 0, 3, 2]];
/// First of the ports of full NAT; there are more than any test takes.
pub(crate) const FIRST_PORT: u16 = 30_000;
/// The MTU of most ways.
pub(crate) const MTU: u16 = 9000;
/// The MTU of the ways to [`Place::NARROW_CLIENT`] and [`Place::NARROW_SERVER`].
pub(crate) const NARROW_MTU: u16 = 1400;

/// What a world may have otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Connections that fit.
    pub(crate) connections: u32,
    /// What to trace, if anything.
    pub(crate) trace: Option<Trace>,
    /// The services, if not those of [`lvs_common::host::sample`] and [`Special`].
    pub(crate) configuration: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 4000, trace: None, configuration: None }
    }
}

/// Runs a test twice, each time in a namespace of its own: with the XDP and with the TC program.
pub(crate) fn with_both(test: impl Fn(&mut World) -> Result<()> + Sync) -> Result<()> {
    Hook::BOTH
        .into_iter()
        .try_for_each(|hook| with(hook, &test).with_context(|| format!("{hook:?}")))
}

/// Runs a test in a namespace of its own.
pub(crate) fn with<T: Send>(
    hook: Hook,
    test: impl FnOnce(&mut World) -> Result<T> + Send,
) -> Result<T> {
    with_options(hook, Options::default(), test)
}

/// The same with something otherwise.
pub(crate) fn with_options<T: Send>(
    hook: Hook,
    options: Options,
    test: impl FnOnce(&mut World) -> Result<T> + Send,
) -> Result<T> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let netns = Netns::dual_stack(format!("xlvs-k{}-{count}", std::process::id()))?;
    let links = [
        "link add c0 address 02:00:00:00:03:01 mtu 9000 type veth peer name c1 mtu 9000",
        "link add s0 address 02:00:00:00:03:02 mtu 9000 type veth peer name s1 mtu 9000",
        "link set c0 up",
        "link set c1 up",
        "link set s0 up",
        "link set s1 up",
    ];
    netns.ip(&[links.as_slice(), V4::NETWORK, V6::NETWORK].concat())?;
    netns.set("ipv4/ip_forward", "1")?;
    netns.set("ipv6/conf/all/forwarding", "1")?;
    netns.run(|| test(&mut World::new(hook, options)?))
}

/// A balancer in the kernel and the same in memory.
pub(crate) struct World {
    hook: Hook,
    pub(crate) kernel: Dataplane,
    pub(crate) memory: MemoryEnv,
    pub(crate) tables: Tables,
    pub(crate) client_side: u32,
    pub(crate) server_side: u32,
    /// What ends connections in the kernel, and tells the time there.
    pub(crate) collector: Arc<Collector>,
    /// The second in which ICMP errors were sent last, and how many there were before it.
    errors: (u64, u64),
}

impl World {
    fn new(hook: Hook, options: Options) -> Result<Self> {
        let Options { connections, trace, configuration: text } = options;
        let text = text.unwrap_or_else(|| configuration::<V4>() + &configuration::<V6>());
        let parsed = config::parse("test", &text, &config::Policy::default())
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let ports = (FIRST_PORT..FIRST_PORT + 20_000).collect();
        let choices = Choices { connections, ports, ..Choices::default() };
        let change = Ledger::first(&parsed.config, &choices)?;
        let options = LoadOptions { connections, trace, ..LoadOptions::default() };
        let mut kernel = Dataplane::load(&options)?;
        match hook {
            Hook::Xdp => {
                kernel.xdp()?;
            }
            Hook::Tc => {
                kernel.tc()?;
            }
        }
        write::apply(&change, &Tables::default(), &mut kernel.maps.split().0)?;
        let tables = change.ledger.tables;
        let collector = Arc::new(kernel.collector()?);
        let client_side = nix::net::if_::if_nametoindex("c0")?;
        let server_side = nix::net::if_::if_nametoindex("s0")?;
        let mut memory = MemoryEnv::default();
        memory.servers.clone_from(&tables.servers);
        for (id, _) in (0..).zip(&tables.servers) {
            memory.loads.borrow_mut().insert(id, kernel.maps.loads.get(id)?);
        }
        memory.members.clone_from(&tables.members);
        memory.runs.clone_from(&tables.runs);
        memory.turns = turns(&tables).into();
        memory.locals.clone_from(&tables.locals);
        memory.ports.clone_from(&tables.ports);
        memory.settings = tables.settings;
        memory.errors_per_second = u32::MAX;
        memory.ingress.set(HERE);
        memory.four.services = tables.services4.iter().copied().collect();
        memory.six.services = tables.services6.iter().copied().collect();
        for (index, mac, side) in
            [(HERE, HERE_MAC, 0), (client_side, LOCAL_MACS[0], 0), (server_side, LOCAL_MACS[1], 1)]
        {
            let (address4, address6) = (V4::OWN[side], V6::OWN[side]);
            let interface = Interface { mac, flags: 0, address4, address6 };
            kernel.maps.interfaces.insert(index, interface, 0)?;
            memory.interfaces.insert(index, interface);
        }
        let mut world = Self {
            hook,
            kernel,
            memory,
            tables,
            client_side,
            server_side,
            errors: (0, 0),
            collector,
        };
        world.add_routes::<V4>(connections);
        world.add_routes::<V6>(connections);
        Ok(world)
    }

    /// What `bpf_fib_lookup` finds, and how much fits.
    fn add_routes<A: Place>(&mut self, connections: u32) {
        let via = |interface, destination_mac, source_mac| {
            move |neighbour, mtu| Route {
                reach: Reach::Resolved,
                hop: NextHop { interface, destination_mac, source_mac },
                neighbour,
                mtu,
            }
        };
        let unresolved = |interface, neighbour| Route {
            reach: Reach::Unresolved,
            hop: NextHop { interface, ..NextHop::NONE },
            neighbour,
            // The kernel does not say.
            mtu: u16::MAX,
        };
        let client = via(self.client_side, CLIENT_MAC, LOCAL_MACS[0]);
        let server = via(self.server_side, SERVER_MAC, LOCAL_MACS[1]);
        let [near, far] = A::CLIENTS;
        let mut routes = HashMap::from([
            (near, client(near, MTU)),
            (far, client(near, MTU)),
            (A::NARROW_CLIENT, client(near, NARROW_MTU)),
            (A::STRANGER, unresolved(self.client_side, A::STRANGER)),
            (A::NARROW_SERVER, server(A::NARROW_SERVER, NARROW_MTU)),
            (A::UNRESOLVED_SERVER, unresolved(self.server_side, A::UNRESOLVED_SERVER)),
        ]);
        routes.extend(A::SERVERS.map(|address| (address, server(address, MTU))));
        let family = A::tables(&self.memory);
        *family.routes.borrow_mut() = routes;
        family.capacity.set(2 * connections as usize);
    }

    /// What the data path's clock says.
    pub(crate) fn now(&self) -> Result<u64> {
        Ok(self.collector.now()?)
    }

    /// Sends a frame through the engine on the host and through the kernel's program, which must agree.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(Verdict, Vec<u8>)> {
        self.wait_for_errors()?;
        self.memory.now.set(self.now()?);
        let mut packet = match self.hook {
            Hook::Xdp => MemoryPacket::new(bytes),
            Hook::Tc => MemoryPacket::in_socket_buffer(bytes),
        };
        let verdict = pipeline::process(&mut packet, &self.memory);
        let expected = match verdict {
            Verdict::Drop(_) => Action::Drop,
            Verdict::Pass(_) => Action::Pass,
            Verdict::Redirect(_) => Action::Redirect,
            Verdict::Next(_) => bail!("the host stopped with {verdict:?}"),
        };
        let left = packet.bytes();
        let (action, kernel) = self.send_to_kernel(bytes)?;
        ensure!(
            (action, &kernel) == (expected, &left),
            "host and kernel differ about {}host: {verdict:?}, {}kernel: {action:?} ({}), {}",
            show(bytes),
            show(&left),
            compare::counters(self).err().map_or_else(String::new, |error| error.to_string()),
            show(&kernel)
        );
        Ok((verdict, left))
    }

    /// The kernel sends a thousand ICMP errors in a second; the host does not mind.
    fn wait_for_errors(&mut self) -> Result<()> {
        let sent = self.memory.counted(Counter::ErrorSent);
        loop {
            let second = self.now()? / 1_000_000_000;
            if second != self.errors.0 {
                self.errors = (second, sent);
            }
            if sent - self.errors.1 < 800 {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Sends a frame through the kernel's program alone.
    pub(crate) fn send_to_kernel(&mut self, bytes: &[u8]) -> Result<(Action, Vec<u8>)> {
        match self.hook {
            Hook::Xdp => {
                let (code, bytes) = run(self.kernel.xdp()?, bytes)?;
                let action = match code {
                    1 => Action::Drop,
                    2 => Action::Pass,
                    4 => Action::Redirect,
                    code => bail!("XDP action {code}"),
                };
                Ok((action, bytes))
            }
            Hook::Tc => {
                let (code, bytes) = run(self.kernel.tc()?, bytes)?;
                let action = match code.cast_signed() {
                    -1 => Action::Pass,
                    2 => Action::Drop,
                    7 => Action::Redirect,
                    code => bail!("TC action {code}"),
                };
                Ok((action, bytes))
            }
        }
    }

    /// Changes the settings of both.
    pub(crate) fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) -> Result<()> {
        change(&mut self.tables.settings);
        let settings = self.tables.settings;
        self.memory.ports = self.tables.ports[..settings.ports as usize].to_vec();
        self.memory.settings = settings;
        Ok(self.kernel.maps.settings.set(0, settings, 0)?)
    }

    /// Changes a server in the kernel and in memory.
    pub(crate) fn change_server(
        &mut self,
        id: usize,
        change: impl FnOnce(&mut Server),
    ) -> Result<()> {
        change(&mut self.memory.servers[id]);
        Ok(self.kernel.maps.servers.array.set(u32::try_from(id)?, self.memory.servers[id], 0)?)
    }

    /// The same for one of a family's services, by any number.
    pub(crate) fn change_service<A: Place>(
        &mut self,
        number: u32,
        change: impl FnOnce(&mut Service),
    ) -> Result<()> {
        let services = &mut A::tables_mut(&mut self.memory).services;
        let mut keys: Vec<ServiceKey<A>> = services.keys().copied().collect();
        keys.sort_unstable_by_key(|key| (key.port, key.protocol));
        let key = keys[number as usize % keys.len()];
        let service = services.get_mut(&key).context("a service")?;
        change(service);
        A::set_service(&mut self.kernel.maps, &key, service)
    }

    /// As if no packet had come yet, but for counters and statistics.
    pub(crate) fn forget(&mut self) -> Result<()> {
        let maps = &mut self.kernel.maps;
        V4::clear(maps)?;
        V6::clear(maps)?;
        for (id, _) in (0..).zip(&self.tables.servers) {
            maps.loads.array.set(id, Load::default(), 0)?;
        }
        for (id, state) in (0..).zip(&self.tables.states) {
            maps.schedulers.set(id, state, 0)?;
        }
        self.memory.loads.borrow_mut().clear();
        self.memory.turns = turns(&self.tables).into();
        self.memory.four.flows.borrow_mut().clear();
        self.memory.six.flows.borrow_mut().clear();
        self.memory.four.templates.borrow_mut().clear();
        self.memory.six.templates.borrow_mut().clear();
        Ok(())
    }
}

/// What the schedulers begin with.
fn turns(tables: &Tables) -> HashMap<u32, u64> {
    (0..).zip(&tables.states).map(|(id, state)| (id, state.turn)).collect()
}
