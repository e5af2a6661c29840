//! What real IPVS did, and whether `xlvs` does the same.
//!
//! `tests/oracle/scenarios.py` says what is done to which services, `tests/oracle/record.py` does it to real IPVS, and
//! `tests/oracle/recorded/*.json` are its answers ([`recording`]). [`compare`] does the same steps to anything that is a
//! [`Balancer`](compare::Balancer), and says where it first answers otherwise. For `xlvs` that takes a configuration
//! file ([`keepalived`]), sockets ([`ends`]) and a look into the maps ([`tables`]).

pub mod compare;
pub mod ends;
pub mod keepalived;
pub mod listings;
pub mod recording;
pub mod tables;
