//! Edits in the words of ipvsadm, for the log: what a person would have typed.

use std::fmt::{self, Formatter};

use super::{Edit, Mask, ServerSpec, ServiceSpec};
use crate::{
    config::{Family, Protocol},
    inspect::ServiceName,
};

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService { service, spec } => write!(f, "-A {}{spec}", Words(*service)),
            Self::EditService { service, spec } => write!(f, "-E {}{spec}", Words(*service)),
            Self::DeleteService { service } => write!(f, "-D {}", Words(*service)),
            Self::AddServer { service, server, spec } => {
                write!(f, "-a {} -r {server} -m{spec}", Words(*service))
            }
            Self::EditServer { service, server, spec } => {
                write!(f, "-e {} -r {server} -m{spec}", Words(*service))
            }
            Self::DeleteServer { service, server } => {
                write!(f, "-d {} -r {server}", Words(*service))
            }
            Self::Clear => f.write_str("-C"),
            Self::Zero { service: None } => f.write_str("-Z"),
            Self::Zero { service: Some(service) } => write!(f, "-Z {}", Words(*service)),
            Self::SetTimeouts { tcp, tcp_fin, udp } => write!(f, "--set {tcp} {tcp_fin} {udp}"),
        }
    }
}

/// A service as ipvsadm names it.
struct Words(ServiceName);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            ServiceName::Address { protocol, address, port } => {
                let option = match protocol {
                    Protocol::Tcp => "-t",
                    Protocol::Udp => "-u",
                    Protocol::Sctp => "--sctp-service",
                };
                write!(f, "{option} {}", std::net::SocketAddr::new(address, port))
            }
            ServiceName::Mark { mark, family: Family::Ipv4 } => write!(f, "-f {mark}"),
            ServiceName::Mark { mark, family: Family::Ipv6 } => write!(f, "-f {mark} -6"),
        }
    }
}

impl fmt::Display for ServiceSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // It may be one that there is not: what was refused is shown too.
        write!(f, " -s {:?}", Bare(&self.scheduler))?;
        if let Some(persistence) = self.persistence {
            write!(f, " -p {}", persistence.timeout)?;
            match persistence.granularity {
                Some(Mask::Mask(mask)) => write!(f, " -M {mask}")?,
                Some(Mask::Prefix(length)) => write!(f, " -M {length}")?,
                None => {}
            }
        }
        if self.one_packet {
            f.write_str(" -o")?;
        }
        let flags = [self.fallback, self.source_port, self.flag_3];
        let names = ["flag-1", "flag-2", "flag-3"].into_iter().zip(flags);
        let set: Vec<&str> = names.filter(|(_, set)| *set).map(|(name, _)| name).collect();
        if !set.is_empty() {
            write!(f, " -b {}", set.join(","))?;
        }
        Ok(())
    }
}

/// A word of somebody else's: on one line, and no longer than a scheduler's name can be.
struct Bare<'w>(&'w str);

impl fmt::Debug for Bare<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let word: String = self.0.chars().take(16).collect();
        write!(f, "{}", word.escape_debug())
    }
}

impl fmt::Display for ServerSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { weight, upper_threshold, lower_threshold } = self;
        write!(f, " -w {weight}")?;
        for (option, threshold) in [("-x", upper_threshold), ("-y", lower_threshold)] {
            if *threshold != 0 {
                write!(f, " {option} {threshold}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_told_as_they_would_be_typed() {
        let web = r#""service":{"protocol":"TCP","address":"192.0.2.1","port":80}"#;
        for (edit, expected) in [
            (
                format!(r#"{{"edit":"add-service",{web},"scheduler":"wlc"}}"#),
                "-A -t 192.0.2.1:80 -s wlc",
            ),
            (
                r#"{"edit":"edit-service","service":{"mark":7,"family":"IPv6"},"scheduler":"sh",
                    "persistence":{"timeout":60,"granularity":64},"one_packet":true,"fallback":true,"source_port":true}"#
                    .to_owned(),
                "-E -f 7 -6 -s sh -p 60 -M 64 -o -b flag-1,flag-2",
            ),
            (format!(r#"{{"edit":"delete-service",{web}}}"#), "-D -t 192.0.2.1:80"),
            (
                format!(r#"{{"edit":"add-server",{web},"address":"10.0.0.2","port":80,"weight":3}}"#),
                "-a -t 192.0.2.1:80 -r 10.0.0.2:80 -m -w 3",
            ),
            (
                r#"{"edit":"edit-server","service":{"protocol":"UDP","address":"fd00::1","port":53},"address":"fd00::2",
                    "port":0,"upper_threshold":9,"lower_threshold":4}"#
                    .to_owned(),
                "-e -u [fd00::1]:53 -r [fd00::2]:0 -m -w 1 -x 9 -y 4",
            ),
            (
                format!(r#"{{"edit":"delete-server",{web},"address":"10.0.0.2","port":80}}"#),
                "-d -t 192.0.2.1:80 -r 10.0.0.2:80",
            ),
            (r#"{"edit":"clear"}"#.to_owned(), "-C"),
            (r#"{"edit":"zero"}"#.to_owned(), "-Z"),
            (r#"{"edit":"set-timeouts","tcp":900}"#.to_owned(), "--set 900 0 0"),
            (
                format!(r#"{{"edit":"add-service",{web},"scheduler":"rr\nERROR and so on, and on"}}"#),
                r"-A -t 192.0.2.1:80 -s rr\nERROR and so ",
            ),
        ] {
            let edit: Edit = serde_json::from_str(&edit).unwrap();
            assert_eq!(edit.to_string(), expected);
        }
    }
}
