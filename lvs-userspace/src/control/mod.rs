//! The controller proper: what the configuration means for the maps, and what has to be done again and again
//! while packets flow.

mod advice;
mod alarms;
mod capabilities;
mod expiry;
mod interfaces;
mod lists;
mod neighbours;
mod run;
mod runtime;
pub mod tables;

pub(crate) use run::{Options, run};
