// SPDX-License-Identifier: CECILL-B
//! Further processes: forked ones, ones of another user, and ones that run this program again.

use std::os::unix::fs::MetadataExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::wait::{waitid, waitpid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::{fork, setgroups, setresgid, setresuid, ForkResult, Gid, Pid, Uid};

use crate::device::{node, segment, set_node, Knem, SUCCESS};

/// A user that is not root: the account `nobody`.
pub const STRANGER: u32 = 65534;

/// Whether this process was forked by a test.
pub fn is_one() -> bool {
    CHILD.load(Ordering::Relaxed)
}

static CHILD: AtomicBool = AtomicBool::new(false);

/// A forked process.
pub struct Child(Pid);

impl Child {
    /// Forks a process that runs `work` and ends.
    pub fn start(work: impl FnOnce()) -> Self {
        let_threads_end();
        // SAFETY: The child has only this thread, which may use all locks: tests run one at a time on the main thread,
        // and the watchdog holds no lock while a test runs.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => Self(child),
            ForkResult::Child => {
                CHILD.store(true, Ordering::Relaxed);
                // The child is killed with the test program.
                // SAFETY: The call accesses no memory; it only sets a flag of this process.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let good = catch_unwind(AssertUnwindSafe(work)).is_ok();
                // SAFETY: The call ends the process at once, so that no destructor of the parent's values runs here.
                unsafe { libc::_exit(if good { 0 } else { 101 }) }
            }
        }
    }

    /// Returns its pid.
    pub fn id(&self) -> Pid {
        self.0
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(self.0), look).expect("waitid") == WaitStatus::StillAlive
    }

    /// Waits for its end and returns how it ended.
    pub fn wait(self) -> WaitStatus {
        waitpid(self.0, None).expect("waitpid")
    }

    /// Waits for its end, and fails unless it succeeded.
    pub fn succeeds(self) {
        let ended = self.wait();
        assert!(matches!(ended, WaitStatus::Exited(_, 0)), "the child failed: {ended:?}");
    }
}

/// Waits for threads that are joined already but have not exited. Rust's library takes a lock at each thread's start
/// and end (its table of stacks), and a process that is forked meanwhile finds it held forever by a thread that it does
/// not have. Threads that a test keeps running do not exit, so the wait is short.
fn let_threads_end() {
    // This thread and the watchdog.
    const USUAL: usize = 2;
    let tasks = || std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let own = || tasks().filter(|task| !comm(&task.path()).starts_with("knem-ctx")).count();
    let start = Instant::now();
    while own() > USUAL && start.elapsed() < Duration::from_millis(250) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn comm(task: &Path) -> String {
    std::fs::read_to_string(task.join("comm")).unwrap_or_default()
}

/// Runs `work` in a forked process, and fails unless it succeeds.
pub fn in_child(work: impl FnOnce()) {
    Child::start(work).succeeds();
}

/// Makes the process that of another user, in the device's group, and dumpable.
pub fn become_user(uid: u32) {
    let group = Gid::from_raw(std::fs::metadata(node()).expect("the node").gid());
    setgroups(&[group]).expect("setgroups");
    let plain = Gid::from_raw(STRANGER);
    setresgid(plain, plain, plain).expect("setresgid");
    let uid = Uid::from_raw(uid);
    setresuid(uid, uid, uid).expect("setresuid");
    // SAFETY: The call accesses no memory; it only sets a flag of this process.
    let set = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
    assert_eq!(set, 0, "PR_SET_DUMPABLE");
}

/// Returns what the tasks of this process and of its children wait for, as far as `/proc` shows it.
pub fn where_tasks_wait() -> String {
    let own = std::process::id().to_string();
    let mut text = String::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = entry.path();
        let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != own
            && !read("status").contains(&format!("\nPPid:\t{own}\n"))
            && !read("comm").starts_with("knem-ctx")
        {
            continue;
        }
        for task in std::fs::read_dir(path.join("task")).into_iter().flatten().flatten() {
            let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let parts =
                [name.as_str(), "", &read("comm"), &read("wchan"), &read("stack")].map(|part| part.trim().to_owned());
            text.push_str(&parts.join(" "));
            text.push('\n');
        }
    }
    text
}

/// Allows the node's group to use the device during `work`, regardless of its mode.
pub fn with_open_node<R>(work: impl FnOnce() -> R) -> R {
    crate::machine::need_root();
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::metadata(node()).expect("the node").permissions();
    let set = |permissions| std::fs::set_permissions(node(), permissions).expect("chmod");
    set(std::fs::Permissions::from_mode(permissions.mode() | 0o060));
    let result = catch_unwind(AssertUnwindSafe(work));
    set(permissions);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// First argument of a process that has another role than to run tests.
const ROLE: &str = "__role";

/// Runs this program again in another role.
pub fn exec(arguments: &[String]) -> Output {
    let program = std::env::current_exe().expect("the program's path");
    Command::new(program).arg(ROLE).arg(node()).args(arguments).output().expect("the program runs")
}

/// Executes another role, and returns the exit status if this process has one.
pub fn role() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, device, what, rest @ ..] = &arguments[..] else { return None };
    if role != ROLE {
        return None;
    }
    set_node(device.into());
    let numbers: Vec<u64> = rest.iter().map(|word| word.parse().expect("a number")).collect();
    match (what.as_str(), &numbers[..]) {
        // Reads a region of another process and prints its bytes.
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
