//! What the front end makes of configurations, beside what the real keepalived made of them.
//!
//! `keepalived/recorded/NAME.txt` is what keepalived 2.2.7 said about `keepalived/files/NAME.conf`, its own dump of the
//! result, and what it put into IPVS; `keepalived/record.py` recorded that. Here the same file is loaded, and the result
//! is written down in keepalived's own words. What is left out on both sides, and why, is in `keepalived/recording.rs`.

#[path = "keepalived/dump.rs"]
mod dump;
#[path = "keepalived/ipvsadm.rs"]
mod ipvsadm;
#[path = "keepalived/recording.rs"]
mod recording;

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use lvs_userspace::config::{Failure, Loaded, Policy, load, parse, show};

use self::recording::{Recording, differences, sorted};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keepalived/");

/// Where `cargo xtask test` puts what is in Debian's package.
const SAMPLES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../target/keepalived/usr/share/doc/keepalived/samples/");

/// Where we differ on purpose, with the reason.
const OTHERWISE: &[(&str, &str)] = &[
    ("SMTP_CHECK", "2.2.7 mixes `host` blocks up: an address of another, and no time-out"),
    ("persistence-too-long", "a number out of range is an error here; keepalived ignores the line"),
    ("global-defs", "keepalived keeps `checker_log_all_failures` apart; here each checker has it"),
    ("flags-numbered", "the third flag is lost in `ipvsadm -Sn`, which names only two of sh"),
    ("udp-check-all", "2.2.7 refuses the payload, 2.4 does not"),
];

fn is_otherwise(name: &str) -> bool {
    OTHERWISE.iter().any(|(otherwise, _)| *otherwise == name)
}

/// The files in a folder with such an ending, by their names without it.
fn files(folder: &str, ending: &str) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(Path::new(FOLDER).join(folder))? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if let Some(name) = name.as_deref().and_then(|name| name.strip_suffix(ending)) {
            files.insert(name.to_owned(), path.clone());
        }
    }
    Ok(files)
}

fn loaded(path: &Path) -> Result<Loaded, String> {
    load(path, "main", &Policy::default()).map_err(|failure| match failure {
        Failure::Invalid(report) => report.render(false),
        io @ Failure::Io { .. } => io.to_string(),
    })
}

/// How what we make of a file differs from what keepalived made of it.
fn compare(name: &str, file: &Path, recording: &Path) -> io::Result<Vec<String>> {
    let Some(recording) = Recording::parse(&fs::read_to_string(recording)?) else {
        return Ok(vec![format!("{} is no recording", recording.display())]);
    };
    Ok(match loaded(file) {
        Ok(loaded) => {
            let dump = dump::dump(&loaded.config);
            let again = parse(name, &show(&loaded.config), &Policy::default());
            let again = again.map(|again| dump::dump(&again.config)).unwrap_or_default();
            let shown = differences(&format!("{name}, `config show`"), &dump, &again);
            let in_ipvs = sorted(ipvsadm::rules(&loaded.config));
            let dumps = differences(&format!("{name}, dump"), &recording.dump, &dump);
            let rules = differences(&format!("{name}, ipvsadm"), &recording.ipvsadm, &in_ipvs);
            dumps.into_iter().chain(rules).chain(shown).collect()
        }
        Err(shown) => vec![format!("{name} does not load:\n{shown}")],
    })
}

#[test]
fn every_file_has_a_recording() {
    let (files, recorded) = (files("files", ".conf").unwrap(), files("recorded", ".txt").unwrap());
    assert!(files.keys().eq(recorded.keys()), "{:?}\n{:?}", files.keys(), recorded.keys());
    assert!(files.len() >= 60, "only {}", files.len());
}

#[test]
fn the_result_is_keepalived_s() {
    let mut wrong = Vec::new();
    for (name, recording) in files("recorded", ".txt").unwrap() {
        if !is_otherwise(&name) {
            let file = Path::new(FOLDER).join("files").join(format!("{name}.conf"));
            wrong.extend(compare(&name, &file, &recording).unwrap());
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// The samples are keepalived's and not in this repository; what it made of them is.
#[test]
fn the_samples_of_keepalived_load_and_mean_the_same() {
    if !Path::new(SAMPLES).exists() {
        assert!(env::var_os("CI").is_none(), "{SAMPLES} is not there; `cargo xtask test` gets it");
        eprintln!("SKIP: {SAMPLES} is not there; `cargo xtask test` gets it");
        return;
    }
    let mut wrong = Vec::new();
    for (name, recording) in files("samples", ".txt").unwrap() {
        if !is_otherwise(&name) {
            let file = Path::new(SAMPLES).join(format!("keepalived.conf.{name}"));
            wrong.extend(compare(&name, &file, &recording).unwrap());
        }
    }
    let samples = fs::read_dir(SAMPLES).unwrap().map(|entry| entry.unwrap().path());
    for sample in samples.filter(|path| path.to_string_lossy().contains("keepalived.conf.")) {
        wrong.extend(loaded(&sample).err());
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}
