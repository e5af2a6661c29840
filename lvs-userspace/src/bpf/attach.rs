//! Attaching the program to interfaces, in the mode that was asked for or one that works.

use std::{fmt, path::Path};

use aya::programs::{
    ProgramError, XdpMode,
    links::{FdLink, LinkError, PinnedLink},
};
use tracing::warn;

use super::{
    Dataplane, Error,
    error::{chain, os_error},
};
use crate::net::Interface;

/// How XDP is to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Native where every interface can do it and nothing is known against it, else generic.
    Auto,
    /// In the driver.
    Native,
    /// In the stack, before everything else there; works with every interface.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// The program on its interfaces. Dropping it detaches.
#[derive(Debug)]
pub struct Attachment {
    links: Vec<PinnedLink>,
    /// The mode that was taken: native or generic.
    pub mode: Mode,
}

impl Attachment {
    /// Attaches to all of `interfaces`, or to none. The links are pinned in `pins` under the names of the
    /// interfaces. A mode other than the best is announced with the reason.
    pub fn new(
        dataplane: &mut Dataplane,
        interfaces: &[Interface],
        mode: Mode,
        pins: &Path,
    ) -> Result<Self, Error> {
        let reason = match mode {
            Mode::Generic => return Self::in_mode(dataplane, interfaces, Mode::Generic, pins),
            Mode::Native => return Self::in_mode(dataplane, interfaces, Mode::Native, pins),
            Mode::Auto => match against_native(interfaces) {
                Some(reason) => reason,
                None => match Self::in_mode(dataplane, interfaces, Mode::Native, pins) {
                    Err(error @ Error::Attach { unsupported: true, .. }) => error.to_string(),
                    result => return result,
                },
            },
        };
        warn!("mode auto: generic XDP on all interfaces, slower than native: {reason}");
        Self::in_mode(dataplane, interfaces, Mode::Generic, pins)
    }

    fn in_mode(
        dataplane: &mut Dataplane,
        interfaces: &[Interface],
        mode: Mode,
        pins: &Path,
    ) -> Result<Self, Error> {
        let mut attachment = Self { links: Vec::new(), mode };
        for interface in interfaces {
            let link = attach(dataplane, interface, mode)?;
            let path = pins.join(&interface.name);
            let link = link.pin(path).map_err(|error| Error::Attach {
                interface: interface.name.clone(),
                mode: name(mode),
                reason: chain(&error),
                unsupported: false,
            })?;
            attachment.links.push(link);
        }
        Ok(attachment)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        for link in self.links.drain(..) {
            // Closing the descriptor of a link that is no longer pinned detaches.
            if let Err(error) = link.unpin() {
                warn!("cannot remove the pin of a link: {error}");
            }
        }
    }
}

/// What is known to go wrong with native XDP although it can be attached.
fn against_native(interfaces: &[Interface]) -> Option<String> {
    let veth = interfaces.iter().find(|interface| interface.is_veth())?;
    Some(format!(
        "`{}` is a veth, which drops redirected frames without a word unless its peer has GRO on or an XDP \
         program; if all peers have, use --mode native",
        veth.name
    ))
}

fn attach(dataplane: &mut Dataplane, interface: &Interface, mode: Mode) -> Result<FdLink, Error> {
    let xdp_mode = if mode == Mode::Native { XdpMode::Driver } else { XdpMode::Skb };
    let program = dataplane.program()?;
    let id = program
        .attach_to_if_index(interface.index, xdp_mode)
        .map_err(|error| refused(interface, mode, &error))?;
    let link = program.take_link(id).map_err(|error| refused(interface, mode, &error))?;
    // On a kernel before 5.9 aya falls back to netlink, which knows no links.
    FdLink::try_from(link)
        .map_err(|source: LinkError| Error::Link { interface: interface.name.clone(), source })
}

const fn name(mode: Mode) -> &'static str {
    match mode {
        Mode::Native => "native",
        Mode::Auto | Mode::Generic => "generic",
    }
}

fn refused(interface: &Interface, mode: Mode, error: &ProgramError) -> Error {
    let device = &interface.name;
    let (reason, unsupported) = match os_error(error) {
        Some(libc::EBUSY | libc::EEXIST) => (
            format!(
                "an XDP program is there already; see `bpftool net show dev {device}`, and remove it with \
                 `ip link set dev {device} xdp off` or by ending the program that holds its link"
            ),
            false,
        ),
        Some(libc::EOPNOTSUPP | libc::EINVAL) if mode == Mode::Native => {
            ("its driver cannot do native XDP as it is set up now".to_owned(), true)
        }
        Some(libc::EPERM) => (format!("{}; CAP_NET_ADMIN is needed", chain(error)), true),
        Some(libc::ERANGE) => {
            (format!("{}; its MTU is too large for XDP in this mode, lower it", chain(error)), true)
        }
        _ => (chain(error), false),
    };
    Error::Attach { interface: device.clone(), mode: name(mode), reason, unsupported }
}
