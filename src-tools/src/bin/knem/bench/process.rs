// SPDX-License-Identifier: CECILL-B
//! The second process, as a child of the first.

use std::io::BufReader;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::Signal;
use nix::unistd::{getppid, Pid};

use super::protocol::Line;
use super::shared::Shared;
use crate::exit::Failure;

/// The second process. It ends when the first one does, even if that is killed.
pub(crate) struct Process {
    /// Connection to it.
    pub(crate) line: Line<BufReader<ChildStdout>, ChildStdin>,
    child: Child,
}

impl Process {
    /// Starts it, pinned to this CPU if one is given.
    pub(crate) fn start(
        path: &Path,
        shared: &Shared,
        cpu: Option<usize>,
        without_device: bool,
    ) -> Result<Self, Failure> {
        let cannot = |error| Failure::Other(format!("cannot start the second process: {error}"));
        let mut command = own_program();
        command.arg("--device").arg(path).arg("__bench-peer");
        command.args(["--shared", &shared.descriptor().to_string()]);
        if let Some(cpu) = cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        if without_device {
            command.arg("--without-device");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(cannot)?;
        match (child.stdout.take(), child.stdin.take()) {
            (Some(from), Some(to)) => Ok(Self { line: Line::new(BufReader::new(from), to), child }),
            _ => Err(Failure::Other("the second process has no pipes".to_owned())),
        }
    }

    /// Returns its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0))
    }

    /// Closes the connection, which ends the process, and waits for it.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Self { line, mut child } = self;
        drop(line);
        let ended = child.wait().map_err(|error| Failure::Other(format!("waiting for the second process: {error}")))?;
        if ended.success() {
            Ok(())
        } else {
            Err(Failure::Other(format!("the second process ended with {ended}")))
        }
    }
}

/// Returns a command for this program. The link works even if another user may not search the program's directory.
pub(crate) fn own_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("knem");
    command
}

/// Second process: makes the kernel kill it when the first one ends, even while it waits in shared memory.
pub(crate) fn end_with_parent() -> Result<(), Failure> {
    let parent = getppid();
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| {
        Failure::Other(format!("cannot set the signal for the end of the first process: {}", errno.desc()))
    })?;
    // ps would show the name of the link otherwise.
    let _ = set_name(c"knem");
    // The first process may have ended before the call.
    if getppid() == parent {
        Ok(())
    } else {
        Err(Failure::Other("the first process has ended".to_owned()))
    }
}
