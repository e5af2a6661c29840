//! The kernel, and what this process may ask of it.

use crate::doctor::{
    facts::{Facts, Kernel},
    finding::Finding,
};

/// What the programs were made for.
const NEEDED: (u32, u32) = (6, 1);

/// What brought tcx.
const TCX: (u32, u32) = (6, 6);

/// What the tables take with the default of `--max-connections`, and something for the program itself.
const MEMORY: u64 = 768 << 20;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let kernel = &facts.kernel;
    let mut findings = version(kernel);
    findings.extend(btf(kernel));
    findings.extend(jit(kernel));
    findings.extend(capabilities(facts));
    findings.extend(programs(facts));
    findings.extend(bpffs(facts));
    findings.extend(memory(kernel));
    findings
}

/// The first two numbers of a release.
fn numbers(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn version(kernel: &Kernel) -> Vec<Finding> {
    let release = &kernel.release;
    let Some(version) = numbers(release) else { return Vec::new() };
    if version < NEEDED {
        let found = format!("Linux {release}, and 6.1 or newer is needed");
        return vec![
            Finding::problem("kernel-version", found)
                .why("Older kernels lack what the programs call, or refuse them.")
                .look("uname -r"),
        ];
    }
    let mut findings = vec![Finding::ok("kernel-version", format!("Linux {release}"))];
    if version < TCX {
        findings.push(
            Finding::notice("tcx", format!("Linux {release} has no tcx, which came with 6.6")).why(
                "In mode tc a filter at clsact is used, which stays when xlvs is killed and is exchanged with a moment \
                 in between.",
            ),
        );
    }
    findings
}

fn btf(kernel: &Kernel) -> Option<Finding> {
    let why = "Maps are made with their types, by which bpftool shows them; without BTF the kernel may refuse that.";
    (!kernel.btf).then(|| {
        Finding::warning("kernel-btf", "no /sys/kernel/btf/vmlinux")
            .why(why)
            .look("grep CONFIG_DEBUG_INFO_BTF /boot/config-$(uname -r)")
    })
}

fn jit(kernel: &Kernel) -> Option<Finding> {
    (kernel.jit.as_deref() == Some("0")).then(|| {
        Finding::warning("bpf-jit", "net.core.bpf_jit_enable is 0")
            .why(
                "The kernel interprets the programs, and every packet takes several times as long.",
            )
            .mend("sysctl -w net.core.bpf_jit_enable=1")
    })
}

fn capabilities(facts: &Facts) -> Option<Finding> {
    let kernel = &facts.kernel;
    if kernel.missing.is_empty() {
        return None;
    }
    let names: Vec<&str> = kernel.missing.iter().map(|(name, _)| name.as_str()).collect();
    let what = kernel.missing.iter().map(|(name, what)| format!("{name} {what}"));
    let found = format!("this user lacks {}", names.join(", "));
    let why = format!("`xlvs run` needs {}.", what.collect::<Vec<_>>().join(", "));
    Some(
        Finding::problem("capabilities", found)
            .why(why)
            .mend(format!("sudo {}", facts.doctor_command())),
    )
}

fn programs(facts: &Facts) -> Option<Finding> {
    let kernel = &facts.kernel;
    Some(match kernel.programs.as_ref()? {
        Ok(()) => Finding::ok(
            "bpf-programs",
            format!("the kernel takes the maps and the programs of {}", facts.expected_mode()),
        ),
        Err(reason) => {
            let lockdown = kernel.lockdown.as_ref();
            let lockdown = lockdown.map(|what| format!(" (kernel lockdown: {what})"));
            Finding::problem("bpf-programs", reason.clone())
                .about(format!("Linux {}{}", kernel.release, lockdown.unwrap_or_default()))
                .why("Without them nothing is balanced.")
        }
    })
}

fn bpffs(facts: &Facts) -> Option<Finding> {
    let directory = facts.state.pin_dir.display();
    if facts.state.survey.bpffs {
        return Some(Finding::ok("bpffs", format!("{directory} is on a bpffs")));
    }
    facts.state.survey.looked_at.then(|| {
        let system = facts.state.pin_dir.starts_with("/sys/fs/bpf");
        let point = if system { "/sys/fs/bpf".to_owned() } else { directory.to_string() };
        let make = if system { String::new() } else { format!("mkdir -p {point} && ") };
        Finding::notice("bpffs", format!("no bpffs is mounted at {point}"))
            .why("`xlvs run` mounts one, for which it takes CAP_SYS_ADMIN.")
            .mend(format!("{make}mount -t bpf bpf {point}"))
    })
}

fn memory(kernel: &Kernel) -> Option<Finding> {
    let (bytes, group) = kernel.memory.as_ref().filter(|(bytes, _)| *bytes < MEMORY)?;
    let found = format!("the control group {group} may use {} MiB", bytes >> 20);
    Some(
        Finding::warning("memory-limit", found)
            .about(group.clone())
            .why(
                "The tables count as its memory; with 1,000,000 connections of each family they take up to 700 MiB, \
                 and new connections are refused when there is no more.",
            )
            .look(format!("cat /sys/fs/cgroup{group}/memory.max")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        finding::Severity,
        rules::{one, said},
    };

    #[test]
    fn old_kernels_are_told_apart() {
        for (release, name) in [
            ("5.15.0-91-generic", Some("kernel-version")),
            ("6.0.9", Some("kernel-version")),
            ("6.1.0-30-amd64", Some("tcx")),
            ("6.6", None),
            ("10.2.1", None),
        ] {
            let findings = said(check, |facts| facts.kernel.release = release.to_owned());
            assert_eq!(findings.first().map(|finding| finding.name), name, "{release}");
        }
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let (name, _, _) = one(check, |facts| facts.kernel.btf = false);
        assert_eq!(name, "kernel-btf");
        let found = one(check, |facts| facts.kernel.jit = Some("0".to_owned()));
        let command = "sysctl -w net.core.bpf_jit_enable=1".to_owned();
        assert_eq!(found, ("bpf-jit", Severity::Warning, command));
        let findings = said(check, |facts| {
            facts.kernel.programs = Some(Err("the verifier refused xlvs".to_owned()));
            facts.kernel.lockdown = Some("confidentiality".to_owned());
        });
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((finding.name, finding.severity), ("bpf-programs", Severity::Problem));
        assert!(finding.about.as_ref().unwrap().contains("confidentiality"));
    }

    #[test]
    fn missing_capabilities_are_named_with_their_purpose() {
        let findings = said(check, |facts| {
            facts.kernel.missing = vec![("CAP_BPF".to_owned(), "to load the BPF program")];
        });
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.found.contains("CAP_BPF") && finding.why.contains("to load"));
    }

    #[test]
    fn a_bpffs_that_is_missing_is_mounted_where_it_belongs() {
        for (pin_dir, command) in [
            ("/sys/fs/bpf/xlvs", "mount -t bpf bpf /sys/fs/bpf"),
            ("/run/pins", "mkdir -p /run/pins && mount -t bpf bpf /run/pins"),
        ] {
            let found = one(check, |facts| {
                facts.state.pin_dir = pin_dir.into();
                facts.state.survey.bpffs = false;
                facts.state.survey.looked_at = true;
            });
            assert_eq!(found, ("bpffs", Severity::Notice, command.to_owned()));
        }
    }

    #[test]
    fn little_memory_is_a_warning() {
        let limit = |bytes| Some((bytes, "/system.slice/xlvs.service".to_owned()));
        let (name, severity, _) = one(check, |facts| facts.kernel.memory = limit(100 << 20));
        assert_eq!((name, severity), ("memory-limit", Severity::Warning));
        assert!(said(check, |facts| facts.kernel.memory = limit(4 << 30)).is_empty());
    }
}
