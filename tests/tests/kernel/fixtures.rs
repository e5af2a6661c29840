//! Named frames and what must become of each, byte for byte. `Frame` builds both from nothing that the engine uses.

use lvs_common::{
    abi::{Counter, V4, V6},
    host::{
        Extension, Frame, Protocol, Tag,
        sample::{Kind, Method},
    },
    tcp::flags::{ACK, FIN, RST, SYN},
};

use crate::{
    talk::{Error, Fate, Step, Talk},
    world::{FIRST_PORT, Hook, NARROW_MTU, Place, Special},
};

/// Frames that are sent one after the other to a balancer that knows no connection.
#[derive(Clone, Debug)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) hooks: &'static [Hook],
    pub(crate) steps: Vec<Step>,
}

/// All of them.
pub(crate) fn all() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for method in [Method::Nat, Method::FullNat] {
        of_method::<V4>(method, &mut fixtures);
        of_method::<V6>(method, &mut fixtures);
    }
    not_ours::<V4>(&mut fixtures);
    not_ours::<V6>(&mut fixtures);
    fixtures.push(fixture("ARP passes", vec![passes(&ARP, Counter::NotIp)]));
    let mut tagged = ARP.to_vec();
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    fixtures.push(fixture("ARP with a VLAN tag passes", vec![passes(&tagged, Counter::NotIp)]));
    fixtures
}

/// Who has 10.64.1.2? Tell 10.64.1.1.
#[rustfmt::skip]
const ARP: [u8; 42] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06,
    0, 1, 8, 0, 6, 4, 0, 1,
    2, 0, 0, 0, 0, 1, 10, 64, 1, 1,
    0, 0, 0, 0, 0, 0, 10, 64, 1, 2,
];

fn fixture(name: impl Into<String>, steps: Vec<Step>) -> Fixture {
    Fixture { name: name.into(), hooks: &Hook::BOTH, steps }
}

fn passes(bytes: &[u8], reason: Counter) -> Step {
    Step { sent: bytes.to_vec(), fate: Fate::Pass(reason), left: bytes.to_vec() }
}

fn with_payload<A: Place>(frame: Frame<A>, length: usize) -> Frame<A> {
    Frame { payload: (0..=u8::MAX).cycle().take(length).collect(), ..frame }
}

/// The three segments that open a connection.
fn opened<A: Place>(talk: &Talk<A>) -> Vec<Step> {
    vec![
        talk.there(&talk.question(SYN)),
        talk.back(&talk.answer(SYN | ACK)),
        talk.there(&talk.question(ACK)),
    ]
}

/// What both NAT and full NAT do.
fn of_method<A: Place>(method: Method, fixtures: &mut Vec<Fixture>) {
    let head = format!("IPv{}, {method:?}", A::VERSION);
    let mut add = |name: &str, steps: Vec<Step>| {
        fixtures.push(fixture(format!("{head}: {name}"), steps));
    };
    let tcp = Talk::<A>::new(method, Kind::Tcp);
    let udp = Talk::<A>::new(method, Kind::Udp);
    let ops = Talk::<A>::new(method, Kind::OnePacket);
    let v4 = A::VERSION == 4;

    let mut whole = opened(&tcp);
    whole.extend([
        tcp.there(&with_payload(tcp.question(ACK), 333)),
        tcp.back(&with_payload(tcp.answer(ACK), 1448)),
        tcp.there(&tcp.question(FIN | ACK)),
        tcp.back(&tcp.answer(FIN | ACK)),
        tcp.there(&tcp.question(ACK)),
    ]);
    add("a TCP connection from the SYN to the last ACK", whole);
    add("a client behind a gateway", opened(&tcp.of_client(A::CLIENTS[1])));
    add(
        "questions and answers over UDP",
        vec![
            udp.there(&udp.question(0)),
            udp.back(&udp.answer(0)),
            udp.there(&with_payload(udp.question(0), 1)),
            udp.back(&with_payload(udp.answer(0), 0)),
        ],
    );
    let unsummed = |frame| Frame { protocol: Protocol::UnsummedUdp, ..frame };
    add(
        "UDP without checksum stays without",
        vec![
            udp.there(&unsummed(udp.question(0))),
            udp.back(&unsummed(udp.answer(0))),
            udp.there(&unsummed(udp.question(0))),
        ],
    );
    let later = ops.second();
    add(
        "each packet of a one-packet service goes to the next server",
        vec![
            ops.there(&ops.question(0)),
            later.there(&later.question(0)),
            later.back(&later.answer(0)),
            ops.back(&ops.answer(0)),
        ],
    );
    let persistent = Talk::<A>::new(method, Kind::Persistent);
    let next_port = match method {
        Method::Nat => (A::CLIENTS[0], 40001),
        Method::FullNat => (A::LOCALS[1], FIRST_PORT),
    };
    let again = Talk { client: (A::CLIENTS[0], 40001), seen: next_port, ..persistent };
    add(
        "a client of a persistent service stays with its server",
        vec![persistent.there(&persistent.question(SYN)), again.there(&again.question(SYN))],
    );
    let mut reopened = opened(&tcp);
    reopened.push(tcp.there(&tcp.question(RST)));
    reopened.extend(opened(&tcp.second()));
    add("a SYN on a closed connection opens a new one", reopened);
    if v4 {
        let options = |length| move |frame| Frame { options: vec![1; length], ..frame };
        let mut steps = vec![];
        for length in [4, 12, 40] {
            steps.push(tcp.there(&options(length)(tcp.question(SYN))));
            steps.push(tcp.back(&options(length)(tcp.answer(SYN | ACK))));
            steps.push(udp.there(&options(length)(udp.question(0))));
        }
        add("IPv4 options are stepped over", steps);
    } else {
        let extended = |number| {
            move |frame| Frame {
                extensions: vec![Extension { number, content: vec![1, 4, 0, 0, 0, 0] }],
                ..frame
            }
        };
        let mut steps = opened(&tcp);
        for number in [0, 60] {
            let passes = |frame| Step::passes(&frame, Counter::ExtensionHeader);
            steps.push(passes(extended(number)(tcp.question(SYN))));
            steps.push(passes(extended(number)(tcp.question(ACK))));
            steps.push(passes(extended(number)(udp.question(0))));
        }
        add("packets with extension headers pass", steps);
    }
    for (name, tags) in [
        ("one VLAN tag stays", vec![Tag::vlan(7)]),
        ("two VLAN tags stay", vec![Tag::provider(100), Tag::vlan(7)]),
    ] {
        let tagged = |frame| Frame { tags: tags.clone(), ..frame };
        let mut steps = vec![];
        for talk in [&tcp, &udp] {
            steps.push(talk.there(&tagged(talk.question(SYN))));
            steps.push(talk.back(&tagged(talk.answer(SYN | ACK))));
            steps.push(talk.there(&tagged(talk.question(ACK))));
        }
        let empty = Talk::<A>::special(method, Special::Empty, false);
        steps.push(Step::refused(&tagged(empty.question(0)), Error::PortUnreachable, A::VIP));
        add(name, steps);
    }

    let last = |frame| Frame { ttl: 1, ..frame };
    let own = A::OWN[0];
    let mut expired = vec![
        Step::refused(&last(tcp.question(SYN)), Error::TimeExceeded, own),
        Step::refused(&last(ops.question(0)), Error::TimeExceeded, own),
    ];
    expired.extend(opened(&tcp));
    expired.extend([
        Step::refused(&last(with_payload(tcp.question(ACK), 301)), Error::TimeExceeded, own),
        Step::refused(&last(tcp.answer(ACK)), Error::TimeExceeded, own),
        tcp.there(&Frame { ttl: 2, ..tcp.question(ACK) }),
    ]);
    add("the end of the TTL is told", expired);

    let too_big = Error::TooBig(NARROW_MTU);
    let large = |frame| Frame { dont_fragment: v4, ..with_payload(frame, 1400) };
    let narrow = Talk::<A>::special(method, Special::Narrow, true);
    let narrow_udp = Talk::<A>::special(method, Special::Narrow, false);
    let fitting = usize::from(NARROW_MTU) - if v4 { 40 } else { 60 };
    let mut steps = vec![
        Step::refused(&large(narrow.question(SYN)), too_big, own),
        Step::refused(&large(narrow_udp.question(0)), too_big, own),
    ];
    steps.extend(opened(&narrow));
    steps.extend([
        Step::refused(&large(narrow.question(ACK)), too_big, own),
        narrow.there(&with_payload(narrow.question(ACK), fitting)),
        Step::refused(
            &Frame { dont_fragment: v4, ..with_payload(narrow.question(ACK), fitting + 1) },
            too_big,
            own,
        ),
    ]);
    add("what is too big for the server's link is told", steps);
    let far = tcp.of_client(A::NARROW_CLIENT);
    let mut steps = opened(&far);
    steps.push(Step::refused(&large(far.answer(ACK)), too_big, own));
    add("what is too big for the client's link is told", steps);
    let cut = with_payload(narrow_udp.question(0), 1400);
    let cut_step = if v4 && method == Method::Nat {
        let rewritten = narrow_udp.rewritten(&cut);
        Step::new(&cut, Fate::Pass(Counter::HandedToStack), &rewritten)
    } else {
        Step::refused(&cut, too_big, own)
    };
    add("what is too big and may be cut is cut by the stack where it can", vec![cut_step]);

    let empty = |tcp| Talk::<A>::special(method, Special::Empty, tcp);
    add(
        "a service without server answers port unreachable",
        vec![
            Step::refused(&empty(true).question(SYN), Error::PortUnreachable, A::VIP),
            Step::refused(&empty(false).question(0), Error::PortUnreachable, A::VIP),
            Step::passes(&empty(true).question(ACK), Counter::NotSyn),
        ],
    );

    let unresolved = Talk::<A>::special(method, Special::Unresolved, true);
    let syn = unresolved.question(SYN);
    let step = match method {
        Method::Nat => {
            Step::new(&syn, Fate::Pass(Counter::HandedToStack), &unresolved.rewritten(&syn))
        }
        Method::FullNat => Step::dropped(&syn, Counter::Unresolved),
    };
    add("a server whose MAC address is not known", vec![step]);
    let stranger = tcp.of_client(A::STRANGER);
    add(
        "a client whose MAC address is not known",
        vec![
            stranger.there(&stranger.question(SYN)),
            Step::dropped(&stranger.answer(SYN | ACK), Counter::Unresolved),
        ],
    );
    let lost = tcp.of_client(A::ROUTER);
    add(
        "a client that there is no route to",
        vec![Step::dropped(&lost.question(SYN), Counter::NoRoute)],
    );

    let question = with_payload(udp.question(0), 99);
    let answer = with_payload(udp.answer(0), 99);
    let data = with_payload(tcp.question(ACK), 99);
    let data_back = with_payload(tcp.answer(ACK), 99);
    let mut steps = opened(&tcp);
    steps.extend([udp.there(&question), udp.back(&answer), tcp.there(&data), tcp.back(&data_back)]);
    for error in [Error::PortUnreachable, Error::TimeExceeded, Error::TooBig(1280)] {
        for speaker in [A::SERVERS[1], A::ROUTER] {
            steps.push(udp.error_back(&question, error, speaker));
            steps.push(tcp.error_back(&data, error, speaker));
        }
        for speaker in [A::CLIENTS[0], A::ROUTER] {
            steps.push(udp.error_there(&answer, error, speaker));
            steps.push(tcp.error_there(&data_back, error, speaker));
        }
    }
    if v4 {
        let question = unsummed(question);
        steps.push(udp.there(&question));
        steps.push(udp.error_back(&question, Error::PortUnreachable, A::ROUTER));
    }
    add("ICMP errors are translated inside and outside, both ways", steps);
    add(
        "ICMP errors about a one-packet service are translated",
        vec![
            ops.there(&ops.question(0)),
            ops.error_back(&ops.question(0), Error::PortUnreachable, A::SERVERS[1]),
        ],
    );

    let long = |frame, identification| Frame { identification, ..with_payload(frame, 1000) };
    let mut steps = udp.fragments(&long(udp.question(0), 1), Fate::ToServer, &[0, 1, 2, 3]);
    steps.extend(udp.fragments(&long(udp.answer(0), 2), Fate::ToClient, &[0, 1, 2, 3]));
    add("fragments in order", steps);
    let mut steps = udp.fragments(&long(udp.question(0), 3), Fate::ToServer, &[0, 3, 1, 2]);
    steps.extend(udp.fragments(&long(udp.answer(0), 4), Fate::ToClient, &[0, 2, 3, 1]));
    steps.extend(opened(&tcp));
    steps.extend(tcp.fragments(&long(tcp.question(ACK), 5), Fate::ToServer, &[0, 3, 2, 1]));
    add("fragments out of order", steps);
    let early = long(udp.question(0), 6).fragments(256).unwrap();
    add(
        "a fragment before its first one passes",
        vec![passes(&early[1], Counter::Fragment), passes(&early[3], Counter::Fragment)],
    );
    let ending = last(long(udp.question(0), 7));
    let pieces = ending.fragments(256).unwrap();
    let first = Step {
        sent: pieces[0].clone(),
        ..Step::refused_packet(&ending, &pieces[0][14..], Error::TimeExceeded, own)
    };
    add("a first fragment at the end of its TTL is answered", vec![first]);

    add(
        "another connection of the same ports to the same server",
        match method {
            Method::Nat => vec![
                tcp.there(&tcp.question(SYN)),
                Step::dropped(&persistent.question(SYN), Counter::TupleInUse),
            ],
            Method::FullNat => {
                let other = Talk { seen: (A::LOCALS[0], FIRST_PORT + 1), ..persistent };
                vec![
                    tcp.there(&tcp.question(SYN)),
                    // Each server of each service has its own turns: this source is taken, and others are found at
                    // random; the test of collisions is `ports.rs`.
                    other.there(&other.question(SYN)),
                ]
                .into_iter()
                .take(1)
                .collect()
            }
        },
    );
    let vrrp = [0, 0, 0x5e, 0, if v4 { 1 } else { 2 }, 9];
    let to = |mac| move |frame: Frame<A>| Frame { macs: [frame.macs[0], mac], ..frame };
    add(
        "frames for the MAC address of a VRRP master",
        vec![tcp.there(&to(vrrp)(tcp.question(SYN)))],
    );
    add(
        "a new connection in a frame for another host passes",
        vec![
            Step::passes(&to([2, 9, 9, 9, 9, 9])(tcp.question(SYN)), Counter::OtherHost),
            Step::passes(&to([0xff; 6])(udp.question(0)), Counter::OtherHost),
        ],
    );
    if method == Method::FullNat {
        let talk = Talk::<A>::special(method, Special::Own, true);
        let talk = Talk { seen: (A::OWN[1], FIRST_PORT), ..talk };
        add("without local addresses the interface's is taken", opened(&talk));
    }

    let jumbo = |frame| Frame { dont_fragment: v4, ..with_payload(frame, 8000) };
    let mut steps = opened(&tcp);
    steps.extend([tcp.there(&jumbo(tcp.question(ACK))), tcp.back(&jumbo(tcp.answer(ACK)))]);
    steps.extend([udp.there(&jumbo(udp.question(0))), udp.back(&jumbo(udp.answer(0)))]);
    steps.push(Step::refused(&jumbo(narrow_udp.question(0)), too_big, own));
    // A test run has no longer socket buffers than a page.
    fixtures.push(Fixture { name: format!("{head}: jumbo frames"), hooks: &[Hook::Xdp], steps });
}

/// What passes untouched.
fn not_ours<A: Place>(fixtures: &mut Vec<Fixture>) {
    let tcp = Talk::<A>::new(Method::Nat, Kind::Tcp);
    let udp = Talk::<A>::new(Method::Nat, Kind::Udp);
    let head = format!("IPv{}", A::VERSION);
    let mut add = |name: &str, steps: Vec<Step>| {
        fixtures.push(fixture(format!("{head}: {name}"), steps));
    };
    let pass = Step::passes::<A>;
    add(
        "what belongs to no service or connection passes",
        vec![
            pass(&Frame::new(tcp.client, (A::VIP, 22), SYN), Counter::NoService),
            pass(&Frame::udp(tcp.client, (A::VIP, 53), b"who"), Counter::NoService),
            pass(&Frame::new(tcp.client, (A::OWN[0], 10_000), SYN), Counter::NoService),
            pass(&tcp.answer(ACK), Counter::NoService),
            pass(&udp.answer(0), Counter::NoService),
            pass(&tcp.question(ACK), Counter::NotSyn),
            pass(&tcp.question(SYN | ACK), Counter::NotSyn),
            pass(&tcp.question(RST), Counter::NotSyn),
        ],
    );
    let v4 = A::VERSION == 4;
    let echo = Frame::icmp(A::CLIENTS[0], A::VIP, if v4 { [8, 0] } else { [128, 0] }, 7, b"ping");
    let (kind, rest) = Error::PortUnreachable.of::<A>();
    let quote = Frame::udp((A::VIP, 9), (A::CLIENTS[0], 9), b"").packet().unwrap();
    let foreign = Frame::icmp(A::CLIENTS[0], A::VIP, kind, rest, &quote);
    add(
        "ICMP that is not about a connection passes",
        vec![
            pass(&echo, Counter::OtherProtocol),
            pass(&foreign, Counter::OtherProtocol),
            pass(&Frame { payload: vec![], ..foreign.clone() }, Counter::OtherProtocol),
        ],
    );
    let mut sctp = tcp.question(SYN).bytes().unwrap();
    sctp[14 + if v4 { 9 } else { 6 }] = 132;
    add("another protocol passes", vec![passes(&sctp, Counter::OtherProtocol)]);
    let whole = tcp.question(SYN).bytes().unwrap();
    let mut version = whole.clone();
    version[14] = 0x05;
    let mut short = whole.clone();
    short.truncate(whole.len() - 1);
    add(
        "what cannot be read passes",
        vec![passes(&version, Counter::Malformed), passes(&short, Counter::Malformed)],
    );
    let loopback = if v4 { [127, 0, 0, 1].as_slice() } else { &[0; 15] };
    let mut address = [0; 16];
    address[..loopback.len()].copy_from_slice(loopback);
    address[15] = u8::from(!v4);
    let martian = Frame::new((A::narrow(address), 40000), tcp.service, SYN);
    add("a client that is none is dropped", vec![Step::dropped(&martian, Counter::MartianSource)]);
}
