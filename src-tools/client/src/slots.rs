// SPDX-License-Identifier: CECILL-B
//! The mapped slots of a status array.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use knem_core::uapi;
use nix::sys::mman::munmap;

use crate::{Device, Error};

/// Status of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not completed.
    Pending,
    /// Every byte was copied.
    Success,
    /// The copy stopped early; the destination's contents are unspecified.
    Failed,
}

impl Status {
    fn from_slot(slot: u8) -> Self {
        match slot {
            uapi::STATUS_PENDING => Self::Pending,
            uapi::STATUS_SUCCESS => Self::Success,
            // The driver stores no other value. Any other writer must not cause a success.
            _ => Self::Failed,
        }
    }
}

/// A status array: a byte for each slot, which the kernel writes.
pub(crate) struct Slots {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; it is unmapped once, by the one owner.
unsafe impl Send for Slots {}
// SAFETY: its bytes are only accessed atomically.
unsafe impl Sync for Slots {}

impl Slots {
    /// Maps at least `slots` slots.
    pub(crate) fn map(device: &Device, slots: u32) -> Result<Self, Error> {
        const PAGE: usize = 4096;
        // The driver counts whole pages; with larger pages there are more slots than are counted here.
        let length = (slots.max(1) as usize).next_multiple_of(PAGE);
        let start =
            device.backend().map_status(length).map_err(|errno| Error::of("mapping the status array", errno))?;
        Ok(Self { start, length })
    }

    /// Returns the number of slots.
    pub(crate) fn count(&self) -> usize {
        self.length
    }

    /// Returns the status in a slot.
    ///
    /// # Panics
    ///
    /// If the slot does not exist.
    pub(crate) fn status(&self, slot: u32) -> Status {
        assert!((slot as usize) < self.length, "slot {slot} of {}", self.length);
        // SAFETY: the slot is inside the mapping, as asserted.
        let byte = unsafe { self.start.as_ptr().add(slot as usize) };
        // SAFETY: the byte is mapped as long as `self` exists, and both the kernel and this process access it
        // atomically.
        Status::from_slot(unsafe { AtomicU8::from_ptr(byte) }.load(Ordering::Acquire))
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping, and no reference into it is left.
        let unmapped = unsafe { munmap(self.start.cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_states_are_no_success() {
        assert_eq!(
            [0, 1, 2, 77].map(Status::from_slot),
            [Status::Pending, Status::Success, Status::Failed, Status::Failed]
        );
    }
}
