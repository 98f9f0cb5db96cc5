// SPDX-License-Identifier: GPL-2.0-only
//! Atomic values: the operations of `core`, with the orderings of the kernel's memory model.

use core::cell::UnsafeCell;
use core::sync::atomic::{fence, AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Orderings of an operation with other accesses to memory.
pub mod ordering {
    use super::Ordering;

    /// An ordering as a type.
    pub trait Order {
        /// The ordering in `core`.
        const ORDER: Ordering;
        /// Whether a successful operation is a full barrier.
        const FULL: bool = false;
    }

    /// No ordering.
    pub struct Relaxed;
    /// Later accesses stay after it.
    pub struct Acquire;
    /// A full barrier.
    pub struct Full;

    impl Order for Relaxed {
        const ORDER: Ordering = Ordering::Relaxed;
    }

    impl Order for Acquire {
        const ORDER: Ordering = Ordering::Acquire;
    }

    impl Order for Full {
        const ORDER: Ordering = Ordering::SeqCst;
        const FULL: bool = true;
    }
}

use ordering::Order;

/// Surrounds an operation with full barriers, if its ordering requires them. In C11 a sequentially consistent operation
/// orders the relaxed accesses around it only on x86, by its locked instruction.
fn ordered<O: Order, R>(operation: impl FnOnce(Ordering) -> R) -> R {
    let barrier = || {
        if O::FULL && cfg!(not(target_arch = "x86_64")) {
            fence(Ordering::SeqCst);
        }
    };
    barrier();
    let result = operation(O::ORDER);
    barrier();
    result
}

/// A type that the machine accesses atomically.
pub trait AtomicType: Sized {
    /// The atomic type in `core`.
    type Core;

    /// # Safety
    /// `value` must be valid for `'a`, and must be accessed only atomically.
    unsafe fn core<'a>(value: *mut Self) -> &'a Self::Core;
    /// Loads the value.
    fn load(core: &Self::Core, order: Ordering) -> Self;
    /// Stores a value.
    fn store(core: &Self::Core, value: Self, order: Ordering);
    /// Stores `new` if the value is `old`. Returns the old value.
    fn compare_exchange(core: &Self::Core, old: Self, new: Self, order: Ordering) -> Result<Self, Self>;
}

/// A type whose values can be added atomically.
pub trait AtomicSum: AtomicType {
    /// Adds, wrapping around. Returns the old value.
    fn add(core: &Self::Core, value: Self, order: Ordering) -> Self;
    /// Subtracts, wrapping around. Returns the old value.
    fn subtract(core: &Self::Core, value: Self, order: Ordering) -> Self;
}

macro_rules! atomic {
    ($type:ty, $core:ty $(, $generic:ident)?) => {
        impl$(<$generic>)? AtomicType for $type {
            type Core = $core;

            unsafe fn core<'a>(value: *mut Self) -> &'a $core {
                // SAFETY: The caller guarantees that the value is valid and accessed only atomically; both types have
                // the same size and alignment on 64-bit machines.
                unsafe { <$core>::from_ptr(value) }
            }

            fn load(core: &$core, order: Ordering) -> Self {
                core.load(order)
            }

            fn store(core: &$core, value: Self, order: Ordering) {
                core.store(value, order)
            }

            fn compare_exchange(core: &$core, old: Self, new: Self, order: Ordering) -> Result<Self, Self> {
                // As in the kernel, an exchange that fails orders nothing.
                core.compare_exchange(old, new, order, Ordering::Relaxed)
            }
        }
    };
}
atomic!(bool, AtomicBool);
atomic!(i32, AtomicI32);
atomic!(u32, AtomicU32);
atomic!(u64, AtomicU64);
atomic!(*mut T, AtomicPtr<T>, T);

macro_rules! sum {
    ($type:ty) => {
        impl AtomicSum for $type {
            fn add(core: &Self::Core, value: Self, order: Ordering) -> Self {
                core.fetch_add(value, order)
            }

            fn subtract(core: &Self::Core, value: Self, order: Ordering) -> Self {
                core.fetch_sub(value, order)
            }
        }
    };
}
sum!(i32);
sum!(u64);

/// A value that tasks access concurrently.
#[repr(transparent)]
pub struct Atomic<T>(UnsafeCell<T>);

// SAFETY: Every access is atomic.
unsafe impl<T: Send> Sync for Atomic<T> {}

impl<T> Atomic<T> {
    /// Creates the value.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }
}

impl<T: AtomicType> Atomic<T> {
    fn core(&self) -> &T::Core {
        // SAFETY: The value is borrowed with `self`, and every access to the cell is through this function, hence
        // atomic.
        unsafe { T::core(self.0.get()) }
    }

    /// Loads the value.
    pub fn load<O: Order>(&self, _: O) -> T {
        T::load(self.core(), O::ORDER)
    }

    /// Stores a value.
    pub fn store<O: Order>(&self, value: T, _: O) {
        T::store(self.core(), value, O::ORDER)
    }

    /// Stores `new` if the value is `old`.
    ///
    /// # Errors
    /// The value, if it is not `old`.
    pub fn cmpxchg<O: Order>(&self, old: T, new: T, _: O) -> Result<T, T> {
        ordered::<O, _>(|order| T::compare_exchange(self.core(), old, new, order))
    }
}

impl<T: AtomicSum> Atomic<T> {
    /// Adds, wrapping around. Returns the old value.
    pub fn fetch_add<O: Order>(&self, value: T, _: O) -> T {
        ordered::<O, _>(|order| T::add(self.core(), value, order))
    }

    /// Subtracts, wrapping around. Returns the old value.
    pub fn fetch_sub<O: Order>(&self, value: T, _: O) -> T {
        ordered::<O, _>(|order| T::subtract(self.core(), value, order))
    }
}
