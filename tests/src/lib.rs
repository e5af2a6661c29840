//! The harness of lvs-ebpf's end-to-end tests and of its demo.
//!
//! Both need the same picture: a client, a balancer and real servers in network namespaces
//! ([`topology`]), with real HTTP on both ends ([`http`]) and `xlvs run` between them ([`xlvs`]).
//! All of it lives in namespaces of its own, so that two tests run side by side and none touches
//! the machine's own interfaces; what a killed run leaves behind, the next one sweeps ([`scratch`]).

pub mod bpftool;
pub mod command;
pub mod config;
pub mod counts;
pub mod echo;
pub mod family;
pub mod flood;
pub mod http;
pub mod iperf;
pub mod netns;
pub mod opener;
pub mod oracle;
pub mod pathmtu;
pub mod payload;
pub mod ping;
pub mod process;
pub mod scratch;
pub mod skip;
pub mod topology;
pub mod udp;
pub mod xlvs;
