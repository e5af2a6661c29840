//! A namespace with a client side, a server side and known neighbours, the loaded object in it, and the same balancer
//! in memory. Addresses, services and MAC addresses are those of [`lvs_common::host::sample`], with a few more of what
//! tests need.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    TestRun,
    maps::{Array, Map, MapData, MapInfo},
    programs::{TestRunOptions, TestRunResult},
};
use lvs_common::{
    abi::{
        Address as _, Counter, Flow, Interface, Load, NextHop, Server, Service, ServiceKey,
        Settings, Template, TemplateKey, Tuple, V4, V6,
    },
    env::{Reach, Route},
    host::{
        MemoryEnv, MemoryPacket,
        sample::{CLIENT_MAC, HERE_MAC, Kind, Method, SERVER_MAC, SERVER_PORT, Sample, port},
    },
    pipeline::{self, Verdict},
};
use lvs_tests::netns::Netns;
use lvs_userspace::{
    bpf::{Collector, Dataplane, LoadOptions, Maps, Trace},
    config,
    control::{
        ledger::Ledger,
        tables::{Choices, Tables},
        write,
    },
};

use crate::{compare, show::show};

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

/// Services beside those of [`Kind`], each for TCP and UDP; the number is the last digit of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// Its server is behind a narrow way.
    Narrow = 3,
    /// Its server's MAC address is not known.
    Unresolved = 4,
    /// Its only server has weight 0.
    Empty = 5,
    /// With full NAT, it has no local addresses of its own.
    Own = 6,
}

impl Special {
    const ALL: [Self; 4] = [Self::Narrow, Self::Unresolved, Self::Empty, Self::Own];

    pub(crate) const fn port(self, method: Method) -> u16 {
        port(method, Kind::Tcp) + self as u16
    }
}

/// The port of a service's servers. With full NAT each service has its own: the services take turns at the ports of
/// full NAT each for itself, and one that is taken makes the next choice random.
pub(crate) const fn server_port(method: Method, service: u16) -> u16 {
    match method {
        Method::Nat => SERVER_PORT,
        Method::FullNat => SERVER_PORT + service % 10,
    }
}

/// The addresses and the kernel's tables of a family.
pub(crate) trait Place: Sample {
    /// A client behind a link that takes little.
    const NARROW_CLIENT: Self;
    /// A client whose MAC address is not known.
    const STRANGER: Self;
    /// A server behind a link that takes little.
    const NARROW_SERVER: Self;
    /// A server whose MAC address is not known.
    const UNRESOLVED_SERVER: Self;
    /// Routes and neighbours, for `ip -batch`.
    const NETWORK: &[&str];

    /// The kernel's connection table.
    fn flows(maps: &Maps) -> Result<HashMap<Tuple<Self>, Flow<Self>>>;
    /// Changes an entry of it.
    fn set_flow(maps: &mut Maps, key: &Tuple<Self>, flow: &Flow<Self>) -> Result<()>;
    /// The kernel's first slots for half-open connections.
    fn slots(kernel: &mut Dataplane, count: u32) -> Result<Vec<Tuple<Self>>>;
    /// Replaces a service in the kernel.
    fn set_service(maps: &mut Maps, key: &ServiceKey<Self>, service: &Service) -> Result<()>;
    /// The kernel's persistence templates.
    fn templates(maps: &Maps) -> Result<HashMap<TemplateKey<Self>, Template>>;
    /// The neighbours that the kernel's program has noted, and the state of each.
    fn neighbours(maps: &Maps) -> Result<HashMap<(u32, Self), u32>>;
    /// Has the kernel end connections that are over; tells how many were.
    fn collect(collector: &Collector, keys: &[Tuple<Self>]) -> Result<u32>;
    /// Empties both tables of the kernel's.
    fn clear(maps: &mut Maps) -> Result<()>;

    /// As it is written.
    fn text(self) -> String {
        let wide = self.widen();
        let address = match Self::VERSION {
            4 => IpAddr::from(V4::narrow(wide)),
            _ => IpAddr::from(wide),
        };
        address.to_string()
    }
}

macro_rules! maps {
    ($family:ident, $slots:literal, $open:literal) => {
        fn slots(kernel: &mut Dataplane, count: u32) -> Result<Vec<Tuple<Self>>> {
            let map = map_of_program(kernel, $open, $slots)?;
            let slots = Array::<_, Tuple<Self>>::try_from(Map::Array(map))?;
            Ok((0..count).map(|slot| slots.get(&slot, 0)).collect::<Result<_, _>>()?)
        }

        fn flows(maps: &Maps) -> Result<HashMap<Tuple<Self>, Flow<Self>>> {
            Ok(maps.$family.connections.map.iter().collect::<Result<_, _>>()?)
        }

        fn set_flow(maps: &mut Maps, key: &Tuple<Self>, flow: &Flow<Self>) -> Result<()> {
            Ok(maps.$family.connections.map.insert(key, flow, 0)?)
        }

        fn set_service(maps: &mut Maps, key: &ServiceKey<Self>, service: &Service) -> Result<()> {
            Ok(maps.$family.services.insert(key, service, 0)?)
        }

        fn templates(maps: &Maps) -> Result<HashMap<TemplateKey<Self>, Template>> {
            Ok(maps.$family.templates.map.iter().collect::<Result<_, _>>()?)
        }

        fn neighbours(maps: &Maps) -> Result<HashMap<(u32, Self), u32>> {
            let entries = maps.$family.neighbours.iter().collect::<Result<Vec<_>, _>>()?;
            Ok(entries
                .into_iter()
                .map(|(key, state)| ((key.interface, key.address), state))
                .collect())
        }

        fn collect(collector: &Collector, keys: &[Tuple<Self>]) -> Result<u32> {
            Ok(collector.collect(keys)?)
        }

        fn clear(maps: &mut Maps) -> Result<()> {
            let connections = &mut maps.$family.connections.map;
            for key in connections.keys().collect::<Result<Vec<_>, _>>()? {
                connections.remove(&key)?;
            }
            let templates = &mut maps.$family.templates.map;
            for key in templates.keys().collect::<Result<Vec<_>, _>>()? {
                templates.remove(&key)?;
            }
            Ok(())
        }
    };
}

impl Place for V4 {
    const NARROW_CLIENT: Self = [10, 99, 9, 9];
    const STRANGER: Self = [10, 64, 1, 9];
    const NARROW_SERVER: Self = [192, 168, 1, 110];
    const UNRESOLVED_SERVER: Self = [192, 168, 1, 111];
    const NETWORK: &[&str] = &[
        "addr add 10.64.1.254/24 dev c0",
        "addr add 10.64.1.2/32 dev c0",
        "addr add 192.168.1.1/24 dev s0",
        "addr add 192.168.1.2/32 dev s0",
        "addr add 192.168.1.3/32 dev s0",
        "neigh replace 10.64.1.1 lladdr 02:00:00:00:01:01 dev c0 nud permanent",
        "route add 10.99.0.0/16 via 10.64.1.1",
        "route add 10.99.9.9/32 via 10.64.1.1 mtu lock 1400",
        "neigh replace 192.168.1.100 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace 192.168.1.101 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace 192.168.1.102 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace 192.168.1.110 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "route add 192.168.1.110/32 dev s0 mtu lock 1400",
    ];

    maps!(four, "HALF_OPEN4", "plan4");
}

/// An address of [`Sample`]'s networks for IPv6.
const fn v6(high: u16, low: u16) -> V6 {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    [0xfd, 0, 0, 0, 0, 0, a, b, 0, 0, 0, 0, 0, 0, c, d]
}

impl Place for V6 {
    const NARROW_CLIENT: Self = v6(0x9999, 0x909);
    const STRANGER: Self = v6(1, 9);
    const NARROW_SERVER: Self = v6(2, 0x110);
    const UNRESOLVED_SERVER: Self = v6(2, 0x111);
    const NETWORK: &[&str] = &[
        "addr add fd00:0:0:1::fe/64 dev c0 nodad",
        "addr add fd00:0:0:1::2/128 dev c0 nodad",
        "addr add fd00:0:0:2::1/64 dev s0 nodad",
        "addr add fd00:0:0:2::2/128 dev s0 nodad",
        "addr add fd00:0:0:2::3/128 dev s0 nodad",
        "neigh replace fd00:0:0:1::1 lladdr 02:00:00:00:01:01 dev c0 nud permanent",
        "route add fd00:0:0:9999::/64 via fd00:0:0:1::1",
        "route add fd00:0:0:9999::909/128 via fd00:0:0:1::1 mtu lock 1400",
        "neigh replace fd00:0:0:2::100 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace fd00:0:0:2::101 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace fd00:0:0:2::102 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace fd00:0:0:2::110 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "route add fd00:0:0:2::110/128 dev s0 mtu lock 1400",
    ];

    maps!(six, "HALF_OPEN6", "plan6");
}

/// A map that [`Maps`] does not have, by its name, from a stage that uses it.
fn map_of_program(kernel: &mut Dataplane, stage: &str, name: &str) -> Result<MapData> {
    for head in ["xlvs", "xlvs_tc"] {
        let program = kernel.program(&format!("{head}_{stage}")).context("the stage")?;
        // Only one of them is loaded.
        let Ok(info) = program.info() else { continue };
        for id in info.map_ids()?.context("the kernel tells the maps")? {
            let map = MapInfo::from_id(id)?;
            if map.name_as_str() == Some(name) {
                return Ok(MapData::from_id(id)?);
            }
        }
    }
    bail!("no stage {stage} with a map {name}")
}

/// Which of the two programs runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    pub(crate) const BOTH: [Self; 2] = [Self::Xdp, Self::Tc];
}

/// What the program says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pass,
    Drop,
    Redirect,
}

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
        let parsed = config::parse("test", &text).map_err(|error| anyhow::anyhow!("{error:?}"))?;
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
        write::apply(&change, None, &mut kernel.maps.split().0)?;
        let tables = change.ledger.tables;
        let collector = Arc::new(kernel.collector()?);
        let client_side = nix::net::if_::if_nametoindex("c0")?;
        let server_side = nix::net::if_::if_nametoindex("s0")?;
        let mut memory = MemoryEnv::default();
        memory.servers.clone_from(&tables.servers);
        for (id, _) in (0..).zip(&tables.servers) {
            memory.loads.borrow_mut().insert(id, kernel.maps.loads.get(&id, 0)?);
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
        Ok(self.kernel.maps.servers.set(u32::try_from(id)?, self.memory.servers[id], 0)?)
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
            maps.loads.set(id, Load::default(), 0)?;
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

/// One run of the program over these bytes: what it returned, and the frame after it.
pub(crate) fn run(
    program: &impl for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
    bytes: &[u8],
) -> Result<(u32, Vec<u8>)> {
    run_in_context(program, bytes, None)
}

/// The same with a context: the bytes of an `__sk_buff`.
pub(crate) fn run_in_context(
    program: &impl for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
    bytes: &[u8],
    context: Option<&[u8]>,
) -> Result<(u32, Vec<u8>)> {
    let mut out = vec![0; bytes.len() + 256];
    let mut options = TestRunOptions::new();
    options.ctx_in = context;
    options.data_in = Some(bytes);
    options.data_out = Some(&mut out);
    let result = program
        .test_run(options)
        .with_context(|| format!("BPF_PROG_TEST_RUN with {}", show(bytes)))?;
    let length = result.data_size_out as usize;
    out.truncate(length);
    Ok((result.return_value, out))
}

/// All services of a family.
fn configuration<A: Place>() -> String {
    let group = format!("locals{}", A::VERSION);
    let locals = A::LOCALS.map(Place::text).join("\n");
    let mut blocks = vec![format!("local_address_group {group} {{\n{locals}\n}}")];
    let [first, second, third] = A::SERVERS;
    for method in [Method::Nat, Method::FullNat] {
        let locals = match method {
            Method::Nat => String::new(),
            Method::FullNat => format!("laddr_group_name {group}\n"),
        };
        for kind in Kind::ALL {
            let (protocol, option) = match kind {
                Kind::Tcp => ("TCP", ""),
                Kind::Persistent => ("TCP", "persistence_timeout 5000"),
                Kind::Udp => ("UDP", ""),
                Kind::OnePacket => ("UDP", "ops"),
            };
            let options = format!("protocol {protocol}\n{locals}{option}");
            let port = port(method, kind);
            let servers = [(first, 1), (second, 1), (third, 0)];
            let servers =
                servers.map(|(server, weight)| (server, server_port(method, port), weight));
            blocks.push(service(method, "rr", port, &options, &servers));
        }
        for special in Special::ALL {
            let (server, weight, locals) = match special {
                Special::Narrow => (A::NARROW_SERVER, 1, locals.as_str()),
                Special::Unresolved => (A::UNRESOLVED_SERVER, 1, locals.as_str()),
                Special::Empty => (first, 0, locals.as_str()),
                Special::Own => (first, 1, ""),
            };
            let port = special.port(method);
            let server = (server, server_port(method, port), weight);
            for protocol in ["TCP", "UDP"] {
                let options = format!("protocol {protocol}\n{locals}");
                blocks.push(service(method, "rr", port, &options, &[server]));
            }
        }
    }
    blocks.join("\n") + "\n"
}

/// A service of a family's virtual address, with the addresses, ports and weights of its servers.
pub(crate) fn service<A: Place>(
    method: Method,
    scheduler: &str,
    port: u16,
    options: &str,
    servers: &[(A, u16, u32)],
) -> String {
    let lb_kind = if method == Method::FullNat { "FNAT" } else { "NAT" };
    let vip = A::VIP.text();
    let servers: Vec<_> = servers
        .iter()
        .map(|(server, port, weight)| (server.text(), port, weight))
        .map(|(server, port, weight)| format!("real_server {server} {port} {{ weight {weight} }}"))
        .collect();
    format!(
        "virtual_server {vip} {port} {{\nlb_algo {scheduler}\nlb_kind {lb_kind}\n{options}\n{}\n}}\n",
        servers.join("\n")
    )
}
