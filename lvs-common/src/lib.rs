//! The engine of lvs-ebpf: everything that decides what happens to a packet.
//!
//! It does no I/O and knows neither maps nor kernel helpers. The code is generic over two small
//! traits: [`packet::Packet`], bounds-checked access to the bytes of a frame, and [`env::Env`], the
//! tables, the clock and the routes. The crate `lvs-ebpf` implements both on the kernel's helpers;
//! [`host`] implements them on memory, so that the same engine runs in unit tests, in property tests
//! and side by side with the kernel.
//!
//! Conventions: addresses are `[u8; 4]` or `[u8; 16]` as on the wire, and code for both families is generic over
//! the type ([`abi::Address`], [`ip::Ip`]); ports are `u16` in host order (which costs one
//! instruction each and makes `bpftool map dump` readable); checksums and their differences are
//! kept as they lie in memory, because a one's complement sum does not depend on the byte order
//! (RFC 1071); times are nanoseconds of the data path's clock unless a name says otherwise.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod checksum;
pub mod choose;
pub mod connect;
pub mod connection;
pub mod env;
pub mod fast;
pub mod fault;
pub mod filter;
pub mod follow;
pub mod forward;
pub mod fragment;
pub mod half_open;
#[cfg(feature = "host")]
pub mod host;
pub mod icmp;
pub mod ip;
pub mod open;
pub mod packet;
pub mod parse;
pub mod persistence;
pub mod pipeline;
pub mod plan;
pub mod recent;
pub mod scheduler;
pub mod snat;
pub mod tcp;
pub mod wire;

#[cfg(feature = "host")]
extern crate std;
