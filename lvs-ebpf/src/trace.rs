//! Telling single decisions, for `xlvs run --trace`. All of it hangs on a constant that the controller sets before it
//! loads the programs; without tracing the verifier removes it.

use aya_ebpf::Global;
use lvs_common::{
    abi::{Address, Tuple},
    env::Decision,
};

use crate::{
    log::info,
    maps::{NOTES, Trace},
};

/// Whether to trace at all.
#[unsafe(no_mangle)]
static TRACE: Global<u8> = Global::new(0);

/// Only this client: its address as on the wire, IPv4 in the first four bytes; zeros for all.
#[unsafe(no_mangle)]
static TRACE_CLIENT: Global<[u64; 2]> = Global::new([0; 2]);

/// Only services under this address, in the same way.
#[unsafe(no_mangle)]
static TRACE_ADDRESS: Global<[u64; 2]> = Global::new([0; 2]);

/// Only services under this port, host order; 0 for all.
#[unsafe(no_mangle)]
static TRACE_PORT: Global<u16> = Global::new(0);

const OPENED: u32 = 1;
const STATE: u32 = 2;
const STOPPED: u32 = 3;

/// Writes down what was decided on the packet or connection `tuple`, which goes from the client to the service.
#[inline(always)]
pub(crate) fn note<A: Address>(tuple: &Tuple<A>, decision: Decision<A>) {
    if TRACE.load() == 0
        || !fits(TRACE_CLIENT.load(), tuple.source)
        || !fits(TRACE_ADDRESS.load(), tuple.destination)
        || (TRACE_PORT.load() != 0 && TRACE_PORT.load() != tuple.destination_port)
    {
        return;
    }
    let Some(notes) = NOTES.get_ptr_mut(0) else { return };
    // SAFETY: valid and aligned; the element is this CPU's own.
    let trace = unsafe { &mut (*notes).trace };
    let [client, service, seen, by] = &mut trace.addresses;
    let [client_port, service_port, seen_port, by_port] = &mut trace.ports;
    (*client, *service) = (tuple.source.widen(), tuple.destination.widen());
    (*client_port, *service_port) = (tuple.source_port, tuple.destination_port);
    (trace.kind, trace.number) = match decision {
        Decision::Opened { server, reply } => {
            (*seen, *by) = (reply.destination.widen(), reply.source.widen());
            (*seen_port, *by_port) = (reply.destination_port, reply.source_port);
            (OPENED, server)
        }
        Decision::State(state) => (STATE, state.into()),
        Decision::Stopped(counter) => (STOPPED, counter as u32),
    };
    trace.version = A::VERSION.into();
}

/// Whether an address is the wanted one, or any is wanted.
#[inline(always)]
fn fits<A: Address>(wanted: [u64; 2], address: A) -> bool {
    let [first, second] = wanted;
    let [a, b]: [u64; 2] = zerocopy::transmute!(address.widen());
    first | second == 0 || (first == a && second == b)
}

/// Whether there is something to tell before a program returns `action`, which redirects to `interface` unless that is
/// 0. The program must then go on to the one in [`TRACE_SLOT`](crate::maps::TRACE_SLOT).
#[inline(always)]
pub(crate) fn is_due(action: i32, interface: u32) -> bool {
    if TRACE.load() == 0 {
        return false;
    }
    let Some(notes) = NOTES.get_ptr_mut(0) else { return false };
    // SAFETY: as above.
    let trace = unsafe { &mut (*notes).trace };
    (trace.action, trace.interface) = (action, interface);
    trace.kind != 0
}

/// Tells what was written down; gives the action and the interface that the traced program had in mind.
#[inline(always)]
pub(crate) fn tell() -> Option<(i32, u32)> {
    let notes = NOTES.get_ptr_mut(0)?;
    // SAFETY: as above.
    let trace = unsafe { &mut (*notes).trace };
    let Trace { kind, number, addresses, ports, version, action, interface, reserved: _ } = trace;
    let [client, service, seen, by] = addresses;
    let [client_port, service_port, seen_port, by_port] = *ports;
    if *version == 6 {
        match *kind {
            OPENED => info!(
                (),
                "trace [{:i}]:{} to [{:i}]:{}: opened, seen as [{:i}]:{} by server {} [{:i}]:{}",
                *client,
                client_port,
                *service,
                service_port,
                *seen,
                seen_port,
                *number,
                *by,
                by_port
            ),
            STATE => info!(
                (),
                "trace [{:i}]:{} to [{:i}]:{}: state {}",
                *client,
                client_port,
                *service,
                service_port,
                *number
            ),
            _ => info!(
                (),
                "trace [{:i}]:{} to [{:i}]:{}: stopped, reason {}",
                *client,
                client_port,
                *service,
                service_port,
                *number
            ),
        }
    } else {
        match *kind {
            OPENED => info!(
                (),
                "trace {:i}:{} to {:i}:{}: opened, seen as {:i}:{} by server {} {:i}:{}",
                four(*client),
                client_port,
                four(*service),
                service_port,
                four(*seen),
                seen_port,
                *number,
                four(*by),
                by_port
            ),
            STATE => info!(
                (),
                "trace {:i}:{} to {:i}:{}: state {}",
                four(*client),
                client_port,
                four(*service),
                service_port,
                *number
            ),
            _ => info!(
                (),
                "trace {:i}:{} to {:i}:{}: stopped, reason {}",
                four(*client),
                client_port,
                four(*service),
                service_port,
                *number
            ),
        }
    }
    *kind = 0;
    Some((*action, *interface))
}

#[inline(always)]
fn four(wide: [u8; 16]) -> [u8; 4] {
    let [first, ..]: [u32; 4] = zerocopy::transmute!(wide);
    first.to_ne_bytes()
}
