//! Persistence: a client's connections stay with one server for the service's persistence time-out,
//! which each new connection starts anew (`ip_vs_sched_persist` in `ip_vs_core.c`).
//!
//! First form: the template ends with its time, whether or not connections of the client go on. IPVS
//! keeps it while such connections exist.

use crate::{
    abi::{Counter, Server, Service, Template, TemplateKey, server_flags},
    env::{Env, InsertError, Tables},
    ip::Ip,
    scheduler,
};

/// The server for a new connection of `client`: the template's while it is valid, else one that the
/// scheduler chooses and a new template remembers. A template's server keeps its clients at weight 0.
#[inline(always)]
pub fn choose<A: Ip, E: Env + Tables<A>>(
    env: &E,
    service: &Service,
    client: A,
    now: u64,
) -> Result<(u32, Server), Counter> {
    let key = TemplateKey { client, service: service.id };
    let expires = now + u64::from(service.persistence) * 1_000_000_000;
    let found = env.template(&key);
    if let Some(template) = found
        && let Some(server) = valid(env, service, &template, now)
    {
        extend(env, &key, template.server, expires)?;
        return Ok((template.server, server));
    }
    let (id, server) = scheduler::choose(env, service).ok_or(Counter::NoServer)?;
    let template = Template { expires, server: id, reserved: 0 };
    if found.is_some() {
        env.replace_template(&key, &template).map_err(|_| Counter::TableFull)?;
        return Ok((id, server));
    }
    match env.insert_template(&key, &template) {
        Ok(()) => Ok((id, server)),
        Err(InsertError::Full) => Err(Counter::TableFull),
        // Another CPU was faster with this client's other connection: both go where that one went.
        Err(InsertError::Exists) => {
            let template = env.template(&key).ok_or(Counter::NoServer)?;
            let server = env.server(template.server).ok_or(Counter::NoServer)?;
            Ok((template.server, server))
        }
    }
}

/// The template's server, if its time has not ended and the server still belongs to the service.
#[inline(always)]
fn valid<E: Env>(env: &E, service: &Service, template: &Template, now: u64) -> Option<Server> {
    if now > template.expires {
        return None;
    }
    let server = env.server(template.server)?;
    (server.flags & server_flags::AVAILABLE != 0 && server.service == service.id).then_some(server)
}

#[inline(always)]
fn extend<A: Ip, E: Tables<A>>(
    env: &E,
    key: &TemplateKey<A>,
    server: u32,
    expires: u64,
) -> Result<(), Counter> {
    let template = Template { expires, server, reserved: 0 };
    env.replace_template(key, &template).map_err(|_| Counter::TableFull)
}
