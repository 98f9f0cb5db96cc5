// SPDX-License-Identifier: GPL-2.0-only
//! Boxes: values in their own memory.

use super::{AllocError, Flags, ALIGNMENT};
use crate::ffi;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// A value in memory from `kmalloc`.
///
/// # Invariants
/// The pointer owns a live `T` in memory from `kmalloc`.
pub struct KBox<T>(NonNull<T>);

// SAFETY: A `KBox` owns its value, so that sending the box sends the value.
unsafe impl<T: Send> Send for KBox<T> {}
// SAFETY: A shared `KBox` gives shared references to its value only.
unsafe impl<T: Sync> Sync for KBox<T> {}

impl<T> KBox<T> {
    /// Allocates memory and moves `value` into it.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory; `value` is dropped then.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        Ok(KBox::write(Self::new_uninit(flags)?, value))
    }

    /// Allocates memory for a value.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new_uninit(flags: Flags) -> Result<KBox<MaybeUninit<T>>, AllocError> {
        const { assert!(align_of::<T>() <= ALIGNMENT && size_of::<T>() != 0) };
        let memory = ffi::standin_kmalloc(size_of::<T>(), flags.0);
        // INVARIANT: The memory has the size and alignment of `T`; a `MaybeUninit` needs no initialisation.
        NonNull::new(memory.cast()).map(KBox).ok_or(AllocError)
    }

    /// Passes the ownership of the value and its memory to the caller.
    pub fn into_raw(this: Self) -> *mut T {
        ManuallyDrop::new(this).0.as_ptr()
    }

    /// Takes back a value.
    ///
    /// # Safety
    /// `raw` must come from [`KBox::into_raw`] and must not be used again.
    pub unsafe fn from_raw(raw: *mut T) -> Self {
        // SAFETY: `into_raw` returns the pointer of a box, which is not null.
        // INVARIANT: The caller guarantees that the pointer owns the value.
        Self(unsafe { NonNull::new_unchecked(raw) })
    }

    /// Moves the value out and frees the memory.
    pub fn into_inner(this: Self) -> T {
        let raw = Self::into_raw(this);
        // SAFETY: `raw` owns the value, which is read once and never dropped in place.
        let value = unsafe { raw.read() };
        // SAFETY: The memory is from `kmalloc` by the invariant, and nothing refers to it any more.
        unsafe { ffi::standin_kfree(raw.cast()) };
        value
    }
}

impl<T> KBox<MaybeUninit<T>> {
    /// Initialises the memory.
    pub fn write(mut this: Self, value: T) -> KBox<T> {
        (*this).write(value);
        // SAFETY: The pointer comes from `into_raw`, and the value was initialised one line above.
        unsafe { KBox::from_raw(Self::into_raw(this).cast()) }
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The value is live by the invariant, and borrowed no longer than the box.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The value is live by the invariant, and the box is borrowed exclusively.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for KBox<T> {
    fn drop(&mut self) {
        // SAFETY: The value is live by the invariant, and nothing uses the box after its drop.
        unsafe { core::ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: The memory is from `kmalloc` by the invariant, and the value in it is gone.
        unsafe { ffi::standin_kfree(self.0.as_ptr().cast()) };
    }
}
