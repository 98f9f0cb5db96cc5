// SPDX-License-Identifier: GPL-2.0-only
//! References to objects that the kernel counts itself.

use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;

/// A type whose references the kernel counts.
///
/// # Safety
/// A value must stay valid as long as its count is not 0.
pub unsafe trait AlwaysRefCounted {
    /// Adds a reference.
    fn inc_ref(&self);

    /// Removes a reference.
    ///
    /// # Safety
    /// The caller must own a reference, and must not use it again.
    unsafe fn dec_ref(this: NonNull<Self>);
}

/// A reference that the kernel counts.
///
/// # Invariants
/// The pointer is to a live value, and this owns one of its references.
pub struct ARef<T: AlwaysRefCounted>(NonNull<T>, PhantomData<T>);

// SAFETY: References in several tasks share the value, and any of them may remove the last one.
unsafe impl<T: AlwaysRefCounted + Send + Sync> Send for ARef<T> {}
// SAFETY: As for `Send`, because a shared reference can be cloned.
unsafe impl<T: AlwaysRefCounted + Send + Sync> Sync for ARef<T> {}

impl<T: AlwaysRefCounted> From<&T> for ARef<T> {
    fn from(value: &T) -> Self {
        value.inc_ref();
        // INVARIANT: This owns the reference that was added just now.
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
        // SAFETY: By the invariant this owns the reference, which is dropped here once.
        unsafe { T::dec_ref(self.0) }
    }
}
