//! VLAN tags: packets keep them.

use lvs_common::{
    abi::Counter,
    host::{
        Frame, Tag,
        sample::{CLIENT_SIDE, Kind, Sample},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, SYN},
};

use crate::world::{
    TO_CLIENT, TO_SERVER, World, as_client_sees, as_server_sees, everywhere, reply,
};

everywhere! {
    one_tag_or_two_stay,
    fragments_and_errors_keep_them_too,
    three_tags_pass_untouched,
    truncated_tags_pass_untouched,
}

fn tags() -> [Vec<Tag>; 4] {
    [
        vec![Tag::vlan(7)],
        vec![Tag { priority: 5, ..Tag::vlan(4095) }],
        vec![Tag::provider(100), Tag::vlan(7)],
        vec![Tag::vlan(1), Tag::vlan(2)],
    ]
}

fn one_tag_or_two_stay<A: Sample>(world: World<A>) {
    for (port, tags) in (40000..).zip(tags()) {
        for kind in [Kind::Tcp, Kind::Udp] {
            let tagged = |frame: Frame<A>| Frame { tags: tags.clone(), ..frame };
            let syn = tagged(world.request(kind, port, SYN));
            let (verdict, seen) = world.send(&syn);
            assert_eq!(verdict, TO_SERVER);
            assert_eq!(seen, as_server_sees(&syn, &seen));
            let answer = tagged(reply(&seen, SYN | ACK));
            world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &syn));
            for _ in 0..2 {
                let ack = tagged(world.request(kind, port, ACK));
                world.expect(&ack, TO_SERVER, &as_server_sees(&ack, &seen));
            }
        }
    }
}

fn fragments_and_errors_keep_them_too<A: Sample>(world: World<A>) {
    for (port, tags) in (40000..).zip(tags()) {
        let tagged =
            |frame: Frame<A>| Frame { tags: tags.clone(), identification: port.into(), ..frame };
        let whole = Frame { payload: vec![1; 100], ..tagged(world.datagram(port)) };
        let after: Vec<_> = whole
            .fragments(48)
            .unwrap()
            .iter()
            .map(|fragment| {
                let (verdict, bytes) = world.send_bytes(CLIENT_SIDE, fragment);
                assert_eq!(verdict, TO_SERVER);
                bytes
            })
            .collect();
        let seen = Frame::join(&after).unwrap();
        assert_eq!(seen, as_server_sees(&whole, &seen));

        let kind = if A::VERSION == 4 { [3, 3] } else { [1, 4] };
        let error = Frame::icmp(A::ROUTER, seen.source, kind, 0, &seen.packet().unwrap());
        let (verdict, translated) = world.send(&Frame { tags: tags.clone(), ..error });
        assert_eq!((verdict, translated.tags), (TO_CLIENT, tags));
    }
}

fn three_tags_pass_untouched<A: Sample>(world: World<A>) {
    let tags = vec![Tag::provider(1), Tag::vlan(2), Tag::vlan(3)];
    world.expect_pass(&Frame { tags, ..world.segment(40000, SYN) }, Verdict::Pass(Counter::NotIp));
}

fn truncated_tags_pass_untouched<A: Sample>(world: World<A>) {
    for tags in tags() {
        let headers = 14 + 4 * tags.len();
        let bytes = Frame { tags, ..world.segment(40000, SYN) }.bytes().unwrap();
        for length in 0..headers {
            let (verdict, after) = world.send_bytes(CLIENT_SIDE, &bytes[..length]);
            assert_eq!((verdict, &after[..]), (Verdict::Pass(Counter::NotIp), &bytes[..length]));
        }
    }
}
