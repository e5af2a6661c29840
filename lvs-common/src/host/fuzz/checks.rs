//! What must hold after each step.
#![expect(clippy::panic, reason = "this is how a fuzzer is told")]

use std::{collections::HashMap, format, string::String};

use crate::{
    abi::{Counter, Load, NO_SLOT, V4, V6, flow_flags},
    connection,
    env::Tables,
    host::{Frame, MemoryEnv, Protocol, sample::Sample},
    pipeline::Verdict,
    tcp,
};

/// The numbers of connections are those in the tables.
pub(super) fn loads(env: &MemoryEnv) {
    let mut expected: HashMap<u32, (u32, u32)> = HashMap::new();
    count::<V4>(env, &mut expected);
    count::<V6>(env, &mut expected);
    for (server, Load { active, inactive, .. }) in env.loads.borrow().iter() {
        let expected = expected.remove(server).unwrap_or_default();
        assert_eq!((*active, *inactive), expected, "active and inactive of server {server}");
    }
    assert!(expected.is_empty(), "uncounted connections: {expected:?}");
}

fn count<A: Sample>(env: &MemoryEnv, loads: &mut HashMap<u32, (u32, u32)>) {
    for flow in A::tables(env).entries().values().filter(|flow| flow.to_server()) {
        let (active, inactive) = loads.entry(flow.server).or_default();
        if tcp::is_active(flow.head.state) { *active += 1 } else { *inactive += 1 }
    }
}

/// Entries come in pairs, and half-open connections have their slots.
pub(super) fn tables<A: Sample>(env: &MemoryEnv) {
    let family = A::tables(env);
    let entries = family.entries();
    for (key, flow) in &entries {
        assert_ne!(flow.head.state, connection::ENDED, "{key:?}");
        let reverse = flow.reverse_key(key.protocol);
        let other = entries.get(&reverse);
        if flow.head.flags & flow_flags::ONE_PACKET != 0 {
            assert!(!flow.to_server() && other.is_none_or(|other| other.server != flow.server));
            continue;
        }
        let Some(other) = other else { panic!("half a connection: {key:?} {flow:?}") };
        assert_eq!(other.reverse_key(key.protocol), *key, "entries of two connections");
        assert_ne!(flow.to_server(), other.to_server(), "{key:?}");
        let same = (flow.head.state, flow.limits.timeout(), flow.server, flow.head.flags);
        let copy = (other.head.state, other.limits.timeout(), other.server, other.head.flags);
        assert_eq!(same, copy, "{key:?}");
        if flow.limits.half_open() != NO_SLOT {
            assert!(flow.to_server() && tcp::is_half_open(flow.head.state), "{key:?} {flow:?}");
            assert_eq!(
                Tables::<A>::half_open(env, flow.limits.half_open()),
                Some(*key),
                "{flow:?}"
            );
        }
    }
    for (slot, key) in family.half_open.borrow().iter().filter(|(_, key)| key.protocol != 0) {
        let holder = entries.get(key).map(|flow| flow.limits.half_open());
        assert_eq!(holder, Some(*slot), "the slot of {key:?}");
    }
}

/// What was before a packet.
pub(super) struct Before {
    errors: u64,
    handed: u64,
}

impl Before {
    pub(super) fn of(env: &MemoryEnv) -> Self {
        Self {
            errors: env.counted(Counter::ErrorSent),
            handed: env.counted(Counter::HandedToStack),
        }
    }

    /// Looks at the verdict and at the packet.
    pub(super) fn check(self, env: &MemoryEnv, verdict: Verdict, sent: &[u8], left: &[u8]) {
        assert_eq!(env.counted(Counter::Internal), 0);
        let handed = env.counted(Counter::HandedToStack) - self.handed;
        let error = env.counted(Counter::ErrorSent) - self.errors;
        assert_eq!(handed, u64::from(verdict == Verdict::Pass(Counter::HandedToStack)));
        match verdict {
            Verdict::Next(stage) => panic!("unfinished: {stage:?}"),
            Verdict::Drop(_) => assert_eq!(error, 0),
            Verdict::Pass(Counter::HandedToStack) => rewritten_or_fail(sent, left, 0),
            Verdict::Pass(counter) => assert_eq!(sent, left, "{counter:?}"),
            Verdict::Redirect(interface) if error == 1 => {
                assert_eq!(interface, env.ingress.get());
                answered(sent, left);
            }
            Verdict::Redirect(interface) => {
                assert!(env.interfaces.contains_key(&interface), "{interface}");
                rewritten_or_fail(sent, left, 1);
            }
        }
    }
}

fn rewritten_or_fail(sent: &[u8], left: &[u8], hops: u8) {
    assert_eq!(sent.len(), left.len());
    let result = rewritten::<V4>(sent, left, hops).and_then(|()| rewritten::<V6>(sent, left, hops));
    if let Err(error) = result {
        panic!("{error}: {sent:02x?} {left:02x?}");
    }
}

/// A frame that was right is right after it was rewritten, and is the same but for addresses and ports.
fn rewritten<A: Sample>(sent: &[u8], left: &[u8], hops: u8) -> Result<(), String> {
    if let Ok(before) = Frame::<A>::read(sent) {
        let after = Frame::<A>::read(left)?;
        let icmp = matches!(before.protocol, Protocol::Icmp { .. });
        let same = Frame {
            macs: after.macs,
            source: after.source,
            destination: after.destination,
            ports: after.ports,
            ttl: before.ttl - hops,
            payload: if icmp { after.payload.clone() } else { before.payload.clone() },
            ..before.clone()
        };
        if after != same {
            return Err(format!("{before:?} became {after:?}"));
        }
        if icmp && before.quoted().is_ok() {
            after.quoted()?;
        }
    } else if Frame::<A>::read_fragment(sent).is_ok() {
        Frame::<A>::read_fragment(left)?;
    }
    Ok(())
}

/// An ICMP error can be read, and quotes what was sent.
fn answered(sent: &[u8], left: &[u8]) {
    let result = quotes::<V4>(sent, left).or_else(|_| quotes::<V6>(sent, left));
    if let Err(error) = result {
        panic!("{error}: {sent:02x?} {left:02x?}");
    }
}

fn quotes<A: Sample>(sent: &[u8], left: &[u8]) -> Result<(), String> {
    let error = Frame::<A>::read(left)?;
    if !matches!(error.protocol, Protocol::Icmp { .. }) {
        return Err("no ICMP message".into());
    }
    if let Ok(before) = Frame::<A>::read(sent) {
        let quoted = error.quoted()?;
        if (quoted.from(), quoted.to()) != (before.from(), before.to()) {
            return Err(format!("{quoted:?} is not {before:?}"));
        }
        if error.destination != before.source || error.tags != before.tags {
            return Err(format!("{error:?} does not go back"));
        }
    }
    Ok(())
}
