// SPDX-License-Identifier: GPL-2.0-only
//! References to what the kernel counts itself.

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

/// A type that is always behind a count of the kernel's.
///
/// # Safety
/// The value stays valid as long as its count is not 0.
pub unsafe trait AlwaysRefCounted {
    /// Adds a reference.
    fn inc_ref(&self);

    /// Removes a reference.
    ///
    /// # Safety
    /// The caller owns a reference, and does not use it again.
    unsafe fn dec_ref(this: NonNull<Self>);
}

/// A reference that is part of the kernel's count.
///
/// # Invariants
/// The pointer is to a live value, and this owns one of its count.
pub struct ARef<T: AlwaysRefCounted>(NonNull<T>, PhantomData<T>);

// SAFETY: References in several tasks share the value, and any of them may remove the last one.
unsafe impl<T: AlwaysRefCounted + Send + Sync> Send for ARef<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: AlwaysRefCounted + Send + Sync> Sync for ARef<T> {}

impl<T: AlwaysRefCounted> From<&T> for ARef<T> {
    fn from(value: &T) -> Self {
        value.inc_ref();
        // INVARIANT: The count that was just added.
        Self(NonNull::from(value), PhantomData)
    }
}

impl<T: AlwaysRefCounted> Deref for ARef<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The value is live by the invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T: AlwaysRefCounted> Drop for ARef<T> {
    fn drop(&mut self) {
        // SAFETY: The count is ours by the invariant, and removed here once.
        unsafe { T::dec_ref(self.0) }
    }
}
