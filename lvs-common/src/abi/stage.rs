//! The data path in pieces: a packet that is more than one more of its connection goes on to another program.

/// Where a packet's walk goes on. The number is the index in `STAGES` (XDP) and `STAGES_TC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Stage {
    /// A frame that is more than Ethernet, IP without options, and TCP or UDP: the fast path, with time to read it.
    Sort = 0,
    /// A known IPv4 connection whose state or next hop needs a look.
    Follow4 = 1,
    /// The same for IPv6.
    Follow6 = 2,
    /// No connection yet, IPv4.
    Open4 = 3,
    /// The same for IPv6.
    Open6 = 4,
    /// ICMP.
    Icmp4 = 5,
    /// `ICMPv6`.
    Icmp6 = 6,
    /// A fragment of an IPv4 datagram.
    Fragment4 = 7,
    /// The same for IPv6.
    Fragment6 = 8,
    /// An ICMP error of our own is due.
    Fault4 = 9,
    /// The same for `ICMPv6`.
    Fault6 = 10,
    /// A new IPv4 connection has got its real server; now for the ways.
    Plan4 = 11,
    /// The same for IPv6.
    Plan6 = 12,
    /// A new IPv4 connection is possible; now for its entries.
    Connect4 = 13,
    /// The same for IPv6.
    Connect6 = 14,
    /// A new IPv4 connection has found its service; now for its real server.
    Choose4 = 15,
    /// The same for IPv6.
    Choose6 = 16,
}

impl Stage {
    /// All stages in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Sort,
        Self::Follow4,
        Self::Follow6,
        Self::Open4,
        Self::Open6,
        Self::Icmp4,
        Self::Icmp6,
        Self::Fragment4,
        Self::Fragment6,
        Self::Fault4,
        Self::Fault6,
        Self::Plan4,
        Self::Plan6,
        Self::Connect4,
        Self::Connect6,
        Self::Choose4,
        Self::Choose6,
    ];

    /// The name of its program is this behind `xlvs_` (XDP) or `xlvs_tc_`; a kernel name has 15 characters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sort => "sort",
            Self::Follow4 => "follow4",
            Self::Follow6 => "follow6",
            Self::Open4 => "open4",
            Self::Open6 => "open6",
            Self::Icmp4 => "icmp4",
            Self::Icmp6 => "icmp6",
            Self::Fragment4 => "frag4",
            Self::Fragment6 => "frag6",
            Self::Fault4 => "fault4",
            Self::Fault6 => "fault6",
            Self::Plan4 => "plan4",
            Self::Plan6 => "plan6",
            Self::Connect4 => "conn4",
            Self::Connect6 => "conn6",
            Self::Choose4 => "choose4",
            Self::Choose6 => "choose6",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_stage_at_its_number() {
        for (number, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, number, "{}", stage.name());
            assert!("xlvs_tc_".len() + stage.name().len() <= 15, "{}", stage.name());
        }
    }
}
