//! Forwarding methods.

use std::fmt;

use serde::Serialize;

/// A way to bring packets to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Forwarding {
    /// `NAT`: the destination is rewritten, and the answers pass here again.
    Nat,
    /// `FNAT`: the source is rewritten too, so that the server answers to this host by itself.
    FullNat,
    /// `DR`: only the Ethernet address is rewritten. Not balanced yet.
    DirectRouting,
    /// `TUN`: packets are wrapped up. Not balanced yet.
    Tunnel(Tunnel),
}

/// How `TUN` wraps packets up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Tunnel {
    /// `type`.
    pub kind: TunnelKind,
    /// Of the outer header; not of IPIP, and remote checksums not of GRE.
    pub checksum: TunnelChecksum,
}

/// The outer headers of a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelKind {
    /// `ipip`: IP in IP.
    #[default]
    Ipip,
    /// `gue port N`: generic UDP encapsulation, to this port, never 0.
    Gue(u16),
    /// `gre`.
    Gre,
}

/// Checksums of a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelChecksum {
    /// `nocsum`: none.
    #[default]
    None,
    /// `csum`: one.
    Full,
    /// `remcsum`: the inner one, worked out at the other end.
    Remote,
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nat => "NAT",
            Self::FullNat => "FNAT",
            Self::DirectRouting => "DR",
            Self::Tunnel(_) => "TUN",
        })
    }
}
