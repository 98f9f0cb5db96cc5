// SPDX-License-Identifier: CECILL-B
//! Linux fault injection, one failure at a time: `/proc/thread-self/fail-nth` makes the n-th allocation, page
//! allocation or user copy of the calling thread fail.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::FileExt;

use knem_conformance::children::Child;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{waitid, Id, WaitPidFlag, WaitStatus};

use crate::state::State;

/// Settings of debugfs: each kind of request may fail, also those that can wait for memory.
const SETTINGS: [(&str, &str); 5] = [
    ("failslab/ignore-gfp-wait", "N"),
    ("failslab/cache-filter", "N"),
    ("fail_page_alloc/ignore-gfp-wait", "N"),
    ("fail_page_alloc/ignore-gfp-highmem", "N"),
    ("fail_page_alloc/min-order", "0"),
];

/// Lets every kind of request fail.
///
/// # Errors
/// What the kernel lacks.
pub(crate) fn prepare() -> Result<(), String> {
    if !std::path::Path::new("/proc/thread-self/fail-nth").exists() {
        return Err("this kernel has no fault injection: `cargo xtask uml run --debug` has one that does".to_owned());
    }
    for (name, value) in SETTINGS {
        let path = format!("/sys/kernel/debug/{name}");
        std::fs::write(&path, value).map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    Ok(())
}

/// The failure of one run of a scenario: the n-th point that its calls pass.
pub(crate) struct Nth {
    control: File,
    /// Points to pass until one fails; 0 when it has failed.
    left: Cell<u32>,
    refused: Cell<bool>,
}

/// What an injected failure may come out as. A process that is being killed is not among these scenarios.
const PERMITTED: [Errno; 5] = [Errno::ENOMEM, Errno::EFAULT, Errno::EAGAIN, Errno::EINTR, Errno::ENOBUFS];

impl Nth {
    /// The n-th point fails, from 1 on; none fails with `u32::MAX`.
    pub(crate) fn new(n: u32) -> Self {
        let control = File::options().read(true).write(true).open("/proc/thread-self/fail-nth").expect("fail-nth");
        Self { control, left: Cell::new(n), refused: Cell::new(false) }
    }

    /// Whether a point has failed.
    pub(crate) fn hit(&self) -> bool {
        self.left.get() == 0
    }

    /// Whether a call has returned an error for it.
    pub(crate) fn refused(&self) -> bool {
        self.refused.get()
    }

    /// Points of this thread in `work` count, and nothing else: no other code may be in it.
    pub(crate) fn during<R>(&self, work: impl FnOnce() -> R) -> R {
        if self.hit() {
            return work();
        }
        self.arm();
        let result = work();
        self.left.set(self.disarm());
        result
    }

    fn arm(&self) {
        let text = self.left.get().to_string();
        let written = self.control.write_at(text.as_bytes(), 0);
        assert_eq!(written.expect("armed"), text.len());
    }

    /// What is left. Reading and writing copy from and to user memory, which are points themselves.
    fn disarm(&self) -> u32 {
        let mut buffer = [0; 16];
        let left = match self.control.read_at(&mut buffer, 0) {
            Ok(length) => std::str::from_utf8(&buffer[..length]).ok().and_then(|text| text.trim().parse().ok()),
            // The read itself was the point that failed.
            Err(_) => Some(1),
        };
        while self.control.write_at(b"0", 0).is_err() {}
        left.expect("fail-nth is a number")
    }

    /// A forked process prepares something, and ends with `last` while its points count.
    pub(crate) fn in_dying_process<T>(&self, prepare: impl FnOnce() -> T, last: impl FnOnce(T)) {
        let left = self.left.get();
        let child = Child::start(|| {
            let prepared = prepare();
            if left > 0 {
                let own = Self::new(left);
                own.arm();
                std::mem::forget(own);
            }
            last(prepared);
        });
        let ended = waitid(Id::Pid(child.id()), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("waitid");
        // It is still there to be asked.
        let text = std::fs::read_to_string(format!("/proc/{}/fail-nth", child.id())).expect("fail-nth of the process");
        child.wait();
        assert!(matches!(ended, WaitStatus::Exited(_, 0) | WaitStatus::Signaled(_, Signal::SIGKILL, _)), "{ended:?}");
        if left > 0 {
            self.left.set(text.trim().parse().expect("a number"));
        }
    }

    /// A call that may be refused if a point fails in it, and then succeeds when it is repeated.
    pub(crate) fn call<T>(&self, mut call: impl FnMut() -> Result<T, Errno>) -> T {
        match self.attempt(&mut call) {
            Ok(value) => value,
            Err(errno) => match call() {
                Ok(value) => value,
                Err(again) => panic!("refused with {errno}, and with {again} when it was repeated"),
            },
        }
    }

    /// A call that may be refused if a point fails in it, and has changed nothing then.
    pub(crate) fn attempt<T>(&self, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        let before = (!self.hit()).then(State::now);
        let result = self.attempt_consuming(call);
        if let (Err(errno), Some(before)) = (&result, before) {
            before.comes_back().unwrap_or_else(|why| panic!("refused with {errno}, and {why}"));
        }
        result
    }

    /// The same for a call that may change something although it is refused: see its scenario for what.
    pub(crate) fn attempt_consuming<T>(&self, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        let before = self.hit();
        let result = self.during(call);
        if let Err(errno) = &result {
            assert!(self.hit() && !before, "{errno} without a failure");
            assert!(PERMITTED.contains(errno), "a failure came out as {errno}");
            self.refused.set(true);
        }
        result
    }
}
