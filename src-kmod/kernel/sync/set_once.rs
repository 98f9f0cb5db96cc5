// SPDX-License-Identifier: GPL-2.0-only
//! A value that is set at most once.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, Ordering};

const EMPTY: u32 = 0;
const BEING_SET: u32 = 1;
const SET: u32 = 2;

/// A value that is set at most once, and does not change afterwards.
///
/// # Invariants
/// If `state` is `SET`, the value is live. It is written only by the task that changed `state` from `EMPTY`.
pub struct SetOnce<T> {
    state: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: It owns its value, so that sending it sends the value.
unsafe impl<T: Send> Send for SetOnce<T> {}
// SAFETY: A shared one gives shared references to the value, and takes the value from any task.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}

impl<T> SetOnce<T> {
    /// Without a value.
    pub const fn new() -> Self {
        // INVARIANT: The state is `EMPTY`.
        Self { state: AtomicU32::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if it is set.
    pub fn as_ref(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: Live by the invariant, and nothing changes it any more.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Sets the value, if it was not set. Returns whether this call did.
    pub fn populate(&self, value: T) -> bool {
        if self.state.compare_exchange(EMPTY, BEING_SET, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return false;
        }
        // SAFETY: This task changed the state from `EMPTY`, so that no other writes, and none reads before `SET`.
        unsafe { (*self.value.get()).write(value) };
        // INVARIANT: The value is live.
        self.state.store(SET, Ordering::Release);
        true
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: Live by the invariant, and nothing uses it after this drop.
            unsafe { self.value.get_mut().assume_init_drop() }
        }
    }
}
