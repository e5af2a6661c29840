//! Advice about services that work, but perhaps not as they should.

use std::collections::{HashMap, HashSet};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink},
        model::{Protocol, Scheduler, Target, VirtualServer},
        source::Span,
    },
    mark::Marks,
    services::Services,
};

/// FTP's control port. What it tells the client to connect to next must come to the same server.
const FTP: u16 = 21;

/// Names services whose clients have to stay with one server, and do not: each connection may go to another one.
///
/// One port by itself says nothing about that, so it is not asked of every service: only of FTP, and where a mark or a
/// group joins several ports of one address. That is done to make one service of them, such as a shop on 80 and 443.
pub(super) fn on_persistence(services: &Services, marks: &Marks, sink: &mut Sink) {
    let mut groups: HashMap<(usize, Option<Protocol>), Ports> = HashMap::new();
    for (service, _) in services.iter().filter(|(service, _)| service.group.is_some()) {
        if let Target::Address { address, port } = service.target {
            let key = (service.line, service.protocol);
            groups.entry(key).or_default().add(address, port, port);
        }
    }
    let mut marked: HashMap<u32, Ports> = HashMap::new();
    for line in marks.iter().filter(|line| line.protocols().contains(&Protocol::Tcp)) {
        let first = line.addresses.first();
        marked.entry(line.mark).or_default().add(first, line.first_port, line.last_port);
    }
    let mut told = HashSet::new();
    for (service, line) in services.iter() {
        if !service.is_balanced() || service.persistence.is_some() || keeps_clients(service) {
            continue;
        }
        let several = match service.target {
            Target::Mark(mark) => marked.get(&mark).is_some_and(|ports| ports.several),
            Target::Address { .. } if service.protocol != Some(Protocol::Tcp) => false,
            Target::Address { port: FTP, .. } => true,
            Target::Address { .. } => {
                groups.get(&(service.line, service.protocol)).is_some_and(|ports| ports.several)
            }
        };
        if several && told.insert(service.line) {
            sink.push(may_move(service, line));
        }
    }
}

/// Whether the choice depends on the client's address.
const fn keeps_clients(service: &VirtualServer) -> bool {
    matches!(
        service.scheduler,
        Scheduler::SourceHash | Scheduler::DestinationHash | Scheduler::MaglevHash
    )
}

fn may_move(service: &VirtualServer, line: Span) -> Diagnostic {
    let message = match service.target {
        Target::Address { port: FTP, .. } => {
            "FTP's second connection may go to another server: this service has no persistence"
        }
        _ => {
            "a client's connections to these ports may go to different servers: they are one service, without persistence"
        }
    };
    Diagnostic::new(Code::ClientsMayMove, line, message)
        .help("add `persistence_timeout 360`, or take `lb_algo sh`; if it does not matter, `--allow XLVS100`")
}

/// The ports of some addresses.
#[derive(Default)]
struct Ports {
    of: HashMap<std::net::IpAddr, u16>,
    /// Some address has more than one.
    several: bool,
}

impl Ports {
    fn add(&mut self, address: std::net::IpAddr, first: u16, last: u16) {
        let known = *self.of.entry(address).or_insert(first);
        self.several |= known != first || first != last;
    }
}
