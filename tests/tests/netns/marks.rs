//! Firewall marks that a packet has already when it comes to the balancer's interface. In tc mode they count, wherever they
//! come from: here from the rules of a bridge, which a packet passes before it comes in on the bridge itself. (What tc
//! sets on the same interface comes after `xlvs`, as nftables does.)

use anyhow::{Result, ensure};
use lvs_tests::command;
use lvs_tests::config::{Protocol, Service};
use lvs_tests::family::Family;
use lvs_tests::http::client;
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::Plan;

use super::lab::{Lab, METHODS};

const MARK: u32 = 7;
/// A port that no service has but the mark's.
const ANY_PORT: u16 = 4711;

#[test]
fn a_mark_of_the_firewall_comes_before_the_address() -> Result<()> {
    skip_unless_possible!("ebtables");
    for method in METHODS {
        let lab = Lab::for_mode(Plan::TWO_ARMED, "tc")?;
        let interfaces = vec![
            lab.topology.bridge_client_side()?.to_owned(),
            lab.plan().server_side().to_owned(),
        ];
        // The first server by address, the second one by mark.
        let mut config = String::new();
        for family in Family::ALL {
            let [first, second] = lab.plan().servers(family);
            let web = lab.web(method, family);
            let by_address = Service::new(Protocol::Tcp, method, web, &[first]).to_string();
            let by_mark = Service::new(Protocol::Tcp, method, web, &[second]).to_string();
            let heading = format!("virtual_server {} {} {{", web.ip(), web.port());
            config += &by_address;
            config += &by_mark.replace(&heading, &format!("virtual_server fwmark {MARK} {{"));
        }
        let xlvs = lab.start_on(interfaces, "tc", &config, &[])?;
        for family in Family::ALL {
            let web = lab.web(method, family);
            let unserved = lab.virtual_at(family, ANY_PORT);
            let seen = lab.seen(method, family);
            let ask = |address| lab.client().block_on(|| client::ask(address));

            let unmarked = ask(web)?;
            assert_eq!((unmarked.server.as_str(), unmarked.client), ("web1", seen), "{family}");
            ensure!(ask(unserved).is_err(), "{family}: nobody serves {unserved}");

            mark(&lab, family, &[web.port(), ANY_PORT])?;
            for address in [web, unserved, web] {
                let marked = ask(address)?;
                assert_eq!((marked.server.as_str(), marked.client), ("web2", seen), "{family}");
            }
        }
        assert!(xlvs.stop()?.success());
    }
    Ok(())
}

/// Has the bridge mark what comes for these ports.
fn mark(lab: &Lab, family: Family, ports: &[u16]) -> Result<()> {
    let (protocol, option) = match family {
        Family::V4 => ("IPv4", "ip"),
        Family::V6 => ("IPv6", "ip6"),
    };
    for port in ports {
        let rule = format!(
            "-t nat -A PREROUTING -p {protocol} --{option}-protocol tcp --{option}-destination-port {port} \
             -j mark --mark-set {MARK} --mark-target ACCEPT"
        );
        command::run(lab.topology.lb.command("ebtables").args(rule.split_whitespace()))?;
    }
    Ok(())
}
