// SPDX-License-Identifier: GPL-2.0-only
//! Values that C initialises, and pointers that C keeps.

use crate::ffi::c_void;
use crate::init::{pin_init_from_closure, PinInit};
use core::cell::UnsafeCell;
use core::convert::Infallible;
use core::marker::PhantomPinned;
use core::mem::MaybeUninit;

/// A value that C reads and writes; Rust assumes nothing of its contents.
#[repr(transparent)]
pub struct Opaque<T> {
    value: UnsafeCell<MaybeUninit<T>>,
    _pin: PhantomPinned,
}

impl<T> Opaque<T> {
    /// Holds `value` for C.
    pub const fn new(value: T) -> Self {
        Self { value: UnsafeCell::new(MaybeUninit::new(value)), _pin: PhantomPinned }
    }

    /// The address of the value.
    pub const fn get(&self) -> *mut T {
        self.value.get().cast()
    }

    /// Lets `function` initialise the value.
    pub fn ffi_init(function: impl FnOnce(*mut T)) -> impl PinInit<Self> {
        let closure = move |slot: *mut Self| {
            function(slot.cast());
            Ok(())
        };
        // SAFETY: Any contents are a valid `Opaque`, and it has nothing to drop.
        unsafe { pin_init_from_closure::<Self, Infallible, _>(closure) }
    }
}

/// A pointer type that C can keep for its owner.
pub trait ForeignOwnable: Sized {
    /// What [`ForeignOwnable::borrow`] gives.
    type Borrowed<'a>;

    /// Gives the value up for C to keep.
    fn into_foreign(self) -> *mut c_void;

    /// Takes the value back.
    ///
    /// # Safety
    /// `pointer` comes from `into_foreign`, is not borrowed, and is not used again.
    unsafe fn from_foreign(pointer: *mut c_void) -> Self;

    /// Borrows the value that C keeps.
    ///
    /// # Safety
    /// `pointer` comes from `into_foreign`, and `from_foreign` is not called during `'a`.
    unsafe fn borrow<'a>(pointer: *mut c_void) -> Self::Borrowed<'a>;
}
