// SPDX-License-Identifier: GPL-2.0-only
//! The status array: a byte for each asynchronous request, shared with user space.
//!
//! Its pages are the driver's; a mapping has references of its own to them. User space may write them, which harms
//! nobody but itself: the driver never reads them.

use crate::glue::account::{Account, ArrayMemory};
use crate::glue::{ffi, task};
use kernel::mm::virt::VmaNew;
use kernel::page::{Page, PAGE_MASK, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;

/// Pages that hold one status byte for each slot, at first all of them PENDING.
pub(crate) struct StatusArray {
    pages: KVVec<Page>,
    /// Counts them for the user.
    _memory: ArrayMemory,
}

const _: () = assert!(crate::uapi::STATUS_PENDING == 0);

/// After as many pages others may run.
const STRIDE: usize = 512;

impl StatusArray {
    /// An array of `bytes` slots, a multiple of the page size, that counts for a user.
    ///
    /// # Errors
    /// ENOMEM, also as [`ArrayMemory::charge`]; EINTR if the caller is killed.
    pub(crate) fn new(bytes: usize, account: &Account) -> Result<Self> {
        let memory = ArrayMemory::charge(account, bytes as u64)?;
        let count = bytes >> PAGE_SHIFT;
        let mut pages = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        for n in 0..count {
            let page = Page::alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN)?;
            pages.push_within_capacity(page).map_err(|_| ENOMEM)?;
            if n % STRIDE == 0 {
                if task::killed() {
                    return Err(EINTR);
                }
                task::resched();
            }
        }
        Ok(Self { pages, _memory: memory })
    }

    /// Number of slots.
    pub(crate) fn slots(&self) -> u64 {
        (self.pages.len() as u64).saturating_mul(PAGE_SIZE as u64)
    }

    /// Lets user space have the pages, from the start of `area`, which is as long as the array.
    ///
    /// # Errors
    /// ENOMEM; the caller's mapping fails then, and what was inserted goes with it.
    pub(crate) fn insert(&self, area: &VmaNew) -> Result {
        let area = area.set_mixedmap();
        let mut address = area.start();
        for page in self.pages.iter() {
            area.vm_insert_page(address, page)?;
            address = address.wrapping_add(PAGE_SIZE);
        }
        Ok(())
    }

    /// Stores a status in slot `index`, after everything that this task has done before: who sees the status, sees
    /// the data. A slot that does not exist is left alone.
    pub(crate) fn store(&self, index: u32, status: u8) {
        let index = task::within(index as usize, self.pages.len().saturating_mul(PAGE_SIZE));
        let Some(page) = self.pages.get(index >> PAGE_SHIFT) else { return };
        // SAFETY: The page is mapped in the kernel, and the byte is within it. User space may use the byte at
        // the same time: both sides do so atomically.
        unsafe {
            let start = ffi::knem_shim_page_address(page.as_ptr());
            ffi::knem_shim_store_release(start.cast::<u8>().add(index & !PAGE_MASK), status);
        }
    }
}
