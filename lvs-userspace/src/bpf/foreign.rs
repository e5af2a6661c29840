//! Other instances of xlvs on our interfaces: two would take packets from each other, and each would answer for the
//! other's connections.

use std::collections::HashSet;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};
use tracing::debug;

use super::{
    Error, Pins,
    dataplane::{TC_PROGRAM, XDP_PROGRAM},
};
use crate::net::Interface;

/// Fails if a program of another xlvs is on an interface, in whatever mode: one with that name which no link in these
/// pins holds. Without `CAP_SYS_ADMIN` the kernel does not tell names; then only what is attached in the same way is found,
/// when attaching.
pub(crate) fn refuse_occupied(pins: &Pins, interfaces: &[Interface]) -> Result<(), Error> {
    let ours: HashSet<u32> = pins.attached()?.into_iter().map(|link| link.program).collect();
    let of_xlvs: HashSet<u32> = loaded_programs()
        .filter_map(Result::ok)
        .filter(|program| matches!(program.name_as_str(), Some(XDP_PROGRAM | TC_PROGRAM)))
        .map(|program| program.id())
        .collect();
    for interface in interfaces {
        let mut on_it = interface.xdp_programs.clone();
        match SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress) {
            Ok((_, programs)) => on_it.extend(programs.iter().map(ProgramInfo::id)),
            Err(error) => debug!("cannot ask for tcx programs on `{}`: {error}", interface.name),
        }
        let other = on_it.into_iter().find(|id| of_xlvs.contains(id) && !ours.contains(id));
        if let Some(program) = other {
            return Err(Error::Occupied { interface: interface.name.clone(), program });
        }
    }
    Ok(())
}
