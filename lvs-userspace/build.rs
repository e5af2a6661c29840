//! Finds the BPF object that `cargo xtask build-ebpf` has put under the target folder and embeds it. Without
//! one the crate still builds, and `xlvs run` says what is missing. Packagers can name a prebuilt
//! object in the environment variable `XLVS_BPF_OBJECT`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(xlvs_bpf_object)");
    println!("cargo::rerun-if-env-changed=XLVS_BPF_OBJECT");
    let object = match env::var_os("XLVS_BPF_OBJECT") {
        Some(path) => Some(PathBuf::from(path)),
        None => in_target_folder(),
    };
    if let Some(object) = object {
        println!("cargo::rerun-if-changed={}", object.display());
        println!("cargo::rustc-cfg=xlvs_bpf_object");
        println!("cargo::rustc-env=XLVS_BPF_OBJECT_PATH={}", object.display());
    } else if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::warning=no BPF object: this xlvs will not run; `cargo xtask build-ebpf`");
    }
}

/// `<target>/bpf/lvs-ebpf.o`, found from the output folder `<target>/[<triple>/]<profile>/build/<crate>/out`.
/// The folder is made, so that cargo can watch it for an object that comes later.
fn in_target_folder() -> Option<PathBuf> {
    let out = env::var_os("OUT_DIR")?;
    let mut folders = Path::new(&out).ancestors().skip(4);
    let mut target = folders.next()?;
    // With `--target` there is a folder named after the triple in between.
    if target.file_name() == env::var_os("TARGET").as_deref() {
        target = folders.next()?;
    }
    let folder = target.join("bpf");
    fs::create_dir_all(&folder).ok()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let object = folder.join("lvs-ebpf.o");
    object.exists().then_some(object)
}
