//! Attaching the program to interfaces, in the mode that was asked for or one that works.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    mem::ManuallyDrop,
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
use tracing::{debug, info, warn};

use super::{
    Error, Pins, Programs,
    error::{chain, os_error},
    pins::Attached,
    sys::{self, link_info},
};
use crate::net::{Filter, Interface};

/// The kernel that brought tcx.
const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// What is appended to the name of an interface's second pin, which it has while its mode changes.
const SECOND: &str = "::";

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

/// What is attached already.
#[derive(Clone, Copy)]
struct There<'a> {
    links: &'a [Attached],
    /// By interface index.
    filters: &'a BTreeMap<u32, Filter>,
}

/// The program on its interfaces. It stays there when this is dropped: the pins hold it.
#[derive(Debug)]
pub struct Attachment {
    links: PathBuf,
    /// Filters in the old way, on kernels without tcx, by the index of the interface; each goes when it is dropped.
    filters: Vec<(u32, ManuallyDrop<SchedClassifierLink>)>,
    /// The mode that was taken; never [`Mode::Auto`].
    pub mode: Mode,
}

impl Attachment {
    /// Attaches to all of `interfaces`, or to none where nothing was attached before. Links that are pinned already have
    /// their programs replaced, without a moment in between, and others than these are removed. A mode other than the best
    /// is announced with the reason; `auto` goes on in the mode of the links that are there. `filters` are those of an
    /// earlier program of ours, by interface index: they have their programs replaced likewise.
    pub fn new(
        programs: &mut Programs,
        interfaces: &[Interface],
        mode: Mode,
        pins: &Pins,
        filters: &BTreeMap<u32, Filter>,
    ) -> Result<Self, Error> {
        let attached = pins.attached()?;
        let mode = Self::wanted(mode, interfaces, &attached);
        let attachment = Self::in_some_mode(
            programs,
            interfaces,
            mode,
            pins,
            There { links: &attached, filters },
        )?;
        if pins.found() && attachment.mode != Mode::Tc {
            remove_filters();
        }
        for link in pins.attached()? {
            let of = |interface: &Interface| link.path == attachment.pin(&interface.name);
            if !interfaces.iter().any(of) {
                let name = link.path.file_name().unwrap_or_default().to_string_lossy();
                if !name.ends_with(SECOND) {
                    info!("detached from `{}`, which is not asked for any more", named(&name));
                }
                if let Err(error) = remove_link(&link.path) {
                    warn!("cannot remove {}: {error}", link.path.display());
                }
            }
        }
        Ok(attachment)
    }

    /// The mode that [`new`](Self::new) tries first.
    pub(crate) fn first(mode: Mode, interfaces: &[Interface], pins: &Pins) -> Result<Mode, Error> {
        let mode = Self::wanted(mode, interfaces, &pins.attached()?);
        Ok(match mode {
            Mode::Auto if against_native(interfaces).is_some() => Mode::Tc,
            Mode::Auto => Mode::Native,
            mode => mode,
        })
    }

    /// What is asked for, or else what is in place.
    fn wanted(mode: Mode, interfaces: &[Interface], attached: &[Attached]) -> Mode {
        let in_place = interfaces.iter().find_map(|interface| {
            let link = link_of(attached, interface)?;
            Some(Self::mode_of(link, interface))
        });
        if mode == Mode::Auto { in_place.unwrap_or(mode) } else { mode }
    }

    fn in_some_mode(
        programs: &mut Programs,
        interfaces: &[Interface],
        mode: Mode,
        pins: &Pins,
        there: There<'_>,
    ) -> Result<Self, Error> {
        if mode != Mode::Auto {
            if mode == Mode::Native
                && let Some(reason) = against_native(interfaces)
            {
                warn!("{reason}");
            }
            return Self::in_mode(programs, interfaces, mode, pins, there);
        }
        let mut reasons = Vec::new();
        for mode in [Mode::Native, Mode::Tc] {
            if mode == Mode::Native
                && let Some(reason) = against_native(interfaces)
            {
                reasons.push(reason);
                continue;
            }
            match Self::in_mode(programs, interfaces, mode, pins, there) {
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
        Self::in_mode(programs, interfaces, Mode::Generic, pins, there)
    }

    fn in_mode(
        programs: &mut Programs,
        interfaces: &[Interface],
        mode: Mode,
        pins: &Pins,
        there: There<'_>,
    ) -> Result<Self, Error> {
        let mut attachment = Self { links: pins.links(), filters: Vec::new(), mode };
        for (count, interface) in interfaces.iter().enumerate() {
            if let Err(error) = attachment.put(programs, interface, there) {
                let new = interfaces.iter().take(count).filter(|interface| {
                    there.links.iter().all(|link| link.interface != interface.index)
                });
                new.for_each(|interface| attachment.forget(interface));
                attachment.detach_filters();
                return Err(error);
            }
        }
        Ok(attachment)
    }

    /// Attaches to one more interface, which was not there at the start or has come back.
    pub fn add(&mut self, programs: &mut Programs, interface: &Interface) -> Result<(), Error> {
        self.put(programs, interface, There { links: &[], filters: &BTreeMap::new() })
    }

    /// Removes the pin of an interface that is not to be balanced any more, or has gone.
    pub fn forget(&mut self, interface: &Interface) {
        let path = self.pin(&interface.name);
        match remove_link(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!("cannot remove the link {}: {error}", path.display());
            }
            _ => {}
        }
        self.filters.retain(|(index, _)| *index != interface.index);
    }

    /// Whether somebody else has detached the link of an interface, or removed its pin, which held it.
    #[must_use]
    pub fn is_lost(&self, interface: &Interface) -> bool {
        if self.filters.iter().any(|(index, _)| *index == interface.index) {
            return false;
        }
        match link_info(&self.pin(&interface.name)) {
            Ok(link) => link.interface != interface.index,
            // Or else it is the bpffs that is not seen any more; the link may be in it.
            Err(error) => error.kind() == io::ErrorKind::NotFound && self.links.exists(),
        }
    }

    /// Follows an interface that has another name now.
    pub fn rename(&self, from: &str, to: &str) {
        let [from, to] = [from, to].map(|name| self.pin(name));
        if from.exists()
            && let Err(error) = fs::rename(&from, &to)
        {
            warn!("cannot rename the link {}: {error}", from.display());
        }
    }

    /// Detaches what the pins do not hold.
    pub fn detach_filters(&mut self) {
        for (_, filter) in self.filters.drain(..) {
            drop(ManuallyDrop::into_inner(filter));
        }
    }

    /// The mode of a link.
    const fn mode_of(link: &Attached, interface: &Interface) -> Mode {
        match (link.xdp, interface.xdp_in_stack) {
            (false, _) => Mode::Tc,
            (true, true) => Mode::Generic,
            (true, false) => Mode::Native,
        }
    }

    /// Attaches to an interface, in the place of what is there.
    fn put(
        &mut self,
        programs: &mut Programs,
        interface: &Interface,
        there: There<'_>,
    ) -> Result<(), Error> {
        let mode = self.mode;
        let link = link_of(there.links, interface);
        // Where the version cannot be told, the attempt will.
        let tcx = KernelVersion::current().map_or(true, |version| version >= TCX_SINCE);
        if mode == Mode::Tc && !tcx {
            let filter = attach_clsact(programs, interface, there.filters.get(&interface.index))?;
            self.filters.push((interface.index, ManuallyDrop::new(filter)));
            return link.map_or(Ok(()), |link| self.remove(interface, link));
        }
        let path = self.pin(&interface.name);
        let Some(link) = link else {
            return self.attach_pinned(programs, interface, mode, &path);
        };
        let moved = |from: &Path, to: &Path| {
            if from == to { Ok(()) } else { fs::rename(from, to) }
                .map_err(|error| self.refused(interface, error.to_string()))
        };
        let before = Self::mode_of(link, interface);
        if before == mode {
            replace(programs, interface, link)?;
            return moved(&link.path, &path);
        }
        // Two links hold the interface for a moment, so that no packet is missed: it makes no difference which of them it
        // meets. The second one is removed with those that nobody asks for.
        let second = self.links.join(pin_name(&interface.name) + SECOND);
        if before == Mode::Tc || mode == Mode::Tc {
            moved(&link.path, &second)?;
        } else {
            // The kernel takes XDP in one mode at a time; tc does the work meanwhile.
            if tcx {
                self.attach_pinned(programs, interface, Mode::Tc, &second)?;
            }
            self.remove(interface, link)?;
        }
        self.attach_pinned(programs, interface, mode, &path)
    }

    /// Where the link of an interface is pinned.
    fn pin(&self, interface: &str) -> PathBuf {
        self.links.join(pin_name(interface))
    }

    fn attach_pinned(
        &self,
        programs: &mut Programs,
        interface: &Interface,
        mode: Mode,
        path: &Path,
    ) -> Result<(), Error> {
        let link = if mode == Mode::Tc {
            attach_tcx(programs, interface)
        } else {
            attach_xdp(programs, interface, mode)
        };
        let pinned = link?.pin(path);
        pinned.map(drop).map_err(|error| self.refused(interface, chain(&error)))
    }

    fn remove(&self, interface: &Interface, link: &Attached) -> Result<(), Error> {
        remove_link(&link.path).map_err(|error| self.refused(interface, error.to_string()))
    }

    fn refused(&self, interface: &Interface, reason: String) -> Error {
        let mode = self.mode.name();
        Error::Attach { interface: interface.name.clone(), mode, reason, unsupported: false }
    }
}

/// The link of an interface; of two, the one under its name.
fn link_of<'a>(attached: &'a [Attached], interface: &Interface) -> Option<&'a Attached> {
    let name = pin_name(&interface.name);
    let of_interface = || attached.iter().filter(|link| link.interface == interface.index);
    let named = |link: &&Attached| link.path.file_name().is_some_and(|file| *file == *name);
    of_interface().find(named).or_else(|| of_interface().next())
}

/// Has a pinned link lead to our program, at once.
fn replace(programs: &mut Programs, interface: &Interface, link: &Attached) -> Result<(), Error> {
    let failed = |source| Error::Link { interface: interface.name.clone(), source };
    let pinned = FdLink::from(PinnedLink::from_pin(&link.path).map_err(failed)?);
    let mode = if link.xdp { Mode::Native } else { Mode::Tc };
    let refused = |error: ProgramError| refused(interface, mode, &error);
    // The link that is taken out and dropped is but a descriptor: the pin holds it.
    if link.xdp {
        let program = programs.xdp()?;
        let id = program.attach_to_link(pinned.try_into().map_err(failed)?).map_err(refused)?;
        drop(FdLink::try_from(program.take_link(id).map_err(refused)?).map_err(failed)?);
    } else {
        let program = programs.tc()?;
        let id = program.attach_to_link(pinned.try_into().map_err(failed)?).map_err(refused)?;
        drop(FdLink::try_from(program.take_link(id).map_err(refused)?).map_err(failed)?);
    }
    Ok(())
}

/// The name of an interface's pin. A bpffs takes no dots, interfaces take no colons.
fn pin_name(interface: &str) -> String {
    interface.replace('.', ":")
}

/// The interface that a pin is named after.
pub(super) fn named(pin: &str) -> String {
    pin.trim_end_matches(SECOND).replace(':', ".")
}

/// Says why a mode was taken that is not the first choice.
fn announce(mode: Mode, reasons: &[String]) {
    if !reasons.is_empty() {
        warn!("mode auto: falls back to {mode}: {}", reasons.join("; "));
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

fn attach_xdp(programs: &mut Programs, interface: &Interface, mode: Mode) -> Result<FdLink, Error> {
    let xdp_mode = if mode == Mode::Native { XdpMode::Driver } else { XdpMode::Skb };
    let program = programs.xdp()?;
    let id = program
        .attach_to_if_index(interface.index, xdp_mode)
        .map_err(|error| refused(interface, mode, &error))?;
    let link = program.take_link(id).map_err(|error| refused(interface, mode, &error))?;
    // On a kernel before 5.9 aya falls back to netlink, which knows no links.
    FdLink::try_from(link)
        .map_err(|source: LinkError| Error::Link { interface: interface.name.clone(), source })
}

fn attach_tcx(programs: &mut Programs, interface: &Interface) -> Result<FdLink, Error> {
    let program = programs.tc()?;
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
/// may use it too. In a filter that is known as ours the program is replaced without a moment in between; any other of that
/// name goes first.
fn attach_clsact(
    programs: &mut Programs,
    interface: &Interface,
    earlier: Option<&Filter>,
) -> Result<SchedClassifierLink, Error> {
    let cannot = |reason: String| Error::Attach {
        interface: interface.name.clone(),
        mode: Mode::Tc.name(),
        reason,
        unsupported: false,
    };
    // Verified first, so that the interface is without a filter for a moment only.
    let program = programs.tc()?;
    let id = if let Some(&Filter { priority, handle }) = earlier {
        let (name, hook) = (&interface.name, TcAttachType::Ingress);
        let there = SchedClassifierLink::attached(name, hook, priority, handle.into(), None);
        there.map_err(ProgramError::from).and_then(|there| program.attach_to_link(there))
    } else {
        match tc::qdisc_add_clsact(&interface.name) {
            Err(error) if os_error(&error) != Some(libc::EEXIST) => {
                return Err(cannot(error.to_string()));
            }
            _ => {}
        }
        let name = super::dataplane::TC_PROGRAM;
        if tc::qdisc_detach_program(&interface.name, TcAttachType::Ingress, name).is_ok() {
            warn!("replaced a filter of an earlier xlvs on `{}`", interface.name);
        }
        // First in the line, as with tcx; where that place is taken, behind the others.
        let first = NlOptions { priority: 1, ..NlOptions::default() };
        let mut attach = |options| {
            let options = TcAttachOptions::Netlink(options);
            program.attach_with_options(&interface.name, TcAttachType::Ingress, options)
        };
        attach(first).or_else(|_| attach(NlOptions::default()))
    };
    let id = id.map_err(|error| refused(interface, Mode::Tc, &error))?;
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
