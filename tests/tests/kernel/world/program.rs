//! Running a program over a frame.

use anyhow::{Context as _, Result};
use aya::{
    TestRun,
    programs::{TestRunOptions, TestRunResult},
};

use crate::show::show;

/// Which of the two programs runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    pub(crate) const BOTH: [Self; 2] = [Self::Xdp, Self::Tc];
}

/// What the program says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Pass,
    Drop,
    Redirect,
}

/// One run of the program over these bytes: what it returned, and the frame after it.
pub(crate) fn run(
    program: &impl for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
    bytes: &[u8],
) -> Result<(u32, Vec<u8>)> {
    run_in_context(program, bytes, None)
}

/// The same with a context: the bytes of an `__sk_buff`.
pub(crate) fn run_in_context(
    program: &impl for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
    bytes: &[u8],
    context: Option<&[u8]>,
) -> Result<(u32, Vec<u8>)> {
    let mut out = vec![0; bytes.len() + 256];
    let mut options = TestRunOptions::new();
    options.ctx_in = context;
    options.data_in = Some(bytes);
    options.data_out = Some(&mut out);
    let result = program
        .test_run(options)
        .with_context(|| format!("BPF_PROG_TEST_RUN with {}", show(bytes)))?;
    let length = result.data_size_out as usize;
    out.truncate(length);
    Ok((result.return_value, out))
}
