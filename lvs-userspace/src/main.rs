//! The command `xlvs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lvs_userspace::cli::main()
}
