//! The controller proper: what the configuration means for the maps, and what has to be done again and again
//! while packets flow.

mod advice;
mod alarms;
pub(crate) mod answers;
pub(crate) mod capabilities;
pub mod client;
pub mod desired;
pub mod edit;
mod expiry;
pub(crate) mod found;
mod interfaces;
mod last_run;
pub mod ledger;
mod lists;
mod memory;
mod neighbours;
mod orders;
mod place;
pub mod protocol;
mod read;
mod reload;
mod room;
mod run;
mod runtime;
mod said;
mod socket;
mod status;
pub mod steps;
mod stop;
pub mod tables;
mod told;
mod vips;
mod watchdog;
pub mod write;

pub(crate) use place::Place;
pub(crate) use run::{Options, run};
pub(crate) use stop::{Reloaded, reload, stop};
pub(crate) use told::Told;
