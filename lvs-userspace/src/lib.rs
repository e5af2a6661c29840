//! The controller of lvs-ebpf. It reads a keepalived-style configuration, loads the BPF program, fills its
//! maps, attaches it, and collects what has expired. The command `xlvs` is a thin shell around it.

pub mod bpf;
pub mod cli;
mod clock;
pub mod config;
pub mod control;
mod doctor;
mod exit;
pub mod health;
pub mod inspect;
mod lock;
pub mod net;
mod process;
