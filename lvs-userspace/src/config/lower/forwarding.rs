//! `lb_kind`, `lvs_method`, `sorry_server_lvs_method`: how packets reach a server.

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        model::{Forwarding, Tunnel, TunnelChecksum, TunnelKind},
        tree::Directive,
    },
    number,
    value::{self, Choice},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Nat,
    FullNat,
    Direct,
    Tunnel,
}

static METHOD: Choice<Method> = Choice {
    what: "forwarding method",
    understood: &[
        ("NAT", Method::Nat),
        ("FNAT", Method::FullNat),
        ("DR", Method::Direct),
        ("TUN", Method::Tunnel),
    ],
    any_case: false,
};

const TUNNEL: &str = "TUN [type ipip|gue port PORT|gre] [nocsum|csum|remcsum]";

/// Reads a method; what is wrong is reported.
pub(super) fn read(child: &Directive<'_>, sink: &mut Sink) -> Option<Forwarding> {
    let name = &child.keyword.text;
    let usage = format!("{name} NAT|FNAT|DR|TUN");
    let [word, rest @ ..] = value::args(child, 1..=usize::MAX, &usage, sink)? else { return None };
    let method = METHOD.pick(word, sink)?;
    if method == Method::Tunnel {
        return tunnel(child, rest, sink).map(Forwarding::Tunnel);
    }
    if !rest.is_empty() {
        value::args(child, 1..=1, &usage, sink)?;
    }
    Some(match method {
        Method::FullNat => Forwarding::FullNat,
        Method::Direct => Forwarding::DirectRouting,
        Method::Nat | Method::Tunnel => Forwarding::Nat,
    })
}

/// The options behind `TUN`.
fn tunnel(child: &Directive<'_>, words: &[Word<'_>], sink: &mut Sink) -> Option<Tunnel> {
    let mut tunnel = Tunnel::default();
    let mut rest = words;
    while let [word, behind @ ..] = rest {
        rest = behind;
        match &*word.text {
            "type" => match behind {
                [kind, behind @ ..] if kind.text == "ipip" => {
                    (tunnel.kind, rest) = (TunnelKind::Ipip, behind);
                }
                [kind, behind @ ..] if kind.text == "gre" => {
                    (tunnel.kind, rest) = (TunnelKind::Gre, behind);
                }
                [kind, port, number, behind @ ..] if kind.text == "gue" && port.text == "port" => {
                    tunnel.kind = TunnelKind::Gue(number::port_not_zero(number, sink)?);
                    rest = behind;
                }
                _ => {
                    return refuse(word, "needs `ipip`, `gre`, or `gue port PORT` behind it", sink);
                }
            },
            "nocsum" => tunnel.checksum = TunnelChecksum::None,
            "csum" => tunnel.checksum = TunnelChecksum::Full,
            "remcsum" => tunnel.checksum = TunnelChecksum::Remote,
            _ => return refuse(word, "is no option of a tunnel", sink),
        }
    }
    let wrong = match (tunnel.kind, tunnel.checksum) {
        (TunnelKind::Ipip, TunnelChecksum::Full | TunnelChecksum::Remote) => "IP in IP has none",
        (TunnelKind::Gre, TunnelChecksum::Remote) => "GRE has `csum` only",
        _ => return Some(tunnel),
    };
    let message =
        format!("the checksum that {} asks for does not exist", quoted(&child.keyword.text));
    sink.push(Diagnostic::new(Code::BadText, child.head(), message).help(wrong));
    None
}

fn refuse(word: &Word<'_>, why: &str, sink: &mut Sink) -> Option<Tunnel> {
    let message = format!("{} {why}", quoted(&word.text));
    sink.push(Diagnostic::new(Code::BadText, word.span, message).help(format!("write `{TUNNEL}`")));
    None
}
