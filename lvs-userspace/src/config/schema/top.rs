//! The keywords of the top level and of its small blocks.

use super::{
    Entry, Keyword as K, Place,
    entry::{
        Effect::{Acted, NotYet},
        Form,
    },
    table,
};

table! {
    pub(super) TOP:
    "virtual_server" VirtualServer, Form::Block("ADDRESS [PORT] | fwmark MARK | group NAME", Place::VirtualServer), "", Acted,
        "A service: what clients use, and the servers behind it; without a port, all ports";
    "global_defs" GlobalDefs, Form::Block("", Place::GlobalDefs), "", Acted, "What holds for all services";
    "virtual_server_group" VirtualServerGroup, Form::Block("NAME", Place::VirtualServerGroup), "", Acted,
        "Addresses and marks that one `virtual_server group` is for: `ADDRESS [PORT]`, `ADDRESS-LAST [PORT]`, `ADDRESS-ADDRESS [PORT]`, `NETWORK/LENGTH [PORT]`, `fwmark MARK [inet|inet6]`";
    "local_address_group" LocalAddressGroup, Form::Block("NAME", Place::LocalAddressGroup), "", Acted,
        "Addresses that full NAT lets connections to the servers come from, as in DPVS: `ADDRESS` or `ADDRESS-LAST`";
    "fwmark_match" FwmarkMatch, Form::Block("MARK", Place::FwmarkMatch), "", Acted,
        "Which packets carry a firewall mark, xlvs's own: `ADDRESSES PORT[-PORT] [TCP|UDP]`";
    "SSL" Ssl, Form::Block("", Place::Ssl), "", Acted, "Keys and certificates of all SSL_GET";
    "track_file" TrackFile, Form::Block("NAME", Place::TrackFile), "", Acted, "A file whose number FILE_CHECK follows";
    "vrrp_track_file" TrackFile, Form::Block("NAME", Place::TrackFile), "", Acted, "`track_file` in an old spelling";
}

table! {
    pub(super) VIRTUAL_SERVER_GROUP:
    "fwmark" Fwmark, Form::Own("MARK [inet|inet6]"), "", Acted, "A firewall mark, and its packets' family";
}

table! {
    pub(super) SSL:
    "password" SslPassword, Form::Text("TEXT"), "", NotYet, "The key's password";
    "ca" SslCa, Form::Text("FILE"), "", Acted, "The certificates to trust, in PEM";
    "certificate" SslCertificate, Form::Text("FILE"), "", Acted, "The own certificate, in PEM";
    "key" SslKey, Form::Text("FILE"), "", Acted, "The own key, in PEM";
}

table! {
    pub(super) TRACK_FILE:
    "file" TrackedPath, Form::Text("FILE"), "", Acted, "Where the file is; needed";
    "weight" FileWeight, Form::Own("NUMBER [reverse]"), "1", Acted,
        "The `weight` of checkers that name none, -2147483647 to 2147483647";
    "init_file" InitFile, Form::Own("[NUMBER] [overwrite]"), "", Acted,
        "Write this number at the start, 0 by default, if there is no file, or in any case";
}

/// Blocks and lines of the top level that are keepalived's business: it goes on with them beside us.
pub(super) const FOREIGN: &[&str] = &[
    "bfd_instance",
    "child_wait_time",
    "garp_group",
    "instance",
    "interface_up_down_delays",
    "linkbeat_interfaces",
    "linkbeat_use_polling",
    "namespace_with_ipsets",
    "net_namespace",
    "net_namespace_ipvs",
    "process_names",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "static_track_group",
    "track_bfd",
    "track_group",
    "track_process",
    "use_pid_dir",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_process",
];

/// What keepalived's fork in DPVS has besides, anywhere.
pub(super) const DPVS: &[&str] = &[
    "alpha_down",
    "blklst_group",
    "blklst_addr_gname",
    "bps",
    "conn_timeout",
    "daddr_group_name",
    "deny_address_group",
    "dst-range",
    "establish_timeout",
    "expire_quiescent_conn",
    "hash_target",
    "iif",
    "limit_proportion",
    "match",
    "oif",
    "proxy_protocol",
    "quic",
    "src-range",
    "syn_proxy",
    "tunnel",
    "tunnel_group",
    "vip_bind_dev",
    "waddr_group_name",
    "whtlst_addr_gname",
];
