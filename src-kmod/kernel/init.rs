// SPDX-License-Identifier: GPL-2.0-only
//! In-place initialisation of structures that must not move: the part of the `pin_init` crate that the driver uses.

use core::convert::Infallible;
use core::marker::PhantomData;

/// An initialiser of a `T` at its final address.
///
/// # Safety
/// After `Ok` the whole `T` must be initialised; after `Err` nothing in the slot may be live.
pub unsafe trait PinInit<T: ?Sized, E = Infallible>: Sized {
    /// Initialises the slot.
    ///
    /// # Errors
    /// The error of the initialisation of a field.
    ///
    /// # Safety
    /// `slot` must point to memory for a `T`, which stays at its address until it is dropped.
    unsafe fn __pinned_init(self, slot: *mut T) -> Result<(), E>;
}

/// A closure as an initialiser; created by [`pin_init_from_closure`].
pub struct Closure<T: ?Sized, E, F>(F, PhantomData<(fn(*mut T), E)>);

// SAFETY: The caller of `pin_init_from_closure` guarantees what the trait requires.
unsafe impl<T: ?Sized, E, F: FnOnce(*mut T) -> Result<(), E>> PinInit<T, E> for Closure<T, E, F> {
    unsafe fn __pinned_init(self, slot: *mut T) -> Result<(), E> {
        (self.0)(slot)
    }
}

/// Creates an initialiser from a closure.
///
/// # Safety
/// The closure must do with its slot what [`PinInit`] requires.
pub const unsafe fn pin_init_from_closure<T: ?Sized, E, F: FnOnce(*mut T) -> Result<(), E>>(
    closure: F,
) -> Closure<T, E, F> {
    Closure(closure, PhantomData)
}

/// Drops an initialised field, unless it is forgotten: for an initialiser of a later field that fails.
///
/// # Invariants
/// The pointer is to a live value that nothing else drops.
pub struct DropGuard<T>(*mut T);

impl<T> DropGuard<T> {
    /// Guards a field.
    ///
    /// # Safety
    /// `field` must point to a live value that nothing else drops as long as this exists.
    pub unsafe fn new(field: *mut T) -> Self {
        // INVARIANT: The caller guarantees that the value is live and that nothing else drops it.
        Self(field)
    }
}

impl<T> Drop for DropGuard<T> {
    fn drop(&mut self) {
        // SAFETY: The value is live by the invariant, and only dropped here.
        unsafe { core::ptr::drop_in_place(self.0) }
    }
}

/// An initialiser of a structure that cannot fail: `pin_init!(Type { field: value, field <- initialiser, field })`.
#[macro_export]
macro_rules! pin_init {
    ($type:ident { $($fields:tt)* }) => {{
        let closure = move |slot: *mut $type| -> core::result::Result<(), core::convert::Infallible> {
            $crate::__fields!($type, slot, [], $($fields)*);
            Ok(())
        };
        // SAFETY: `__fields` initialises every field once, which the compiler checks by the pattern at its end; if one
        // fails, guards drop those before it.
        unsafe { $crate::init::pin_init_from_closure::<$type, core::convert::Infallible, _>(closure) }
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __fields {
    ($type:ident, $slot:ident, [$($done:ident)*], $field:ident <- $value:expr $(, $($rest:tt)*)?) => {
        let initializer = $value;
        // SAFETY: The slot is memory for the structure, so that this is memory for the field.
        let field = unsafe { &raw mut (*$slot).$field };
        // SAFETY: As above, `field` is memory for the field, which stays where the structure stays.
        unsafe { $crate::init::PinInit::__pinned_init(initializer, field)? };
        // SAFETY: The field was initialised just now, and only this guard drops it before the structure is complete.
        let guard = unsafe { $crate::init::DropGuard::new(field) };
        $crate::__fields!($type, $slot, [$($done)* $field], $($($rest)*)?);
        core::mem::forget(guard);
    };
    ($type:ident, $slot:ident, [$($done:ident)*], $field:ident : $value:expr $(, $($rest:tt)*)?) => {
        let value = $value;
        // SAFETY: The slot is memory for the structure, so that this is memory for the field.
        let field = unsafe { &raw mut (*$slot).$field };
        // SAFETY: As above, `field` is memory for the field.
        unsafe { field.write(value) };
        // SAFETY: The field was initialised just now, and only this guard drops it before the structure is complete.
        let guard = unsafe { $crate::init::DropGuard::new(field) };
        $crate::__fields!($type, $slot, [$($done)* $field], $($($rest)*)?);
        core::mem::forget(guard);
    };
    ($type:ident, $slot:ident, [$($done:ident)*], $field:ident $(, $($rest:tt)*)?) => {
        $crate::__fields!($type, $slot, [$($done)*], $field: $field, $($($rest)*)?);
    };
    ($type:ident, $slot:ident, [$($done:ident)*],) => {
        // Compiles only if every field is named once. Never called.
        let _ = |whole: &$type| {
            let $type { $($done: _),* } = whole;
        };
    };
}
