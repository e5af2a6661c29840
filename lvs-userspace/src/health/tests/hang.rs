//! A program that does not start: what a file on a server that is dead does, by a lease (`F_SETLEASE` in fcntl(2)) that
//! another process has on it. The kernel takes that away after `/proc/sys/fs/lease-break-time`, 45 seconds.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

const HOLD: &str = r#"
use Fcntl;
$SIG{IO} = "IGNORE";
open(my $file, "+<", $ARGV[0]) or die;
fcntl($file, 1024, F_WRLCK) or die "no lease: $!";
$| = 1;
print "held\n";
sleep;
"#;

/// Dropped, the program starts.
pub(in crate::health) struct Hang(Child);

impl Hang {
    /// Has all starts of a program hang from now on.
    pub(in crate::health) fn new(program: &Path) -> Self {
        let mut holder = Command::new("perl");
        holder.args(["-e", HOLD]).arg(program).stdout(Stdio::piped());
        let mut holder = holder.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Self(holder)
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
