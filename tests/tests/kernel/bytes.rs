//! What leaves, byte for byte; `Frame::read` checks the checksums with code that is not ours.

use std::collections::HashMap;

use anyhow::Result;
use lvs_common::{
    abi::{Neighbour4, neighbour_state},
    host::Frame,
    tcp::flags::{ACK, SYN},
};
use lvs_tests::skip_unless_possible;

use crate::world::{
    self, Action, CLIENT, CLIENT_MAC, Hook, PORT, SERVER_MACS, SERVERS, STRANGER, VIP,
};

fn from_client(port: u16, flags: u8) -> Frame {
    Frame::new((CLIENT, 40000), (VIP, port), flags)
}

#[test]
fn a_connection_is_rewritten_both_ways() -> Result<()> {
    skip_unless_possible!();
    world::with_both(|world| {
        let mut syn = from_client(PORT, SYN);
        syn.payload = (0..=255).collect();
        let (action, seen) = world.send(&syn)?;
        assert_eq!(action, Action::Redirect);
        let mut expected = Frame::new((CLIENT, 40000), SERVERS[1], SYN);
        expected.macs = [seen.macs[0], SERVER_MACS[1]];
        expected.ttl = 63;
        expected.payload = (0..=255).collect();
        assert_eq!(seen, expected);

        let answer = Frame::new(SERVERS[1], (CLIENT, 40000), SYN | ACK);
        let (action, seen) = world.send(&answer)?;
        assert_eq!(action, Action::Redirect);
        let mut expected = Frame::new((VIP, PORT), (CLIENT, 40000), SYN | ACK);
        expected.macs = [seen.macs[0], CLIENT_MAC];
        expected.ttl = 63;
        assert_eq!(seen, expected);
        Ok(())
    })
}

#[test]
fn what_is_not_ours_passes_untouched() -> Result<()> {
    skip_unless_possible!();
    world::with_both(|world| {
        for frame in [
            from_client(22, SYN),
            from_client(PORT, ACK),
            Frame::new(SERVERS[0], (CLIENT, 40000), ACK),
        ] {
            assert_eq!(world.send(&frame)?, (Action::Pass, frame));
        }
        Ok(())
    })
}

#[test]
fn the_neighbour_of_an_unknown_client_is_asked_for() -> Result<()> {
    skip_unless_possible!();
    world::with_both(|world| {
        let (_, seen) = world.send(&Frame::new((STRANGER, 40000), (VIP, PORT), SYN))?;
        let answer = Frame::new((seen.destination, seen.ports[1]), (STRANGER, 40000), SYN | ACK);
        world.send(&answer)?;
        let noted: HashMap<Neighbour4, u32> =
            world.kernel.maps.neighbours.iter().collect::<Result<_, _>>()?;
        let stranger = Neighbour4 { address: STRANGER, interface: world.client_side };
        assert_eq!(noted.get(&stranger), Some(&neighbour_state::UNRESOLVED));
        assert!(noted.values().any(|state| *state == neighbour_state::IN_USE), "the server's");
        Ok(())
    })
}

#[test]
fn jumbo_frames_are_taken() -> Result<()> {
    skip_unless_possible!();
    world::with(Hook::Xdp, |world| {
        // More than a page: only a program with frags support gets such a frame.
        let mut syn = from_client(PORT, SYN);
        syn.payload = vec![7; 8900];
        let (action, seen) = world.send(&syn)?;
        assert_eq!((action, seen.payload.len()), (Action::Redirect, 8900));
        Ok(())
    })
}
