// SPDX-License-Identifier: GPL-2.0-only
//! Accounting of pinned memory: to the process that asks for it, and to the machine.

use crate::glue::{ffi, params};
use crate::logic::memlock;
use crate::logic::refusal::Refusal;
use kernel::mm::Mm;
use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// The machine's account, while the module is loaded. A request changes no memory that processors share.
pub(crate) struct Account(());

impl Account {
    /// Opens the account. To be called once, before anyone can open the device.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, at load.
        kernel::error::to_result(unsafe { ffi::knem_shim_pinned_init() })?;
        Ok(Self(()))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // SAFETY: The account is open.
        let left = unsafe { ffi::knem_shim_pinned() };
        if left != 0 {
            // The word is what the tests look for in the kernel's log.
            pr_err!("leak: {} pages are still accounted as pinned\n", left);
        }
        // SAFETY: The device is gone, hence every file and every `Charge`.
        unsafe { ffi::knem_shim_pinned_destroy() };
    }
}

/// Pages that are accounted, until this is dropped.
pub(crate) struct Charge {
    pages: i64,
    /// The address space that they count for (`VmPin` in /proc/PID/status), if they do. It is kept, so that what was
    /// added to it is taken from it, also when its processes are gone.
    mm: Option<ARef<Mm>>,
}

impl Charge {
    /// Accounts pages of a region to the calling process, and to the machine.
    ///
    /// # Errors
    /// ENOMEM if that exceeds RLIMIT_MEMLOCK, unless the caller has CAP_IPC_LOCK or the parameter `memlock` is 0, or
    /// the machine's ceiling. EFAULT for a task without user memory.
    pub(crate) fn region(pages: u64) -> Result<Self> {
        let mm = current!().mm().map(|mm| ARef::<Mm>::from(&**mm)).ok_or(EFAULT)?;
        let mut charge = Self::request(pages)?;
        // SAFETY: The reference keeps the structure, and C changes its counter atomically.
        let process = unsafe { ffi::knem_shim_add_pinned(mm.as_raw(), charge.pages) };
        charge.mm = Some(mm);
        // From here on, an early return takes the pages back from the process as well.
        let limit = params::memlock().then(|| {
            // SAFETY: Looks at the calling process only.
            unsafe { ffi::knem_shim_memlock_pages() as u64 }
        });
        memlock::admit(u64::try_from(process).unwrap_or(0), limit, || {
            // SAFETY: Looks at the calling task only.
            unsafe { ffi::knem_shim_may_exceed_memlock() }
        })?;
        Ok(charge)
    }

    /// Accounts pages that are pinned while a request lasts: only to the machine.
    ///
    /// # Errors
    /// ENOMEM if that exceeds the machine's ceiling.
    pub(crate) fn request(pages: u64) -> Result<Self> {
        // Far above any machine's memory, and far below where the sums could overflow.
        let pages = i64::try_from(pages).ok().filter(|pages| *pages <= 1 << 50).ok_or(Refusal::PinLimit)?;
        let charge = Self { pages, mm: None };
        let ceiling = i64::try_from(ceiling()).unwrap_or(i64::MAX);
        // SAFETY: The account is open while a file is. From here on, an early return takes the pages back.
        let exceeds = unsafe {
            ffi::knem_shim_pinned_add(pages);
            ffi::knem_shim_pinned_exceeds(ceiling)
        };
        if exceeds {
            return Err(Refusal::PinLimit.into());
        }
        Ok(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let back = self.pages.wrapping_neg();
        if let Some(mm) = &self.mm {
            // SAFETY: The reference keeps the structure, and C changes its counter atomically.
            unsafe { ffi::knem_shim_add_pinned(mm.as_raw(), back) };
        }
        // SAFETY: The account is open while a file is or a transfer is in flight: both keep the module loaded.
        unsafe { ffi::knem_shim_pinned_add(back) };
    }
}

fn ceiling() -> u64 {
    // SAFETY: Reads a variable of the kernel.
    let ram = unsafe { ffi::knem_shim_ram_pages() };
    memlock::ceiling(params::max_pinned_mib(), ram as u64, PAGE_SHIFT as u32)
}
