//! What a restart knows: a controller writes down what its checks have found, and the next one goes on from there, as after
//! a reload. Only what is out of the ordinary is written: a server that is not mentioned is up, if the data plane has it.
//!
//! The maps alone would not do. A server that is not in them may be down, or held back for want of a quorum, or be new in
//! the file; and they know nothing of single checks, or of a quorum between its two bounds.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use super::{
    identity::{Endpoint, ServiceId},
    service::Service,
};
use crate::{
    config::{Check, Checker, Config, VirtualServer},
    inspect::ServiceName,
};

/// What is out of the ordinary, in a form that outlives the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Of services in which all is as it should be there is nothing.
    pub(crate) services: Vec<Remembered>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) service: Name,
    pub(crate) quorum: bool,
    pub(crate) sorry: Option<RememberedSorry>,
    /// Those of which there is something to say.
    pub(crate) servers: Vec<RememberedServer>,
    /// For who looks at it: the weight that is up, and the weight at which the quorum is gained.
    #[serde(default)]
    pub(crate) weight: i64,
    #[serde(default)]
    pub(crate) needed: i64,
    /// The services of a group, for the maps do not know which they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<ServiceName>,
}

/// What a service is called there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Name {
    Group { group: String, nth: usize },
    Single(ServiceName),
}

/// Its sorry server: whether it serves, and whether it is in the pool at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RememberedSorry {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) serves: bool,
    pub(crate) set: bool,
}

/// A real server: whether it is up and in the pool, what the file said of its weight, and what its checks have found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RememberedServer {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) up: bool,
    pub(crate) set: bool,
    pub(crate) weight: i64,
    /// Since when it has been down, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<u64>,
    pub(crate) checkers: Vec<RememberedChecker>,
}

/// A check, by its [`mark`]; it has been made, with which result, and what it adds to the weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RememberedChecker {
    pub(crate) check: String,
    pub(crate) made: bool,
    pub(crate) up: bool,
    pub(crate) added: i64,
    /// Why it is not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl RememberedServer {
    /// Why it is down: what each check that has failed says.
    pub(crate) fn why(&self) -> String {
        let failed = || self.checkers.iter().filter(|checker| !checker.up);
        let reasons: Vec<&str> = failed().filter_map(|checker| checker.reason.as_deref()).collect();
        if !reasons.is_empty() {
            reasons.join("; ")
        } else if failed().any(|checker| checker.made) {
            "a check has failed".to_owned()
        } else {
            "it was not checked yet (alpha)".to_owned()
        }
    }
}

/// What a check is known by after a restart: another one has another mark.
pub(crate) fn mark(check: &Check) -> String {
    // There is nothing in it that JSON could not say.
    let text = serde_json::to_vec(check).unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(Md5::digest(text).into()))
}

impl Name {
    pub(crate) fn of(id: &ServiceId) -> Self {
        match id {
            ServiceId::Single { target, family, protocol } => {
                Self::Single(ServiceName::new(*target, *protocol, *family))
            }
            ServiceId::Group { name, nth } => Self::Group { group: name.clone(), nth: *nth },
        }
    }
}

/// What is there already when a controller starts.
#[derive(Debug, Default)]
pub struct Past {
    /// What the one before has written down last.
    pub memory: Memory,
    /// The servers of each service in the data plane.
    pub serving: HashMap<ServiceName, HashSet<Endpoint>>,
}

impl Past {
    /// Gathers what is known of each service of a configuration.
    pub(super) fn of(&self, config: &Config) -> Known<'_> {
        let mut serving: HashMap<Name, Vec<&HashSet<Endpoint>>> = HashMap::new();
        if !self.serving.is_empty() {
            for (id, service) in ServiceId::of_all(config).iter().zip(&config.services) {
                let name = ServiceName::new(service.target, service.protocol, service.family);
                if let Some(servers) = self.serving.get(&name) {
                    serving.entry(Name::of(id)).or_default().push(servers);
                }
            }
        }
        let services = &self.memory.services;
        let memory = services.iter().map(|one| (one.service.clone(), one)).collect();
        Known { memory, serving }
    }
}

/// The same by service. The services of a group are one.
#[derive(Debug, Default)]
pub(super) struct Known<'p> {
    memory: HashMap<Name, &'p Remembered>,
    serving: HashMap<Name, Vec<&'p HashSet<Endpoint>>>,
}

impl Known<'_> {
    /// A service as it was, if it was there.
    pub(super) fn service(
        &self,
        id: &ServiceId,
        config: &VirtualServer,
        weight: impl Fn(&Checker) -> Option<i64>,
    ) -> Option<Service> {
        let name = Name::of(id);
        let (memory, serving) = (self.memory.get(&name).copied(), self.serving.get(&name));
        if memory.is_none() && serving.is_none() {
            return None;
        }
        let serves =
            |server| serving.is_some_and(|all| all.iter().any(|one| one.contains(&server)));
        Some(Service::recall(id.clone(), config, weight, memory, serves))
    }
}
