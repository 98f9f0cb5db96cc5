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

// SAFETY: A `SetOnce` owns its value, so that sending it sends the value.
unsafe impl<T: Send> Send for SetOnce<T> {}
// SAFETY: A shared `SetOnce` provides shared references to the value, and any task may set the value.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}

impl<T> SetOnce<T> {
    /// Creates it without a value.
    pub const fn new() -> Self {
        // INVARIANT: The state is `EMPTY`.
        Self { state: AtomicU32::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Returns the value, if it is set.
    pub fn as_ref(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: By the invariant the value is live, and nothing changes it any more.
        Some(unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// Sets the value, if it was not set. Returns whether this call set it.
    pub fn populate(&self, value: T) -> bool {
        if self.state.compare_exchange(EMPTY, BEING_SET, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return false;
        }
        // SAFETY: This task changed the state from `EMPTY`, so that no other task writes, and none reads before `SET`.
        unsafe { (*self.value.get()).write(value) };
        // INVARIANT: The value was written just now, so that it is live.
        self.state.store(SET, Ordering::Release);
        true
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: By the invariant the value is live, and nothing uses it after this drop.
            unsafe { self.value.get_mut().assume_init_drop() }
        }
    }
}
