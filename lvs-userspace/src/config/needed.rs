//! Whether a machine has what a file names: the programs that it runs, as whom, and what its checks use.

use std::{
    env, fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use nix::{
    net::if_::if_nametoindex,
    unistd::{Group, User},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject as _},
};

use super::{diag::quoted, read};

/// Something that a file names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Needed {
    /// A program; one without a folder is looked for as a shell would.
    Program(String),
    /// A user, by name.
    User(String),
    /// A group, by name.
    Group(String),
    /// A network interface.
    Interface(String),
    /// A file of certificates in PEM.
    Certificates(String),
    /// A file with a private key in PEM.
    Key(String),
}

/// Why it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Needed {
    /// Looks at this machine. What cannot be known, such as for lack of permission, is no fault.
    pub(super) fn fault_here(&self) -> Option<Fault> {
        let (message, help) = match self {
            Self::Program(name) => program(name)?,
            Self::User(name) if User::from_name(name).is_ok_and(|user| user.is_none()) => {
                (format!("there is no user {} here", quoted(name)), NO_OWNER.to_owned())
            }
            Self::Group(name) if Group::from_name(name).is_ok_and(|group| group.is_none()) => {
                (format!("there is no group {} here", quoted(name)), NO_OWNER.to_owned())
            }
            Self::Interface(name) if if_nametoindex(&**name).is_err() => (
                format!("there is no interface {} here", quoted(name)),
                "until there is, the check cannot be made and says nothing of its server"
                    .to_owned(),
            ),
            Self::Certificates(path) => certificates(path)?,
            Self::Key(path) => key(path)?,
            Self::User(_) | Self::Group(_) | Self::Interface(_) => return None,
        };
        Some(Fault { message, help })
    }
}

const NO_OWNER: &str = "correct the name, or add it; until then the program is not run";

/// What is wrong with a program, and what to do.
fn program(name: &str) -> Option<(String, String)> {
    let shown = quoted(name);
    let metadata = if name.contains('/') {
        fs::metadata(name)
    } else {
        let folders = env::var_os("PATH").unwrap_or_default();
        let mut paths = env::split_paths(&folders).map(|folder| folder.join(name));
        let found = paths.find_map(|path| fs::metadata(path).ok());
        found.ok_or_else(|| ErrorKind::NotFound.into())
    };
    match metadata {
        Ok(metadata) if metadata.is_dir() => {
            Some((format!("{shown} is a directory"), "name the program in it".to_owned()))
        }
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => {
            Some((format!("{shown} is not executable"), format!("`chmod a+x {name}`")))
        }
        Err(error) if is_absent(&error) => Some((
            format!("there is no program {shown} here"),
            "correct its path, or install it; until then it cannot run".to_owned(),
        )),
        _ => None,
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Until then.
const NO_TLS: &str = "without it no SSL_GET can be made; their servers count as they did before";

/// What a file in PEM has, or why it cannot be looked at.
fn pem(path: &str) -> Result<Vec<u8>, Option<(String, String)>> {
    read::bytes(Path::new(path)).map_err(|error| {
        let message = format!("{} cannot be read: {}", quoted(path), read::advice(&error));
        (error.kind() != ErrorKind::PermissionDenied).then(|| (message, NO_TLS.to_owned()))
    })
}

fn certificates(path: &str) -> Option<(String, String)> {
    let bytes = match pem(path) {
        Ok(bytes) => bytes,
        Err(fault) => return fault,
    };
    let all: Result<Vec<CertificateDer<'_>>, Error> =
        CertificateDer::pem_slice_iter(&bytes).collect();
    let what = match all {
        Ok(all) if !all.is_empty() => return None,
        Ok(_) => "has no certificate in PEM".to_owned(),
        Err(error) => format!("is not PEM: {error}"),
    };
    Some((format!("{} {what}", quoted(path)), NO_TLS.to_owned()))
}

fn key(path: &str) -> Option<(String, String)> {
    let bytes = match pem(path) {
        Ok(bytes) => bytes,
        Err(fault) => return fault,
    };
    let encrypted = String::from_utf8_lossy(&bytes).contains("ENCRYPTED");
    let (what, help) = match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(_) if !encrypted => return None,
        _ if encrypted => (
            "has a password, and such keys cannot be used".to_owned(),
            format!(
                "write it without one, readable by root only: `openssl pkey -in {path} -out NEW`"
            ),
        ),
        Err(Error::NoItemsFound) => ("has no private key in PEM".to_owned(), NO_TLS.to_owned()),
        Err(error) => (format!("is not PEM: {error}"), NO_TLS.to_owned()),
        Ok(_) => return None,
    };
    Some((format!("{} {what}", quoted(path)), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(needed: &Needed) -> String {
        needed.fault_here().map(|fault| fault.message).unwrap_or_default()
    }

    #[test]
    fn what_is_there_is_no_fault() {
        for needed in [
            Needed::Program("/bin/sh".to_owned()),
            Needed::Program("sh".to_owned()),
            Needed::User("root".to_owned()),
            Needed::Group("root".to_owned()),
            Needed::Interface("lo".to_owned()),
        ] {
            assert_eq!(needed.fault_here(), None, "{needed:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let plain = file("plain", "hello");
        let own = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        let certificate = file("certificate", &own.cert.pem());
        let key = file("key", &own.signing_key.serialize_pem());
        let locked =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let locked = file("locked", locked);
        for (needed, wanted) in [
            (Needed::Program(plain.clone()), "is not executable"),
            (Needed::Program("/".to_owned()), "is a directory"),
            (Needed::Program("/no/such/program".to_owned()), "there is no program"),
            (Needed::Program("no-such-program".to_owned()), "there is no program"),
            (Needed::User("no such user".to_owned()), "there is no user"),
            (Needed::Group("no such group".to_owned()), "there is no group"),
            (Needed::Interface("no such if".to_owned()), "there is no interface"),
            (Needed::Certificates("/no/such/file".to_owned()), "there is no such file"),
            (Needed::Certificates(plain.clone()), "has no certificate"),
            (Needed::Certificates(key.clone()), "has no certificate"),
            (Needed::Key(plain), "has no private key"),
            (Needed::Key(certificate.clone()), "has no private key"),
            (Needed::Key(locked), "has a password"),
        ] {
            let message = message(&needed);
            assert!(message.contains(wanted), "{needed:?}: {message}");
        }
        assert_eq!(message(&Needed::Certificates(certificate)), "");
        assert_eq!(message(&Needed::Key(key)), "");
    }
}
