// SPDX-License-Identifier: GPL-2.0-only
//! Reference-counted values.

use crate::alloc::{AllocError, Flags, KBox};
use crate::error::Error;
use crate::ffi::c_void;
use crate::init::PinInit;
use crate::types::ForeignOwnable;
use core::marker::PhantomData;
use core::mem::{offset_of, ManuallyDrop, MaybeUninit};
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{fence, AtomicI32, Ordering};

#[repr(C)]
struct ArcInner<T> {
    /// Saturates as `refcount_t` does: once negative it stays negative, and the value is leaked instead of freed too
    /// early.
    count: AtomicI32,
    value: T,
}

/// The saturated count: far from both ends, so that concurrent tasks cannot move it back.
const SATURATED: i32 = i32::MIN / 2;

/// A reference to a value that stays at its address until the last reference is dropped.
///
/// # Invariants
/// The pointer is to an `ArcInner` in memory of a [`KBox`], and this owns one of its references.
pub struct Arc<T>(NonNull<ArcInner<T>>, PhantomData<ArcInner<T>>);

// SAFETY: References in several tasks share the value, and the last one drops it, so that the value must be both `Send`
// and `Sync`.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: As for `Send`, because a shared reference can be cloned.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}

/// A borrowed reference, from which an [`Arc`] can be created.
///
/// # Invariants
/// The pointer is to an `ArcInner` whose count does not drop to 0 during `'a`.
pub struct ArcBorrow<'a, T>(NonNull<ArcInner<T>>, PhantomData<&'a T>);

impl<T> Arc<T> {
    /// Allocates memory and moves `value` into it.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        KBox::new(ArcInner { count: AtomicI32::new(1), value }, flags).map(Self::from_box)
    }

    /// Allocates memory and initialises a value in it.
    ///
    /// # Errors
    /// ENOMEM if there is no memory, or the error of the initialiser.
    pub fn pin_init<E>(initializer: impl PinInit<T, E>, flags: Flags) -> Result<Self, Error>
    where
        Error: From<E>,
    {
        let mut memory: KBox<MaybeUninit<ArcInner<T>>> = KBox::<ArcInner<T>>::new_uninit(flags)?;
        let inner = memory.as_mut_ptr();
        // SAFETY: Both are within the memory that was allocated just now.
        let (count, value) = unsafe { (&raw mut (*inner).count, &raw mut (*inner).value) };
        // SAFETY: `count` is memory for a count, which nothing else uses yet.
        unsafe { count.write(AtomicI32::new(1)) };
        // SAFETY: `value` is memory for a value, which stays at its address until the last reference is dropped.
        unsafe { initializer.__pinned_init(value) }?;
        // SAFETY: The pointer comes from `into_raw`, and both fields are initialised.
        Ok(Self::from_box(unsafe { KBox::from_raw(KBox::into_raw(memory).cast()) }))
    }

    fn from_box(inner: KBox<ArcInner<T>>) -> Self {
        // SAFETY: The pointer of a box is not null.
        // INVARIANT: The count is 1, and this owns it.
        Self(unsafe { NonNull::new_unchecked(KBox::into_raw(inner)) }, PhantomData)
    }

    /// Returns the address of the value.
    pub fn as_ptr(this: &Self) -> *const T {
        &raw const **this
    }

    /// Passes the reference to the caller, as the address of the value.
    pub fn into_raw(self) -> *const T {
        Self::as_ptr(&ManuallyDrop::new(self))
    }

    /// Takes back a reference.
    ///
    /// # Safety
    /// `value` must come from [`Arc::into_raw`], whose reference this takes over.
    pub unsafe fn from_raw(value: *const T) -> Self {
        // SAFETY: The caller guarantees that the value is a field of an `ArcInner`, at this offset.
        let inner = unsafe { value.byte_sub(offset_of!(ArcInner<T>, value)) }.cast_mut().cast();
        // SAFETY: The pointer is within an allocation, hence not null.
        // INVARIANT: The caller guarantees a reference that this takes over.
        Self(unsafe { NonNull::new_unchecked(inner) }, PhantomData)
    }

    /// Whether both refer to the same value.
    pub fn ptr_eq(this: &Self, other: &Self) -> bool {
        this.0 == other.0
    }

    /// Adds a reference.
    ///
    /// # Safety
    /// The count of `inner` must not drop to 0 during the call.
    unsafe fn add(inner: NonNull<ArcInner<T>>) -> Self {
        // SAFETY: The caller guarantees that the count is not 0, so that the structure is valid.
        let count = unsafe { &(*inner.as_ptr()).count };
        if count.fetch_add(1, Ordering::Relaxed) <= 0 {
            count.store(SATURATED, Ordering::Relaxed);
        }
        // INVARIANT: This owns the reference that was added just now.
        Self(inner, PhantomData)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        // SAFETY: `self` is a reference, so that the count is not 0.
        unsafe { Self::add(self.0) }
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `self` is a reference, so that the value is live.
        unsafe { &(*self.0.as_ptr()).value }
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        // SAFETY: `self` is a reference until here, so that the structure is valid.
        let before = unsafe { (*self.0.as_ptr()).count.fetch_sub(1, Ordering::Release) };
        if before == 1 {
            // The accesses of other tasks before they dropped their references must happen before the drop of the
            // value.
            fence(Ordering::Acquire);
            // SAFETY: By the invariant the memory is that of a `KBox`, and this was the last reference.
            drop(unsafe { KBox::from_raw(self.0.as_ptr()) });
        }
    }
}

impl<T> Deref for ArcBorrow<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariant the count is not 0, so that the value is live.
        unsafe { &(*self.0.as_ptr()).value }
    }
}

impl<T> Clone for ArcBorrow<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ArcBorrow<'_, T> {}

impl<T: 'static> ForeignOwnable for Arc<T> {
    type Borrowed<'a> = ArcBorrow<'a, T>;

    fn into_foreign(self) -> *mut c_void {
        ManuallyDrop::new(self).0.as_ptr().cast()
    }

    unsafe fn from_foreign(pointer: *mut c_void) -> Self {
        // SAFETY: `into_foreign` returns a pointer that is not null.
        // INVARIANT: The caller guarantees a reference that this takes over.
        Self(unsafe { NonNull::new_unchecked(pointer.cast()) }, PhantomData)
    }

    unsafe fn borrow<'a>(pointer: *mut c_void) -> ArcBorrow<'a, T> {
        // SAFETY: As in `from_foreign`, the pointer is not null.
        // INVARIANT: The caller guarantees that C's reference is dropped only after `'a`.
        ArcBorrow(unsafe { NonNull::new_unchecked(pointer.cast()) }, PhantomData)
    }
}
