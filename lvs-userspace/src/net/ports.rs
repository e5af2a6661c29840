//! The ports that full NAT can take: from 1,024 on, apart from those that the host itself uses; and those that are for
//! some only.

use std::{fs, io, ops::RangeInclusive};

use anyhow::{Context as _, anyhow};

const FOLDER: &str = "/proc/sys/net/ipv4";

/// The ports that are neither in the range from which the host takes its own (`ip_local_port_range`) nor reserved for
/// its services (`ip_local_reserved_ports`); both hold for IPv6 too.
pub(crate) fn for_full_nat() -> anyhow::Result<Vec<u16>> {
    let ephemeral = read("ip_local_port_range")?;
    let reserved = read("ip_local_reserved_ports")?;
    free(&ephemeral, &reserved)
}

/// The first port that a process may bind to without `CAP_NET_BIND_SERVICE`; this holds for IPv6 too.
pub(crate) fn first_unprivileged() -> u16 {
    let start = read("ip_unprivileged_port_start").unwrap_or_default();
    start.trim().parse().unwrap_or(1024)
}

fn read(name: &str) -> anyhow::Result<String> {
    let path = format!("{FOLDER}/{name}");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result.with_context(|| format!("cannot read {path}")),
    }
}

fn free(ephemeral: &str, reserved: &str) -> anyhow::Result<Vec<u16>> {
    let mut taken = Vec::new();
    if let Some((low, high)) = ephemeral.trim().split_once(char::is_whitespace) {
        taken.push(range(low, high.trim())?);
    }
    for part in reserved.trim().split(',').filter(|part| !part.is_empty()) {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        taken.push(range(low, high)?);
    }
    Ok((1024..=u16::MAX).filter(|port| !taken.iter().any(|range| range.contains(port))).collect())
}

fn range(low: &str, high: &str) -> anyhow::Result<RangeInclusive<u16>> {
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) => Ok(low..=high),
        _ => Err(anyhow!("`{low}` to `{high}` is no range of ports")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_uses_is_left_out() {
        let ports = free("32768\t60999\n", "8080,9000-9009\n").unwrap();
        assert_eq!(ports.len(), 65536 - 1024 - (60999 - 32768 + 1) - 11);
        for (port, free) in [(1023, false), (1024, true), (8080, false), (8081, true)] {
            assert_eq!(ports.contains(&port), free, "{port}");
        }
        assert!(!ports.contains(&9005) && !ports.contains(&60999) && ports.contains(&61000));
    }

    #[test]
    fn nothing_reserved_and_nothing_said_leaves_all() {
        assert_eq!(free("", "\n").unwrap().len(), 65536 - 1024);
        assert!(free("a b", "").is_err());
    }
}
