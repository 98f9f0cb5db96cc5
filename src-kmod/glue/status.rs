// SPDX-License-Identifier: GPL-2.0-only
//! The status array: one byte for each asynchronous request, shared with user space.
//!
//! The driver owns the pages, and a mapping has references of its own to them. User space may write to them, which
//! affects only its own requests: the driver never reads them.

use crate::glue::account::{Account, ArrayMemory};
use crate::glue::{ffi, task};
use kernel::mm::virt::VmaNew;
use kernel::page::{Page, PAGE_MASK, PAGE_SHIFT, PAGE_SIZE};
use kernel::prelude::*;

/// Pages that hold one status byte for each slot, initially PENDING.
pub(crate) struct StatusArray {
    pages: KVVec<Page>,
    /// Charges them to the user.
    _memory: ArrayMemory,
}

const _: () = assert!(crate::uapi::STATUS_PENDING == 0);

/// Number of pages after which other tasks may run.
const STRIDE: usize = 512;

impl StatusArray {
    /// Creates an array of `bytes` slots, a multiple of the page size, which is charged to a user.
    ///
    /// # Errors
    /// ENOMEM, also from [`ArrayMemory::charge`]; EINTR if the caller is killed.
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

    /// Returns the number of slots.
    pub(crate) fn slots(&self) -> u64 {
        (self.pages.len() as u64).saturating_mul(PAGE_SIZE as u64)
    }

    /// Maps the pages into `area`, which is as long as the array.
    ///
    /// # Errors
    /// ENOMEM. The caller's mapping fails then, and the kernel unmaps what was inserted.
    pub(crate) fn insert(&self, area: &VmaNew) -> Result {
        let area = area.set_mixedmap();
        let mut address = area.start();
        for page in self.pages.iter() {
            area.vm_insert_page(address, page)?;
            address = address.wrapping_add(PAGE_SIZE);
        }
        Ok(())
    }

    /// Stores a status in slot `index` with release semantics: a reader that sees the status also sees the data that
    /// this task has copied before. An index that is too large is ignored.
    pub(crate) fn store(&self, index: u32, status: u8) {
        let index = task::within(index as usize, self.pages.len().saturating_mul(PAGE_SIZE));
        let Some(page) = self.pages.get(index >> PAGE_SHIFT) else { return };
        // SAFETY: `page` is kept by `self` and is in the direct map, and the offset is less than a page. User space may
        // access the byte concurrently, as both sides access it atomically.
        unsafe {
            let start = ffi::knem_shim_page_address(page.as_ptr());
            ffi::knem_shim_store_release(start.cast::<u8>().add(index & !PAGE_MASK), status);
        }
    }
}
