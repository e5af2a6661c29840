//! Virtual addresses: said to be missing, or with `--manage-vips` added, announced and taken away again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::config::{Method, Protocol, Service};
use lvs_tests::family::Family;
use lvs_tests::http::client;
use lvs_tests::netns::Netns;
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::Plan;
use lvs_tests::xlvs::Xlvs;
use nix::sys::signal::Signal;

use super::lab::Lab;
use super::operation::order_in;
use super::support::wait_for;

/// "At once": less than any time-out of TCP or of a neighbour.
const AT_ONCE: Duration = Duration::from_millis(900);
/// An address that the balancer has had all along.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 3));

/// One network, on which the balancer has no virtual address yet; the client and a server are clients.
struct Network {
    lab: Lab,
}

impl Network {
    fn new() -> Result<Self> {
        let lab = Lab::new(Plan::ONE_NETWORK)?;
        let network = Self { lab };
        for family in Family::ALL {
            network.ip(family, "del")?;
        }
        network.lab.topology.lb.ip(&[format!("addr add {OTHERS}/32 dev xlvs-s")])?;
        Ok(network)
    }

    fn ip(&self, family: Family, verb: &str) -> Result<()> {
        let (address, prefix) = (self.vip(family), family.host_prefix());
        self.lab.topology.lb.ip(&[format!("addr {verb} {address}/{prefix} dev xlvs-s")]).map(drop)
    }

    fn vip(&self, family: Family) -> IpAddr {
        self.lab.plan().virtual_address(family)
    }

    /// A service in each of these families, and one on the balancer's own address.
    fn config(&self, families: &[Family]) -> String {
        let service = |address: IpAddr, family: Family| {
            let [server, _] = self.lab.plan().servers(family);
            Service::new(Protocol::Tcp, Method::FullNat, (address, 80).into(), &[server])
        };
        let mut config = service(OTHERS, Family::V4).to_string();
        for family in families {
            config.push_str(&service(self.vip(*family), *family).to_string());
        }
        config
    }

    fn start(&self, families: &[Family], extra: &[&str]) -> Result<Xlvs> {
        self.lab.start_with("tc", &self.config(families), extra)
    }

    fn clients(&self) -> Result<[(&Netns, &'static str); 2]> {
        Ok([(self.lab.client(), "client0"), (self.lab.server(1)?, "eth0")])
    }

    /// Both clients take another machine for the holder of the virtual address, and are sure of it.
    fn mislead(&self, family: Family) -> Result<()> {
        for (netns, interface) in self.clients()? {
            let vip = self.vip(family);
            let line = format!(
                "neigh replace {vip} lladdr 02:00:00:00:00:99 dev {interface} nud reachable"
            );
            netns.ip(&[line])?;
        }
        Ok(())
    }

    /// Both clients reach the service without asking who has its address.
    fn reached_at_once(&self, family: Family) -> Result<()> {
        self.reached_within(AT_ONCE, family)
    }

    fn reached_within(&self, limit: Duration, family: Family) -> Result<()> {
        for (netns, interface) in self.clients()? {
            let service = SocketAddr::new(self.vip(family), 80);
            let start = Instant::now();
            let answers = netns.block_on(|| client::ask_many(service, 1, 1));
            let took = start.elapsed();
            let neighbours = || netns.ip(&[format!("neigh show dev {interface}")]);
            let answers = answers.with_context(|| format!("{family}: {:?}", neighbours()))?;
            ensure!(answers.len() == 1 && took < limit, "{family}: {took:?}");
        }
        Ok(())
    }

    fn addresses(&self) -> Result<String> {
        self.lab.topology.lb.ip(&["addr show dev xlvs-s"])
    }

    fn has(&self, family: Family) -> Result<bool> {
        let (address, prefix) = (self.vip(family), family.host_prefix());
        Ok(self.addresses()?.contains(&format!(" {address}/{prefix} ")))
    }

    fn has_all(&self) -> Result<bool> {
        Ok(self.has(Family::V4)? && self.has(Family::V6)?)
    }

    fn has_none(&self) -> Result<bool> {
        Ok(!self.has(Family::V4)? && !self.has(Family::V6)?)
    }

    /// What was there before is there still.
    fn others_stay(&self) -> Result<()> {
        let all = self.addresses()?;
        ensure!(all.contains(&format!(" {OTHERS}/32 ")), "{all}");
        Ok(())
    }

    fn announced(&self, xlvs: &Xlvs, family: Family, times: usize) -> Result<()> {
        let said = format!("announced {} on `xlvs-s`", self.vip(family));
        xlvs.wait_for_times(&said, times)
    }
}

#[test]
fn a_virtual_address_that_nobody_has_is_noticed() -> Result<()> {
    skip_unless_possible!();
    let network = Network::new()?;
    let xlvs = network.start(&[Family::V4], &[])?;
    let vip = network.vip(Family::V4);
    let missing = format!("the virtual address {vip} is not on this host");
    ensure!(xlvs.log().matches(&missing).count() == 1, "{}", xlvs.log());
    ensure!(!xlvs.log().contains(&format!("{OTHERS} is not")), "{}", xlvs.log());
    network.ip(Family::V4, "add")?;
    let here = format!("the virtual address {vip} is on this host now");
    xlvs.wait_for(&here)?;
    network.ip(Family::V4, "del")?;
    xlvs.wait_for_times(&missing, 2)?;
    // It is said once while it stays so; without its service it is nobody's loss.
    xlvs.reload(&network.config(&[Family::V4]))?;
    ensure!(xlvs.log().matches(&missing).count() == 2, "{}", xlvs.log());
    xlvs.reload(&network.config(&[]))?;
    ensure!(xlvs.log().matches(&here).count() == 1, "{}", xlvs.log());
    xlvs.reload(&network.config(&[Family::V4]))?;
    ensure!(xlvs.log().matches(&missing).count() == 3, "{}", xlvs.log());
    // Everything is this host's by a local route: the kernel answers for it.
    network.lab.topology.lb.ip(&[format!("route add local {vip}/32 dev lo")])?;
    xlvs.reload(&network.config(&[Family::V4]))?;
    ensure!(xlvs.log().matches(&missing).count() == 3, "{}", xlvs.log());
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn managed_addresses_are_announced_and_go_with_their_services() -> Result<()> {
    skip_unless_possible!();
    let network = Network::new()?;
    let managed = ["--manage-vips", "--log-level", "debug"];
    for family in Family::ALL {
        network.mislead(family)?;
    }
    let xlvs = network.start(&Family::ALL, &managed)?;
    for family in Family::ALL {
        network.reached_at_once(family)?;
        network.announced(&xlvs, family, 3)?;
    }
    ensure!(network.has_all()?, "{}", network.addresses()?);
    ensure!(!xlvs.log().contains("is not on this host"), "{}", xlvs.log());

    // Somebody takes one away, and a link goes and comes.
    network.ip(Family::V6, "del")?;
    wait_for("it is added again", || Ok(network.has(Family::V6)?.then_some(())))?;
    network.announced(&xlvs, Family::V6, 4)?;
    network.mislead(Family::V4)?;
    let switch = &network.lab.topology.switch;
    switch.ip(&["link set lb0 down"])?;
    sleep(Duration::from_millis(100));
    switch.ip(&["link set lb0 up"])?;
    network.announced(&xlvs, Family::V4, 4)?;
    // The balancer has lost its neighbours with the link: the first SYN may wait for the server's.
    network.reached_within(Duration::from_secs(5), Family::V4)?;

    // A service leaves the file, and comes back.
    xlvs.reload(&network.config(&[Family::V6]))?;
    ensure!(!network.has(Family::V4)?, "{}", network.addresses()?);
    network.mislead(Family::V4)?;
    let before = xlvs.log().matches("announced 192.168.1.2 ").count();
    xlvs.reload(&network.config(&Family::ALL))?;
    network.announced(&xlvs, Family::V4, before + 1)?;
    network.reached_at_once(Family::V4)?;

    // Killed: the next one knows which are its own.
    drop(xlvs);
    ensure!(network.has_all()?, "{}", network.addresses()?);
    let next = network.start(&[Family::V6], &managed)?;
    ensure!(!network.has(Family::V4)? && network.has(Family::V6)?, "{}", network.addresses()?);
    network.reached_at_once(Family::V6)?;
    network.others_stay()?;

    // Ended without the data plane they stay, with it they go.
    let lb = &network.lab.topology.lb;
    let (code, said) = order_in(lb, next.setup(), &["stop", "--keep-dataplane"])?;
    ensure!(code == Some(0), "{said}");
    drop(next);
    ensure!(network.has(Family::V6)?, "{}", network.addresses()?);
    let last = network.start(&Family::ALL, &managed)?;
    assert!(last.stop_by(Signal::SIGTERM)?.success());
    ensure!(network.has_none()?, "{}", network.addresses()?);
    network.others_stay()
}

#[test]
fn stop_takes_away_what_a_killed_one_has_added() -> Result<()> {
    skip_unless_possible!();
    let network = Network::new()?;
    let xlvs = network.start(&Family::ALL, &["--manage-vips"])?;
    let setup = xlvs.setup().clone();
    drop(xlvs);
    ensure!(network.has_all()?, "{}", network.addresses()?);
    let (code, said) = order_in(&network.lab.topology.lb, &setup, &["stop"])?;
    ensure!(code == Some(0), "{said}");
    ensure!(network.has_none()?, "{}", network.addresses()?);
    network.others_stay()
}
