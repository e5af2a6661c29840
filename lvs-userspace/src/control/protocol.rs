//! Requests on the control socket and their answers: one JSON object in a line each (docs/control.md).

use serde::{Deserialize, Serialize};

use super::edit::{Edit, Refusal, ServerName, ServerSpec, ServiceSpec};
use crate::{exit::Failure, inspect::ServiceName};

/// The longest line of a request, in bytes.
pub const LONGEST_REQUEST: usize = 1 << 20;

/// The socket's name in the runtime directory.
pub const SOCKET: &str = "control.sock";

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "request",
    rename_all = "kebab-case",
    try_from = "serde_json::Map<String, serde_json::Value>"
)]
pub enum Request {
    /// How the controller is.
    Status,
    /// The desired state.
    List,
    /// Edits, applied together; those that are refused leave the others alone.
    Edit {
        /// In this order.
        edits: Vec<Edit>,
    },
    /// The file is read again, as with SIGHUP.
    Reload {
        /// Edits that were made at runtime count no more.
        #[serde(default)]
        discard_edits: bool,
    },
    /// The controller ends, as with SIGTERM.
    Stop,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::List`].
    List(Vec<Listed>),
    /// To [`Request::Edit`]: one for each edit.
    Edited(Vec<Edited>),
    /// To the others: done, with a line about it.
    Done(String),
    /// It was not done.
    Error(Problem),
}

/// How the controller is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Of the maps.
    pub abi: u32,
    /// Its process.
    pub process: u32,
    /// The configuration file.
    pub config: String,
    /// When it was last read with success, in seconds since 1970.
    pub since: u64,
    /// Whether the last reload has failed, so that the configuration in use is an older one: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// The attached interfaces.
    pub interfaces: Vec<String>,
    /// Virtual services, edits included.
    pub services: usize,
    /// Their real servers.
    pub servers: usize,
    /// Things that were edited beside the file.
    pub edits: usize,
}

/// A virtual service of the desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Which one.
    pub service: ServiceName,
    /// `NAT` or `FNAT`.
    pub forwarding: String,
    /// Whether something about it was edited.
    pub edited: bool,
    /// What it is like.
    #[serde(flatten)]
    pub spec: ServiceSpec,
    /// Its real servers, the oldest first.
    pub servers: Vec<ListedServer>,
}

/// A real server of the desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedServer {
    /// Where it is.
    #[serde(flatten)]
    pub server: ServerName,
    /// What it is like.
    #[serde(flatten)]
    pub spec: ServerSpec,
}

/// What became of an edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edited {
    /// It counts.
    Done,
    /// It was refused.
    Error(Problem),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Problem {
    /// With these words.
    pub(super) fn new(code: &str, message: &(impl ToString + ?Sized)) -> Self {
        Self { code: code.to_owned(), message: message.to_string() }
    }

    /// It was allowed, but could not be done.
    pub(super) fn failed(failure: &Failure) -> Self {
        Self::new("failed", &format!("{:#}", failure.error))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), &refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What docs/control.md promises.
    #[test]
    fn requests_are_read_as_documented() {
        for (text, expected) in [
            (r#"{"request":"status"}"#, Request::Status),
            (
                r#"{"request":"edit","edits":[{"edit":"add-service","service":{"protocol":"TCP","address":"10.0.0.1","port":80},"scheduler":"rr"}]}"#,
                Request::Edit {
                    edits: vec![Edit::AddService {
                        service: serde_json::from_str(
                            r#"{"protocol":"TCP","address":"10.0.0.1","port":80}"#,
                        )
                        .unwrap(),
                        spec: ServiceSpec {
                            scheduler: "rr".to_owned(),
                            fallback: false,
                            source_port: false,
                            flag_3: false,
                            one_packet: false,
                            persistence: None,
                        },
                    }],
                },
            ),
            (
                r#"{"request":"edit","edits":[{"edit":"add-server","service":{"mark":7,"family":"IPv4"},"address":"192.168.1.1","port":0,"weight":3}]}"#,
                Request::Edit {
                    edits: vec![Edit::AddServer {
                        service: ServiceName::Mark { mark: 7, family: crate::config::Family::Ipv4 },
                        server: ServerName { address: "192.168.1.1".parse().unwrap(), port: 0 },
                        spec: ServerSpec { weight: 3, upper_threshold: 0, lower_threshold: 0 },
                    }],
                },
            ),
            (
                r#"{"request":"edit","edits":[{"edit":"zero"},{"edit":"clear"},{"edit":"set-timeouts","udp":5}]}"#,
                Request::Edit {
                    edits: vec![
                        Edit::Zero { service: None },
                        Edit::Clear,
                        Edit::SetTimeouts { tcp: 0, tcp_fin: 0, udp: 5 },
                    ],
                },
            ),
        ] {
            let request: Request = serde_json::from_str(text).unwrap();
            assert_eq!(request, expected);
            let again: Request =
                serde_json::from_str(&serde_json::to_string(&request).unwrap()).unwrap();
            assert_eq!(again, request);
        }
        assert!(serde_json::from_str::<Request>(r#"{"request":"dance"}"#).is_err());
        let error = Answer::Error(Refusal::NoService.into());
        assert_eq!(
            serde_json::to_string(&error).unwrap(),
            r#"{"error":{"code":"no-service","message":"there is no such service"}}"#
        );
    }
}
