// SPDX-License-Identifier: GPL-2.0-only
//! Locks that own the value that they protect.

use crate::ffi::{self, c_void};
use crate::init::{pin_init_from_closure, PinInit};
use core::cell::UnsafeCell;
use core::convert::Infallible;
use core::ffi::CStr;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};

/// A lockdep class: the locks that one location in the source initialises.
pub struct LockClass {
    name: &'static CStr,
    /// Memory for a `struct lock_class_key`; asserted in C.
    key: UnsafeCell<MaybeUninit<[u64; 4]>>,
}

// SAFETY: Only lockdep accesses the key, under its own lock; it identifies keys by their address.
unsafe impl Sync for LockClass {}

impl LockClass {
    #[doc(hidden)]
    pub const fn __new(name: &'static CStr) -> Self {
        Self { name, key: UnsafeCell::new(MaybeUninit::zeroed()) }
    }
}

/// A kind of lock of the kernel.
///
/// # Safety
/// Between `lock` and `unlock` of a lock, no other `lock` of it may return.
pub unsafe trait Backend {
    /// Memory for any kernel's lock of this kind, with lockdep and PREEMPT_RT too; asserted in C.
    type Memory;

    /// Initialises a lock of a class.
    ///
    /// # Safety
    /// `lock` must point to `Memory` that stays at its address.
    unsafe fn init(lock: *mut c_void, class: &'static LockClass);

    /// Acquires a lock.
    ///
    /// # Safety
    /// `lock` must be initialised.
    unsafe fn lock(lock: *mut c_void);

    /// Releases a lock.
    ///
    /// # Safety
    /// The calling task must have acquired `lock`.
    unsafe fn unlock(lock: *mut c_void);
}

/// `spinlock_t`: held for a few instructions, without sleeping.
pub enum SpinLockBackend {}
/// `struct mutex`: its holder may sleep.
pub enum MutexBackend {}

macro_rules! backend {
    ($name:ident, $words:literal, $init:ident, $lock:ident, $unlock:ident) => {
        // SAFETY: The functions are those of the kernel's lock, which excludes other holders.
        unsafe impl Backend for $name {
            type Memory = [u64; $words];

            unsafe fn init(lock: *mut c_void, class: &'static LockClass) {
                // SAFETY: The caller guarantees that the memory stays at its address. C asserts the sizes of lock and
                // key, and the class is static.
                unsafe { ffi::$init(lock, class.name.as_ptr().cast(), class.key.get().cast()) }
            }

            unsafe fn lock(lock: *mut c_void) {
                // SAFETY: The caller guarantees that the lock is initialised.
                unsafe { ffi::$lock(lock) }
            }

            unsafe fn unlock(lock: *mut c_void) {
                // SAFETY: The caller guarantees that the calling task has acquired the lock.
                unsafe { ffi::$unlock(lock) }
            }
        }
    };
}
backend!(SpinLockBackend, 16, standin_spin_init, standin_spin_lock, standin_spin_unlock);
backend!(MutexBackend, 24, standin_mutex_init, standin_mutex_lock, standin_mutex_unlock);

/// A value that only the holder of a lock accesses.
#[repr(C)]
pub struct Lock<T, B: Backend> {
    lock: UnsafeCell<MaybeUninit<B::Memory>>,
    value: UnsafeCell<T>,
}

/// A value that a spinlock protects.
pub type SpinLock<T> = Lock<T, SpinLockBackend>;
/// A value that a mutex protects.
pub type Mutex<T> = Lock<T, MutexBackend>;

// SAFETY: A lock of the kernel belongs to no task, so that sending one sends its value.
unsafe impl<T: Send, B: Backend> Send for Lock<T, B> {}
// SAFETY: One task at a time accesses the value, as if it was sent to that task.
unsafe impl<T: Send, B: Backend> Sync for Lock<T, B> {}

impl<T, B: Backend> Lock<T, B> {
    /// Initialises a lock and its value.
    pub fn new(value: T, class: &'static LockClass) -> impl PinInit<Self> {
        let closure = move |slot: *mut Self| {
            // SAFETY: The slot is memory for the structure, so that both fields are within it.
            let (lock, cell) = unsafe { (&raw mut (*slot).lock, &raw mut (*slot).value) };
            // SAFETY: `cell` is memory for the value.
            unsafe { cell.write(UnsafeCell::new(value)) };
            // SAFETY: `lock` is memory for the lock, which stays at its address as the slot does.
            unsafe { B::init(lock.cast(), class) };
            Ok(())
        };
        // SAFETY: The closure initialises both fields.
        unsafe { pin_init_from_closure::<Self, Infallible, _>(closure) }
    }

    /// Acquires the lock, which is released when the result is dropped.
    pub fn lock(&self) -> Guard<'_, T, B> {
        // SAFETY: A `Lock` is created by `new`, which initialises it, or is in a `Global`, whose contract requires that
        // it is initialised first.
        unsafe { B::lock(self.lock.get().cast()) };
        // INVARIANT: The calling task acquired the lock just now.
        Guard(self, PhantomData)
    }
}

/// Access to the value of a lock.
///
/// # Invariants
/// The calling task has acquired the lock.
#[must_use]
pub struct Guard<'a, T, B: Backend>(&'a Lock<T, B>, PhantomData<*mut ()>);

impl<T, B: Backend> Deref for Guard<'_, T, B> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the invariant the lock is acquired, so that nothing else accesses the value.
        unsafe { &*self.0.value.get() }
    }
}

impl<T, B: Backend> DerefMut for Guard<'_, T, B> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As in `deref`, the lock is acquired; the guard is borrowed exclusively.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T, B: Backend> Drop for Guard<'_, T, B> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the calling task has acquired the lock.
        unsafe { B::unlock(self.0.lock.get().cast()) }
    }
}

/// A lock in a static; see [`global_lock!`](crate::global_lock).
pub struct Global<T, B: Backend> {
    lock: Lock<T, B>,
    class: LockClass,
}

// SAFETY: As for `Lock`, one task at a time accesses the value; the class is only read.
unsafe impl<T: Send, B: Backend> Sync for Global<T, B> {}

impl<T, B: Backend> Global<T, B> {
    #[doc(hidden)]
    pub const fn __new(value: T, name: &'static CStr) -> Self {
        let lock = Lock { lock: UnsafeCell::new(MaybeUninit::uninit()), value: UnsafeCell::new(value) };
        Self { lock, class: LockClass::__new(name) }
    }

    /// Initialises the lock.
    ///
    /// # Safety
    /// Must be called once, before `lock`.
    pub unsafe fn init(&'static self) {
        // SAFETY: The caller guarantees that this is the first use; a static never moves.
        unsafe { B::init(self.lock.lock.get().cast(), &self.class) }
    }

    /// Acquires the lock.
    pub fn lock(&self) -> Guard<'_, T, B> {
        self.lock.lock()
    }
}

/// A C string.
#[doc(hidden)]
#[macro_export]
macro_rules! __c_str {
    ($text:expr) => {
        match core::ffi::CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()) {
            Ok(text) => text,
            Err(_) => panic!(),
        }
    };
}

/// An initialiser of a spinlock, and the name of its class.
#[macro_export]
macro_rules! new_spinlock {
    ($value:expr, $name:literal) => {{
        static CLASS: $crate::sync::LockClass = $crate::sync::LockClass::__new($crate::__c_str!($name));
        $crate::sync::SpinLock::new($value, &CLASS)
    }};
}

/// An initialiser of a mutex, and the name of its class.
#[macro_export]
macro_rules! new_mutex {
    ($value:expr, $name:literal) => {{
        static CLASS: $crate::sync::LockClass = $crate::sync::LockClass::__new($crate::__c_str!($name));
        $crate::sync::Mutex::new($value, &CLASS)
    }};
}

/// Declares a static with a lock. `unsafe(uninit)` states that its user initialises the lock before use.
#[macro_export]
macro_rules! global_lock {
    (unsafe(uninit) static $name:ident : SpinLock<$type:ty> = $value:expr;) => {
        static $name: $crate::sync::Global<$type, $crate::sync::SpinLockBackend> =
            $crate::sync::Global::__new($value, $crate::__c_str!(stringify!($name)));
    };
    (unsafe(uninit) static $name:ident : Mutex<$type:ty> = $value:expr;) => {
        static $name: $crate::sync::Global<$type, $crate::sync::MutexBackend> =
            $crate::sync::Global::__new($value, $crate::__c_str!(stringify!($name)));
    };
}
