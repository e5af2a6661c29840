//! The keywords of the checkers' blocks.

use super::{
    Entry, Keyword as K, Place,
    entry::{
        Effect::{Acted, NotYet},
        Form, INT, LONG, SHORT, UINT,
    },
    table,
};

table! {
    /// Of all that ask at times.
    pub(super) SCHEDULE:
    "delay_loop" DelayLoop, Form::Timer(1, LONG), "that of the real server", Acted, "The time from one check to the next";
    "retry" Retry, Form::Number(0, UINT, "number"), "that of the real server", Acted,
        "How often a failed check is tried again before the server is down";
    "delay_before_retry" DelayBeforeRetry, Form::Timer(0, LONG), "that of the real server", Acted,
        "The time from one try to the next";
    "warmup" Warmup, Form::Timer(0, LONG), "that of the real server", Acted,
        "The first check comes at a random time up to this; 0 for at once";
    "alpha" Alpha, Form::Flag, "that of the real server", Acted,
        "The server is down until this check has succeeded once";
    "log_all_failures" LogAllFailures, Form::Flag, "`checker_log_all_failures`", Acted,
        "Log each failure, not just the one that takes the server down";
}

table! {
    /// Of all that send something.
    pub(super) CONNECTION:
    "connect_ip" ConnectIp, Form::Address, "the real server's address", Acted, "Whom to ask";
    "connect_port" ConnectPort, Form::Port, "the real server's port", Acted, "Where to ask";
    "bindto" BindTo, Form::Address, "", Acted, "The source address, of the same family";
    "bind_port" BindPort, Form::Port, "", Acted, "The source port";
    "bind_if" BindIf, Form::Text("INTERFACE"), "", Acted, "The interface to send from";
    "connect_timeout" ConnectTimeout, Form::Timer(1, SHORT), "that of the real server", Acted,
        "How long an answer may take";
    "fwmark" SocketMark, Form::Number(0, UINT, "mark"), "0", Acted, "The firewall mark of the packets sent";
}

table! {
    pub(super) HTTP:
    "url" Url, Form::Block("", Place::Url), "", Acted, "A page to ask for; at least one";
    "nb_get_retry" NbGetRetry, Form::Number(0, UINT, "number"), "", Acted, "`retry` in an old spelling";
    "virtualhost" Virtualhost, Form::Text("NAME"), "that of the real server", Acted, "The `Host:` of the requests";
    "http_protocol" HttpProtocol, Form::Choice(&["1.0", "1.0C", "1.1"]), "1.0", Acted,
        "The version of the requests; C adds `Connection: close`";
    "enable_sni" EnableSni, Form::Flag, "off", Acted, "Name the host in the TLS handshake";
    "sni_name" SniName, Form::OptionalText("NAME"), "the `Host:`", Acted, "Which host to name; sets `enable_sni`";
    "fast_recovery" FastRecovery, Form::Flag, "off", Acted,
        "After a failure ask for all pages at once, not for one with each `delay_loop`";
}

table! {
    pub(super) TLS:
    "tls_compliant" TlsCompliant, Form::Flag, "off", Acted, "The server must end TLS properly";
}

table! {
    pub(super) URL:
    "path" Path, Form::Text("PATH"), "", Acted, "Path and query of the page; needed";
    "digest" Digest, Form::Text("MD5"), "", Acted, "The MD5 sum of the page, in 32 hexadecimal digits (`genhash`)";
    "status_code" StatusCode, Form::Own("CODE[-CODE]…"), "200-299", Acted,
        "The status codes that are well: numbers and ranges from 100 to 599";
    "virtualhost" Virtualhost, Form::Text("NAME"), "that of the checker", Acted, "The `Host:` of the request";
    "regex" Regex, Form::Quoted("EXPRESSION"), "", Acted, "What the page must contain (PCRE)";
    "regex_no_match" RegexNoMatch, Form::Bare, "off", Acted, "The page must not contain that";
    "regex_options" RegexOptions, Form::Own("OPTION…"), "", Acted,
        "PCRE's options, such as `caseless`, `multiline`, `dotall`, `extended`";
    "regex_min_offset" RegexMinOffset, Form::Number(0, INT, "bytes"), "0", Acted, "Where a match may begin at the earliest";
    "regex_max_offset" RegexMaxOffset, Form::Number(0, INT, "bytes"), "", Acted, "Where it may begin at the latest";
    "regex_stack" RegexStack, Form::Own("START MOST"), "", NotYet, "The stack of PCRE's JIT at the start and at most, in bytes";
    "tls_compliant" TlsCompliant, Form::Flag, "that of the checker", Acted, "The server must end TLS properly; SSL_GET only";
}

table! {
    pub(super) SMTP:
    "helo_name" HeloName, Form::Text("NAME"), "smtpchecker.keepalived.org", Acted, "What to call oneself in HELO";
    "host" Host, Form::Block("", Place::SmtpHost), "", Acted, "Whom to ask instead of the real server, in an old spelling";
}

table! {
    pub(super) DNS:
    "type" RecordType,
        Form::Choice(&["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"]), "SOA", Acted,
        "What to ask for, in any case";
    "name" RecordName, Form::Text("NAME"), ".", Acted, "The name to ask about";
}

table! {
    pub(super) MISC:
    "misc_path" MiscPath, Form::Command, "", Acted, "The program with its arguments; needed";
    "misc_timeout" MiscTimeout, Form::Number(0, 4_294, "seconds"), "`delay_loop` of the service", Acted,
        "How long it may run";
    "misc_dynamic" MiscDynamic, Form::Bare, "off", Acted, "An exit code above 1 is the server's weight plus 2";
    "user" User, Form::User, "`script_user`", Acted, "As whom it runs";
}

table! {
    pub(super) UDP:
    "payload" Payload, Form::Own("HEX…"), "", Acted, "What to send";
    "require_reply" RequireReply, Form::Own("[HEX…]"), "off", Acted,
        "There must be an answer, and it must begin so; X stands for any digit";
    "min_reply_length" MinReplyLength, Form::Number(0, 65_535, "bytes"), "0", Acted,
        "How short the answer may be; read with an answer in `require_reply` only";
    "max_reply_length" MaxReplyLength, Form::Number(0, 65_535, "bytes"), "255", Acted,
        "How long the answer may be; read with an answer in `require_reply` only";
}

table! {
    pub(super) BFD:
    "name" BfdName, Form::Text("NAME"), "", NotYet, "The `bfd_instance`; needed";
    "alpha" Alpha, Form::Flag, "that of the real server", NotYet, "The server is down until the session is up";
}

table! {
    pub(super) FILE:
    "track_file" CheckedFile, Form::Text("NAME"), "", Acted, "The name of a `track_file`; needed";
    "weight" FileWeight, Form::Own("NUMBER [reverse|noreverse]"), "that of the `track_file`", Acted,
        "0: the server is up while the file says 0; else so many times what it says is added to the server's weight. -2147483647 to 2147483647";
}
