//! What the rules go by: all that was read from this host, as plain values.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::ValueEnum as _;
use lvs_common::abi::Counter;

use super::rules::drivers;
use crate::{
    bpf::{Mode, OtherProgram, Survey},
    config::{Config, Family, Forwarding, Protocol},
    control::{
        Place, Told,
        found::{Controller, Given},
    },
};

/// A port for hosts of which none is known: nobody listens there (`tcpmux`), and a host says so.
pub(crate) const ANY_PORT: u16 = 1;

/// Everything that was read.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) kernel: Kernel,
    pub(crate) file: File,
    /// What the file says, as far as it is balanced; nothing if it cannot be used.
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    /// Those to attach to, in the order that they were given.
    pub(crate) interfaces: Vec<Interface>,
    /// Interfaces that there are not, or that carry no Ethernet: name and what is wrong.
    pub(crate) no_interfaces: Vec<(String, String)>,
    pub(crate) host: Host,
    pub(crate) servers: Vec<Server>,
    /// Servers for which there was no time.
    pub(crate) not_tried: usize,
    pub(crate) state: State,
    /// What could not be looked at, and why.
    pub(crate) unseen: Vec<(&'static str, String)>,
}

/// The kernel, and what this process may ask of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) release: String,
    /// Whether it describes its own types.
    pub(crate) btf: bool,
    /// `net.core.bpf_jit_enable`; `None` where it cannot be read.
    pub(crate) jit: Option<String>,
    /// What of `/sys/kernel/security/lockdown` is on, if anything.
    pub(crate) lockdown: Option<String>,
    /// What came of loading the programs; `None` if that was not tried.
    pub(crate) programs: Option<Result<(), String>>,
    /// Capabilities that are missing, and what for.
    pub(crate) missing: Vec<(String, &'static str)>,
    /// The memory that the control group may use, in bytes, if it is bounded, and its path.
    pub(crate) memory: Option<(u64, String)>,
}

/// The configuration file.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// Why it cannot be read.
    pub(crate) unreadable: Option<String>,
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
    /// When it was changed last, in seconds since 1970.
    pub(crate) changed: u64,
    /// The config-id that it was read with.
    pub(crate) config_id: String,
}

/// An interface.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) mtu: u32,
    /// `veth`, `bridge`, `vlan` and so on for virtual ones.
    pub(crate) kind: Option<String>,
    /// The driver of a device.
    pub(crate) driver: Option<String>,
    /// The bond or bridge that it is a part of: name and kind.
    pub(crate) master: Option<(String, String)>,
    /// The other end of a veth, if that is in this namespace.
    pub(crate) peer: Option<Peer>,
    /// The names of VLAN devices on it.
    pub(crate) vlans: Vec<String>,
    /// What its driver can do with XDP, in the kernel's flags; `None` where the kernel does not say.
    pub(crate) xdp_features: Option<u64>,
    /// Whether an XDP program on it is in the stack.
    pub(crate) xdp_in_stack: bool,
    /// XDP programs that are not ours.
    pub(crate) other_xdp: Vec<OtherProgram>,
    /// tcx programs that are not ours.
    pub(crate) other_tcx: Vec<OtherProgram>,
    /// Filters at its ingress (`tc filter`).
    pub(crate) filters: usize,
    /// Offloads that are on, by the kernel's names.
    pub(crate) features: BTreeSet<String>,
    /// Queues for reception: in use, and possible.
    pub(crate) queues: Option<(u32, u32)>,
}

impl Interface {
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

/// The other end of a veth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Offloads that are on there.
    pub(crate) features: BTreeSet<String>,
}

/// An address of this host.
#[expect(clippy::struct_field_names, reason = "an address with its network is called an address")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    pub(crate) length: u8,
    pub(crate) interface: u32,
    /// Whether it is good for speaking to others: not link-local, not on its way in or out.
    pub(crate) global: bool,
    /// Whether it will end by itself, as those from router advertisements do.
    pub(crate) dynamic: bool,
}

impl Address {
    /// Whether another address is in its network.
    pub(crate) fn covers(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32_u32.saturating_sub(self.length.into());
                let network = |address: std::net::Ipv4Addr| {
                    u32::from(address).checked_shr(shift).unwrap_or(0)
                };
                network(own) == network(other)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128_u32.saturating_sub(self.length.into());
                let network = |address: std::net::Ipv6Addr| {
                    u128::from(address).checked_shr(shift).unwrap_or(0)
                };
                network(own) == network(other)
            }
            _ => false,
        }
    }
}

/// The host's network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// Settings by their path below `/proc/sys`, as far as they can be read.
    pub(crate) settings: HashMap<String, String>,
    pub(crate) addresses: Vec<Address>,
    /// Addresses of the configuration that are none of its own, and do not lead here by a local route either.
    pub(crate) unanswered: BTreeSet<IpAddr>,
    /// The interface of the default route, of IPv4 and IPv6.
    pub(crate) default_routes: [Option<u32>; 2],
    /// Names of all interfaces by index.
    pub(crate) names: HashMap<u32, String>,
    /// CPUs.
    pub(crate) cpus: u32,
    /// Ports that full NAT has, or why they cannot be told.
    pub(crate) ports: Option<usize>,
    /// Whether the stack tracks connections.
    pub(crate) conntrack: bool,
    /// Services that IPVS has: address and port, or mark.
    pub(crate) ipvs: Vec<IpvsService>,
}

impl Host {
    pub(crate) fn setting(&self, path: &str) -> Option<&str> {
        self.settings.get(path).map(String::as_str)
    }

    /// A setting that is a number.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        self.setting(path)?.parse().ok()
    }

    /// Whether an address is one of this host's.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.address == address)
    }

    /// The name of an interface.
    pub(crate) fn name(&self, index: u32) -> String {
        self.names.get(&index).cloned().unwrap_or_else(|| index.to_string())
    }

    pub(crate) const fn default_route(&self, family: Family) -> Option<u32> {
        let [four, six] = self.default_routes;
        match family {
            Family::Ipv4 => four,
            Family::Ipv6 => six,
        }
    }
}

/// A virtual service of IPVS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IpvsService {
    /// Of an address.
    Address(Protocol, IpAddr, u16),
    /// Of a firewall mark.
    Mark(u32),
}

/// A real server, with what came of talking to it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) address: IpAddr,
    /// The port that was tried.
    pub(crate) port: u16,
    pub(crate) forwarding: Forwarding,
    /// Whether a TCP service is to be there.
    pub(crate) tcp: bool,
    /// Where full NAT lets connections come from.
    pub(crate) locals: Vec<IpAddr>,
    /// The interface and the neighbour on the way to it.
    pub(crate) way: Way,
    /// Whether that neighbour is resolved.
    pub(crate) resolved: Option<bool>,
    /// From an address of the kernel's choice.
    pub(crate) plain: Option<Tried>,
    /// From another address of this host, from where the server answers by its default route.
    pub(crate) from_elsewhere: Option<Tried>,
}

/// The way to a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By this interface and this neighbour.
    Out(u32, IpAddr),
    /// It is this host.
    Here,
    /// There is none: what the kernel says.
    None(String),
}

/// A connection that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tried {
    /// The source address.
    pub(crate) from: Option<IpAddr>,
    pub(crate) outcome: Outcome,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Open,
    /// Answered, by a reset.
    Refused,
    /// No answer within the time.
    Silent,
    /// The kernel says no.
    Failed(String),
}

impl Outcome {
    /// Whether the other end has answered.
    pub(crate) const fn answered(&self) -> bool {
        matches!(self, Self::Open | Self::Refused)
    }
}

/// What is there of xlvs itself.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) pin_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) survey: Survey,
    pub(crate) controller: Option<Controller>,
    /// What the run was given that the data plane is from, if that is known.
    pub(crate) last_run: Option<Given>,
    /// What a controller has told of its services, if there is the data plane that it was told of.
    pub(crate) told: Option<Told>,
    /// Whether systemd has its unit.
    pub(crate) unit: bool,
    /// Packets by what became of them, and how many of them came while the doctor looked.
    pub(crate) counters: Vec<(Counter, u64, u64)>,
    /// Now, in seconds since 1970.
    pub(crate) now: u64,
}

impl Facts {
    /// The mode that `xlvs run` will take, as far as can be told.
    pub(crate) fn expected_mode(&self) -> Mode {
        expected_mode(self.mode, &self.interfaces)
    }

    /// The options that name its directories, where those are not the usual ones.
    pub(crate) fn directories(&self) -> String {
        let State { pin_dir, runtime_dir, .. } = &self.state;
        let mut options = String::new();
        for (option, path, usual) in [
            ("--pin-dir", pin_dir, Place::PIN_DIR),
            ("--runtime-dir", runtime_dir, Place::RUNTIME_DIR),
        ] {
            if path != Path::new(usual) {
                options.extend([" ", option, " ", &path.display().to_string()]);
            }
        }
        options
    }

    /// A command of xlvs for what was looked at: its words behind the program's name, the subcommand first.
    pub(crate) fn xlvs(&self, words: &str) -> String {
        let end = words.find(' ').unwrap_or(words.len());
        let (subcommand, others) = words.split_at_checked(end).unwrap_or((words, ""));
        format!("xlvs {subcommand}{}{others}", self.directories())
    }

    /// How `xlvs run` is started with what was looked at, in a mode, and perhaps with one more interface.
    pub(crate) fn run_command(&self, mode: Mode, further: Option<&str>) -> String {
        let further = further.map(|name| format!(" --interface {name}")).unwrap_or_default();
        let mode = mode.to_possible_value().filter(|_| mode != Mode::Auto);
        let mode = mode.map(|mode| format!(" --mode {}", mode.get_name())).unwrap_or_default();
        self.command("run", &format!("{further}{mode}"))
    }

    /// The same look again.
    pub(crate) fn doctor_command(&self) -> String {
        self.command("doctor", "")
    }

    fn command(&self, subcommand: &str, more: &str) -> String {
        let names = self.interfaces.iter().map(|interface| interface.name.as_str());
        let interfaces: Vec<String> = names.map(|name| format!(" --interface {name}")).collect();
        let (config, interfaces) = (self.file.path.display(), interfaces.concat());
        format!("xlvs {subcommand} --config {config}{interfaces}{more}{}", self.directories())
    }

    /// Whether there are services of a family.
    pub(crate) fn uses(&self, family: Family) -> bool {
        self.config.services.iter().any(|service| service.family == family)
    }

    /// Whether there are services with this method.
    pub(crate) fn forwards_by(&self, method: Forwarding) -> bool {
        self.config.services.iter().any(|service| service.forwarding == method)
    }

    /// Whether servers are behind an interface.
    pub(crate) fn has_servers(&self, index: u32) -> bool {
        self.servers.iter().any(|server| matches!(server.way, Way::Out(out, _) if out == index))
    }

    /// The interface that clients come in by: one without servers behind it if there is one.
    pub(crate) fn clients_interface(&self) -> &str {
        let side = self.interfaces.iter().find(|interface| !self.has_servers(interface.index));
        side.or(self.interfaces.first()).map_or("IF", |interface| interface.name.as_str())
    }

    /// The interface that servers are behind.
    pub(crate) fn servers_interface(&self) -> &str {
        let side = self.interfaces.iter().find(|interface| self.has_servers(interface.index));
        side.or(self.interfaces.first()).map_or("IF", |interface| interface.name.as_str())
    }
}

/// The mode that `xlvs run` will take on these interfaces, as far as can be told.
pub(super) fn expected_mode(mode: Mode, interfaces: &[Interface]) -> Mode {
    if mode != Mode::Auto {
        return mode;
    }
    let native =
        |interface: &Interface| !interface.is("veth") && drivers::native(interface) != Some(false);
    if interfaces.iter().all(native) { Mode::Native } else { Mode::Tc }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_covers_its_addresses() {
        let address = |text: &str, length| Address {
            address: text.parse().unwrap(),
            length,
            interface: 1,
            global: true,
            dynamic: false,
        };
        for (own, length, other, covers) in [
            ("192.168.1.1", 24, "192.168.1.200", true),
            ("192.168.1.1", 24, "192.168.2.1", false),
            ("192.168.1.1", 32, "192.168.1.2", false),
            ("192.168.1.1", 0, "10.0.0.1", true),
            ("192.168.1.1", 24, "fd00::1", false),
            ("fd00::1", 64, "fd00::ffff", true),
            ("fd00::1", 0, "fe00::1", true),
            ("fd00::1", 128, "fd00::2", false),
        ] {
            let own = address(own, length);
            assert_eq!(own.covers(other.parse().unwrap()), covers, "{own:?} {other}");
        }
    }
}
