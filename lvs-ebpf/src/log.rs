//! Logging with aya-log's macros and record format, into a ring buffer that is declared with BTF. The crate
//! `aya-log-ebpf` declares it the old way, which would keep the object from being loaded by libbpf and
//! bpftool; its macros name this module by the path that they know, `::aya_log_ebpf::macro_support`.

pub(crate) use aya_log_ebpf_macros::{debug, info};

/// What the macros use.
pub(crate) mod macro_support {
    use aya_ebpf::{Global, btf_maps::RingBuf, macros::btf_map};
    pub(crate) use aya_log_common::{
        Argument, DefaultFormatter, DisplayHint, Field, Header, IpFormatter, Level, LogValueLength,
    };

    /// The records; read by aya-log in the controller.
    #[btf_map]
    pub(crate) static AYA_LOGS: RingBuf<(), { 1 << 17 }> = RingBuf::new();

    /// Up to which level is logged; set by the controller before it loads the program, so that the verifier
    /// removes what will not be logged.
    #[unsafe(no_mangle)]
    static AYA_LOG_LEVEL: Global<u8> = Global::new(0);

    /// Whether this level is logged.
    #[inline(always)]
    pub(crate) fn level_enabled(level: Level) -> bool {
        level as u8 <= AYA_LOG_LEVEL.load()
    }
}
