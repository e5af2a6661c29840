//! Attaching the program to interfaces, in the mode that was asked for or one that works.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use aya::{
    programs::{
        LinkOrder, ProgramError, TcAttachType, XdpMode,
        links::{FdLink, LinkError, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions},
    },
    util::KernelVersion,
};
use tracing::{debug, warn};

use super::{
    Dataplane, Error,
    error::{chain, os_error},
    sys,
};
use crate::net::Interface;

/// The kernel that brought tcx.
const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// How the program is to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// The first of native, tc and generic that works with all interfaces.
    Auto,
    /// XDP in the driver.
    Native,
    /// XDP in the stack, with any driver; packets must be whole (no segmentation or checksum offload).
    Generic,
    /// TC ingress; also handles what XDP cannot: segments joined by offloads, checksums left to the network card.
    Tc,
}

impl Mode {
    /// What is attached, in words.
    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native XDP",
            Self::Generic => "generic XDP",
            Self::Tc => "tc",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The program on its interfaces. Dropping it detaches.
#[derive(Debug)]
pub struct Attachment {
    /// Each with the path of its pin, which `PinnedLink` does not tell.
    links: Vec<(PathBuf, PinnedLink)>,
    /// Filters in the old way, on kernels without tcx; each goes when it is dropped.
    filters: Vec<SchedClassifierLink>,
    /// The mode that was taken; never [`Mode::Auto`].
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
        if mode != Mode::Auto {
            if mode == Mode::Native
                && let Some(reason) = against_native(interfaces)
            {
                warn!("{reason}");
            }
            return Self::in_mode(dataplane, interfaces, mode, pins);
        }
        let mut reasons = Vec::new();
        for mode in [Mode::Native, Mode::Tc] {
            if mode == Mode::Native
                && let Some(reason) = against_native(interfaces)
            {
                reasons.push(reason);
                continue;
            }
            match Self::in_mode(dataplane, interfaces, mode, pins) {
                Err(error @ Error::Attach { unsupported: true, .. }) => {
                    reasons.push(error.to_string());
                }
                Ok(attachment) => {
                    announce(mode, &reasons);
                    return Ok(attachment);
                }
                Err(error) => return Err(error),
            }
        }
        announce(Mode::Generic, &reasons);
        Self::in_mode(dataplane, interfaces, Mode::Generic, pins)
    }

    fn in_mode(
        dataplane: &mut Dataplane,
        interfaces: &[Interface],
        mode: Mode,
        pins: &Path,
    ) -> Result<Self, Error> {
        let mut attachment = Self { links: Vec::new(), filters: Vec::new(), mode };
        // Where the version cannot be told, the attempt will.
        let tcx = KernelVersion::current().map_or(true, |version| version >= TCX_SINCE);
        for interface in interfaces {
            let link = match mode {
                Mode::Tc if !tcx => {
                    attachment.filters.push(attach_clsact(dataplane, interface)?);
                    continue;
                }
                Mode::Tc => attach_tcx(dataplane, interface)?,
                _ => attach_xdp(dataplane, interface, mode)?,
            };
            let path = pins.join(pin_name(&interface.name));
            let link = link.pin(&path).map_err(|error| Error::Attach {
                interface: interface.name.clone(),
                mode: mode.name(),
                reason: chain(&error),
                unsupported: false,
            })?;
            attachment.links.push((path, link));
        }
        Ok(attachment)
    }
}

/// The name of an interface's pin. A bpffs takes no dots, interfaces take no colons.
fn pin_name(interface: &str) -> String {
    interface.replace('.', ":")
}

/// Says why a mode was taken that is not the first choice.
fn announce(mode: Mode, reasons: &[String]) {
    if !reasons.is_empty() {
        warn!("mode auto: falls back to {mode}: {}", reasons.join("; "));
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        for (path, _link) in self.links.drain(..) {
            if let Err(error) = remove_link(&path) {
                warn!("cannot remove the link {}: {error}", path.display());
            }
        }
    }
}

/// Detaches a pinned link and removes its pin.
pub(super) fn remove_link(path: &Path) -> io::Result<()> {
    if let Err(error) = sys::detach_link(path) {
        debug!("{} goes with its pin: {error}", path.display());
    }
    fs::remove_file(path)
}

/// What is known to go wrong with native XDP although it can be attached.
fn against_native(interfaces: &[Interface]) -> Option<String> {
    let veth = interfaces.iter().find(|interface| interface.is_veth())?;
    Some(format!(
        "`{}` is a veth, where native XDP loses frames without a word unless the other end is prepared: \
         `ethtool -K IF gro on tx off` on each",
        veth.name
    ))
}

fn attach_xdp(
    dataplane: &mut Dataplane,
    interface: &Interface,
    mode: Mode,
) -> Result<FdLink, Error> {
    let xdp_mode = if mode == Mode::Native { XdpMode::Driver } else { XdpMode::Skb };
    let program = dataplane.xdp()?;
    let id = program
        .attach_to_if_index(interface.index, xdp_mode)
        .map_err(|error| refused(interface, mode, &error))?;
    let link = program.take_link(id).map_err(|error| refused(interface, mode, &error))?;
    // On a kernel before 5.9 aya falls back to netlink, which knows no links.
    FdLink::try_from(link)
        .map_err(|source: LinkError| Error::Link { interface: interface.name.clone(), source })
}

fn attach_tcx(dataplane: &mut Dataplane, interface: &Interface) -> Result<FdLink, Error> {
    let program = dataplane.tc()?;
    // First, because what it takes never reaches the stack; it leaves everything else to the others.
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(&interface.name, TcAttachType::Ingress, options)
        .map_err(|error| refused(interface, Mode::Tc, &error))?;
    let link = program.take_link(id).map_err(|error| refused(interface, Mode::Tc, &error))?;
    FdLink::try_from(link)
        .map_err(|source: LinkError| Error::Link { interface: interface.name.clone(), source })
}

/// Removes the filters of a controller that was killed from all interfaces: without its maps they would drop what they
/// should pass on. (Links go with their pins.)
pub(super) fn remove_filters() {
    if KernelVersion::current().is_ok_and(|version| version >= TCX_SINCE) {
        return;
    }
    let Ok(interfaces) = nix::net::if_::if_nameindex() else { return };
    for interface in &interfaces {
        let name = interface.name().to_string_lossy();
        let program = super::dataplane::TC_PROGRAM;
        if tc::qdisc_detach_program(&name, TcAttachType::Ingress, program).is_ok() {
            debug!("removed a filter from `{name}`");
        }
    }
}

/// The way before Linux 6.6: a filter at the queueing discipline `clsact`, which is left there at the end because others
/// may use it too. A filter of a controller that was killed is replaced.
fn attach_clsact(
    dataplane: &mut Dataplane,
    interface: &Interface,
) -> Result<SchedClassifierLink, Error> {
    let refuse = |error: &dyn std::error::Error| Error::Attach {
        interface: interface.name.clone(),
        mode: Mode::Tc.name(),
        reason: error.to_string(),
        unsupported: false,
    };
    // Verified first, so that the interface is without a filter for a moment only.
    dataplane.tc()?;
    match tc::qdisc_add_clsact(&interface.name) {
        Err(error) if os_error(&error) != Some(libc::EEXIST) => return Err(refuse(&error)),
        _ => {}
    }
    let name = super::dataplane::TC_PROGRAM;
    if tc::qdisc_detach_program(&interface.name, TcAttachType::Ingress, name).is_ok() {
        warn!("replaced a filter of an earlier xlvs on `{}`", interface.name);
    }
    let program = dataplane.tc()?;
    // First in the line, as with tcx; where that place is taken, behind the others.
    let first = NlOptions { priority: 1, ..NlOptions::default() };
    let mut attach = |options| {
        let options = TcAttachOptions::Netlink(options);
        program.attach_with_options(&interface.name, TcAttachType::Ingress, options)
    };
    let id = attach(first)
        .or_else(|_| attach(NlOptions::default()))
        .map_err(|error| refused(interface, Mode::Tc, &error))?;
    program.take_link(id).map_err(|error| refused(interface, Mode::Tc, &error))
}

fn refused(interface: &Interface, mode: Mode, error: &ProgramError) -> Error {
    let device = &interface.name;
    let (reason, unsupported) = match (os_error(error), mode) {
        (Some(libc::EBUSY | libc::EEXIST), _) => (
            format!(
                "another program is attached there; see `bpftool net show dev {device}` and end the one \
                 that holds its link (XDP without a link: `ip link set dev {device} xdp off`)"
            ),
            false,
        ),
        (Some(libc::EOPNOTSUPP | libc::EINVAL), Mode::Native) => {
            ("its driver cannot do native XDP as it is set up now".to_owned(), true)
        }
        (Some(libc::EPERM), _) => (format!("{}; CAP_NET_ADMIN is needed", chain(error)), true),
        (Some(libc::ERANGE), _) => {
            (format!("{}; its MTU is too large for XDP in this mode, lower it", chain(error)), true)
        }
        _ => (chain(error), false),
    };
    Error::Attach { interface: device.clone(), mode: mode.name(), reason, unsupported }
}
