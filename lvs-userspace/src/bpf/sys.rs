//! The BPF system calls that aya does not offer: batches, look-up with deletion, test runs of shared programs; programs that
//! run as another user; and sockets for frames. All `unsafe` code of the controller is here and in `lvs-common`'s `Pod` marks.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::Path,
    process::Command,
};

use aya::{Pod, programs::ProgramFd};
use aya_obj::generated::{BPF_NOEXIST, bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type};
use nix::{
    errno::Errno,
    unistd::{Gid, Pid, Uid, setgid, setgroups, setuid},
};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is a valid `bpf_attr` of the given size; the callers below fill in pointers
    // to buffers of the length that the command needs and that outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A command that opens a file descriptor.
fn bpf_fd(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(bpf(command, attributes)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for us, nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn zeroed() -> bpf_attr {
    // SAFETY: every field of the union is made of plain integers.
    unsafe { mem::zeroed() }
}

/// A value of all zeros.
pub(super) fn zero<T: Pod>() -> T {
    // SAFETY: aya's `Pod` promises that any bytes make a value.
    unsafe { mem::zeroed() }
}

/// A value of all ones.
pub(super) fn ones<T: Pod>() -> T {
    let mut value = zero::<T>();
    // SAFETY: aya's `Pod` promises that any bytes make a value; these are the value's own.
    unsafe { std::ptr::from_mut(&mut value).write_bytes(0xff, 1) };
    value
}

/// The bytes of a value.
pub(super) fn bytes<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: aya's `Pod` promises plain data without padding; the slice has its size and lives as long.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// Runs an XDP program once on a frame and gives what it returned. (aya's own way needs the program exclusively.)
pub(super) fn run(program: &ProgramFd, frame: &[u8]) -> io::Result<u32> {
    let mut attributes = zeroed();
    attributes.test.prog_fd = u32::try_from(program.as_fd().as_raw_fd()).unwrap_or_default();
    attributes.test.data_in = frame.as_ptr() as u64;
    attributes.test.data_size_in = u32::try_from(frame.len()).unwrap_or_default();
    attributes.test.repeat = 1;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attributes)?;
    // SAFETY: the kernel has written the value through the same union field.
    Ok(unsafe { attributes.test.retval })
}

/// Reads up to `keys.len()` entries of a map, with a value for each, or one for each CPU. `position` says where to go on and is
/// updated; `None` starts from the beginning. Returns how many were read and whether there are more.
pub(super) fn lookup_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    position: &mut Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<(usize, bool)> {
    debug_assert!(values.len() >= keys.len(), "a batch has as many values as keys");
    let start = *position;
    let mut next = 0_u32;
    let mut attributes = zeroed();
    // Writing fields of a union is safe; reading `count` back is not.
    attributes.batch.map_fd = u32::try_from(map.as_raw_fd()).unwrap_or_default();
    attributes.batch.in_batch = start.as_ref().map_or(0, |start| std::ptr::from_ref(start) as u64);
    attributes.batch.out_batch = std::ptr::from_mut(&mut next) as u64;
    attributes.batch.keys = keys.as_mut_ptr() as u64;
    attributes.batch.values = values.as_mut_ptr() as u64;
    attributes.batch.count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    let more = match bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attributes) {
        Ok(_) => true,
        // The end of the table; what was read up to there is valid.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => false,
        Err(error) => return Err(error),
    };
    *position = Some(next);
    // SAFETY: the kernel has written the count through the same union field.
    let count = unsafe { attributes.batch.count };
    Ok((count as usize, more))
}

/// Sets entries of a map, one after the other, with one value for each key.
pub(super) fn update_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    keys: &[K],
    values: &[V],
) -> io::Result<()> {
    debug_assert_eq!(keys.len(), values.len(), "a batch has as many values as keys");
    let mut attributes = zeroed();
    attributes.batch.map_fd = u32::try_from(map.as_raw_fd()).unwrap_or_default();
    attributes.batch.keys = keys.as_ptr() as u64;
    attributes.batch.values = values.as_ptr() as u64;
    attributes.batch.count = u32::try_from(keys.len().min(values.len())).unwrap_or(u32::MAX);
    bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attributes).map(drop)
}

/// Removes an entry of a hash map and gives the value that it had at that moment; `None` where there is
/// no such entry. What has changed since the caller looked is thereby not lost.
///
/// Minimum kernel version: 5.14.
pub(super) fn lookup_and_delete<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    key: &K,
) -> io::Result<Option<V>> {
    let mut value = zero::<V>();
    let mut attributes = zeroed();
    // SAFETY: the fields of this anonymous struct are plain integers inside a zeroed union.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = u32::try_from(map.as_raw_fd()).unwrap_or_default();
    element.key = std::ptr::from_ref(key) as u64;
    element.__bindgen_anon_1.value = std::ptr::from_mut(&mut value) as u64;
    match bpf(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut attributes) {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a signal by its number: nix knows no real-time signals.
pub(crate) fn send_signal(process: Pid, number: i32) -> nix::Result<()> {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(process.as_raw(), number) }).map(drop)
}

/// Gives memory that was freed back to the kernel; the C library keeps what lies between pieces in use.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call moves nothing and may be made at any time from any thread.
    let _whether_any = unsafe { libc::malloc_trim(0) };
}

/// A link as the kernel describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkInfo {
    /// Whether it is one of XDP; else it is one of tcx.
    pub(super) xdp: bool,
    /// The index of its interface; 0 if that has gone.
    pub(super) interface: u32,
    /// The id of its program.
    pub(super) program: u32,
}

/// Describes the link that is pinned at `path`; fails if it is neither of XDP nor of tcx.
pub(super) fn link_info(path: &Path) -> io::Result<LinkInfo> {
    let link = open_pin(path)?;
    // SAFETY: every field of the struct is made of plain integers.
    let mut info: bpf_link_info = unsafe { mem::zeroed() };
    let mut attributes = zeroed();
    attributes.info.bpf_fd = u32::try_from(link.as_raw_fd()).unwrap_or_default();
    attributes.info.info_len = u32::try_from(size_of::<bpf_link_info>()).unwrap_or_default();
    attributes.info.info = std::ptr::from_mut(&mut info) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    let xdp = info.type_ == bpf_link_type::BPF_LINK_TYPE_XDP as u32;
    if !xdp && info.type_ != bpf_link_type::BPF_LINK_TYPE_TCX as u32 {
        return Err(io::Error::other("it is no link of XDP or tcx"));
    }
    let interface = if xdp {
        // SAFETY: the kernel has written the field of this kind of link, a plain integer.
        unsafe { info.__bindgen_anon_1.xdp.ifindex }
    } else {
        // SAFETY: likewise.
        unsafe { info.__bindgen_anon_1.tcx.ifindex }
    };
    Ok(LinkInfo { xdp, interface, program: info.prog_id })
}

/// Opens what is pinned at `path`.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = zeroed();
    attributes.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    bpf_fd(bpf_cmd::BPF_OBJ_GET, &mut attributes)
}

/// Detaches the link that is pinned at `path` at once. Removing the pin alone detaches too, but only some time
/// later: the kernel frees what was pinned after a grace period.
///
/// Minimum kernel version: 5.9.
pub(super) fn detach_link(path: &Path) -> io::Result<()> {
    let link = open_pin(path)?;
    let mut attributes = zeroed();
    attributes.link_detach.link_fd = u32::try_from(link.as_raw_fd()).unwrap_or_default();
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attributes).map(drop)
}

/// Adds an entry to a hash map; where there is one under this key already, that one stays.
pub(super) fn insert_new<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
) -> io::Result<()> {
    let mut attributes = zeroed();
    // SAFETY: as above.
    let element = unsafe { &mut attributes.__bindgen_anon_2 };
    element.map_fd = u32::try_from(map.as_raw_fd()).unwrap_or_default();
    element.key = std::ptr::from_ref(key) as u64;
    element.__bindgen_anon_1.value = std::ptr::from_ref(value) as u64;
    element.flags = u64::from(BPF_NOEXIST);
    match bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attributes) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result.map(drop),
    }
}

/// A socket that sends whole Ethernet frames on the link of an interface (packet(7)), and receives none. Needs `CAP_NET_RAW`.
pub(crate) fn frame_socket(interface: u32) -> io::Result<Socket> {
    // Protocol 0 receives nothing.
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
    let place = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(interface).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: it is one of the structs that the storage has room for.
    *unsafe { storage.view_as::<libc::sockaddr_ll>() } = place;
    // SAFETY: the storage holds such an address, of which this is the length.
    let address =
        unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
    socket.bind(&address)?;
    Ok(socket)
}

/// Has this thread run when no other wants to.
pub(crate) fn stand_back() {
    // SAFETY: it takes numbers only. 0 is this thread, not the process: setpriority(2).
    let _cannot_fail = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

/// Makes a program run as another user, with these supplementary groups: the standard library sets none. It does not inherit
/// the capabilities that this process may have been given (ambient ones, capabilities(7)).
pub(crate) fn run_as(command: &mut Command, uid: Uid, gid: Gid, groups: Vec<Gid>) {
    let become_other = move || {
        setgroups(&groups)?;
        setgid(gid)?;
        setuid(uid)?;
        // SAFETY: the call takes numbers and touches no memory of ours.
        let cleared =
            unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
        Ok(Errno::result(cleared).map(drop)?)
    };
    // SAFETY: between fork and exec it makes four system calls, on values that are there already: it neither allocates nor
    // takes a lock.
    unsafe { command.pre_exec(become_other) };
}
