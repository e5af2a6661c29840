//! The controller proper: what the configuration means for the maps, and what has to be done again and again
//! while packets flow.

mod advice;
mod alarms;
mod capabilities;
mod expiry;
mod interfaces;
pub mod ledger;
mod lists;
mod neighbours;
mod reload;
mod room;
mod run;
mod runtime;
mod status;
pub mod steps;
mod stop;
pub mod tables;
pub mod write;

pub(crate) use run::{Options, run};
pub(crate) use stop::{Place, reload, stop};
