// SPDX-License-Identifier: CECILL-B
//! Attackers and victims: processes of two users that are both members of the group.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::mman::{mmap_anonymous, MapFlags, ProtFlags};
use nix::sys::resource::{setrlimit, Resource};
use nix::sys::signal::{kill, Signal};

use crate::children::{become_user, Child};
use crate::machine::ControlGroup;

/// Members of the group, each with its own account.
pub(crate) const ATTACKER: u32 = 1001;
pub(crate) const VICTIM: u32 = 1002;
/// RLIMIT_MEMLOCK of an ordinary user, in bytes.
pub(crate) const LIMIT: u64 = 65536;

/// A process of a user that runs `work` until it is killed.
pub(crate) struct Attacker(Option<Child>);

impl Attacker {
    /// Starts it, and waits until `work` calls its argument, which means that the attack has begun.
    pub(crate) fn start(work: impl FnOnce(&dyn Fn())) -> Self {
        Self::prepared(|| limit(LIMIT), work)
    }

    /// Starts it in a control group, without a limit of locked memory.
    pub(crate) fn start_in(group: &ControlGroup, work: impl FnOnce(&dyn Fn())) -> Self {
        let prepare = || {
            limit(nix::sys::resource::RLIM_INFINITY);
            group.join();
        };
        Self::prepared(prepare, work)
    }

    fn prepared(prepare: impl FnOnce(), work: impl FnOnce(&dyn Fn())) -> Self {
        let begun = Shared::new();
        let child = Child::start(|| {
            prepare();
            become_user(ATTACKER);
            work(&|| begun.set(1));
            loop {
                nix::unistd::pause();
            }
        });
        crate::waiting::until("the attack has begun", || begun.get() != 0 || !child.is_running());
        assert!(child.is_running(), "the attacker has ended");
        Self(Some(child))
    }

    /// Returns its process.
    pub(crate) fn id(&self) -> nix::unistd::Pid {
        self.0.as_ref().expect("it runs").id()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            let _ = kill(child.id(), Signal::SIGKILL);
            child.wait();
        }
    }
}

/// Runs `work` as the victim, and fails unless it succeeds.
pub(crate) fn victim(work: impl FnOnce()) {
    crate::children::in_child(|| {
        limit(LIMIT);
        become_user(VICTIM);
        work();
    });
}

/// Sets RLIMIT_MEMLOCK.
pub(crate) fn limit(bytes: u64) {
    setrlimit(Resource::RLIMIT_MEMLOCK, bytes, bytes).expect("setrlimit");
}

/// A number that forked processes share.
pub(crate) struct Shared(&'static AtomicU32);

impl Shared {
    pub(crate) fn new() -> Self {
        let length = std::num::NonZeroUsize::new(crate::mapping::PAGE).expect("a page");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: The kernel chooses the address, so that no existing mapping is replaced.
        let page = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_SHARED) }.expect("mmap");
        // SAFETY: The page is zeroed, aligned and never unmapped, and all processes access the number atomically.
        Self(unsafe { page.cast::<AtomicU32>().as_ref() })
    }

    pub(crate) fn set(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}
