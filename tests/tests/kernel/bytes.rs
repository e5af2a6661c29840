//! What leaves, byte for byte; `Frame::read` checks the checksums with code that is not ours.

use anyhow::Result;
use lvs_common::{
    host::Frame,
    tcp::flags::{ACK, SYN},
};
use lvs_tests::skip_unless_possible;

use crate::world::{self, CLIENT, CLIENT_MAC, PORT, SERVER_MACS, SERVERS, STRANGER, VIP};

const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

#[test]
fn a_connection_is_rewritten_both_ways() -> Result<()> {
    skip_unless_possible!();
    world::with(|world| {
        let mut syn = Frame::new((CLIENT, 40000), (VIP, PORT), SYN);
        syn.payload = (0..=255).collect();
        let (action, seen) = world.send(&syn)?;
        assert_eq!(action, XDP_REDIRECT);
        let mut expected = Frame::new((CLIENT, 40000), SERVERS[1], SYN);
        expected.macs = [seen.macs[0], SERVER_MACS[1]];
        expected.ttl = 63;
        expected.payload = (0..=255).collect();
        assert_eq!(seen, expected);

        let answer = Frame::new(SERVERS[1], (CLIENT, 40000), SYN | ACK);
        let (action, seen) = world.send(&answer)?;
        assert_eq!(action, XDP_REDIRECT);
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
    world::with(|world| {
        for frame in [
            Frame::new((CLIENT, 40000), (VIP, 22), SYN),
            Frame::new((CLIENT, 40000), (VIP, PORT), ACK),
            Frame::new(SERVERS[0], (CLIENT, 40000), ACK),
        ] {
            assert_eq!(world.send(&frame)?, (XDP_PASS, frame));
        }
        Ok(())
    })
}

#[test]
fn the_neighbour_of_an_unknown_client_is_asked_for() -> Result<()> {
    skip_unless_possible!();
    world::with(|world| {
        let (_, seen) = world.send(&Frame::new((STRANGER, 40000), (VIP, PORT), SYN))?;
        let answer = Frame::new((seen.destination, seen.ports[1]), (STRANGER, 40000), SYN | ACK);
        world.send(&answer)?;
        let asked: Vec<_> = world.kernel.maps.unresolved.keys().collect::<Result<_, _>>()?;
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].address, asked[0].interface), (STRANGER, world.client_side));
        Ok(())
    })
}

#[test]
fn jumbo_frames_are_taken() -> Result<()> {
    skip_unless_possible!();
    world::with(|world| {
        // More than a page: only a program with frags support gets such a frame.
        let mut syn = Frame::new((CLIENT, 40000), (VIP, PORT), SYN);
        syn.payload = vec![7; 8900];
        let (action, seen) = world.send(&syn)?;
        assert_eq!((action, seen.payload.len()), (XDP_REDIRECT, 8900));
        Ok(())
    })
}
