// SPDX-License-Identifier: CECILL-B
//! Numbers that forked processes share.

use std::sync::atomic::{AtomicU64, Ordering};

use knem_conformance::memory::{both, memory_file, Mapping, PAGE};
use nix::sys::mman::MapFlags;

/// A page of numbers, 0 at first.
pub(crate) struct Shared(Mapping);

impl Shared {
    /// How many there are.
    pub(crate) const PLACES: usize = PAGE / 8;

    pub(crate) fn new() -> Self {
        Self(Mapping::of_file(memory_file(PAGE), PAGE, both(), MapFlags::MAP_SHARED))
    }

    /// One of them; any index stands for one.
    pub(crate) fn place(&self, index: usize) -> &AtomicU64 {
        let address = self.0.part(index % Self::PLACES * 8, 8).base;
        let place = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: The number is aligned and inside the mapping, and every process accesses it atomically.
        unsafe { AtomicU64::from_ptr(place) }
    }

    pub(crate) fn add(&self, index: usize, value: u64) {
        self.place(index).fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        self.place(index).load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, index: usize, value: u64) {
        self.place(index).store(value, Ordering::Relaxed);
    }
}
