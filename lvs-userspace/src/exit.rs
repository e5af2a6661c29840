//! How a command ends: the error and the exit code that goes with it.

use std::process::ExitCode;

/// Why a command failed, as its exit code tells. 0 is success and 2, wrong usage, is clap's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reason {
    /// It could not be done.
    Failed = 1,
    /// The configuration is invalid.
    Configuration = 3,
    /// The kernel or the permissions lack something.
    Kernel = 4,
}

/// The exit code of `xlvs config diff` when there are differences: that is no failure.
pub(crate) const DIFFERENT: u8 = 5;

impl From<Reason> for ExitCode {
    fn from(reason: Reason) -> Self {
        Self::from(reason as u8)
    }
}

/// An error with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// Something is missing that the kernel or an administrator has to provide.
    pub(crate) fn kernel(error: impl Into<anyhow::Error>) -> Self {
        Self { reason: Reason::Kernel, error: error.into() }
    }

    /// The configuration file cannot be used.
    pub(crate) fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self { reason: Reason::Configuration, error: error.into() }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        self.reason.into()
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { reason: Reason::Failed, error }
    }
}

impl From<crate::bpf::Error> for Failure {
    fn from(error: crate::bpf::Error) -> Self {
        let reason = if error.is_kernel() { Reason::Kernel } else { Reason::Failed };
        Self { reason, error: error.into() }
    }
}
