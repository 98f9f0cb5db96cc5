// SPDX-License-Identifier: CECILL-B
//! The second process, as the first one has it.

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

/// The second process. It ends when the first one does, however that ends.
pub(crate) struct Process {
    /// To talk to it.
    pub(crate) line: Line<BufReader<ChildStdout>, ChildStdin>,
    child: Child,
}

impl Process {
    /// Starts it, on this CPU if one is given.
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

    /// Its number.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(0))
    }

    /// Waits for its end, which follows from nobody asking any more.
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

/// This program once more. The link leads to it also where the directory it is in may not be searched, as by another user.
pub(crate) fn own_program() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("knem");
    command
}

/// Second process: has the kernel kill it when the first one has ended, also while it waits for it in shared memory.
pub(crate) fn end_with_parent() -> Result<(), Failure> {
    let parent = getppid();
    set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| Failure::Other(format!("cannot follow the first process: {}", errno.desc())))?;
    // In lists of processes it shall not be named after the link that it was started by.
    let _ = set_name(c"knem");
    // It may have ended before that.
    if getppid() == parent {
        Ok(())
    } else {
        Err(Failure::Other("the first process has ended".to_owned()))
    }
}
