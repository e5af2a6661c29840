//! From [`Frame`] to bytes.

use std::{string::String, vec::Vec};

use etherparse::{
    EtherType, Ethernet2Header, Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpDscp, IpEcn,
    IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6FragmentHeader, Ipv6Header,
    Ipv6RawExtHeader, SingleVlanHeader, TcpHeader, UdpHeader, VlanId, VlanPcp,
};

use super::{Frame, Pair, Protocol, Tag, said};
use crate::{abi::Address, tcp::flags};

/// A part of a packet that has been cut.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Where it starts, in bytes.
    offset: usize,
    /// Whether it is not the last one.
    more: bool,
}

impl<A: Address> Frame<A> {
    /// The frame with correct checksums, or what is wrong with it.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let mut bytes = self.link()?;
        bytes.extend(self.packet()?);
        Ok(bytes)
    }

    /// The same without the Ethernet header: what an ICMP error quotes.
    pub fn packet(&self) -> Result<Vec<u8>, String> {
        let segment = self.segment()?;
        let mut packet = self.headers(None, segment.len())?;
        packet.extend(segment);
        Ok(packet)
    }

    /// The frame cut into fragments that carry `size` bytes each but for the last one; a multiple of eight.
    pub fn fragments(&self, size: usize) -> Result<Vec<Vec<u8>>, String> {
        let segment = self.segment()?;
        let mut offset = 0;
        let mut fragments = Vec::new();
        for part in segment.chunks(size) {
            let piece = Piece { offset, more: offset + part.len() < segment.len() };
            let mut bytes = self.link()?;
            bytes.extend(self.headers(Some(piece), part.len())?);
            bytes.extend(part);
            fragments.push(bytes);
            offset += part.len();
        }
        Ok(fragments)
    }

    /// The Ethernet header and its tags.
    fn link(&self) -> Result<Vec<u8>, String> {
        let [source, destination] = self.macs;
        let ip = if A::VERSION == 4 { EtherType::IPV4 } else { EtherType::IPV6 };
        let mut kinds = self.tags.iter().map(|tag| EtherType(tag.kind)).chain([ip]);
        let mut next = || kinds.next().unwrap_or(ip);
        let ethernet = Ethernet2Header { source, destination, ether_type: next() };
        let mut bytes = ethernet.to_bytes().to_vec();
        for &Tag { kind: _, priority, id } in &self.tags {
            let tag = SingleVlanHeader {
                pcp: VlanPcp::try_new(priority).map_err(said)?,
                drop_eligible_indicator: false,
                vlan_id: VlanId::try_new(id).map_err(said)?,
                ether_type: next(),
            };
            bytes.extend(tag.to_bytes());
        }
        Ok(bytes)
    }

    /// The IP header and what it has of extensions, in front of `length` bytes.
    fn headers(&self, piece: Option<Piece>, length: usize) -> Result<Vec<u8>, String> {
        let offset = |piece: Piece| {
            let units = u16::try_from(piece.offset / 8).map_err(said)?;
            IpFragOffset::try_new(units).map_err(said)
        };
        match Pair::of(self) {
            Pair::V4(source, destination) => {
                let mut ip =
                    Ipv4Header::new(0, self.ttl, self.number().into(), source, destination)
                        .map_err(said)?;
                ip.dscp = IpDscp::try_new(self.class >> 2).map_err(said)?;
                ip.ecn = IpEcn::try_new(self.class & 3).map_err(said)?;
                ip.options = Ipv4Options::try_from(self.options.as_slice()).map_err(said)?;
                ip.identification = u16::try_from(self.identification).map_err(said)?;
                ip.dont_fragment = self.dont_fragment;
                if let Some(piece) = piece {
                    (ip.fragment_offset, ip.more_fragments) = (offset(piece)?, piece.more);
                }
                ip.set_payload_len(length).map_err(said)?;
                ip.header_checksum = ip.calc_header_checksum();
                Ok(ip.to_bytes().to_vec())
            }
            Pair::V6(source, destination) => {
                let cut = piece.map(|_| IpNumber::IPV6_FRAGMENTATION_HEADER);
                let numbers = self.extensions.iter().map(|extension| IpNumber(extension.number));
                let last = IpNumber(self.number());
                let mut numbers = numbers.chain(cut).chain([last]);
                let mut next = || numbers.next().unwrap_or(last);
                let mut ip = Ipv6Header {
                    traffic_class: self.class,
                    next_header: next(),
                    hop_limit: self.ttl,
                    source,
                    destination,
                    ..Ipv6Header::default()
                };
                let mut rest = Vec::new();
                for extension in &self.extensions {
                    let header =
                        Ipv6RawExtHeader::new_raw(next(), &extension.content).map_err(said)?;
                    rest.extend(header.to_bytes());
                }
                if let Some(piece) = piece {
                    let (more, id) = (piece.more, self.identification);
                    let header = Ipv6FragmentHeader::new(next(), offset(piece)?, more, id);
                    rest.extend(header.to_bytes());
                }
                ip.set_payload_length(rest.len() + length).map_err(said)?;
                let mut bytes = ip.to_bytes().to_vec();
                bytes.extend(rest);
                Ok(bytes)
            }
        }
    }

    /// What follows the IP header.
    fn segment(&self) -> Result<Vec<u8>, String> {
        let mut bytes = match self.protocol {
            Protocol::Tcp => self.tcp()?,
            Protocol::Udp | Protocol::UnsummedUdp => self.udp_header()?,
            Protocol::Icmp { kind: type_u8, code: code_u8, rest } => {
                let bytes5to8 = rest.to_be_bytes();
                match Pair::of(self) {
                    Pair::V4(..) => {
                        let kind = Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8 };
                        Icmpv4Header::with_checksum(kind, &self.payload).to_bytes().to_vec()
                    }
                    Pair::V6(source, destination) => {
                        let kind = Icmpv6Type::Unknown { type_u8, code_u8, bytes5to8 };
                        Icmpv6Header::with_checksum(kind, source, destination, &self.payload)
                            .map_err(said)?
                            .to_bytes()
                            .to_vec()
                    }
                }
            }
        };
        bytes.extend(&self.payload);
        Ok(bytes)
    }

    fn tcp(&self) -> Result<Vec<u8>, String> {
        let [source, destination] = self.ports;
        let mut tcp = TcpHeader::new(source, destination, 1, 1000);
        (tcp.fin, tcp.syn, tcp.rst, tcp.ack) = (
            self.flags & flags::FIN != 0,
            self.flags & flags::SYN != 0,
            self.flags & flags::RST != 0,
            self.flags & flags::ACK != 0,
        );
        tcp.checksum = match Pair::of(self) {
            Pair::V4(source, destination) => {
                tcp.calc_checksum_ipv4_raw(source, destination, &self.payload)
            }
            Pair::V6(source, destination) => {
                tcp.calc_checksum_ipv6_raw(source, destination, &self.payload)
            }
        }
        .map_err(said)?;
        Ok(tcp.to_bytes().to_vec())
    }

    fn udp_header(&self) -> Result<Vec<u8>, String> {
        let [source_port, destination_port] = self.ports;
        let length = u16::try_from(UdpHeader::LEN + self.payload.len()).map_err(said)?;
        let mut udp = UdpHeader { source_port, destination_port, length, checksum: 0 };
        if self.protocol == Protocol::Udp {
            udp.checksum = match Pair::of(self) {
                Pair::V4(source, destination) => {
                    udp.calc_checksum_ipv4_raw(source, destination, &self.payload)
                }
                Pair::V6(source, destination) => {
                    udp.calc_checksum_ipv6_raw(source, destination, &self.payload)
                }
            }
            .map_err(said)?;
        }
        Ok(udp.to_bytes().to_vec())
    }
}
