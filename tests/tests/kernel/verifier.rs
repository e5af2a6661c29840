//! The object once more, loaded by hand: aya keeps no log of the verifier's if all went well, and only there the depth
//! of the stack is told.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::Map,
    programs::{Program, SchedClassifier, Xdp},
};
use aya_obj::{
    Function, Object, ProgramSection,
    btf::BtfFeatures,
    generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type},
};

/// `BPF_F_XDP_HAS_FRAGS`.
const HAS_FRAGS: u32 = 1 << 5;
/// `BPF_LOG_STATS`.
const LOG_STATS: u32 = 4;

/// What the kernel makes of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Instructions that the verifier walked.
    pub(crate) walked: u32,
    /// Bytes of machine code.
    pub(crate) jitted: u32,
    /// Bytes of the stack, the deepest function that is called included.
    pub(crate) stack: u32,
}

/// What of a program must be told beside its instructions. All programs of one array of programs must have the same.
#[derive(Clone, Copy)]
struct Kind {
    program: bpf_prog_type,
    attach: u32,
    flags: u32,
}

impl Kind {
    const XDP: Self = Self {
        program: bpf_prog_type::BPF_PROG_TYPE_XDP,
        attach: bpf_attach_type::BPF_XDP as u32,
        flags: HAS_FRAGS,
    };
    const TC: Self = Self { program: bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, attach: 0, flags: 0 };
}

/// Measures all programs of the object, by name.
pub(crate) fn measure(traced: bool) -> Result<BTreeMap<String, Cost>> {
    let bytes = std::fs::read(object()).context("the object; `cargo xtask build-ebpf` makes it")?;
    // Any number will do.
    let mut loader = EbpfLoader::new();
    for map in ["CONNECTIONS4", "CONNECTIONS6", "HALF_OPEN4", "HALF_OPEN6"] {
        loader.map_max_entries(map, 64);
    }
    let (trace, level) = (u8::from(traced), if traced { aya_log::Level::Info as u8 } else { 0 });
    let mut ebpf = loader
        .override_global("TRACE", &trace, true)
        .override_global(aya_log::LEVEL, &level, true)
        .load(&bytes)?;
    let object = relocated(&bytes, &ebpf)?;
    let types = types(&bytes)?;
    let mut costs = BTreeMap::new();
    for (name, program) in &object.programs {
        let kind = match program.section {
            ProgramSection::Xdp { frags: true, .. } => Kind::XDP,
            ProgramSection::SchedClassifier => Kind::TC,
            _ => bail!("{name} is of an unknown kind"),
        };
        let function = object.functions.get(&program.function_key()).context("a function")?;
        let log =
            load(function, kind, &program.license, types.as_fd()).with_context(|| name.clone())?;
        let stack = stack_depth(&log).with_context(|| format!("{name}: {log}"))?;
        let info = match ebpf.program_mut(name).context("the same program")? {
            Program::Xdp(program) => loaded_xdp(program)?,
            Program::SchedClassifier(program) => loaded_tc(program)?,
            _ => bail!("{name} is of an unknown kind"),
        };
        let walked = info.verified_instruction_count().context("the kernel counts them")?;
        costs.insert(name.clone(), Cost { walked, jitted: info.size_jitted(), stack });
    }
    Ok(costs)
}

fn loaded_xdp(program: &mut Xdp) -> Result<aya::programs::ProgramInfo> {
    program.load()?;
    Ok(program.info()?)
}

fn loaded_tc(program: &mut SchedClassifier) -> Result<aya::programs::ProgramInfo> {
    program.load()?;
    Ok(program.info()?)
}

/// Where the object is that the binaries of this build have inside.
fn object() -> PathBuf {
    if let Some(path) = std::env::var_os("XLVS_BPF_OBJECT") {
        return path.into();
    }
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bpf").join("lvs-ebpf.o")
}

/// The object's instructions with the maps that aya has made.
fn relocated(bytes: &[u8], ebpf: &Ebpf) -> Result<Object> {
    let mut object = Object::parse(bytes)?;
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    let mut maps = Vec::new();
    for (name, map) in ebpf.maps() {
        let parsed = object.maps.get(name).with_context(|| format!("map {name}"))?;
        maps.push((name.to_owned(), descriptor(map)?, parsed.clone()));
    }
    object
        .relocate_maps(maps.iter().map(|(name, fd, map)| (name.as_str(), *fd, map)), &sections)?;
    object.relocate_calls(&sections)?;
    Ok(object)
}

/// The object's BTF in the kernel: a program that gives the kernel a function to call must say what its functions are.
fn types(bytes: &[u8]) -> Result<OwnedFd> {
    let mut object = Object::parse(bytes)?;
    let all = BtfFeatures::new(true, true, true, true, true, true, true, true);
    let btf = object.fixup_and_sanitize_btf(&all)?.context("the object has no BTF")?.to_bytes();
    // SAFETY: every field of the union is made of plain integers.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the fields of this anonymous struct are plain integers inside a zeroed union.
    let load = unsafe { &mut attributes.__bindgen_anon_7 };
    load.btf = btf.as_ptr() as u64;
    load.btf_size = u32::try_from(btf.len())?;
    let result = call(bpf_cmd::BPF_BTF_LOAD, &mut attributes);
    ensure!(result >= 0, "BPF_BTF_LOAD: {}", io::Error::last_os_error());
    // SAFETY: the kernel has just opened it for us, nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(result)?) })
}

/// The system call; all that the attributes point to must outlive it.
fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> libc::c_long {
    // SAFETY: the attributes are valid.
    unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<bpf_attr>())
    }
}

fn descriptor(map: &Map) -> Result<RawFd> {
    match map {
        Map::Array(map)
        | Map::HashMap(map)
        | Map::LruHashMap(map)
        | Map::PerCpuArray(map)
        | Map::ProgramArray(map)
        | Map::RingBuf(map) => Ok(map.fd().as_fd().as_raw_fd()),
        _ => bail!("a map of an unknown kind"),
    }
}

/// Loads a program and gives the verifier's log.
fn load(
    function: &Function,
    kind: Kind,
    license: &std::ffi::CStr,
    types: BorrowedFd<'_>,
) -> Result<String> {
    let functions = function.func_info.func_info_bytes();
    let mut log = vec![0_u8; 1 << 16];
    // SAFETY: every field of the union is made of plain integers.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the fields of this anonymous struct are plain integers inside a zeroed union.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = kind.program as u32;
    load.expected_attach_type = kind.attach;
    load.prog_flags = kind.flags;
    load.insns = function.instructions.as_ptr() as u64;
    load.insn_cnt = u32::try_from(function.instructions.len())?;
    load.license = license.as_ptr() as u64;
    load.prog_btf_fd = types.as_raw_fd().cast_unsigned();
    load.func_info_rec_size = u32::try_from(function.func_info_rec_size)?;
    load.func_info = functions.as_ptr() as u64;
    load.func_info_cnt = u32::try_from(function.func_info.len())?;
    load.log_level = LOG_STATS;
    load.log_buf = log.as_mut_ptr() as u64;
    load.log_size = u32::try_from(log.len())?;
    let result = call(bpf_cmd::BPF_PROG_LOAD, &mut attributes);
    let error = io::Error::last_os_error();
    log.truncate(log.iter().position(|byte| *byte == 0).unwrap_or(log.len()));
    let log = String::from_utf8(log)?;
    ensure!(result >= 0, "{error}: {log}");
    // SAFETY: the kernel has just opened it for us, nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(result)?) });
    Ok(log)
}

/// From a line such as `stack depth 232+64+0`: the program's own and the two deepest of the functions that it calls, each
/// rounded up to 32 bytes and none less, as Linux 6.1 counts them. It is no less than what the kernel counts: with us a
/// function that is called calls at most one more.
fn stack_depth(log: &str) -> Result<u32> {
    let depths = log.lines().find_map(|line| line.strip_prefix("stack depth "));
    let depths = depths.context("the log tells no depth")?.split('+');
    let depths = depths.map(|depth| Ok(depth.trim().parse::<u32>()?.max(1).next_multiple_of(32)));
    let depths = depths.collect::<Result<Vec<u32>>>()?;
    let (own, called) = depths.split_first().context("no number")?;
    let mut called = called.to_vec();
    called.sort_unstable_by(|a, b| b.cmp(a));
    Ok(own + called.iter().take(2).sum::<u32>())
}
