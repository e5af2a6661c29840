//! The keywords of `virtual_server`.

use super::{
    Entry, Flag, Keyword as K, Place,
    entry::{
        Effect::{Acted, Never, NotYet},
        Form, INT, LONG, SHORT, UINT,
    },
    table,
};

table! {
    pub(super) VIRTUAL_SERVER:
    "ip_family" Family, Form::Choice(&["inet", "inet6"]), "the address's, else that of the first real server", Acted,
        "The address family of the clients' packets, for a service of marks";
    "delay_loop" DelayLoop, Form::Timer(1, LONG), "60", Acted,
        "The time from one health check to the next";
    "lb_algo" Scheduler, Form::Own("SCHEDULER"), "wlc", Acted,
        "Who gets the next connection: `rr`, `wrr`, `lc`, `wlc`, `sh`, `dh`, `lblc`, `lblcr`, `sed`, `nq`, `mh`, `fo`, `ovf` or `twos`";
    "lvs_sched" Scheduler, Form::Own("SCHEDULER"), "wlc", Acted, "The same as `lb_algo`";
    "sh-fallback" Flag(Flag::ShFallback), Form::Bare, "off", Acted,
        "Another server takes the place of one that takes no connections; below `lb_algo sh` only";
    "sh-port" Flag(Flag::ShPort), Form::Bare, "off", Acted,
        "The client's port counts as well; below `lb_algo sh` only";
    "mh-fallback" Flag(Flag::MhFallback), Form::Bare, "off", Acted,
        "Another server takes the place of one that takes no connections; below `lb_algo mh` only";
    "mh-port" Flag(Flag::MhPort), Form::Bare, "off", Acted,
        "The client's port counts as well; below `lb_algo mh` only";
    "flag-1" Flag(Flag::First), Form::Bare, "off", Acted, "The scheduler's first flag: fallback of sh and mh";
    "flag-2" Flag(Flag::Second), Form::Bare, "off", Acted, "The scheduler's second flag: port of sh and mh";
    "flag-3" Flag(Flag::Third), Form::Bare, "off", Acted, "The scheduler's third flag, which none reads";
    "hashed" Hashed, Form::Bare, "", Never, "Nothing: kept for old files";
    "lb_kind" Forwarding, Form::Own(METHOD), "NAT", Acted,
        "How packets reach the real servers: NAT and FNAT are balanced, services with DR and TUN left out";
    "lvs_method" Forwarding, Form::Own(METHOD), "NAT", Acted, "The same as `lb_kind`";
    "laddr_group_name" LocalAddresses, Form::Text("NAME"), "the address of the interface towards the server", Acted,
        "With FNAT: the `local_address_group` that connections to the servers come from";
    "persistence_timeout" Persistence, Form::OptionalNumber(1, 2_678_400, "seconds"), "off; 360 without a number", Acted,
        "How long a client stays with its real server";
    "persistent_timeout" PersistenceAlias, Form::OptionalNumber(1, 2_678_400, "seconds"), "off", Acted,
        "`persistence_timeout` in one vendor's spelling; keepalived does not know it";
    "persistence_granularity" Granularity, Form::Own("MASK|LENGTH"), "each address by itself", Acted,
        "Which addresses are one client: a mask for IPv4, a prefix's length from 1 to 128 for IPv6";
    "persistence_engine" PersistenceEngine, Form::Text("NAME"), "", NotYet,
        "What else than its address tells a client, such as `sip`; with `persistence_timeout` only";
    "protocol" Protocol, Form::Choice(&["TCP", "UDP", "SCTP"]), "UDP", Acted,
        "The transport protocol, in any case; services of SCTP are left out, those of marks are for all";
    "ops" OnePacket, Form::Bare, "off", Acted, "Each packet is scheduled by itself; UDP and marks only";
    "alpha" Alpha, Form::Bare, "off", Acted, "Real servers are down until their first check has succeeded";
    "omega" Omega, Form::Bare, "off", Acted, "Run `notify_down` and `quorum_down` at the stop";
    "quorum" Quorum, Form::Number(1, UINT, "weight"), "1", Acted,
        "What the real servers that are up must weigh together, else the sorry server takes their place";
    "hysteresis" Hysteresis, Form::Number(0, UINT, "weight"), "0", Acted,
        "The quorum is gained at so much more and lost at so much less; less than the quorum";
    "quorum_up" QuorumUp, Form::Script, "", Acted, "What runs when the quorum is gained";
    "quorum_down" QuorumDown, Form::Script, "", Acted, "What runs when the quorum is lost";
    "sorry_server" SorryServer, Form::Endpoint, "", Acted, "Takes the clients while the quorum is lost";
    "sorry_server_inhibit" SorryServerInhibit, Form::Bare, "off", Acted,
        "`inhibit_on_failure` of the sorry server; below `sorry_server`";
    "sorry_server_lvs_method" SorryServerMethod, Form::Own(METHOD), "the service's", Acted,
        "How packets reach the sorry server; below `sorry_server`";
    "inhibit_on_failure" Inhibit, Form::Bare, "off", Acted,
        "A server that fails its checks gets weight 0 instead of being taken out";
    "connect_timeout" ConnectTimeout, Form::Timer(1, SHORT), "5", Acted,
        "How long an answer to a check may take";
    "retry" Retry, Form::Number(1, UINT, "number"), "1; DNS_CHECK 3, MISC_CHECK 0", Acted,
        "How often a failed check is tried again before the server is down";
    "delay_before_retry" DelayBeforeRetry, Form::Timer(0, LONG), "1; HTTP_GET, SSL_GET 3, DNS_CHECK `delay_loop`", Acted,
        "The time from one try to the next";
    "warmup" Warmup, Form::Timer(0, LONG), "`delay_loop`", Acted,
        "The first check comes at a random time up to this; 0 for at once";
    "virtualhost" Virtualhost, Form::Text("NAME"), "", Acted, "The `Host:` of HTTP_GET and SSL_GET";
    "ha_suspend" HaSuspend, Form::Bare, "off", Acted,
        "Checks run only while this host has the service's address; not for marks";
    "smtp_alert" SmtpAlert, Form::Flag, "`smtp_alert_checker`, else `smtp_alert` of `global_defs`, else off", NotYet,
        "Tell of quorum gained and lost by mail";
    "snmp_name" SnmpName, Form::Text("NAME"), "", NotYet, "Its name in SNMP";
    "weight" Weight, Form::Number(1, INT, "number"), "1", Acted, "The weight of real servers that have none of their own";
    "real_server" RealServer, Form::Block("ADDRESS [PORT]", Place::RealServer), "", Acted,
        "A server that takes connections; without a port it takes the service's";
}

pub(super) const METHOD: &str =
    "NAT|DR|FNAT|TUN [type ipip|gue port PORT|gre] [nocsum|csum|remcsum]";

table! {
    pub(super) REAL_SERVER:
    "weight" Weight, Form::Number(0, INT, "number"), "that of the service, else 1", Acted,
        "The server's share of the connections; 0 takes no new ones";
    "lvs_method" Forwarding, Form::Own(METHOD), "that of the service", Acted,
        "How packets reach this server; a service that mixes methods is left out";
    "uthreshold" UpperThreshold, Form::Number(0, UINT, "number"), "0", Acted,
        "With so many connections the server takes no new ones; 0 for no bound";
    "lthreshold" LowerThreshold, Form::Number(0, UINT, "number"), "0", Acted,
        "With fewer connections it takes new ones again; 0 for three quarters of `uthreshold`";
    "inhibit_on_failure" Inhibit, Form::Flag, "that of the service", Acted,
        "A server that fails its checks gets weight 0 instead of being taken out";
    "notify_up" NotifyUp, Form::Script, "", Acted, "What runs when the server comes up";
    "notify_down" NotifyDown, Form::Script, "", Acted, "What runs when the server goes down";
    "alpha" Alpha, Form::Flag, "that of the service", Acted, "The server is down until its first check has succeeded";
    "delay_loop" DelayLoop, Form::Timer(1, LONG), "that of the service", Acted,
        "The time from one health check to the next";
    "connect_timeout" ConnectTimeout, Form::Timer(1, SHORT), "that of the service", Acted,
        "How long an answer to a check may take";
    "retry" Retry, Form::Number(1, UINT, "number"), "that of the service", Acted,
        "How often a failed check is tried again before the server is down";
    "delay_before_retry" DelayBeforeRetry, Form::Timer(0, LONG), "that of the service", Acted,
        "The time from one try to the next";
    "warmup" Warmup, Form::Timer(0, LONG), "that of the service", Acted,
        "The first check comes at a random time up to this; 0 for at once";
    "virtualhost" Virtualhost, Form::Text("NAME"), "that of the service", Acted, "The `Host:` of HTTP_GET and SSL_GET";
    "smtp_alert" SmtpAlert, Form::Flag, "`smtp_alert_checker`, else `smtp_alert` of `global_defs`, else on", NotYet,
        "Tell of the server's changes of state by mail";
    "snmp_name" SnmpName, Form::Text("NAME"), "", NotYet, "Its name in SNMP";
    "TCP_CHECK" Checker, Form::Block("", Place::TcpCheck), "", Acted, "A check: a connection can be opened";
    "HTTP_GET" Checker, Form::Block("", Place::HttpGet), "", Acted, "A check: pages are as expected, by HTTP";
    "SSL_GET" Checker, Form::Block("", Place::SslGet), "", Acted, "A check: pages are as expected, by HTTPS";
    "SMTP_CHECK" Checker, Form::Block("", Place::SmtpCheck), "", Acted, "A check: a mail server greets and answers HELO";
    "DNS_CHECK" Checker, Form::Block("", Place::DnsCheck), "", Acted, "A check: a name server answers, by UDP";
    "MISC_CHECK" Checker, Form::Block("", Place::MiscCheck), "", Acted, "A check: a program of yours ends well";
    "UDP_CHECK" Checker, Form::Block("", Place::UdpCheck), "", Acted,
        "A check: a datagram is answered, or at least not refused by ICMP";
    "PING_CHECK" Checker, Form::Block("", Place::PingCheck), "", Acted, "A check: an echo request is answered";
    "BFD_CHECK" Checker, Form::Block("", Place::BfdCheck), "", NotYet, "A check: the state of a BFD session";
    "FILE_CHECK" Checker, Form::Block("", Place::FileCheck), "", Acted, "A check: the number in a file";
}
