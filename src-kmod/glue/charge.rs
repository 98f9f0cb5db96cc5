// SPDX-License-Identifier: GPL-2.0-only
//! Accounting of pinned memory: to the process that asks for it, and to the machine.

use crate::glue::{ffi, params};
use crate::logic::memlock::{self, Limits};
use kernel::mm::Mm;
use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::atomic::{ordering::Relaxed, Atomic};

/// Pages that are pinned through the driver.
static PINNED: Atomic<i64> = Atomic::new(0);

/// Pages that are pinned through the driver, for the check at the module's end.
pub(crate) fn pinned() -> i64 {
    PINNED.load(Relaxed)
}

/// Pages that are accounted, until this is dropped.
pub(crate) struct Charge {
    pages: i64,
    /// The address space that they count for (`VmPin` in /proc/PID/status), if they do. It is kept, so that what was
    /// added to it is taken from it, also when its processes are gone.
    mm: Option<ARef<Mm>>,
}

impl Charge {
    /// Accounts pages of a region to the calling process.
    ///
    /// # Errors
    /// ENOMEM if that exceeds RLIMIT_MEMLOCK, unless the caller has CAP_IPC_LOCK or the parameter `memlock` is 0, or
    /// the machine's ceiling. EFAULT for a task without user memory.
    pub(crate) fn region(pages: u64) -> Result<Self> {
        let mm = current!().mm().map(|mm| ARef::<Mm>::from(&**mm)).ok_or(EFAULT)?;
        let limit = params::memlock().then(|| {
            // SAFETY: Looks at the calling process only.
            unsafe { ffi::knem_shim_memlock_pages() as u64 }
        });
        Self::new(pages, Some(mm), limit)
    }

    /// Accounts pages that are pinned while a request lasts: only to the machine.
    ///
    /// # Errors
    /// ENOMEM if that exceeds the machine's ceiling.
    pub(crate) fn request(pages: u64) -> Result<Self> {
        Self::new(pages, None, None)
    }

    fn new(pages: u64, mm: Option<ARef<Mm>>, process_limit: Option<u64>) -> Result<Self> {
        // Far above any machine's memory, and far below where the sums could overflow.
        let pages = i64::try_from(pages).ok().filter(|pages| *pages <= 1 << 50).ok_or(ENOMEM)?;
        // From here on, an early return takes the pages back.
        let charge = Self { pages, mm };
        let machine = PINNED.fetch_add(pages, Relaxed).saturating_add(pages);
        let process = charge.add_to_process(pages);
        let limits = Limits { process: process_limit, machine: ceiling() };
        let sum = |pages: i64| u64::try_from(pages).unwrap_or(0);
        memlock::admit(limits, sum(process), sum(machine), || {
            // SAFETY: Looks at the calling task only.
            unsafe { ffi::knem_shim_may_exceed_memlock() }
        })?;
        Ok(charge)
    }

    /// Adds to what the process counts as pinned, and returns the sum.
    fn add_to_process(&self, pages: i64) -> i64 {
        match &self.mm {
            // SAFETY: The reference keeps the structure, and C changes its counter atomically.
            Some(mm) => unsafe { ffi::knem_shim_add_pinned(mm.as_raw(), pages) },
            None => 0,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.add_to_process(self.pages.wrapping_neg());
        PINNED.fetch_sub(self.pages, Relaxed);
    }
}

fn ceiling() -> u64 {
    // SAFETY: Reads a variable of the kernel.
    let ram = unsafe { ffi::knem_shim_ram_pages() };
    memlock::ceiling(params::max_pinned_mib(), ram as u64, PAGE_SHIFT as u32)
}
