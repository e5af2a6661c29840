//! The harness without the product: when these fail, the fault is not in `xlvs`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::family::Family;
use lvs_tests::flood::{self, Flood};
use lvs_tests::http::client;
use lvs_tests::opener::{self, Acceptor, Close, Opener};
use lvs_tests::ping::Pinger;
use lvs_tests::topology::{BALANCER, CLIENT, Plan, SERVERS, Side, VIRTUAL};
use lvs_tests::{echo, iperf, netns, pathmtu, skip_unless_possible, udp};

use super::lab::Lab;
use super::support::{Bed, say};

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn plain_forwarding_reaches_both_servers() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    for (name, address) in [("web1", SERVERS[0]), ("web2", SERVERS[1])] {
        let answer = bed.topology.client.block_on(|| client::ask(address))?;
        assert_eq!((answer.server.as_str(), answer.client), (name, CLIENT.into()));
    }
    bed.transfer_with(SERVERS[0].into(), 10_000_000)?;
    assert_eq!(bed.served()?, [3, 1]);
    Ok(())
}

#[test]
fn the_balancer_answers_pings_and_echoes() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let mut pinger = Pinger::new(&bed.topology.client, BALANCER, LIMIT)?;
    echo::serve(&bed.topology.lb, 22)?;
    let mut session = echo::Session::new(&bed.topology.client, (*VIRTUAL.ip(), 22), LIMIT)?;
    for _ in 0..10 {
        pinger.ping()?;
        session.send("echo hello\n")?;
    }
    Ok(())
}

#[test]
fn a_client_reaches_servers_in_a_row() -> Result<()> {
    skip_unless_possible!();
    routes_in(Plan::TWO_ARMED)
}

#[test]
fn a_client_reaches_servers_behind_a_router() -> Result<()> {
    skip_unless_possible!();
    routes_in(Plan::ROUTED_SERVERS)
}

#[test]
fn a_client_behind_a_router_reaches_servers_behind_a_router() -> Result<()> {
    skip_unless_possible!();
    routes_in(Plan::ROUTED)
}

#[test]
fn a_client_behind_a_router_reaches_servers_beside_the_balancer() -> Result<()> {
    skip_unless_possible!();
    routes_in(Plan::ONE_ARMED)
}

#[test]
fn a_client_reaches_servers_on_its_own_network() -> Result<()> {
    skip_unless_possible!();
    routes_in(Plan::ONE_NETWORK)
}

/// Everybody reaches whom it should with both kinds of offloads, and the balancer at its addresses.
fn routes_in(plan: Plan) -> Result<()> {
    let lab = Lab::new(plan)?;
    for family in Family::ALL {
        for address in [plan.balancer(family), plan.virtual_address(family)] {
            pathmtu::ping_whole(lab.client(), address, 1500)?;
        }
        for (netns, server) in lab.topology.servers.iter().zip(plan.servers(family)) {
            pathmtu::ping_whole(netns, Plan::gateway(family), 1500)?;
            let answer = lab.client().block_on(|| client::ask(server))?;
            ensure!(answer.client == plan.client(family), "{server}: {answer:?}");
            lab.transfer(server, 1_000_000)?;
        }
        assert_eq!(lab.answered(family), 6, "{family}");
    }
    lab.topology.use_default_offloads()?;
    for family in Family::ALL {
        lab.transfer(plan.servers(family)[0], 10_000_000)?;
    }
    Ok(())
}

#[test]
fn a_narrow_link_is_learnt_of_on_either_side() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::new(Plan::ROUTED)?;
    let plan = lab.plan();
    lab.topology.narrow(Side::Client, 1400)?;
    lab.topology.narrow(Side::Servers, 1300)?;
    for family in Family::ALL {
        let (client, server) = (plan.client(family), lab.server_at(0, family, 7)?);
        let _echo = udp::Echo::start_whole(lab.server(0)?, server)?;
        let mut sender = udp::Client::whole(lab.client(), server, LIMIT)?;
        assert_eq!(sender.learn(1300)?, 1300, "{family}: client to server");
        sender.exchange(1200)?;
        let mut back = udp::Client::whole(lab.server(0)?, (client, 9).into(), LIMIT)?;
        assert_eq!(back.learn(1400)?, 1400, "{family}: server to client");
        assert_eq!(pathmtu::tracepath(lab.client(), server.ip())?, 1300, "{family}");
        ensure!(pathmtu::ping_whole(lab.client(), server.ip(), 1301).is_err(), "{family}");
        pathmtu::ping_whole(lab.client(), server.ip(), 1300)?;
    }
    Ok(())
}

#[test]
fn tcp_learns_of_a_narrow_link_on_either_side() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::new(Plan::ROUTED)?;
    lab.topology.narrow(Side::Client, 1400)?;
    lab.topology.narrow(Side::Servers, 1300)?;
    for family in Family::ALL {
        let (client, server) = (lab.plan().client(family), lab.plan().servers(family)[0]);
        lab.upload(server, 3_000_000)?;
        assert_eq!(pathmtu::known(lab.client(), server.ip())?, 1300, "{family}");
        // The other server: the client announces smaller segments where it knows better.
        let server = lab.plan().servers(family)[1];
        lab.download(server, 3_000_000)?;
        assert_eq!(pathmtu::known(lab.server(1)?, client)?, 1400, "{family}");
    }
    Ok(())
}

#[test]
fn datagrams_of_every_size_come_back() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::new(Plan::TWO_ARMED)?;
    for family in Family::ALL {
        let server = lab.server_at(0, family, 7)?;
        let echo = udp::Echo::start(lab.server(0)?, server)?;
        let mut client = udp::Client::new(lab.client(), server, LIMIT)?;
        for len in [4, 100, 1472, 1473, 9000, udp::LARGEST] {
            client.exchange(len).with_context(|| format!("{len} bytes over {family}"))?;
        }
        let series = client.series(500, 512)?;
        assert_eq!(series, udp::Series { sent: 500, echoed: 500 });
        let record = echo.record();
        assert_eq!(record.datagrams, 506);
        assert_eq!(record.clients, [lab.plan().client(family)].into());
        drop(echo);
        let mut short = udp::Client::new(lab.client(), server, Duration::from_millis(50))?;
        ensure!(short.exchange(4).is_err(), "an echo that is gone has answered");
    }
    Ok(())
}

#[test]
fn iperf_moves_bytes_both_ways() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::for_mode(Plan::TWO_ARMED, "tc")?;
    for family in Family::ALL {
        let address = lab.server_at(0, family, iperf::PORT)?;
        let log = lab.scratch.path("iperf.log");
        let _server = iperf::Server::start(lab.server(0)?, address, &log)?;
        for direction in [iperf::Direction::Up, iperf::Direction::Down] {
            for udp in [None, Some(50_000_000)] {
                let time = Duration::from_secs(1);
                let test = iperf::Test { address, direction, udp, time };
                let outcome = test.run(lab.client())?;
                // Half of what a second at this rate is: the machine may be busy.
                let enough = outcome.received > 3_000_000 && outcome.sent >= outcome.received;
                ensure!(enough, "{test:?}: {outcome:?}");
                ensure!(udp.is_none() || outcome.datagrams > 2000, "{test:?}: {outcome:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn thousands_of_connections_open_in_sequence() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::new(Plan::TWO_ARMED)?;
    opener::reuse_ports(lab.client())?;
    for family in Family::ALL {
        let address = lab.server_at(0, family, 9)?;
        let acceptor = Acceptor::start(lab.server(0)?, address)?;
        for close in [Close::Reset, Close::Fin] {
            let before = acceptor.accepted();
            let outcome = Opener::new(address, close).run(lab.client(), 5000, || true)?;
            assert_eq!((outcome.good, outcome.failed.len()), (5000, 0), "{outcome:?}");
            say(format_args!("{family}, {close:?}: {} connections a second", outcome.rate()));
            ensure!(acceptor.accepted() == before + 5000, "{} accepted", acceptor.accepted());
        }
        drop(acceptor);
        let mut opener = Opener::new(address, Close::Fin);
        opener.patience = 3;
        let outcome = opener.run(lab.client(), 5000, || true)?;
        let refused = [("connecting: connection refused".to_owned(), 3)];
        assert_eq!(outcome.failed, refused.into(), "{family}");
    }
    Ok(())
}

#[test]
fn a_flood_is_made_of_valid_syns_and_no_faster_than_asked() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::new(Plan::TWO_ARMED)?;
    lab.topology.route_to_client(&flood::NETWORKS)?;
    for family in Family::ALL {
        let address = lab.server_at(0, family, 9)?;
        let _acceptor = Acceptor::start(lab.server(0)?, address)?;
        let next_hop = flood::mac(&lab.topology.lb, lab.plan().client_side())?;
        let before = netns::tcp_segments(lab.server(0)?)?;
        let flood = Flood { address, next_hop, count: 10_000, rate: 20_000 };
        let (sent, took) = flood.run(lab.client(), "client0", || true)?;
        assert_eq!(sent, 10_000);
        ensure!(took >= Duration::from_millis(490), "it took only {took:?}");
        let end = Instant::now() + LIMIT;
        loop {
            let after = netns::tcp_segments(lab.server(0)?)?;
            assert_eq!(after.bad_checksums, before.bad_checksums, "{family}");
            // The server answers each of them, by cookies when its queue is full.
            let (came, answered) = (after.received - before.received, after.sent - before.sent);
            if came >= 10_000 && answered >= 10_000 {
                break;
            }
            ensure!(Instant::now() < end, "{family}: {came} came, {answered} were answered");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

#[test]
fn a_server_announces_its_new_mac_address() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::new(Plan::TWO_ARMED)?;
    echo::serve(lab.server(0)?, 22)?;
    for (last, family) in (1..).zip(Family::ALL) {
        let address = lab.server_at(0, family, 22)?;
        let mut session = echo::Session::new(lab.client(), address, LIMIT)?;
        session.send("before\n")?;
        lab.topology.change_mac(0, last)?;
        let took = session.send("after\n")?;
        ensure!(took < Duration::from_millis(900), "{family}: it took {took:?} to be noticed");
    }
    Ok(())
}

#[test]
fn servers_move_to_the_other_router_with_their_connections() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::new(Plan::ROUTED_SERVERS)?;
    echo::serve(lab.server(0)?, 22)?;
    let addresses: Vec<SocketAddr> = Family::ALL
        .into_iter()
        .map(|family| lab.server_at(0, family, 22))
        .collect::<Result<_>>()?;
    let mut sessions = addresses
        .iter()
        .map(|address| echo::Session::new(lab.client(), *address, LIMIT))
        .collect::<Result<Vec<_>>>()?;
    for session in &mut sessions {
        session.send("before\n")?;
    }
    lab.topology.move_servers_to_the_other_router()?;
    for session in &mut sessions {
        session.send("after\n")?;
    }
    Ok(())
}
