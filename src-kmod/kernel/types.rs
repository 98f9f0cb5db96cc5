// SPDX-License-Identifier: GPL-2.0-only
//! Values that C initialises, and pointers that C stores.

use crate::ffi::c_void;
use crate::init::{pin_init_from_closure, PinInit};
use core::cell::UnsafeCell;
use core::convert::Infallible;
use core::marker::PhantomPinned;
use core::mem::MaybeUninit;

/// A value that C reads and writes. Rust assumes nothing about its contents.
#[repr(transparent)]
pub struct Opaque<T> {
    value: UnsafeCell<MaybeUninit<T>>,
    _pin: PhantomPinned,
}

impl<T> Opaque<T> {
    /// Creates it with a first value.
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(MaybeUninit::new(value)), _pin: PhantomPinned }
    }

    /// Returns the address of the value.
    pub const fn get(&self) -> *mut T {
        self.value.get().cast()
    }

    /// Creates an initialiser that calls `function` with the address of the value.
    pub fn ffi_init(function: impl FnOnce(*mut T)) -> impl PinInit<Self> {
        let closure = move |slot: *mut Self| {
            function(slot.cast());
            Ok(())
        };
        // SAFETY: Any contents are a valid `Opaque`, which has nothing to drop.
        unsafe { pin_init_from_closure::<Self, Infallible, _>(closure) }
    }
}

/// A pointer type that C can store for its owner.
pub trait ForeignOwnable: Sized {
    /// The type that [`ForeignOwnable::borrow`] returns.
    type Borrowed<'a>;

    /// Passes the value to C.
    fn into_foreign(self) -> *mut c_void;

    /// Takes back the value.
    ///
    /// # Safety
    /// `pointer` must come from `into_foreign`, must not be borrowed, and must not be used again.
    unsafe fn from_foreign(pointer: *mut c_void) -> Self;

    /// Borrows the value that C stores.
    ///
    /// # Safety
    /// `pointer` must come from `into_foreign`, and `from_foreign` must not be called during `'a`.
    unsafe fn borrow<'a>(pointer: *mut c_void) -> Self::Borrowed<'a>;
}
