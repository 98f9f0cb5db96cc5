// SPDX-License-Identifier: CECILL-B
//! Failures of the command, their messages and exit statuses.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use knem::Error;
use nix::errno::Errno;

use crate::style::{Styled, BAD};

/// Why the command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client library returned an error.
    Knem(Error),
    /// The same, with a hint on what the command can do without the driver.
    Hint(Error, &'static str),
    /// The arguments are invalid.
    Usage(String),
    /// The second process of a benchmark failed: its exit status and message.
    Peer(u8, String),
    /// Something else.
    Other(String),
    /// The output has reported it: only the exit status is left.
    Reported(u8),
    /// The reader of the output has closed it.
    OutputClosed,
}

/// General failure.
const FAILURE: u8 = 1;
/// Wrong usage, the same status as clap's.
const USAGE: u8 = 2;

impl Failure {
    /// The exit status, as documented in knem(1).
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Knem(error) | Self::Hint(error, _) => match error {
                Error::NoDevice { .. } => 3,
                Error::Permission { .. } | Error::ClearRefused { errno: Errno::EPERM | Errno::EACCES } => 4,
                Error::WrongAbi { .. } => 5,
                _ => FAILURE,
            },
            Self::Peer(status, _) | Self::Reported(status) => *status,
            Self::Usage(_) => USAGE,
            Self::OutputClosed => 0,
            Self::Other(_) => FAILURE,
        }
    }

    /// Prints the message to standard error and returns the exit status.
    pub(crate) fn report(self) -> ExitCode {
        if !matches!(self, Self::OutputClosed | Self::Reported(_)) {
            // If stderr cannot be written, nothing is left to report to.
            let _ = writeln!(anstream::stderr(), "{} {self}", Styled(BAD, "knem:"));
        }
        ExitCode::from(self.status())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Knem(error) => error.fmt(f),
            Self::Hint(error, hint) => write!(f, "{error}; {hint}"),
            Self::Usage(sentence) | Self::Other(sentence) => f.write_str(sentence),
            Self::Peer(_, sentence) => write!(f, "the second process: {sentence}"),
            Self::Reported(status) => write!(f, "status {status}"),
            Self::OutputClosed => f.write_str("the output was closed"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Knem(error)
    }
}

/// Output errors: a closed pipe is no failure, everything else is.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::Other(format!("cannot write the output: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use knem::Obstacle;

    #[test]
    fn statuses_are_those_of_the_manual_page() {
        let path = std::path::PathBuf::from("/dev/knem");
        let no_device = Error::NoDevice { path: path.clone(), obstacle: Obstacle::NoModule };
        let denied = Error::Permission { path, obstacle: Obstacle::StaleGroups { group: "rdma".to_owned() } };
        let status = |error| Failure::Knem(error).status();
        let hint = Failure::Hint(Error::WrongAbi { driver: 1 }, "or so");
        assert!(hint.status() == 5 && hint.to_string().ends_with("; or so"));
        assert_eq!(status(no_device), 3);
        assert_eq!(status(denied), 4);
        assert_eq!(status(Error::ClearRefused { errno: Errno::EPERM }), 4);
        assert_eq!(status(Error::ClearRefused { errno: Errno::EACCES }), 4);
        assert_eq!(status(Error::WrongAbi { driver: 1 }), 5);
        assert_eq!(status(Error::CopyFailed), 1);
        assert_eq!(Failure::Usage(String::new()).status(), 2);
        assert_eq!(Failure::Peer(4, String::new()).status(), 4);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).status(), 0);
    }
}
