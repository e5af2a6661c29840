//! A `global_defs` block: what holds for all services.

use super::{
    super::{
        diag::Sink,
        model::Timeouts,
        schema::{Keyword, Place},
        tree::Directive,
    },
    keyword,
    setting::Setting,
    value::{self, Choice},
};

const TIMEOUTS: &str = "lvs_timeouts [tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]";

#[derive(Clone, Copy)]
enum Timeout {
    Tcp,
    TcpFin,
    Udp,
}

static TIMEOUT: Choice<Timeout> = Choice {
    what: "timeout",
    understood: &[("tcp", Timeout::Tcp), ("tcpfin", Timeout::TcpFin), ("udp", Timeout::Udp)],
    not_yet: &[],
    any_case: false,
};

/// What all such blocks of a file say together.
#[derive(Default)]
pub(super) struct Draft {
    tcp: Setting<Option<u32>>,
    tcp_fin: Setting<Option<u32>>,
    udp: Setting<Option<u32>>,
}

impl Draft {
    pub(super) fn read(&mut self, directive: &Directive<'_>, sink: &mut Sink) {
        value::args(directive, 0..=0, "global_defs {", sink);
        for child in directive.block.iter().flat_map(|block| &block.children) {
            if keyword::visit(child, Place::GlobalDefs, sink) == Some(Keyword::Timeouts) {
                keyword::refuse_block(child, sink);
                self.timeouts(child, sink);
            }
        }
    }

    fn timeouts(&mut self, child: &Directive<'_>, sink: &mut Sink) {
        let args = value::args(child, 1..=usize::MAX, TIMEOUTS, sink).unwrap_or_default();
        for option in args.chunks(2) {
            let [name, rest @ ..] = option else { return };
            // After a wrong name nobody knows which word is meant for a number.
            let Some(timeout) = TIMEOUT.pick(name, sink) else { return };
            let setting = match timeout {
                Timeout::Tcp => &mut self.tcp,
                Timeout::TcpFin => &mut self.tcp_fin,
                Timeout::Udp => &mut self.udp,
            };
            let [word] = rest else {
                sink.push(value::missing_argument(&name.text, name.span.end, TIMEOUTS));
                return;
            };
            let seconds = value::number(child, word, 0..=value::TIMEOUT_LIMIT, sink);
            let value = seconds.map(|seconds| (seconds > 0).then_some(seconds));
            setting.set_as(&name.text, name.span.to(word.span), value, sink);
        }
    }

    pub(super) fn finish(self) -> Timeouts {
        let Self { tcp, tcp_fin, udp } = self;
        Timeouts {
            tcp: tcp.value().flatten(),
            tcp_fin: tcp_fin.value().flatten(),
            udp: udp.value().flatten(),
        }
    }
}
