//! Which keyword belongs in which block: what this version acts on, and what keepalived 2.4.3
//! knows besides. The keywords of full NAT are those of DPVS, `fwmark_match` is our own.
//!
//! The second kind matters because such a line is no typing error: its author is told that this version lacks the
//! feature. The tables also say where a misplaced keyword belongs, and are what suggestions are taken from.

/// A kind of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Top,
    VirtualServer,
    RealServer,
    Checker,
    GlobalDefs,
    /// Its lines begin with addresses, not with keywords.
    LocalAddressGroup,
    /// Its lines begin with addresses or `fwmark`.
    VirtualServerGroup,
    /// Its lines begin with addresses.
    FwmarkMatch,
}

impl Place {
    /// As in "… belongs in {}".
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Top => "the top level",
            Self::VirtualServer => "a `virtual_server` block",
            Self::RealServer => "a `real_server` block",
            Self::Checker => "a health check's block",
            Self::GlobalDefs => "a `global_defs` block",
            Self::LocalAddressGroup => "a `local_address_group` block",
            Self::VirtualServerGroup => "a `virtual_server_group` block",
            Self::FwmarkMatch => "a `fwmark_match` block",
        }
    }
}

/// A flag of a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flag {
    First,
    Second,
    Third,
    ShFallback,
    ShPort,
    MhFallback,
    MhPort,
}

/// A keyword that this version acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    GlobalDefs,
    Timeouts,
    LocalAddressGroup,
    VirtualServerGroup,
    FwmarkMatch,
    /// A line of a `virtual_server_group`.
    Fwmark,
    VirtualServer,
    Family,
    DelayLoop,
    Scheduler,
    Flag(Flag),
    Hashed,
    Forwarding,
    LocalAddresses,
    Persistence,
    /// `persistent_timeout`, an alias that keepalived does not have.
    PersistenceAlias,
    Granularity,
    Protocol,
    OnePacket,
    RealServer,
    Weight,
    UpperThreshold,
    LowerThreshold,
}

/// What a word at the start of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Keyword(Keyword),
    /// keepalived knows it here.
    NotYet,
    /// It is known in this block only.
    Elsewhere(Place),
    Unknown,
}

struct Table {
    place: Place,
    understood: &'static [(&'static str, Keyword)],
    not_yet: &'static [&'static str],
}

static TABLES: [Table; 6] = [
    Table {
        place: Place::Top,
        understood: &[
            ("virtual_server", Keyword::VirtualServer),
            ("global_defs", Keyword::GlobalDefs),
            ("virtual_server_group", Keyword::VirtualServerGroup),
            ("local_address_group", Keyword::LocalAddressGroup),
            ("fwmark_match", Keyword::FwmarkMatch),
        ],
        #[rustfmt::skip]
        not_yet: &[
            "SSL", "bfd_instance", "child_wait_time", "garp_group", "instance",
            "interface_up_down_delays", "linkbeat_interfaces", "linkbeat_use_polling",
            "namespace_with_ipsets", "net_namespace", "net_namespace_ipvs", "static_ipaddress", "static_routes",
            "static_rules", "track_file", "track_group", "use_pid_dir", "vrrp_instance", "vrrp_script",
            "vrrp_sync_group", "vrrp_track_file", "vrrp_track_process",
        ],
    },
    Table {
        place: Place::VirtualServer,
        understood: &[
            ("ip_family", Keyword::Family),
            ("delay_loop", Keyword::DelayLoop),
            ("lb_algo", Keyword::Scheduler),
            ("lvs_sched", Keyword::Scheduler),
            ("sh-fallback", Keyword::Flag(Flag::ShFallback)),
            ("sh-port", Keyword::Flag(Flag::ShPort)),
            ("mh-fallback", Keyword::Flag(Flag::MhFallback)),
            ("mh-port", Keyword::Flag(Flag::MhPort)),
            ("flag-1", Keyword::Flag(Flag::First)),
            ("flag-2", Keyword::Flag(Flag::Second)),
            ("flag-3", Keyword::Flag(Flag::Third)),
            ("hashed", Keyword::Hashed),
            ("lb_kind", Keyword::Forwarding),
            ("lvs_method", Keyword::Forwarding),
            ("laddr_group_name", Keyword::LocalAddresses),
            ("persistence_timeout", Keyword::Persistence),
            ("persistent_timeout", Keyword::PersistenceAlias),
            ("persistence_granularity", Keyword::Granularity),
            ("protocol", Keyword::Protocol),
            ("ops", Keyword::OnePacket),
            ("real_server", Keyword::RealServer),
        ],
        #[rustfmt::skip]
        not_yet: &[
            "alpha", "connect_timeout", "delay_before_retry", "ha_suspend", "hysteresis", "inhibit_on_failure",
            "omega", "persistence_engine", "quorum", "quorum_down", "quorum_up", "retry", "smtp_alert", "snmp_name",
            "sorry_server", "sorry_server_inhibit", "sorry_server_lvs_method", "virtualhost", "warmup", "weight",
        ],
    },
    Table {
        place: Place::RealServer,
        understood: &[
            ("weight", Keyword::Weight),
            ("uthreshold", Keyword::UpperThreshold),
            ("lthreshold", Keyword::LowerThreshold),
        ],
        #[rustfmt::skip]
        not_yet: &[
            "BFD_CHECK", "DNS_CHECK", "FILE_CHECK", "HTTP_GET", "MISC_CHECK", "PING_CHECK", "SMTP_CHECK",
            "SSL_GET", "TCP_CHECK", "UDP_CHECK", "alpha", "connect_timeout", "delay_before_retry", "delay_loop",
            "inhibit_on_failure", "lvs_method", "notify_down", "notify_up", "retry", "smtp_alert", "snmp_name",
            "virtualhost", "warmup",
        ],
    },
    Table {
        place: Place::Checker,
        understood: &[],
        #[rustfmt::skip]
        not_yet: &[
            "bind_if", "bind_port", "bindto", "connect_ip", "connect_port", "digest", "enable_sni",
            "fast_recovery", "fwmark", "helo_name", "host", "http_protocol", "log_all_failures",
            "max_reply_length", "min_reply_length", "misc_dynamic", "misc_path", "misc_timeout", "name",
            "nb_get_retry", "path", "payload", "regex", "regex_max_offset", "regex_min_offset", "regex_no_match",
            "regex_options", "regex_stack", "require_reply", "sni_name", "status_code", "tls_compliant", "type",
            "url", "user",
        ],
    },
    Table {
        place: Place::GlobalDefs,
        understood: &[("lvs_timeouts", Keyword::Timeouts)],
        #[rustfmt::skip]
        not_yet: &[
            "checker_cpu_affinity", "checker_log_all_failures", "checker_no_swap", "checker_priority",
            "checker_process_name", "checker_rlimit_rtime", "checker_rlimit_rttime", "checker_rt_priority",
            "config_save_dir", "data_use_instance", "enable_script_security", "enable_snmp_checker",
            "include_check", "json_dump_file", "json_version", "lvs_flush", "lvs_flush_on_stop",
            "lvs_flush_onstop", "lvs_netlink_cmd_rcv_bufs", "lvs_netlink_cmd_rcv_bufs_force",
            "lvs_netlink_monitor_rcv_bufs", "lvs_netlink_monitor_rcv_bufs_force", "lvs_notify_fifo",
            "lvs_notify_fifo_script", "lvs_process_name", "lvs_sync_daemon", "nftables_counters",
            "nftables_ipvs", "nftables_ipvs_priority", "nftables_ipvs_start_fwmark", "no_checker_emails",
            "no_email_faults", "notification_email", "notification_email_from", "notify_fifo",
            "notify_fifo_script", "random_seed", "reload_check_config", "reload_file", "reload_repeat",
            "reload_time_file", "router_id", "rs_init_notifies", "script_user", "shutdown_script",
            "shutdown_script_timeout", "smtp_alert_checker", "smtp_connect_timeout", "smtp_helo_name",
            "smtp_server", "snmp_rs_stats_update_interval", "snmp_socket", "snmp_vs_stats_update_interval",
            "startup_script", "startup_script_timeout", "state_dump_file", "stats_dump_file",
            "tmp_config_directory", "umask",
        ],
    },
    Table {
        place: Place::VirtualServerGroup,
        understood: &[("fwmark", Keyword::Fwmark)],
        not_yet: &[],
    },
];

impl Table {
    fn find(&self, word: &str) -> Option<Meaning> {
        let understood = self.understood.iter().find(|(name, _)| *name == word);
        understood
            .map(|(_, keyword)| Meaning::Keyword(*keyword))
            .or_else(|| self.not_yet.contains(&word).then_some(Meaning::NotYet))
    }
}

/// What a word means at the start of a line in a block.
pub(crate) fn meaning(place: Place, word: &str) -> Meaning {
    let here =
        TABLES.iter().filter(|table| table.place == place).find_map(|table| table.find(word));
    here.or_else(|| {
        TABLES
            .iter()
            .find(|table| table.find(word).is_some())
            .map(|table| Meaning::Elsewhere(table.place))
    })
    .unwrap_or(Meaning::Unknown)
}

/// Whether a line that begins with this word can stand in a block.
pub(crate) fn fits(place: Place, word: &str) -> bool {
    match place {
        Place::LocalAddressGroup | Place::FwmarkMatch => reads_like_address(word),
        Place::VirtualServerGroup => word == "fwmark" || reads_like_address(word),
        _ => matches!(meaning(place, word), Meaning::Keyword(_)),
    }
}

fn reads_like_address(word: &str) -> bool {
    word.contains(['.', ':']) && word.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')
}

/// The keywords of a block that this version acts on.
pub(crate) fn understood(place: Place) -> Vec<&'static str> {
    let tables = TABLES.iter().filter(|table| table.place == place);
    tables.flat_map(|table| table.understood.iter().map(|(name, _)| *name)).collect()
}

/// All keywords of a block, those first that this version acts on.
pub(crate) fn candidates(place: Place) -> impl Iterator<Item = &'static str> {
    let tables = TABLES.iter().filter(move |table| table.place == place);
    understood(place).into_iter().chain(tables.flat_map(|table| table.not_yet.iter().copied()))
}

/// Keywords of blocks that stand at the top level and nowhere else: where one of them begins, every block before
/// it has ended, whatever the braces say.
pub(crate) fn begins_at_top(word: &str) -> bool {
    matches!(
        word,
        "virtual_server"
            | "virtual_server_group"
            | "global_defs"
            | "local_address_group"
            | "fwmark_match"
            | "vrrp_instance"
            | "vrrp_script"
            | "vrrp_sync_group"
    )
}

/// The block that a keyword begins, if it means nothing without one.
pub(crate) fn needs_block(word: &str) -> Option<Place> {
    match word {
        "virtual_server" => Some(Place::VirtualServer),
        "real_server" => Some(Place::RealServer),
        "global_defs" => Some(Place::GlobalDefs),
        "local_address_group" => Some(Place::LocalAddressGroup),
        "virtual_server_group" => Some(Place::VirtualServerGroup),
        "fwmark_match" => Some(Place::FwmarkMatch),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_means_what_its_block_makes_of_it() {
        assert_eq!(meaning(Place::RealServer, "weight"), Meaning::Keyword(Keyword::Weight));
        assert_eq!(meaning(Place::VirtualServer, "weight"), Meaning::NotYet);
        assert_eq!(meaning(Place::Top, "weight"), Meaning::Elsewhere(Place::VirtualServer));
        assert_eq!(
            meaning(Place::RealServer, "protocol"),
            Meaning::Elsewhere(Place::VirtualServer)
        );
        assert_eq!(meaning(Place::Top, "Weight"), Meaning::Unknown);
    }

    #[test]
    fn no_keyword_stands_twice_in_a_block() {
        for table in &TABLES {
            let mut words: Vec<&str> = candidates(table.place).collect();
            words.sort_unstable();
            assert!(words.is_sorted_by(|a, b| a < b), "{:?}", table.place);
        }
    }
}
