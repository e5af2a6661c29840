//! TCP frames to send through the engine, built and read by `etherparse`, which knows nothing of our own
//! offsets and checksum differences.

use std::{string::String, vec::Vec};

use etherparse::{Ethernet2Header, IpNumber, Ipv4Header, Ipv4Options, SlicedPacket, TcpHeader};

use crate::abi::Tuple4;

/// A TCP segment over IPv4 in an Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Source and destination MAC address.
    pub macs: [[u8; 6]; 2],
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
    /// Source and destination port.
    pub ports: [u16; 2],
    /// TCP flags as in [`crate::tcp::flags`].
    pub flags: u8,
    /// Time to live.
    pub ttl: u8,
    /// IP options; a multiple of four bytes, 40 at most.
    pub options: Vec<u8>,
    /// What the segment carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A segment from one address and port to another, with these flags and nothing else of note.
    #[must_use]
    pub fn new(source: ([u8; 4], u16), destination: ([u8; 4], u16), flags: u8) -> Self {
        Self {
            macs: [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]],
            source: source.0,
            destination: destination.0,
            ports: [source.1, destination.1],
            flags,
            ttl: 64,
            options: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// The key that the engine finds it under.
    #[must_use]
    pub fn tuple(&self) -> Tuple4 {
        Tuple4 {
            source: self.source,
            destination: self.destination,
            source_port: self.ports[0],
            destination_port: self.ports[1],
            protocol: 6,
        }
    }

    /// The frame with correct checksums, or what is wrong with it.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let wrong = |error: &dyn core::fmt::Display| std::format!("{error}");
        let mut tcp = TcpHeader::new(self.ports[0], self.ports[1], 1, 1000);
        (tcp.fin, tcp.syn, tcp.rst, tcp.ack) = (
            self.flags & crate::tcp::flags::FIN != 0,
            self.flags & crate::tcp::flags::SYN != 0,
            self.flags & crate::tcp::flags::RST != 0,
            self.flags & crate::tcp::flags::ACK != 0,
        );
        let length = u16::try_from(tcp.header_len() + self.payload.len()).map_err(|e| wrong(&e))?;
        let mut ip =
            Ipv4Header::new(length, self.ttl, IpNumber::TCP, self.source, self.destination)
                .map_err(|e| wrong(&e))?;
        ip.options = Ipv4Options::try_from(self.options.as_slice()).map_err(|e| wrong(&e))?;
        ip.set_payload_len(length.into()).map_err(|e| wrong(&e))?;
        ip.identification = 0x1234;
        ip.header_checksum = ip.calc_header_checksum();
        tcp.checksum = tcp.calc_checksum_ipv4(&ip, &self.payload).map_err(|e| wrong(&e))?;
        let ethernet = Ethernet2Header {
            source: self.macs[0],
            destination: self.macs[1],
            ether_type: etherparse::EtherType::IPV4,
        };
        let mut bytes = Vec::new();
        bytes.extend(ethernet.to_bytes());
        bytes.extend(ip.to_bytes());
        bytes.extend(tcp.to_bytes());
        bytes.extend(&self.payload);
        Ok(bytes)
    }

    /// Reads a frame and checks all its checksums.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let wrong = |error: &dyn core::fmt::Display| std::format!("{error}");
        let packet = SlicedPacket::from_ethernet(bytes).map_err(|e| wrong(&e))?;
        let Some(etherparse::LinkSlice::Ethernet2(ethernet)) = packet.link else {
            return Err("no Ethernet header".into());
        };
        let Some(etherparse::NetSlice::Ipv4(net)) = packet.net else {
            return Err("no IPv4 header".into());
        };
        let Some(etherparse::TransportSlice::Tcp(segment)) = packet.transport else {
            return Err("no TCP header".into());
        };
        let (ip, tcp) = (net.header().to_header(), segment.to_header());
        if ip.header_checksum != ip.calc_header_checksum() {
            return Err(std::format!("wrong IPv4 checksum {:#06x}", ip.header_checksum));
        }
        let expected = tcp.calc_checksum_ipv4(&ip, segment.payload()).map_err(|e| wrong(&e))?;
        if tcp.checksum != expected {
            return Err(std::format!("TCP checksum {:#06x}, not {expected:#06x}", tcp.checksum));
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        Ok(Self {
            macs: [ethernet.source(), ethernet.destination()],
            source: ip.source,
            destination: ip.destination,
            ports: [tcp.source_port, tcp.destination_port],
            flags: flag(tcp.fin, crate::tcp::flags::FIN)
                | flag(tcp.syn, crate::tcp::flags::SYN)
                | flag(tcp.rst, crate::tcp::flags::RST)
                | flag(tcp.ack, crate::tcp::flags::ACK),
            ttl: ip.time_to_live,
            options: ip.options.as_slice().to_vec(),
            payload: segment.payload().to_vec(),
        })
    }
}
