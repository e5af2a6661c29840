//! Track files, which `FILE_CHECK` follows.

use std::os::unix::fs::symlink;

use super::*;

/// A track file that the `FILE_CHECK` of a server follows, which it takes down by anything but 0.
fn tracked(name: &str, path: &Path) -> (TrackFile, Check) {
    let check = FileCheck { track_file: name.to_owned(), weight: 0, reverse: false };
    let file = TrackFile {
        name: name.to_owned(),
        path: path.to_owned(),
        weight: 0,
        reverse: false,
        initial: None,
        line: 1,
    };
    (file, Check::File(check))
}

/// A service whose servers follow track files, one each, with ports from 1 on.
fn following(files: Vec<TrackFile>, checks: Vec<Check>, weight: u32) -> Config {
    let server = |(port, check)| {
        with(check, RealServer { port, ..real_server(Ipv4Addr::LOCALHOST, weight) })
    };
    let servers = (1..).zip(checks).map(server).collect();
    Config { track_files: files, ..config(vec![service(1, servers)]) }
}

#[tokio::test]
async fn a_file_is_followed_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("track");
    let (file, by_itself) = tracked("t", &path);
    let weighted = FileCheck { track_file: "t".to_owned(), weight: 3, reverse: false };
    let initial = Some(InitialValue { value: 2, overwrite: false });
    let checks = vec![by_itself, Check::File(weighted)];
    let config = following(vec![TrackFile { initial, ..file }], checks, 10);
    let mut health = start(&config);
    assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
    assert_eq!(pool(&config, health.state(), 0), "2*16");
    fs::write(&path, "-1").unwrap();
    until(&mut health, &config, 0, "2*7").await;
    let new = folder.path().join("new");
    fs::write(&new, "0").unwrap();
    fs::rename(&new, &path).unwrap();
    until(&mut health, &config, 0, "2*10 1*10").await;
    fs::write(&path, "-800000000").unwrap();
    until(&mut health, &config, 0, "").await;
    // Nothing is as good as 0.
    fs::remove_file(&path).unwrap();
    until(&mut health, &config, 0, "1*10 2*10").await;
    // A reload reads it again, and follows it still.
    fs::write(&path, "1").unwrap();
    health.reload(&config, &BTreeSet::new());
    assert_eq!(pool(&config, health.state(), 0), "2*13");
    fs::write(&path, "0").unwrap();
    until(&mut health, &config, 0, "2*10 1*10").await;
}

#[tokio::test]
async fn files_are_followed_by_any_name_of_their_folder() {
    let root = TempDir::new().unwrap();
    let (folder, other) = (root.path().join("run"), root.path().join("var"));
    fs::create_dir(&folder).unwrap();
    symlink(&folder, &other).unwrap();
    let (one, first) = tracked("one", &other.join("one"));
    let (two, second) = tracked("two", &folder.join("two"));
    let (three, third) = tracked("three", &other.join("three"));
    let config = following(vec![one, two, three], vec![first, second, third], 1);
    let mut health = start(&config);
    for (name, wanted) in [("one", "2*1 3*1"), ("two", "3*1"), ("three", "")] {
        fs::write(folder.join(name), "1").unwrap();
        until(&mut health, &config, 0, wanted).await;
    }
}

#[tokio::test]
async fn a_file_is_followed_where_links_lead_and_when_they_lead_elsewhere() {
    let root = TempDir::new().unwrap();
    let path = |name: &str| root.path().join(name);
    for (name, number) in [("old", "0"), ("new", "1")] {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("file"), number).unwrap();
    }
    symlink("old", path("now")).unwrap();
    fs::create_dir(path("etc")).unwrap();
    symlink(path("now/file"), path("etc/track")).unwrap();
    let (file, check) = tracked("t", &path("etc/track"));
    let config = following(vec![file], vec![check], 1);
    let mut health = start(&config);
    let up = pool(&config, health.state(), 0);
    // What it leads to is written.
    fs::write(path("old/file"), "1").unwrap();
    until(&mut health, &config, 0, "").await;
    fs::write(path("old/file"), "0").unwrap();
    until(&mut health, &config, 0, &up).await;
    // A folder on the way is another one, in one go.
    symlink("new", path("next")).unwrap();
    fs::rename(path("next"), path("now")).unwrap();
    until(&mut health, &config, 0, "").await;
    fs::write(path("new/file"), "0").unwrap();
    until(&mut health, &config, 0, &up).await;
    // The link itself is made anew.
    fs::write(path("other"), "7").unwrap();
    fs::remove_file(path("etc/track")).unwrap();
    symlink(path("other"), path("etc/track")).unwrap();
    until(&mut health, &config, 0, "").await;
    fs::write(path("other"), "0").unwrap();
    until(&mut health, &config, 0, &up).await;
}

#[tokio::test]
async fn a_file_is_followed_where_its_folder_goes_and_comes() {
    let root = TempDir::new().unwrap();
    let path = |name: &str| root.path().join(name);
    // Not there yet.
    let (file, check) = tracked("t", &path("link/file"));
    let config = following(vec![file], vec![check], 1);
    let mut health = start(&config);
    let up = pool(&config, health.state(), 0);
    let make = |name: &str, number: &str| {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("file"), number).unwrap();
    };
    make("one", "1");
    symlink("one", path("link")).unwrap();
    until(&mut health, &config, 0, "").await;
    // The link goes and comes, to the same folder.
    fs::remove_file(path("link")).unwrap();
    until(&mut health, &config, 0, &up).await;
    symlink("one", path("link")).unwrap();
    until(&mut health, &config, 0, "").await;
    fs::write(path("one/file"), "0").unwrap();
    until(&mut health, &config, 0, &up).await;
    // The folder is another one of the same name.
    fs::rename(path("one"), path("away")).unwrap();
    make("one", "1");
    until(&mut health, &config, 0, "").await;
    fs::remove_dir_all(path("one")).unwrap();
    until(&mut health, &config, 0, &up).await;
    make("one", "1");
    until(&mut health, &config, 0, "").await;
    fs::write(path("one/file"), "0").unwrap();
    until(&mut health, &config, 0, &up).await;
}
