//! What the data plane holds, read from its pinned maps: virtual services and their servers, connections, persistence
//! templates, counters. Nothing is written and no controller is asked, so that it works while none runs. The maps are read
//! one after the other while packets go on: what a listing shows is near to each other, not of one moment.

mod connections;
mod name;
mod rates;
mod services;
mod statistics;

pub use connections::{Connection, Entry, Filter, Persistent, connections};
pub use name::{ServiceFilter, ServiceName};
pub use rates::rates;
pub use services::{ServerView, ServiceView, Services, persistence_mask};
pub use statistics::{Counts, counters};
