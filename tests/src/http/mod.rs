//! Real HTTP on both ends of the balancer: a server that tells who it is and whom it saw, and a
//! client that makes one connection for each request.

pub mod client;
pub mod load;
pub mod server;
pub mod tls;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What the server answers to `GET /`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answer {
    /// The name of the server that answered.
    pub server: String,
    /// The address that the request came from, as the server saw it.
    pub client: IpAddr,
    /// The port that the request came from, as the server saw it.
    pub port: u16,
}
