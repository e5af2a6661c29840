//! What the tests of the balancing methods begin with: any picture, web servers in both families, and
//! `xlvs` in any mode with services of either method.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::config::{Method, Protocol, Service};
use lvs_tests::family::Family;
use lvs_tests::http::client;
use lvs_tests::http::server::Server;
use lvs_tests::netns::Netns;
use lvs_tests::payload::Payload;
use lvs_tests::scratch::Scratch;
use lvs_tests::topology::{Plan, Topology};
use lvs_tests::xlvs::{Setup, Xlvs};

use super::support::from_environment;

/// Both methods.
pub(crate) const METHODS: [Method; 2] = [Method::Nat, Method::FullNat];

/// What a test is run with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) mode: &'static str,
    pub(crate) method: Method,
    pub(crate) family: Family,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} over {} in {} mode", self.method, self.family, self.mode)
    }
}

/// A test for each mode, method and family, in a module of this name: a function of a [`Case`].
macro_rules! for_each_case {
    ($module:ident, $test:path) => {
        $crate::lab::for_each_case!($module, $test,
            native_nat_v4 = "native" Nat V4, native_nat_v6 = "native" Nat V6,
            native_fnat_v4 = "native" FullNat V4, native_fnat_v6 = "native" FullNat V6,
            generic_nat_v4 = "generic" Nat V4, generic_nat_v6 = "generic" Nat V6,
            generic_fnat_v4 = "generic" FullNat V4, generic_fnat_v6 = "generic" FullNat V6,
            tc_nat_v4 = "tc" Nat V4, tc_nat_v6 = "tc" Nat V6,
            tc_fnat_v4 = "tc" FullNat V4, tc_fnat_v6 = "tc" FullNat V6);
    };
    ($module:ident, $test:path, $($name:ident = $mode:literal $method:ident $family:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $name() -> anyhow::Result<()> {
                    lvs_tests::skip_unless_possible!();
                    let method = lvs_tests::config::Method::$method;
                    let family = lvs_tests::family::Family::$family;
                    $test($crate::lab::Case { mode: $mode, method, family })
                }
            )+
        }
    };
}
pub(crate) use for_each_case;

/// A test for each mode and method, in a module of this name: a function of the cases of both families, which one instance
/// has at the same time.
macro_rules! for_each_method {
    ($module:ident, $test:path) => {
        $crate::lab::for_each_method!($module, $test,
            native_nat = "native" Nat, native_fnat = "native" FullNat,
            generic_nat = "generic" Nat, generic_fnat = "generic" FullNat,
            tc_nat = "tc" Nat, tc_fnat = "tc" FullNat);
    };
    ($module:ident, $test:path, $($name:ident = $mode:literal $method:ident),+) => {
        mod $module {
            $(
                #[test]
                fn $name() -> anyhow::Result<()> {
                    lvs_tests::skip_unless_possible!();
                    let method = lvs_tests::config::Method::$method;
                    let cases = lvs_tests::family::Family::ALL
                        .map(|family| $crate::lab::Case { mode: $mode, method, family });
                    $test($mode, &cases)
                }
            )+
        }
    };
}
pub(crate) use for_each_method;

/// A test for each mode, in a module of this name: a function of the mode.
macro_rules! for_each_mode {
    ($module:ident, $test:path) => {
        mod $module {
            #[test]
            fn native() -> anyhow::Result<()> {
                lvs_tests::skip_unless_possible!();
                $test("native")
            }

            #[test]
            fn generic() -> anyhow::Result<()> {
                lvs_tests::skip_unless_possible!();
                $test("generic")
            }

            #[test]
            fn tc() -> anyhow::Result<()> {
                lvs_tests::skip_unless_possible!();
                $test("tc")
            }
        }
    };
}
pub(crate) use for_each_mode;

/// A picture in namespaces of this test alone, with a web server for each server and family.
#[derive(Debug)]
pub(crate) struct Lab {
    webs: Vec<(Family, Server)>,
    pub(crate) topology: Topology,
    pub(crate) scratch: Scratch,
}

impl Lab {
    /// A picture whose offloads suit XDP.
    pub(crate) fn new(plan: Plan) -> Result<Self> {
        let scratch = Scratch::new()?;
        let topology = Topology::of(scratch.name(), plan)?;
        let mut webs = Vec::new();
        for family in Family::ALL {
            let servers = topology.servers.iter().zip(plan.servers(family));
            for (number, (netns, address)) in (1..).zip(servers) {
                webs.push((family, Server::start(netns, &format!("web{number}"), address)?));
            }
        }
        Ok(Self { webs, topology, scratch })
    }

    /// A picture whose offloads suit a mode.
    pub(crate) fn for_mode(plan: Plan, mode: &str) -> Result<Self> {
        let lab = Self::new(plan)?;
        if mode == "tc" {
            lab.topology.use_default_offloads()?;
        }
        Ok(lab)
    }

    pub(crate) fn plan(&self) -> Plan {
        self.topology.plan
    }

    pub(crate) fn client(&self) -> &Netns {
        &self.topology.client
    }

    pub(crate) fn server(&self, index: usize) -> Result<&Netns> {
        self.topology.servers.get(index).context("no such server")
    }

    /// Where a server is, with another port than its web server's.
    pub(crate) fn server_at(&self, index: usize, family: Family, port: u16) -> Result<SocketAddr> {
        let servers = self.plan().servers(family);
        Ok((servers.get(index).context("no such server")?.ip(), port).into())
    }

    /// Another port of the virtual address.
    pub(crate) fn virtual_at(&self, family: Family, port: u16) -> SocketAddr {
        (self.plan().virtual_address(family), port).into()
    }

    /// Where the service of the web servers is: each method has a port of its own.
    pub(crate) fn web(&self, method: Method, family: Family) -> SocketAddr {
        self.virtual_at(
            family,
            match method {
                Method::Nat => 10000,
                Method::FullNat => 10001,
            },
        )
    }

    /// The service of the web servers.
    pub(crate) fn web_service(&self, method: Method, family: Family) -> Service {
        let servers = self.plan().servers(family);
        Service::new(Protocol::Tcp, method, self.web(method, family), &servers)
    }

    /// A service that one of the servers has, at the same port as the virtual address.
    pub(crate) fn service_at(&self, port: u16, protocol: Protocol, case: Case) -> Result<Service> {
        let Case { method, family, .. } = case;
        let server = self.server_at(0, family, port)?;
        Ok(Service::new(protocol, method, self.virtual_at(family, port), &[server]))
    }

    /// Whom a server sees when no group of addresses says otherwise.
    pub(crate) fn seen(&self, method: Method, family: Family) -> IpAddr {
        match method {
            Method::Nat => self.plan().client(family),
            Method::FullNat => Plan::gateway(family),
        }
    }

    /// Starts `xlvs` with these services. It ends before the lab does.
    pub(crate) fn start(&self, mode: &'static str, services: &[Service]) -> Result<Xlvs> {
        let config: String = services.iter().map(ToString::to_string).collect();
        self.start_with(mode, &config, &[])
    }

    /// Starts `xlvs` with this configuration and further arguments.
    pub(crate) fn start_with(
        &self,
        mode: &'static str,
        config: &str,
        extra: &[&str],
    ) -> Result<Xlvs> {
        self.start_on(self.plan().interfaces(), mode, config, extra)
    }

    /// The same on other interfaces.
    pub(crate) fn start_on(
        &self,
        interfaces: Vec<String>,
        mode: &'static str,
        config: &str,
        extra: &[&str],
    ) -> Result<Xlvs> {
        let setup = Setup {
            config: self.scratch.write("xlvs.conf", config)?,
            pin_dir: self.scratch.path("bpf"),
            runtime_dir: self.scratch.path("run"),
            log: self.scratch.path("xlvs.log"),
            mode: Some(mode),
            interfaces,
            extra: extra.iter().map(ToString::to_string).collect(),
        };
        Xlvs::start(&self.topology.lb, setup)
    }

    /// Requests to a service of two servers: each answers half of them, and sees whom it should.
    pub(crate) fn ask(&self, service: SocketAddr, seen: IpAddr, count: u32) -> Result<()> {
        let answers = self.client().block_on(|| client::ask_many(service, count, 2))?;
        let stranger = answers.iter().find(|answer| answer.client != seen);
        ensure!(stranger.is_none(), "a server did not see {seen}: {stranger:?}");
        let first = answers.iter().filter(|answer| answer.server == "web1").count();
        ensure!(first * 2 == answers.len(), "web1 has answered {first} of {count}");
        Ok(())
    }

    /// Downloads and uploads, and compares the hashes.
    pub(crate) fn transfer(&self, address: SocketAddr, len: u64) -> Result<()> {
        self.upload(address, len)?;
        self.download(address, len)
    }

    pub(crate) fn upload(&self, address: SocketAddr, len: u64) -> Result<()> {
        let up = self.client().block_on(|| async move {
            client::Connection::open(address).await?.upload(len).await
        })?;
        ensure!(up == Payload::new(len).sha256(), "the upload differs from what the client sent");
        Ok(())
    }

    pub(crate) fn download(&self, address: SocketAddr, len: u64) -> Result<()> {
        let down = self.client().block_on(|| async move {
            client::Connection::open(address).await?.download(len).await
        })?;
        ensure!(
            down == Payload::new(len).sha256(),
            "the download differs from what the server sent"
        );
        Ok(())
    }

    /// How many requests the web servers have answered in a family.
    pub(crate) fn answered(&self, family: Family) -> u64 {
        let of_family = self.webs.iter().filter(|(of, _)| *of == family);
        of_family.map(|(_, web)| web.record().requests).sum()
    }
}

/// How long a transfer lasts; `XLVS_TEST_SECONDS` makes it longer.
pub(crate) fn duration() -> Result<Duration> {
    Ok(Duration::from_secs(from_environment("XLVS_TEST_SECONDS", 1)?))
}
