// SPDX-License-Identifier: CECILL-B
//! Second processes: forked ones, ones of another user, and ones that run this program anew.

use std::os::unix::fs::MetadataExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::{Command, ExitCode, Output};

use knem_core::uapi;
use nix::libc;
use nix::sys::wait::{waitid, waitpid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::{fork, setgroups, setresgid, setresuid, ForkResult, Gid, Pid, Uid};

use crate::device::{segment, Knem, SUCCESS};

/// A user who is not root: nobody.
pub(crate) const STRANGER: u32 = 65534;

/// A forked process.
pub(crate) struct Child(Pid);

impl Child {
    /// Forks a process that runs `work` and ends.
    pub(crate) fn start(work: impl FnOnce()) -> Self {
        // SAFETY: tests run one at a time on the main thread, so that no lock is held by another thread.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => Self(child),
            ForkResult::Child => {
                let good = catch_unwind(AssertUnwindSafe(work)).is_ok();
                // SAFETY: ends the process without running the parent's destructors.
                unsafe { libc::_exit(if good { 0 } else { 101 }) }
            }
        }
    }

    pub(crate) fn id(&self) -> Pid {
        self.0
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(self.0), look).expect("waitid") == WaitStatus::StillAlive
    }

    /// Waits for the end, in whatever way.
    pub(crate) fn wait(self) -> WaitStatus {
        waitpid(self.0, None).expect("waitpid")
    }

    /// Waits for a good end.
    pub(crate) fn succeeds(self) {
        let ended = self.wait();
        assert!(matches!(ended, WaitStatus::Exited(_, 0)), "the child failed: {ended:?}");
    }
}

/// Runs `work` in a forked process, to its good end.
pub(crate) fn in_child(work: impl FnOnce()) {
    Child::start(work).succeeds();
}

/// Becomes another user, who may open the device and is dumpable as a process of its own.
pub(crate) fn become_user(uid: u32) {
    let group = Gid::from_raw(std::fs::metadata(uapi::DEVICE_FILENAME).expect("the node").gid());
    setgroups(&[group]).expect("setgroups");
    let plain = Gid::from_raw(STRANGER);
    setresgid(plain, plain, plain).expect("setresgid");
    let uid = Uid::from_raw(uid);
    setresuid(uid, uid, uid).expect("setresuid");
    // SAFETY: sets a flag of this process.
    let set = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
    assert_eq!(set, 0, "PR_SET_DUMPABLE");
}

/// Lets the node's group use the device during `work`, whatever its mode is.
pub(crate) fn with_open_node<R>(work: impl FnOnce() -> R) -> R {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::metadata(uapi::DEVICE_FILENAME).expect("the node").permissions();
    let set = |permissions| std::fs::set_permissions(uapi::DEVICE_FILENAME, permissions).expect("chmod");
    set(std::fs::Permissions::from_mode(permissions.mode() | 0o060));
    let result = work();
    set(permissions);
    result
}

/// First argument of a process that has another role than testing.
const ROLE: &str = "__role";

/// Runs this program anew in another role.
pub(crate) fn exec(arguments: &[String]) -> Output {
    let program = std::env::current_exe().expect("the program's path");
    Command::new(program).arg(ROLE).args(arguments).output().expect("the program runs")
}

/// The other roles; the exit status, if this process has one.
pub(crate) fn role() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, what, rest @ ..] = &arguments[..] else { return None };
    if role != ROLE {
        return None;
    }
    let numbers: Vec<u64> = rest.iter().map(|word| word.parse().expect("a number")).collect();
    match (what.as_str(), &numbers[..]) {
        // Reads a region of another process and writes its bytes out.
        ("read", [cookie, length]) => {
            let mut bytes = vec![0u8; usize::try_from(*length).expect("a length")];
            let local = segment(bytes.as_mut_ptr().expose_provenance() as u64, *length);
            assert_eq!(Knem::open().read(*cookie, 0, &[local], 0), Ok(SUCCESS));
            std::io::Write::write_all(&mut std::io::stdout(), &bytes).expect("written");
        }
        // Uses an inherited file: destroys a region of it.
        ("destroy", [descriptor, cookie]) => {
            let knem = Knem::inherited(i32::try_from(*descriptor).expect("a descriptor"));
            knem.destroy(*cookie).expect("destroyed");
        }
        _ => panic!("unknown role {what} {numbers:?}"),
    }
    Some(ExitCode::SUCCESS)
}
