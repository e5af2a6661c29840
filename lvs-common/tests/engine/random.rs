//! Properties of any traffic.

use lvs_common::{
    abi::{Counter, V4, V6},
    host::{
        Frame, Protocol,
        sample::{CLIENT_MAC, CLIENT_SIDE, Kind, Method, SERVER_MAC, SERVER_SIDE, Sample, via},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, SYN},
};
use proptest::prelude::*;

use crate::world::{TO_CLIENT, TO_SERVER, World, as_client_sees, as_server_sees, reply};

/// Sends bytes of which nothing is known. What passes is untouched unless it was rewritten for the stack.
fn survive<A: Sample>(world: &World<A>, side: u32, bytes: &[u8]) {
    let (verdict, after) = world.send_bytes(side, bytes);
    if let Verdict::Pass(counter) = verdict
        && counter != Counter::HandedToStack
    {
        assert_eq!(after, bytes);
    }
    assert!(!matches!(verdict, Verdict::Next(_)) && world.env.counted(Counter::Internal) == 0);
}

/// What a client and a server have to do with each other in the properties below.
#[derive(Clone, Debug)]
struct Talk {
    client: V6,
    server: V6,
    ports: [u16; 2],
    ttl: u8,
    kind: Kind,
    unsummed: bool,
    payload: Vec<u8>,
}

fn talks() -> impl Strategy<Value = Talk> {
    (
        any::<(V6, V6, [u16; 2], bool)>(),
        3_u8..,
        prop::sample::select(Kind::ALL.as_slice()),
        prop::collection::vec(any::<u8>(), 0..64),
    )
        .prop_map(|((client, server, ports, unsummed), ttl, kind, payload)| Talk {
            client,
            server,
            ports,
            ttl,
            kind,
            unsummed,
            payload,
        })
}

/// Rewriting for the server and back again gives the client's view, checksums included.
fn there_and_back<A: Sample>(method: Method, talk: &Talk) -> Result<(), TestCaseError> {
    let (client, server) = (A::narrow(talk.client), A::narrow(talk.server));
    let known = [A::VIP, A::LOCALS[0], A::LOCALS[1]];
    prop_assume!(client != server && !known.contains(&client) && !known.contains(&server));
    prop_assume!(client.is_of_a_client());
    let mut world = World::<A>::new(method);
    let id = world.server(talk.kind, 1) as usize;
    world.env.servers[id].address = server.widen();
    world.env.servers[id].port = talk.ports[1];
    world.route(client, via(CLIENT_SIDE, CLIENT_MAC));
    world.route(server, via(SERVER_SIDE, SERVER_MAC));
    let mut first = world.request(talk.kind, talk.ports[0], SYN);
    (first.source, first.ttl, first.payload) = (client, talk.ttl, talk.payload.clone());
    if talk.unsummed && A::VERSION == 4 && first.protocol == Protocol::Udp {
        first.protocol = Protocol::UnsummedUdp;
    }
    let (verdict, bytes) = world.send_bytes(CLIENT_SIDE, &first.bytes().unwrap());
    prop_assert_eq!(verdict, TO_SERVER);
    let seen = Frame::<A>::read(&bytes).map_err(TestCaseError::fail)?;
    prop_assert_eq!(seen.to(), (server, talk.ports[1]));
    prop_assert_eq!(&seen, &as_server_sees(&first, &seen));
    let answer = Frame {
        payload: talk.payload.clone(),
        ttl: talk.ttl,
        protocol: first.protocol,
        ..reply(&seen, SYN | ACK)
    };
    let (verdict, bytes) = world.send_bytes(SERVER_SIDE, &answer.bytes().unwrap());
    prop_assert_eq!(verdict, TO_CLIENT);
    prop_assert_eq!(bytes, as_client_sees(&answer, &first).bytes().unwrap());
    Ok(())
}

/// A frame of one of the kinds that the engine takes apart, as bytes.
fn some_frame<A: Sample>(world: &World<A>, choice: u8) -> Vec<u8> {
    let seen = world.open(Kind::Tcp, 40000);
    let (_, datagram) = world.send(&world.datagram(40000));
    let frame = match choice % 8 {
        0 => world.segment(40001, SYN),
        1 => world.segment(40000, ACK),
        2 => world.datagram(40001),
        3 => reply(&seen, ACK),
        4 => reply(&datagram, 0),
        5 => {
            let kind = if A::VERSION == 4 { [3, 4] } else { [2, 0] };
            Frame::icmp(A::ROUTER, seen.source, kind, 1400, &seen.packet().unwrap())
        }
        6 => Frame { ttl: 1, ..world.datagram(40000) },
        _ => {
            let whole = Frame { payload: vec![0; 64], ..world.datagram(40000) };
            return whole.fragments(32).unwrap().swap_remove(usize::from(choice / 8 % 3));
        }
    };
    frame.bytes().unwrap()
}

fn mutate<A: Sample>(
    method: Method,
    choice: u8,
    changes: &[(prop::sample::Index, u8)],
    cut: Option<prop::sample::Index>,
) {
    let world = World::<A>::new(method);
    let mut bytes = some_frame(&world, choice);
    for (place, value) in changes {
        let place = place.index(bytes.len().min(110));
        bytes[place] = *value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    survive(&world, CLIENT_SIDE, &bytes);
    survive(&world, SERVER_SIDE, &bytes);
}

fn methods() -> impl Strategy<Value = Method> {
    prop::sample::select([Method::Nat, Method::FullNat].as_slice())
}

proptest! {
    #[test]
    fn random_frames_are_survived(
        mut bytes in prop::collection::vec(any::<u8>(), 0..160),
        kind in prop::sample::select(vec![None, Some([0x08, 0x00]), Some([0x86, 0xdd]), Some([0x81, 0x00])]),
    ) {
        if let (Some(kind), Some(place)) = (kind, bytes.get_mut(12..14)) {
            place.copy_from_slice(&kind);
        }
        let world = World::<V4>::new(Method::Nat);
            survive(&world, CLIENT_SIDE, &bytes);
    }

    #[test]
    fn mutated_frames_are_survived(
        method in methods(),
        choice: u8,
        changes in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        mutate::<V4>(method, choice, &changes, cut);
        mutate::<V6>(method, choice, &changes, cut);
    }

    #[test]
    fn there_and_back_over_ipv4_gives_the_packet_back(method in methods(), talk in talks()) {
        there_and_back::<V4>(method, &talk)?;
    }

    #[test]
    fn there_and_back_over_ipv6_gives_the_packet_back(method in methods(), talk in talks()) {
        there_and_back::<V6>(method, &talk)?;
    }
}
