//! Persistence: a client's connections stay with one server for the service's persistence time-out,
//! which each new connection starts anew (`ip_vs_sched_persist` in `ip_vs_core.c`).
//!
//! A template whose time ends while connections refer to it goes on for a minute at a time, and from then on a new
//! connection prolongs it by a minute only (`ip_vs_conn_expire` in `ip_vs_conn.c`). IPVS has a timer for that; here it is
//! worked out when somebody looks, or when a connection leaves: the ends of the minutes are the same.

use crate::{
    abi::{Counter, Service, Template, TemplateKey, server_flags, settings_flags},
    env::{Env, InsertError, Tables, TemplateHandle},
    ip::Ip,
    scheduler::{self, NOBODY, Request},
};

const SECOND: u64 = 1_000_000_000;

/// How much longer a template lives whose time has ended while connections refer to it, in seconds.
const GRACE: u32 = 60;

/// Who gets a connection.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The server's id.
    pub id: u32,
    /// The last bits of the [`Template::generation`] of the template that says so.
    pub template: u8,
}

/// The server for a new connection: the template's while it is valid, else one that the
/// scheduler chooses and a new template remembers. A template's server keeps its clients at weight 0, and when it is
/// overloaded.
#[inline(always)]
pub fn choose<A: Ip, E: Env + Tables<A>>(
    env: &E,
    service: &Service,
    request: &Request<A>,
    now: u64,
) -> Result<Choice, Counter> {
    let client = request.source.masked(service.granularity);
    let key = TemplateKey { client, service: service.id };
    let found = env.template(&key);
    if let Some(handle) = &found
        && let Some(choice) = valid::<A, E>(env, service, handle, now)
    {
        return Ok(choice);
    }
    let id = scheduler::choose(env, service, request);
    if id == NOBODY {
        return Err(Counter::NoServer);
    }
    let template = Template {
        expires: now + u64::from(service.persistence) * SECOND,
        connections: 0,
        timeout: service.persistence,
        server: id,
        // Another one than its predecessor's, whose connections may still be there.
        generation: match &found {
            Some(predecessor) => predecessor.load().generation.wrapping_add(1),
            None => env.random(),
        },
    };
    let choice = Choice { id, template: template.generation as u8 };
    if found.is_some() {
        env.replace_template(&key, &template).map_err(|_| Counter::TableFull)?;
        return Ok(choice);
    }
    match env.insert_template(&key, &template) {
        Ok(()) => Ok(choice),
        Err(InsertError::Full) => Err(Counter::TableFull),
        // Another CPU was faster with this client's other connection: both go where that one went.
        Err(InsertError::Exists) => {
            let template = env.template(&key).ok_or(Counter::NoServer)?.load();
            Ok(Choice { id: template.server, template: template.generation as u8 })
        }
    }
}

/// What the template says, if its time has not ended and the server still belongs to the service (`ip_vs_check_template`
/// in `ip_vs_conn.c`). Prolongs it.
#[inline(always)]
fn valid<A: Ip, E: Env + Tables<A>>(
    env: &E,
    service: &Service,
    handle: &<E as Tables<A>>::Template,
    now: u64,
) -> Option<Choice> {
    let template = handle.load();
    let over = now > template.expires;
    if over && template.connections == 0 {
        return None;
    }
    let server = env.server(template.server)?;
    if server.flags & server_flags::AVAILABLE == 0 || server.service != service.id {
        return None;
    }
    if server.weight == 0 && env.settings_flags() & settings_flags::EXPIRE_QUIESCENT != 0 {
        return None;
    }
    let timeout = if over { GRACE } else { template.timeout };
    handle.prolong(now + u64::from(timeout) * SECOND, timeout);
    Some(Choice { id: template.server, template: template.generation as u8 })
}

/// A new connection refers to its template.
#[inline(always)]
pub fn enter<A: Ip, E: Env + Tables<A>>(env: &E, client: A, server: u32, generation: u8) {
    if let Some(handle) = template(env, client, server, generation) {
        handle.add_connection();
    }
}

/// A connection that ended at `ended` (ns) no longer refers to its template.
#[inline(always)]
pub fn leave<A: Ip, E: Env + Tables<A>>(
    env: &E,
    client: A,
    server: u32,
    generation: u8,
    ended: u64,
) {
    let Some(handle) = template(env, client, server, generation) else { return };
    let template = handle.load();
    if template.expires < ended {
        let grace = u64::from(GRACE) * SECOND;
        let minutes = (ended - template.expires).div_ceil(grace);
        handle.prolong(template.expires + minutes * grace, GRACE);
    }
    handle.remove_connection();
}

/// The template of a connection, unless another one is there by now.
#[inline(always)]
fn template<A: Ip, E: Env + Tables<A>>(
    env: &E,
    client: A,
    server: u32,
    generation: u8,
) -> Option<<E as Tables<A>>::Template> {
    let of = env.server(server)?;
    let key = TemplateKey { client: client.masked(of.granularity), service: of.service };
    let handle = env.template(&key)?;
    let template = handle.load();
    (template.server == server && template.generation as u8 == generation).then_some(handle)
}

/// For how many ns more a template lives: until its time is over, and then a minute at a time while connections refer to it,
/// as the timer in IPVS does that finds them.
#[must_use]
pub const fn left(template: &Template, now: u64) -> u64 {
    let grace = GRACE as u64 * SECOND;
    match now.checked_sub(template.expires) {
        None => template.expires - now,
        Some(over) => grace - over % grace,
    }
}

/// Whether a template has ended: what the controller collects.
#[inline(always)]
#[must_use]
pub const fn ended(template: &Template, now: u64) -> bool {
    now > template.expires && template.connections == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_is_held_is_looked_at_each_minute() {
        let template = Template {
            expires: 100 * SECOND,
            connections: 1,
            timeout: 30,
            server: 0,
            generation: 0,
        };
        for (now, seconds) in
            [(70, 30), (99, 1), (100, 60), (101, 59), (159, 1), (160, 60), (230, 50)]
        {
            assert_eq!(left(&template, now * SECOND), seconds * SECOND, "at {now} s");
        }
    }
}
