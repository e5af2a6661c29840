//! TCP states and time-outs as IPVS has them (`net/netfilter/ipvs/ip_vs_proto_tcp.c`: `tcp_states`,
//! `tcp_timeouts`). The balancer sees both directions of a connection, and follows them apart.

/// Bits of the TCP header's flag byte.
pub mod flags {
    /// No more data from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens a connection.
    pub const SYN: u8 = 0x02;
    /// Resets a connection.
    pub const RST: u8 = 0x04;
    /// The acknowledgement number is valid.
    pub const ACK: u8 = 0x10;
}

/// The state of a connection, named and numbered as in IPVS (`enum` in `uapi/linux/ip_vs.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// New.
    None = 0,
    /// Data may flow.
    Established = 1,
    /// A SYN came from the server's side.
    SynSent = 2,
    /// The client's SYN has passed.
    SynRecv = 3,
    /// The server has closed its side.
    FinWait = 4,
    /// Both sides have closed.
    TimeWait = 5,
    /// Reset.
    Close = 6,
    /// The client has closed its side.
    CloseWait = 7,
    /// Waiting for the last acknowledgement.
    LastAck = 8,
    /// Never entered by NAT; part of the table.
    Listen = 9,
    /// Entered under `secure_tcp` only; part of the table.
    SynAck = 10,
}

impl TcpState {
    const ALL: [Self; 11] = [
        Self::None,
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::SynAck,
    ];

    /// The state with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match Self::ALL.as_slice().split_at_checked(number as usize) {
            Some((_, [state, ..])) => Some(*state),
            _ => None,
        }
    }

    /// How long a connection stays in this state without a packet, in seconds.
    #[must_use]
    pub const fn timeout(self) -> u32 {
        match self {
            Self::None => 2,
            Self::Established => 900,
            Self::SynSent | Self::FinWait | Self::TimeWait | Self::Listen | Self::SynAck => 120,
            Self::SynRecv | Self::CloseWait => 60,
            Self::Close => 10,
            Self::LastAck => 30,
        }
    }
}

/// The rows of the table: which flag counts if several are set.
#[derive(Clone, Copy)]
enum Event {
    Syn = 0,
    Fin = 1,
    Ack = 2,
    Rst = 3,
}

/// States that a segment with no other flag than ACK does not leave, in either direction, as bits by number.
const STABLE: u32 = 1 << TcpState::Established as u32
    | 1 << TcpState::FinWait as u32
    | 1 << TcpState::TimeWait as u32
    | 1 << TcpState::Close as u32
    | 1 << TcpState::CloseWait as u32;

/// Whether a segment with these flags can move a connection in `state` elsewhere. In the other case,
/// nearly every packet's, there is nothing to look up and nothing to write.
#[inline(always)]
#[must_use]
pub const fn can_move(state: u8, segment: u8) -> bool {
    STABLE >> (state & 31) & 1 == 0 || segment & (flags::SYN | flags::FIN | flags::RST) != 0
}

/// Whether a connection in this state counts as active: `tcp_state_active_table` in `ip_vs_proto_tcp.c`.
#[inline(always)]
#[must_use]
pub const fn is_active(state: u8) -> bool {
    const ACTIVE: u32 = 1 << TcpState::Established as u32
        | 1 << TcpState::SynSent as u32
        | 1 << TcpState::SynRecv as u32
        | 1 << TcpState::SynAck as u32;
    ACTIVE >> (state & 31) & 1 != 0
}

/// Whether a connection in this state has not been answered and acknowledged yet.
#[inline(always)]
#[must_use]
pub const fn is_half_open(state: u8) -> bool {
    state != TcpState::Established as u8 && is_active(state)
}

/// Whether a new SYN may take a connection in this state over.
#[inline(always)]
#[must_use]
pub const fn is_closed(state: u8) -> bool {
    state == TcpState::TimeWait as u8 || state == TcpState::Close as u8
}

/// The next state's number. A segment without any of the four flags, or a state that does not exist, changes
/// nothing and gives `None`.
#[inline(always)]
#[must_use]
pub fn next(direction: u8, state: u8, segment: u8) -> Option<u8> {
    // The order of tcp_state_idx() in the kernel: RST, SYN, FIN, ACK.
    let event = if segment & flags::RST != 0 {
        Event::Rst
    } else if segment & flags::SYN != 0 {
        Event::Syn
    } else if segment & flags::FIN != 0 {
        Event::Fin
    } else if segment & flags::ACK != 0 {
        Event::Ack
    } else {
        return None;
    };
    if state > TcpState::SynAck as u8 {
        return None;
    }
    let cell = usize::from(direction & 1) << 6 | (event as usize) << 4 | usize::from(state & 0x0f);
    TABLE.get(cell).copied()
}

/// Two directions × four events × sixteen states; states 11 to 15 do not exist.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
static TABLE: [u8; 128] = {
    use TcpState::{
        Close as CL, CloseWait as CW, Established as ES, FinWait as FW, LastAck as LA,
        Listen as LI, None as NO, SynAck as SA, SynRecv as SR, SynSent as SS, TimeWait as TW,
    };
    // Columns: the current state, in the order of their numbers.
    let columns = [NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA];
    let rows: [[TcpState; 11]; 8] = [
        // From the client (INPUT): SYN, FIN, ACK, RST.
        [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
        // From the server (OUTPUT): SYN, FIN, ACK, RST.
        [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
        [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
        [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
        [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    ];
    let mut table = [NO as u8; 128];
    let mut row = 0;
    while row < rows.len() {
        let mut column = 0;
        while column < columns.len() {
            table[row << 4 | columns[column] as usize] = rows[row][column] as u8;
            column += 1;
        }
        row += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use TcpState::{Close, CloseWait, Established, FinWait, SynRecv, TimeWait};
    use flags::{ACK, FIN, RST, SYN};

    use super::*;
    use crate::abi::Direction::{self, ToClient, ToServer};

    fn run(steps: &[(Direction, u8, TcpState)]) {
        let mut state = TcpState::None as u8;
        for (step, &(direction, segment, expected)) in steps.iter().enumerate() {
            state = next(direction as u8, state, segment).unwrap();
            assert_eq!(TcpState::from_number(state), Some(expected), "step {step}");
        }
    }

    #[test]
    fn the_client_closes_first() {
        run(&[
            (ToServer, SYN, SynRecv),
            (ToClient, SYN | ACK, SynRecv),
            (ToServer, ACK, Established),
            (ToServer, ACK, Established),
            (ToServer, FIN | ACK, CloseWait),
            (ToClient, ACK, CloseWait),
            (ToClient, FIN | ACK, TimeWait),
            (ToServer, ACK, TimeWait),
            (ToServer, SYN, SynRecv),
        ]);
    }

    #[test]
    fn the_server_closes_first() {
        run(&[
            (ToServer, SYN, SynRecv),
            (ToServer, ACK, Established),
            (ToClient, FIN | ACK, FinWait),
            (ToServer, ACK, FinWait),
            (ToServer, FIN | ACK, TimeWait),
        ]);
    }

    #[test]
    fn a_reset_closes_but_not_a_half_open_connection_from_the_client() {
        run(&[(ToServer, SYN, SynRecv), (ToServer, RST, SynRecv), (ToClient, RST | ACK, Close)]);
    }

    #[test]
    fn reset_goes_before_syn_and_syn_before_fin() {
        assert_eq!(next(0, Established as u8, RST | SYN), Some(Close as u8));
        assert_eq!(next(0, FinWait as u8, SYN | FIN), Some(SynRecv as u8));
    }

    /// The state machine never leaves its table.
    #[test]
    fn segments_without_flags_and_states_that_do_not_exist_change_nothing() {
        for direction in 0..=u8::MAX {
            assert_eq!(next(direction, Established as u8, 0), None);
            for state in 0..=u8::MAX {
                for segment in 0..=u8::MAX {
                    match next(direction, state, segment) {
                        Some(next) => assert!(state <= 10 && next <= 10, "{state} {segment:#x}"),
                        None => assert!(state > 10 || segment & 0x17 == 0),
                    }
                }
            }
        }
    }

    #[test]
    fn what_cannot_move_stays() {
        for state in 0..=10 {
            for segment in 0..=u8::MAX {
                for direction in [ToServer, ToClient] {
                    if !can_move(state, segment) {
                        let next = next(direction as u8, state, segment);
                        assert!(next.is_none() || next == Some(state), "{state} {segment:#x}");
                    }
                }
            }
        }
        assert!(!can_move(CloseWait as u8, ACK) && can_move(SynRecv as u8, ACK));
    }
}
