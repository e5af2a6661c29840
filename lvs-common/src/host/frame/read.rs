//! From bytes to [`Frame`], with all checksums checked.

use std::{format, string::String, vec::Vec};

use etherparse::{
    EtherType, Icmpv4Header, Icmpv4Slice, Icmpv4Type, Icmpv6Slice, IpNumber, Ipv6ExtensionSlice,
    LaxIpPayloadSlice, LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpSlice,
    UdpHeader, UdpSlice,
};

use super::{Extension, Frame, Pair, Protocol, Tag, said};
use crate::{abi::Address, tcp::flags};

/// What of a packet is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Whole,
    /// Its beginning, at least eight bytes of the transport header: what an ICMP error quotes.
    Beginning,
}

/// What the header says of a part of a packet.
#[derive(Clone, Copy, Debug)]
struct Part<'p> {
    number: IpNumber,
    offset: usize,
    more: bool,
    complete: bool,
    content: &'p [u8],
}

impl<A: Address> Frame<A> {
    /// Reads a frame and checks all its checksums.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let (mut frame, part) = Self::linked(bytes)?;
        if part.offset != 0 || part.more {
            return Err("a fragment".into());
        }
        frame.segment_of(part.number, part.content, Extent::Whole)?;
        Ok(frame)
    }

    /// Reads a fragment: its headers, and the ports where it is a first one. Its payload is all that it carries.
    pub fn read_fragment(bytes: &[u8]) -> Result<Self, String> {
        let (mut frame, part) = Self::linked(bytes)?;
        if part.offset == 0 {
            frame.segment_of(part.number, part.content, Extent::Beginning)?;
        }
        frame.payload = part.content.to_vec();
        Ok(frame)
    }

    /// Puts the fragments of one packet together, in any order, and reads it.
    pub fn join(fragments: &[Vec<u8>]) -> Result<Self, String> {
        let mut parts = fragments
            .iter()
            .map(|bytes| Self::linked(bytes))
            .collect::<Result<Vec<_>, String>>()?;
        parts.sort_by_key(|(_, part)| part.offset);
        let mut content = Vec::new();
        let mut whole: Option<(Self, IpNumber)> = None;
        let mut more = true;
        for (frame, part) in parts {
            if part.offset != content.len() || !more {
                return Err(format!("a fragment at {}, not {}", part.offset, content.len()));
            }
            more = part.more;
            content.extend(part.content);
            let (first, _) = whole.get_or_insert((frame.clone(), part.number));
            if *first != frame {
                return Err(format!("fragments of two packets: {first:?} and {frame:?}"));
            }
        }
        match whole {
            Some((mut frame, number)) if !more => {
                frame.segment_of(number, &content, Extent::Whole)?;
                Ok(frame)
            }
            _ => Err("the last fragment is missing".into()),
        }
    }

    /// The packet that an ICMP error quotes; its transport checksum is checked if all of it is there.
    pub fn quoted(&self) -> Result<Self, String> {
        let packet = LaxSlicedPacket::from_ip(&self.payload).map_err(said)?;
        let net = packet.net.as_ref().ok_or("no IP header")?;
        let (mut frame, part) = Self::network(net)?;
        let extent = if part.complete && !part.more { Extent::Whole } else { Extent::Beginning };
        frame.segment_of(part.number, part.content, extent)?;
        Ok(frame)
    }

    /// Reads everything up to the IP header, which must tell the length right.
    fn linked(bytes: &[u8]) -> Result<(Self, Part<'_>), String> {
        let packet = LaxSlicedPacket::from_ethernet(bytes).map_err(said)?;
        let Some(LinkSlice::Ethernet2(ethernet)) = packet.link else {
            return Err("no Ethernet header".into());
        };
        let net = packet.net.as_ref().ok_or("no IP header")?;
        let (mut frame, part) = Self::network(net)?;
        if !part.complete {
            return Err("shorter than the IP header says".into());
        }
        frame.macs = [ethernet.source(), ethernet.destination()];
        let mut kind: EtherType = ethernet.ether_type();
        for extension in &packet.link_exts {
            let LaxLinkExtSlice::Vlan(vlan) = extension else {
                return Err("MACsec".into());
            };
            let (priority, id) = (vlan.priority_code_point(), vlan.vlan_identifier());
            frame.tags.push(Tag { kind: kind.0, priority: priority.value(), id: id.value() });
            kind = vlan.ether_type();
        }
        Ok((frame, part))
    }

    /// Reads the IP header.
    fn network<'p>(net: &LaxNetSlice<'p>) -> Result<(Self, Part<'p>), String> {
        let blank = Self::new((A::UNSPECIFIED, 0), (A::UNSPECIFIED, 0), 0);
        let part = |payload: &LaxIpPayloadSlice<'p>, offset: u16, more| Part {
            number: payload.ip_number,
            offset: offset.into(),
            more,
            complete: !payload.incomplete,
            content: payload.payload,
        };
        match net {
            LaxNetSlice::Ipv4(net) if A::VERSION == 4 => {
                let ip = net.header().to_header();
                let expected = ip.calc_header_checksum();
                if ip.header_checksum != expected {
                    let found = ip.header_checksum;
                    return Err(format!("IPv4 checksum {found:#06x}, not {expected:#06x}"));
                }
                let frame = Self {
                    source: A::narrow(Address::widen(ip.source)),
                    destination: A::narrow(Address::widen(ip.destination)),
                    ttl: ip.time_to_live,
                    class: ip.dscp.value() << 2 | ip.ecn.value(),
                    dont_fragment: ip.dont_fragment,
                    identification: ip.identification.into(),
                    options: ip.options.as_slice().to_vec(),
                    ..blank
                };
                let offset = ip.fragment_offset.byte_offset();
                Ok((frame, part(net.payload(), offset, ip.more_fragments)))
            }
            LaxNetSlice::Ipv6(net) if A::VERSION == 6 => {
                let ip = net.header().to_header();
                let mut frame = Self {
                    source: A::narrow(ip.source),
                    destination: A::narrow(ip.destination),
                    ttl: ip.hop_limit,
                    class: ip.traffic_class,
                    ..blank
                };
                let (mut offset, mut more) = (0, false);
                for extension in net.extensions().clone() {
                    let (number, header) = match extension {
                        Ipv6ExtensionSlice::HopByHop(header) => {
                            (IpNumber::IPV6_HEADER_HOP_BY_HOP, header)
                        }
                        Ipv6ExtensionSlice::Routing(header) => {
                            (IpNumber::IPV6_ROUTE_HEADER, header)
                        }
                        Ipv6ExtensionSlice::DestinationOptions(header) => {
                            (IpNumber::IPV6_DESTINATION_OPTIONS, header)
                        }
                        Ipv6ExtensionSlice::Fragment(header) => {
                            offset = header.fragment_offset().byte_offset();
                            more = header.more_fragments();
                            frame.identification = header.identification();
                            continue;
                        }
                        Ipv6ExtensionSlice::Authentication(_) => {
                            return Err("an authentication header".into());
                        }
                    };
                    let content = header.payload().to_vec();
                    frame.extensions.push(Extension { number: number.0, content });
                }
                Ok((frame, part(net.payload(), offset, more)))
            }
            _ => Err(format!("not IPv{}", A::VERSION)),
        }
    }

    /// Reads what follows the IP header.
    fn segment_of(&mut self, number: IpNumber, bytes: &[u8], extent: Extent) -> Result<(), String> {
        match number {
            IpNumber::TCP => self.tcp_of(bytes, extent),
            IpNumber::UDP => self.udp_of(bytes, extent),
            IpNumber::ICMP | IpNumber::IPV6_ICMP => self.icmp_of(number, bytes),
            other => Err(format!("protocol {}", other.0)),
        }
    }

    fn tcp_of(&mut self, bytes: &[u8], extent: Extent) -> Result<(), String> {
        self.protocol = Protocol::Tcp;
        let tcp = match TcpSlice::from_slice(bytes) {
            Ok(tcp) => tcp,
            Err(error) if extent == Extent::Whole => return Err(said(error)),
            Err(_) => {
                // The ports are where those of UDP are.
                let (udp, _) = UdpHeader::from_slice(bytes).map_err(said)?;
                self.ports = [udp.source_port, udp.destination_port];
                return Ok(());
            }
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        self.ports = [tcp.source_port(), tcp.destination_port()];
        self.flags = flag(tcp.fin(), flags::FIN)
            | flag(tcp.syn(), flags::SYN)
            | flag(tcp.rst(), flags::RST)
            | flag(tcp.ack(), flags::ACK);
        self.payload = tcp.payload().to_vec();
        if extent == Extent::Whole {
            let expected = match Pair::of(self) {
                Pair::V4(source, destination) => tcp.calc_checksum_ipv4(source, destination),
                Pair::V6(source, destination) => tcp.calc_checksum_ipv6(source, destination),
            }
            .map_err(said)?;
            if tcp.checksum() != expected {
                return Err(format!("TCP checksum {:#06x}, not {expected:#06x}", tcp.checksum()));
            }
        }
        Ok(())
    }

    fn udp_of(&mut self, bytes: &[u8], extent: Extent) -> Result<(), String> {
        let slice = match extent {
            Extent::Whole => UdpSlice::from_slice(bytes),
            Extent::Beginning => UdpSlice::from_slice_lax(bytes),
        }
        .map_err(said)?;
        let udp = slice.to_header();
        self.ports = [udp.source_port, udp.destination_port];
        self.payload = slice.payload().to_vec();
        self.protocol = if udp.checksum == 0 { Protocol::UnsummedUdp } else { Protocol::Udp };
        if udp.checksum == 0 && A::VERSION == 4 || extent == Extent::Beginning {
            return Ok(());
        }
        let expected = match Pair::of(self) {
            Pair::V4(source, destination) => {
                udp.calc_checksum_ipv4_raw(source, destination, &self.payload)
            }
            Pair::V6(source, destination) => {
                udp.calc_checksum_ipv6_raw(source, destination, &self.payload)
            }
        }
        .map_err(said)?;
        if udp.checksum != expected {
            return Err(format!("UDP checksum {:#06x}, not {expected:#06x}", udp.checksum));
        }
        Ok(())
    }

    fn icmp_of(&mut self, number: IpNumber, bytes: &[u8]) -> Result<(), String> {
        let (kind, code, rest, valid) = match (Pair::of(self), number) {
            (Pair::V4(..), IpNumber::ICMP) => {
                let icmp = Icmpv4Slice::from_slice(bytes).map_err(said)?;
                let (type_u8, code_u8) = (icmp.type_u8(), icmp.code_u8());
                let bytes5to8 = icmp.bytes5to8();
                let kind = Icmpv4Type::Unknown { type_u8, code_u8, bytes5to8 };
                self.payload = icmp.payload().to_vec();
                let expected = Icmpv4Header::with_checksum(kind, &self.payload).checksum;
                (type_u8, code_u8, bytes5to8, expected == icmp.checksum())
            }
            (Pair::V6(source, destination), IpNumber::IPV6_ICMP) => {
                let icmp = Icmpv6Slice::from_slice(bytes).map_err(said)?;
                self.payload = icmp.payload().to_vec();
                let valid = icmp.is_checksum_valid(source, destination);
                (icmp.type_u8(), icmp.code_u8(), icmp.bytes5to8(), valid)
            }
            _ => return Err("the other family's ICMP".into()),
        };
        if !valid {
            return Err("wrong ICMP checksum".into());
        }
        self.protocol = Protocol::Icmp { kind, code, rest: u32::from_be_bytes(rest) };
        Ok(())
    }
}
