//! End to end: the `xlvs` binary between real clients and real servers in network namespaces.
//!
//! Needs root and the binary (`cargo xtask test` builds it first); `XLVS_BIN` names another one.

mod netns {
    mod harness;
    mod maps;
    mod modes;
    mod neighbours;
    mod other_traffic;
    mod refusals;
    mod requests;
    mod shutdown;
    mod support;
    mod transfers;
}
