//! The packet walk in stages: this is the table of contents of the data path.
//!
//! ```text
//! fast ──► redirect                                            known connection, nothing to decide
//!   ├────► sort ────► as fast, fragment, icmp                  VLAN tags, options, all that is not plain
//!   ├────► follow ──► redirect, pass to the stack              state, next hop or end need a look
//!   ├────► open ► choose ► plan ► connect ► redirect, pass     no connection yet
//!   └────► pass                                                not ours
//!          fragment ► follow (first one), redirect, pass       fragments
//!          icmp ────► redirect, pass                           errors about connections
//! follow, open, choose, plan, connect ► fault ► the packet's sender gets an ICMP error
//! ```
//!
//! In the kernel each stage is a program and the arrows are tail calls: the fast path stays small, and the verifier
//! sees one stage at a time. On the host [`process`] goes through them.

use crate::{
    abi::{Counter, Fate, Stage, V4, V6},
    choose, connect,
    env::Env,
    fast, fault, follow, fragment, icmp, open,
    packet::Packet,
    plan,
};

/// What is to be done with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out of the interface with this index.
    Redirect(u32),
    /// To the stack of this host.
    Pass(Counter),
    /// Nowhere.
    Drop(Counter),
    /// To another stage.
    Next(Stage),
}

impl From<Counter> for Verdict {
    #[inline(always)]
    fn from(counter: Counter) -> Self {
        match counter.fate() {
            Fate::Passed => Self::Pass(counter),
            Fate::Dropped | Fate::Noted => Self::Drop(counter),
        }
    }
}

/// The first stage.
#[inline(always)]
pub fn enter<P: Packet, E: Env>(packet: &P, env: &E) -> Verdict {
    counted(env, fast::enter(packet, env))
}

/// One of the others.
#[inline(always)]
pub fn stage<P: Packet, E: Env>(stage: Stage, packet: &mut P, env: &E) -> Verdict {
    let verdict = match stage {
        Stage::Sort => fast::sort(packet, env),
        Stage::Follow4 => follow::follow::<P, V4, E>(packet, env),
        Stage::Follow6 => follow::follow::<P, V6, E>(packet, env),
        Stage::Open4 => open::open::<P, V4, E>(packet, env),
        Stage::Open6 => open::open::<P, V6, E>(packet, env),
        Stage::Choose4 => choose::choose::<V4, E>(env),
        Stage::Choose6 => choose::choose::<V6, E>(env),
        Stage::Plan4 => plan::plan::<P, V4, E>(packet, env),
        Stage::Plan6 => plan::plan::<P, V6, E>(packet, env),
        Stage::Connect4 => connect::connect::<P, V4, E>(packet, env),
        Stage::Connect6 => connect::connect::<P, V6, E>(packet, env),
        Stage::Icmp4 => icmp::translate::<P, V4, E>(packet, env),
        Stage::Icmp6 => icmp::translate::<P, V6, E>(packet, env),
        Stage::Fragment4 => fragment::fragment::<P, V4, E>(packet, env),
        Stage::Fragment6 => fragment::fragment::<P, V6, E>(packet, env),
        Stage::Fault4 => fault::send::<P, V4, E>(packet, env),
        Stage::Fault6 => fault::send::<P, V6, E>(packet, env),
    };
    counted(env, verdict)
}

#[inline(always)]
fn counted<E: Env>(env: &E, verdict: Verdict) -> Verdict {
    if let Verdict::Pass(counter) | Verdict::Drop(counter) = verdict {
        env.count(counter);
    }
    verdict
}

/// More stages than any walk has.
const LONGEST: usize = 8;

/// Processes one packet from the first stage to the last: changes its bytes and the tables, and says where it goes.
pub fn process<P: Packet, E: Env>(packet: &mut P, env: &E) -> Verdict {
    let mut verdict = enter(packet, env);
    for _ in 0..LONGEST {
        let Verdict::Next(next) = verdict else { return verdict };
        verdict = stage(next, packet, env);
    }
    env.count(Counter::Internal);
    Verdict::Drop(Counter::Internal)
}
