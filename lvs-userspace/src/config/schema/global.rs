//! The keywords of `global_defs`, as far as they are not VRRP's.

use super::{
    Entry, Keyword as K,
    entry::{
        Effect::{Acted, Never, NotYet},
        Form, INT, UINT,
    },
    table,
};

table! {
    pub(super) GLOBAL_DEFS:
    "lvs_timeouts" Timeouts, Form::Own("[tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]"), "900, 120, 300", Acted,
        "How long connections live without a packet, 0 to 2678400; 0 for the default";
    "lvs_flush" LvsFlush, Form::Bare, "off", Never, "Clear all services at the start; here every start does";
    "lvs_flush_on_stop" LvsFlushOnStop, Form::OptionalText("VS"), "", NotYet, "Clear all services at the stop, or those of the file";
    "lvs_flush_onstop" LvsFlushOnStop, Form::OptionalText("VS"), "", NotYet, "`lvs_flush_on_stop` in an old spelling";
    "lvs_sync_daemon" SyncDaemon,
        Form::Own("INTERFACE [[inst] VRRP] [id ID] [maxlen LENGTH] [port PORT] [ttl TTL] [group ADDRESS]"), "", NotYet,
        "Tell another balancer of connections: id 0 to 255, maxlen 1 to 65507, port 1 to 65535 (8848), ttl 1 to 255, group 224.0.0.81";
    "lvs_notify_fifo" LvsNotifyFifo, Form::Words("PATH [USER [GROUP]]", 1, 3), "", Acted, "Write services' changes of state to this pipe";
    "lvs_notify_fifo_script" LvsNotifyFifoScript, Form::Script, "", Acted, "What reads that pipe";
    "notify_fifo" NotifyFifo, Form::Words("PATH [USER [GROUP]]", 1, 3), "", Acted, "Write all changes of state to this pipe";
    "notify_fifo_script" NotifyFifoScript, Form::Script, "", Acted, "What reads that pipe";
    "script_user" ScriptUser, Form::User, "`keepalived_script` if there is one, else root", Acted, "As whom scripts run";
    "enable_script_security" ScriptSecurity, Form::Bare, "off", Acted, "Run no script as root that others can write";
    "rs_init_notifies" RsInitNotifies, Form::Bare, "off", Acted, "Run `notify_up` and `notify_down` for the first state too";
    "checker_log_all_failures" CheckerLogAllFailures, Form::Flag, "off", Acted, "`log_all_failures` of all checkers";
    "smtp_alert" SmtpAlert, Form::Flag, "", NotYet, "`smtp_alert` of everything";
    "smtp_alert_checker" SmtpAlertChecker, Form::Flag, "", NotYet, "`smtp_alert` of services and real servers";
    "notification_email" MailTo, Form::List("address"), "", NotYet, "Whom to write to";
    "notification_email_from" MailFrom, Form::Text("ADDRESS"), "", NotYet, "Who writes";
    "smtp_server" MailServer, Form::Words("ADDRESS [PORT]", 1, 2), "port 25", NotYet, "Where mail is taken";
    "smtp_helo_name" MailHelo, Form::Text("NAME"), "the host's name", NotYet, "What to call oneself there";
    "smtp_connect_timeout" MailTimeout, Form::Number(1, UINT, "seconds"), "30", NotYet, "How long it may take to answer";
    "router_id" RouterId, Form::Text("NAME"), "the host's name", NotYet, "What the host is called in mail";
    "no_checker_emails" NoCheckerEmails, Form::Bare, "off", NotYet, "No mail about the results of checkers";
    "no_email_faults" NoEmailFaults, Form::Flag, "off", NotYet, "No mail about faults";
    "enable_snmp_checker" Other, Form::Bare, "off", NotYet, "Answer SNMP about services";
    "enable_snmp_rfc" Other, Form::Bare, "off", Never, "SNMP about VRRP";
    "enable_snmp_vrrp" Other, Form::Bare, "off", Never, "SNMP about VRRP";
    "enable_traps" Other, Form::Bare, "off", NotYet, "Send SNMP traps";
    "snmp_socket" Other, Form::OptionalText("SOCKET"), "", NotYet, "Where the SNMP agent listens";
    "snmp_vs_stats_update_interval" Other, Form::Timer(1_000, 30_000_000), "5", NotYet, "How old services' counts may be in SNMP";
    "snmp_rs_stats_update_interval" Other, Form::Timer(1_000, 30_000_000), "5", NotYet, "How old servers' counts may be in SNMP";
    "nftables_ipvs" Other, Form::OptionalText("TABLE"), "keepalived_ipvs", NotYet, "One mark for each group, by nftables";
    "nftables_ipvs_priority" Other, Form::Number(-INT, INT, "priority"), "", NotYet, "The priority of that table's chains";
    "nftables_ipvs_start_fwmark" Other, Form::Number(1, UINT, "mark"), "1000", NotYet, "The first of those marks";
    "nftables_counters" Other, Form::Bare, "off", NotYet, "Count what those rules fit";
    "lvs_netlink_cmd_rcv_bufs" Other, Form::Number(0, INT, "bytes"), "", Never, "Buffers of keepalived";
    "lvs_netlink_cmd_rcv_bufs_force" Other, Form::Flag, "", Never, "Buffers of keepalived";
    "lvs_netlink_monitor_rcv_bufs" Other, Form::Number(0, INT, "bytes"), "", Never, "Buffers of keepalived";
    "lvs_netlink_monitor_rcv_bufs_force" Other, Form::Flag, "", Never, "Buffers of keepalived";
    "checker_cpu_affinity" Other, Form::Words("CPU…", 1, 1024), "", Never, "Where keepalived's checker process runs";
    "checker_no_swap" Other, Form::Bare, "off", Never, "Lock the memory of keepalived's checker process";
    "checker_priority" Other, Form::Number(-20, 19, "priority"), "", Never, "The priority of keepalived's checker process";
    "checker_process_name" Other, Form::OptionalText("NAME"), "", Never, "The name of keepalived's checker process";
    "checker_rlimit_rttime" Other, Form::Number(1, INT, "microseconds"), "", Never, "A limit of keepalived's checker process";
    "checker_rlimit_rtime" Other, Form::Number(1, INT, "microseconds"), "", Never, "`checker_rlimit_rttime` in an old spelling";
    "checker_rt_priority" Other, Form::Number(1, 99, "priority"), "", Never, "The real-time priority of keepalived's checker process";
    "lvs_process_name" Other, Form::OptionalText("NAME"), "", Never, "`checker_process_name` in an old spelling";
    "startup_script" Other, Form::Script, "", NotYet, "What runs at the start";
    "startup_script_timeout" Other, Form::Number(1, 1_000, "seconds"), "10", NotYet, "How long it may run";
    "shutdown_script" Other, Form::Script, "", NotYet, "What runs at the stop";
    "shutdown_script_timeout" Other, Form::Number(1, 1_000, "seconds"), "10", NotYet, "How long it may run";
    "reload_check_config" Other, Form::OptionalText("LOG"), "", Never, "Check a file before it is used; a reload here always does";
    "reload_file" Other, Form::OptionalText("FILE"), "", NotYet, "A file that is there while a reload should wait";
    "reload_repeat" Other, Form::Bare, "off", NotYet, "Reload each day at the same time";
    "reload_time_file" Other, Form::Text("FILE"), "", NotYet, "When to reload";
    "include_check" Other, Form::Words("[+|-]CHECK…", 0, 8), "", Acted, "Which failures of an `include` below are errors: `readable`, `match`, `wildcard_match`, `brace_match`. `+` adds one, `-` takes one away, without a sign it stands in place of all others; alone it means all";
    "config_save_dir" Other, Form::Text("FOLDER"), "", Never, "Where keepalived keeps copies of its file";
    "tmp_config_directory" Other, Form::Text("FOLDER"), "", Never, "Where keepalived keeps temporary copies of its file";
    "data_use_instance" Other, Form::Flag, "off", Never, "Names of keepalived's dumps";
    "state_dump_file" Other, Form::Text("FILE"), "", Never, "Where keepalived dumps its state";
    "stats_dump_file" Other, Form::Text("FILE"), "", Never, "Where keepalived dumps its counts";
    "json_dump_file" Other, Form::Text("FILE"), "", Never, "Where keepalived dumps its state as JSON";
    "json_version" Other, Form::Number(1, 2, "version"), "1", Never, "How it looks";
    "umask" Other, Form::Words("MASK…", 1, 16), "", Never, "The mask of keepalived's new files";
    "random_seed" Other, Form::Number(0, UINT, "number"), "", Never, "For keepalived's tests";
    "process_names" Other, Form::Bare, "off", Never, "Names of keepalived's processes";
    "process_name" Other, Form::OptionalText("NAME"), "", Never, "The name of keepalived's parent process";
    "max_auto_priority" Other, Form::OptionalNumber(-1, 99, "priority"), "", Never, "Priorities of keepalived's processes";
    "min_auto_priority_delay" Other, Form::Number(1, 10_000_000, "microseconds"), "", Never, "Priorities of keepalived's processes";
    "use_symlink_paths" Other, Form::Flag, "on", Never, "How keepalived writes scripts' paths";
    "fifo_write_vrrp_states_on_reload" Other, Form::Flag, "off", Never, "VRRP's states in `notify_fifo`";
    "default_interface" Other, Form::Text("INTERFACE"), "", Never, "VRRP";
    "dynamic_interfaces" Other, Form::OptionalText("allow_if_changes"), "off", Never, "VRRP";
    "disable_local_igmp" Other, Form::Bare, "off", Never, "VRRP";
    "iptables" Other, Form::Words("[OUT [IN]]", 0, 2), "", Never, "VRRP";
}

/// Whole families of keywords that are VRRP's or BFD's.
pub(super) fn is_foreign(word: &str) -> bool {
    ["vrrp_", "bfd_", "garp_", "smtp_alert_", "nftables_", "snmp_", "dbus_"]
        .iter()
        .any(|start| word.starts_with(start))
        || word == "enable_dbus"
        || word == "no_ipv6_dad"
        || word == "startup_debug_log"
}
