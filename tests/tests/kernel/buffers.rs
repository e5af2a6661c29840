//! What only socket buffers have: one may hold more than a packet, and be cut into segments later.

use anyhow::{Result, ensure};
use lvs_common::{
    abi::{V4, V6},
    host::{
        Frame,
        sample::{Kind, Method},
    },
    tcp::flags::{ACK, SYN},
};
use lvs_tests::skip_unless_possible;

use crate::{
    show::show,
    talk::Talk,
    world::{self, Hook, NARROW_MTU, Place, Special, World},
};

/// Where `gso_size` is in an `__sk_buff`, and how much of it is told.
const GSO_SIZE: usize = 176;
const CONTEXT: usize = GSO_SIZE + 4;

/// `TCX_NEXT` is -1; this is `TC_ACT_REDIRECT`.
const REDIRECT: u32 = 7;

#[test]
fn a_buffer_is_as_long_as_the_segments_that_it_is_cut_into() -> Result<()> {
    skip_unless_possible!();
    world::with(Hook::Tc, |world| {
        for method in [Method::Nat, Method::FullNat] {
            be_cut::<V4>(world, method)?;
            be_cut::<V6>(world, method)?;
        }
        Ok(())
    })
}

fn be_cut<A: Place>(world: &mut World, method: Method) -> Result<()> {
    world.forget()?;
    let headers = if A::VERSION == 4 { 40 } else { 60 };
    let fitting = NARROW_MTU - headers;
    for (talk, limit) in [
        (Talk::<A>::special(method, Special::Narrow, true), fitting),
        (Talk::new(method, Kind::Tcp), world::MTU - headers),
    ] {
        for frame in [talk.question(SYN), talk.question(ACK)] {
            world.send(&frame.bytes().unwrap())?;
        }
        let long =
            Frame { dont_fragment: A::VERSION == 4, payload: vec![7; 2800], ..talk.question(ACK) };
        for segment in [536, fitting, fitting + 1, 1800] {
            let mut context = [0; CONTEXT];
            context[GSO_SIZE..].copy_from_slice(&u32::from(segment).to_ne_bytes());
            let bytes = long.bytes().unwrap();
            let (code, left) = world::run_in_context(&*world.kernel.tc()?, &bytes, Some(&context))?;
            ensure!(code == REDIRECT, "{segment}: {code}, {}", show(&left));
            let forwarded = left == talk.asked(&long).bytes().unwrap();
            ensure!(forwarded == (segment <= limit), "{segment}: {}", show(&left));
        }
    }
    Ok(())
}
