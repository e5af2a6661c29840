//! TCP states and time-outs as IPVS has them (`net/netfilter/ipvs/ip_vs_proto_tcp.c`: `tcp_states`,
//! `tcp_timeouts`). The balancer sees both directions of a connection, and follows them apart.

use crate::abi::Direction;

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

/// Whether a segment with these flags can move a connection in `state` elsewhere. In the other case,
/// nearly every packet's, there is nothing to look up and nothing to write.
#[inline(always)]
#[must_use]
pub const fn can_move(state: u8, segment: u8) -> bool {
    state != TcpState::Established as u8 || segment & (flags::SYN | flags::FIN | flags::RST) != 0
}

/// The next state's number and its time-out in seconds. A segment without any of the four flags, or a
/// state that does not exist, changes nothing and gives `None`.
#[inline(always)]
#[must_use]
pub fn next(direction: Direction, state: u8, segment: u8) -> Option<(u8, u32)> {
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
    let cell = (direction as usize) << 6 | (event as usize) << 4 | usize::from(state & 0x0f);
    let next = *TABLE.get(cell)?;
    let timeout = *TIMEOUTS.get(usize::from(next))?;
    Some((next, timeout))
}

/// Time-outs by state number.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
static TIMEOUTS: [u32; 11] = {
    let mut table = [0; 11];
    let mut number = 0;
    while number < table.len() {
        table[number] = TcpState::ALL[number].timeout();
        number += 1;
    }
    table
};

/// Two directions × four events × sixteen states; states 11 to 15 do not exist and lead nowhere.
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
    use Direction::{ToClient, ToServer};
    use TcpState::{Close, CloseWait, Established, FinWait, SynRecv, TimeWait};
    use flags::{ACK, FIN, RST, SYN};

    use super::*;

    fn run(steps: &[(Direction, u8, TcpState)]) {
        let mut state = TcpState::None as u8;
        for (step, &(direction, segment, expected)) in steps.iter().enumerate() {
            state = next(direction, state, segment).unwrap().0;
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
        assert_eq!(next(ToServer, Established as u8, RST | SYN), Some((Close as u8, 10)));
        assert_eq!(next(ToServer, FinWait as u8, SYN | FIN), Some((SynRecv as u8, 60)));
    }

    #[test]
    fn segments_without_flags_and_states_that_do_not_exist_change_nothing() {
        assert_eq!(next(ToServer, Established as u8, 0), None);
        for state in 11..=u8::MAX {
            if state & 0x0f > 10 {
                assert_eq!(next(ToClient, state, ACK), Some((TcpState::None as u8, 2)));
            }
        }
    }

    #[test]
    fn what_cannot_move_stays() {
        for segment in 0..=u8::MAX {
            if !can_move(Established as u8, segment) {
                for direction in [ToServer, ToClient] {
                    let next = next(direction, Established as u8, segment);
                    assert!(matches!(next, None | Some((1, 900))), "{segment:#x} {next:?}");
                }
            }
        }
    }
}
