//! A namespace with a client side, a server side and known neighbours, the loaded object, and the same
//! balancer in memory.

use std::{cell::Cell, collections::HashMap, rc::Rc};

use anyhow::{Context as _, Result};
use aya::{
    TestRun,
    maps::MapError,
    programs::{TestRunOptions, TestRunResult},
};
use lvs_common::{
    abi::{Flow4, Interface, NextHop, Tuple4},
    env::Route,
    host::{Frame, MemoryEnv},
};
use lvs_tests::netns::Netns;
use lvs_userspace::{bpf::Dataplane, config, control::tables::Tables};

pub(crate) const CLIENT: [u8; 4] = [10, 64, 1, 1];
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
pub(crate) const STRANGER: [u8; 4] = [10, 64, 1, 9];
pub(crate) const DISTANT: [u8; 4] = [10, 99, 0, 7];
pub(crate) const VIP: [u8; 4] = [10, 64, 1, 2];
pub(crate) const PORT: u16 = 10000;
pub(crate) const SERVERS: [([u8; 4], u16); 2] =
    [([192, 168, 1, 100], 8089), ([192, 168, 1, 101], 18089)];
pub(crate) const SERVER_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 2, 100], [2, 0, 0, 0, 2, 101]];

pub(crate) const CONFIG: &str = "
virtual_server 10.64.1.2 10000 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 192.168.1.100 8089 { weight 1 }
    real_server 192.168.1.101 18089 { weight 1 }
}
virtual_server 10.64.1.2 10443 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    persistence_timeout 50
    real_server 192.168.1.100 8089 { weight 1 }
    real_server 192.168.1.101 18089 { weight 1 }
}";

/// Which of the two programs runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

/// What the program says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pass,
    Drop,
    Redirect,
}

/// Runs a test twice, each time in a namespace of its own: with the XDP and with the TC program.
pub(crate) fn with_both(test: impl Fn(&mut World) -> Result<()> + Sync) -> Result<()> {
    [Hook::Xdp, Hook::Tc]
        .into_iter()
        .try_for_each(|hook| with(hook, &test).with_context(|| format!("{hook:?}")))
}

/// Runs a test in a namespace of its own.
pub(crate) fn with<T: Send>(
    hook: Hook,
    test: impl FnOnce(&mut World) -> Result<T> + Send,
) -> Result<T> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let netns = Netns::new(format!("xlvs-k{}-{count}", std::process::id()))?;
    netns.ip(&[
        "link set lo up",
        "link add c0 type veth peer name c1",
        "link add s0 type veth peer name s1",
        "addr add 10.64.1.254/24 dev c0",
        "addr add 10.64.1.2/32 dev c0",
        "addr add 192.168.1.1/24 dev s0",
        "link set c0 up",
        "link set c1 up",
        "link set s0 up",
        "link set s1 up",
        "neigh replace 10.64.1.1 lladdr 02:00:00:00:01:01 dev c0 nud permanent",
        "route add 10.99.0.0/16 via 10.64.1.1",
        "neigh replace 192.168.1.100 lladdr 02:00:00:00:02:64 dev s0 nud permanent",
        "neigh replace 192.168.1.101 lladdr 02:00:00:00:02:65 dev s0 nud permanent",
    ])?;
    netns.set("ipv4/ip_forward", "1")?;
    netns.run(|| test(&mut World::new(hook)?))
}

pub(crate) struct World {
    hook: Hook,
    pub(crate) kernel: Dataplane,
    pub(crate) memory: MemoryEnv,
    pub(crate) client_side: u32,
}

impl World {
    fn new(hook: Hook) -> Result<Self> {
        let tables = Tables::new(&config::parse("test", CONFIG)?.config);
        let mut kernel = Dataplane::load(None, None)?;
        tables.write(&mut kernel.maps)?;
        let (client_side, client_mac) = link("c0")?;
        let (server_side, server_mac) = link("s0")?;
        // BPF_PROG_TEST_RUN lets packets come in on the loopback interface, whose index is 1.
        let interface = Interface { mac: [2, 0, 0, 0, 0, 2], reserved: 0 };
        let mut memory = MemoryEnv::default();
        memory.ingress.set(1);
        for index in [1, client_side, server_side] {
            kernel.maps.interfaces.insert(index, interface, 0)?;
            memory.interfaces.insert(index, interface);
        }
        memory.services = tables.services.into_iter().collect();
        memory.servers = tables.servers;
        memory.members = tables.members;
        let via = |interface, destination_mac, source_mac| {
            let hop = NextHop { interface, destination_mac, source_mac };
            Route::Via { hop, neighbour: [0; 4] }
        };
        let mut routes = HashMap::new();
        routes.insert(CLIENT, via(client_side, CLIENT_MAC, client_mac));
        routes.insert(DISTANT, via(client_side, CLIENT_MAC, client_mac));
        routes.insert(STRANGER, Route::Unresolved { interface: client_side, neighbour: STRANGER });
        for ((address, _), mac) in SERVERS.into_iter().zip(SERVER_MACS) {
            routes.insert(address, via(server_side, mac, server_mac));
        }
        *memory.routes.borrow_mut() = routes;
        Ok(Self { hook, kernel, memory, client_side })
    }

    /// Sends a frame through the kernel's program: the action and the frame as it left.
    pub(crate) fn send(&mut self, frame: &Frame) -> Result<(Action, Frame)> {
        let (action, bytes) = self.send_bytes(&frame.bytes().unwrap())?;
        Ok((action, Frame::read(&bytes).map_err(anyhow::Error::msg)?))
    }

    /// The same with any bytes.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Result<(Action, Vec<u8>)> {
        match self.hook {
            Hook::Xdp => {
                let (code, bytes) = run(self.kernel.xdp()?, bytes)?;
                Ok((xdp_action(code)?, bytes))
            }
            Hook::Tc => {
                let (code, bytes) = run(self.kernel.tc()?, bytes)?;
                let action = match code.cast_signed() {
                    -1 => Action::Pass,
                    2 => Action::Drop,
                    7 => Action::Redirect,
                    code => anyhow::bail!("TC action {code}"),
                };
                Ok((action, bytes))
            }
        }
    }

    /// The kernel's connection table.
    pub(crate) fn flows(&self) -> Result<HashMap<Tuple4, Flow4>, MapError> {
        self.kernel.maps.connections.map.iter().collect()
    }

    /// The connection table in memory.
    pub(crate) fn memory_flows(&self) -> HashMap<Tuple4, Flow4> {
        let cell = |(key, cell): (&Tuple4, &Rc<Cell<Flow4>>)| (*key, cell.get());
        self.memory.flows.borrow().iter().map(cell).collect()
    }
}

/// One run of the program over these bytes.
pub(crate) fn run(
    program: &impl for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
    bytes: &[u8],
) -> Result<(u32, Vec<u8>)> {
    let mut out = vec![0; bytes.len() + 64];
    let mut options = TestRunOptions::new();
    options.data_in = Some(bytes);
    options.data_out = Some(&mut out);
    let result = program.test_run(options).context("BPF_PROG_TEST_RUN")?;
    let length = result.data_size_out as usize;
    out.truncate(length);
    Ok((result.return_value, out))
}

/// The meaning of an XDP program's return code.
pub(crate) fn xdp_action(code: u32) -> Result<Action> {
    match code {
        1 => Ok(Action::Drop),
        2 => Ok(Action::Pass),
        4 => Ok(Action::Redirect),
        code => anyhow::bail!("XDP action {code}"),
    }
}

/// Index and MAC address of an interface of the current namespace.
fn link(name: &str) -> Result<(u32, [u8; 6])> {
    let index = nix::net::if_::if_nametoindex(name)?;
    let shown = std::process::Command::new("ip").args(["-o", "link", "show", name]).output()?;
    let text = String::from_utf8(shown.stdout)?;
    let mac = text.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
    let bytes: Vec<u8> = mac
        .context("the interface has a MAC address")?
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()?;
    Ok((index, bytes.try_into().map_err(|_| anyhow::anyhow!("a MAC address has six bytes"))?))
}
