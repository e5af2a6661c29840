//! Who is told of changes, and what that waits for.

use std::{io::Read as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf, time::Instant};

use super::{hang::Hang, *};
use crate::config::FlushOnStop;

/// Opens a FIFO.
fn reader(path: &Path) -> fs::File {
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path).unwrap()
}

/// The lines of a file.
fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn changes_are_told_to_scripts_and_fifos() {
    let folder = TempDir::new().unwrap();
    let (program, log) = writer(folder.path());
    let fifo = folder.path().join("fifo");
    let mut peer = Peer::new().await;
    let mut config = config(vec![service(1, vec![peer.server(1)])]);
    config.global = Global {
        lvs_notify_fifo: Some(NotifyFifo { path: fifo.clone(), owner: None, script: None }),
        ..Global::default()
    };
    let watched = &mut config.services[0];
    watched.omega = true;
    watched.quorum.up = Some(script(&[&program, "quorum", "up"]));
    watched.quorum.down = Some(script(&[&program, "quorum", "down"]));
    Arc::make_mut(&mut watched.real_servers)[0].notify_up =
        Some(script(&[&program, "server up", "1"]).into());
    Arc::make_mut(&mut watched.real_servers)[0].notify_down =
        Some(script(&[&program, "server down", "1"]).into());
    let mut health = start(&config);
    let reader = std::os::unix::fs::OpenOptionsExt::custom_flags(
        fs::OpenOptions::new().read(true),
        nix::fcntl::OFlag::O_NONBLOCK.bits(),
    )
    .open(&fifo)
    .unwrap();
    let lines = |count: usize| {
        let log = log.clone();
        move || fs::read_to_string(&log).unwrap_or_default().lines().count() >= count
    };
    until_true(&mut health, lines(1)).await;
    peer.die().await;
    until(&mut health, &config, 0, "").await;
    until_true(&mut health, lines(3)).await;
    peer.live();
    until_true(&mut health, lines(5)).await;
    health.stop().await;
    // Started in this order; each takes its own time.
    let mut told: Vec<String> =
        fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(told.len(), 7, "{told:?}");
    for pair in [1..3, 3..5, 5..7] {
        told[pair].sort();
    }
    assert_eq!(
        told,
        [
            "quorum up",
            "quorum down",
            "server down 1",
            "quorum up",
            "server up 1",
            "quorum down",
            "server down 1"
        ]
    );
    let mut text = [0; 4096];
    let length = std::io::Read::read(&mut &reader, &mut text).unwrap();
    let rs = format!("RS [127.0.0.1]:tcp:{} [192.0.2.1]:tcp:80", peer.address.port());
    let vs = "VS [192.0.2.1]:tcp:80";
    let wanted = format!("{vs} UP\n{rs} DOWN\n{vs} DOWN\n{rs} UP\n{vs} UP\n{rs} DOWN\n{vs} DOWN\n");
    assert_eq!(String::from_utf8_lossy(&text[..length]), wanted);
}

#[tokio::test]
async fn a_program_that_does_not_start_holds_up_nobody() {
    let (hanging, well) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (dead, late) = writer(hanging.path());
    let (program, log) = writer(well.path());
    let fifo = well.path().join("fifo");
    let mut peer = Peer::new().await;
    let mut config = config(vec![service(1, vec![peer.server(1)])]);
    let to = NotifyFifo { path: fifo.clone(), owner: None, script: None };
    config.global.notify_fifo = Some(to);
    let watched = &mut config.services[0];
    watched.quorum.up = Some(script(&[&program, "up"]));
    watched.quorum.down = Some(script(&[&program, "down"]));
    let server = &mut Arc::make_mut(&mut watched.real_servers)[0];
    server.notify_up = Some(script(&[&dead, "up"]).into());
    server.notify_down = Some(script(&[&dead, "down"]).into());
    let mut health = start(&config);
    let mut fifo = reader(&fifo);
    until_true(&mut health, || lines(&log).len() == 1).await;
    let hang = Hang::new(Path::new(&dead));
    peer.die().await;
    until_true(&mut health, || lines(&log).len() == 2).await;
    peer.live();
    until_true(&mut health, || lines(&log).len() == 3).await;
    assert_eq!(lines(&log), ["up", "down", "up"]);
    let mut text = [0; 4096];
    let length = fifo.read(&mut text).unwrap();
    assert_eq!(String::from_utf8_lossy(&text[..length]).lines().count(), 5);
    assert!(!late.exists());
    // They are started after all.
    drop(hang);
    until_true(&mut health, || lines(&late).len() == 2).await;
    let hang = Hang::new(Path::new(&dead));
    peer.die().await;
    until_true(&mut health, || lines(&log).len() == 4).await;
    let stop = Instant::now();
    health.stop().await;
    assert!(stop.elapsed() < Duration::from_secs(5), "{:?}", stop.elapsed());
    drop(hang);
}

/// A program that writes what it reads from a FIFO to a file, and that it began and ended.
fn copier(folder: &Path) -> (Script, PathBuf) {
    let log = folder.join("copy");
    let line = format!("exec >> {}; echo begin; cat < $0; echo end", log.display());
    (script(&["/bin/sh", "-c", &line]), log)
}

#[tokio::test]
async fn who_reads_a_fifo_goes_on_over_a_reload_and_sees_its_end() {
    let folder = TempDir::new().unwrap();
    let (copier, log) = copier(folder.path());
    let mut peer = Peer::new().await;
    let mut config = config(vec![service(1, vec![peer.server(1)])]);
    config.services[0].omega = true;
    let at = |name: &str| folder.path().join(name);
    let fifo =
        |name: &str| NotifyFifo { path: at(name), owner: None, script: Some(copier.clone()) };
    config.global.notify_fifo = Some(fifo("one"));
    let mut health = start(&config);
    until_true(&mut health, || lines(&log).len() == 2).await;
    // Something else has changed.
    config.global.lvs_flush_on_stop = Some(FlushOnStop::All);
    health.reload(&config, &BTreeSet::new());
    peer.die().await;
    until_true(&mut health, || lines(&log).len() == 4).await;
    assert!(
        lines(&log)[3].ends_with("DOWN") && lines(&log)[1..].iter().all(|line| line != "begin")
    );
    // The same one in another place.
    config.global.notify_fifo = Some(fifo("two"));
    health.reload(&config, &BTreeSet::new());
    until_true(&mut health, || lines(&log).len() == 6).await;
    assert!(lines(&log)[4..].contains(&"end".to_owned()) && !at("one").exists());
    peer.live();
    until_true(&mut health, || lines(&log).len() == 8).await;
    health.stop().await;
    assert_eq!(lines(&log)[8..], ["VS [192.0.2.1]:tcp:80 DOWN", "end"]);
    assert!(!at("two").exists());
}

#[tokio::test]
async fn a_reader_that_has_ended_is_started_by_a_reload() {
    let folder = TempDir::new().unwrap();
    let (mut copier, log) = copier(folder.path());
    let one_line = copier.command[2].replace("cat <", "head -n 1 <");
    copier.command[2] = one_line;
    let mut peer = Peer::new().await;
    let mut config = config(vec![service(1, vec![peer.server(1)])]);
    let path = folder.path().join("fifo");
    config.global.notify_fifo = Some(NotifyFifo { path, owner: None, script: Some(copier) });
    let mut health = start(&config);
    until_true(&mut health, || lines(&log).len() == 3).await;
    let again = || {
        let begun = lines(&log).iter().filter(|line| *line == "begin").count();
        begun == 2
    };
    let started = async {
        while !again() {
            health.reload(&config, &BTreeSet::new());
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(LIMIT, started).await.is_ok(), "it was not started again");
    peer.die().await;
    until_true(&mut health, || lines(&log).len() == 6).await;
}

#[tokio::test]
async fn a_script_that_fails_is_warned_of_with_what_it_was_told() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    let writer = std::sync::Mutex::new(fs::File::create(&log).unwrap());
    let log_to_it = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    let _logs = tracing::subscriber::set_default(log_to_it);
    let mut peer = Peer::new().await;
    let mut config = config(vec![service(1, vec![peer.server(1)])]);
    Arc::make_mut(&mut config.services[0].real_servers)[0].notify_down =
        Some(script(&["/bin/sh", "-c", "exit 2"]).into());
    let mut health = start(&config);
    peer.die().await;
    let wanted = format!(
        "/bin/sh, told that real server {} of 192.0.2.1:80/TCP is down: exit status: 2",
        peer.address
    );
    let is_told = |line: &String| line.contains("WARN") && line.ends_with(&wanted);
    until_true(&mut health, || lines(&log).iter().any(is_told)).await;
}
