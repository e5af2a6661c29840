//! Full NAT with so few ports that they run out. As long as they are taken in turn, host and kernel take the same.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use lvs_common::{
    abi::{Counter, V4, V6},
    host::{
        Frame,
        sample::{Kind, Method},
    },
    pipeline::Verdict,
    tcp::flags::SYN,
};
use lvs_tests::skip_unless_possible;

use crate::{
    compare,
    talk::Talk,
    world::{self, Place, World},
};

const PORTS: u32 = 4;

#[test]
fn every_local_address_and_port_is_taken_before_there_is_none() -> Result<()> {
    skip_unless_possible!();
    world::with_both(|world| {
        world.change_settings(|settings| settings.ports = PORTS)?;
        take_all::<V4>(world)?;
        take_all::<V6>(world)?;
        compare::tables(world)
    })
}

fn take_all<A: Place>(world: &mut World) -> Result<()> {
    let talk = Talk::<A>::new(Method::FullNat, Kind::Tcp);
    let syn = |port| Frame { ports: [port, talk.service.1], ..talk.question(SYN) }.bytes().unwrap();
    // Two servers, two local addresses.
    let all = 2 * 2 * PORTS as usize;
    let mut seen = HashSet::new();
    for port in (1000..).take(all) {
        let (verdict, bytes) = world.send(&syn(port))?;
        ensure!(verdict == Verdict::Redirect(world.server_side), "{verdict:?}");
        let frame = Frame::<A>::read(&bytes).map_err(anyhow::Error::msg)?;
        seen.insert((frame.from(), frame.to()));
    }
    ensure!(seen.len() == all, "only {} of {all} sources", seen.len());
    for port in [2000, 2001] {
        let (verdict, _) = world.send(&syn(port))?;
        ensure!(verdict == Verdict::Drop(Counter::NoPort), "{verdict:?}");
    }
    // The datagrams of the same ports are other connections.
    let udp = Talk::<A>::new(Method::FullNat, Kind::Udp);
    let (verdict, _) = world.send(&udp.question(0).bytes().unwrap())?;
    ensure!(verdict == Verdict::Redirect(world.server_side), "{verdict:?}");
    Ok(())
}
