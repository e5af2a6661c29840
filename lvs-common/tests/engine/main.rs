//! The whole walk on the host: what happens to a packet, to its bytes and to the tables.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what is missing fails the test"
)]
#![expect(clippy::needless_pass_by_value, reason = "each test gets a world of its own")]

mod connections;
mod corpus;
mod faults;
mod fragments;
mod full_nat;
mod half_open;
mod icmp;
mod links;
mod loads;
mod next_hops;
mod one_packet;
mod persistence;
mod random;
mod refusals;
mod schedulers;
mod states;
mod world;
