// SPDX-License-Identifier: GPL-2.0-only
//! Vectors of a capacity that is fixed when they are created.

use super::{AllocError, Flags, ALIGNMENT};
use crate::ffi::{self, c_void};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// The allocator of a vector's memory.
pub trait Allocator {
    /// Allocates `bytes` bytes. Returns null if there is no memory.
    fn allocate(bytes: usize, flags: Flags) -> *mut c_void;

    /// Frees memory.
    ///
    /// # Safety
    /// `memory` must come from `allocate` of this allocator, and nothing may refer to it any more.
    unsafe fn free(memory: *const c_void);
}

/// `kmalloc`: contiguous memory.
pub struct Kmalloc;
/// `kvmalloc`: contiguous memory, or virtually contiguous memory where there is no other.
pub struct KVmalloc;

macro_rules! allocator {
    ($type:ident, $allocate:ident, $free:ident) => {
        impl Allocator for $type {
            fn allocate(bytes: usize, flags: Flags) -> *mut c_void {
                ffi::$allocate(bytes, flags.0)
            }

            unsafe fn free(memory: *const c_void) {
                // SAFETY: The caller guarantees that `memory` comes from this allocator and is unused.
                unsafe { ffi::$free(memory) }
            }
        }
    };
}
allocator!(Kmalloc, standin_kmalloc, standin_kfree);
allocator!(KVmalloc, standin_kvmalloc, standin_kvfree);

/// Values of one type, as many as its capacity at most.
///
/// # Invariants
/// `start` owns memory of allocator `A` for `capacity` values, unless `capacity` is 0; the first `length` are live, and
/// `length` is at most `capacity`.
pub struct Vec<T, A: Allocator> {
    start: NonNull<T>,
    capacity: usize,
    length: usize,
    _allocator: PhantomData<A>,
}

/// A vector in memory from `kmalloc`.
pub type KVec<T> = Vec<T, Kmalloc>;
/// A vector in memory from `kvmalloc`.
pub type KVVec<T> = Vec<T, KVmalloc>;

// SAFETY: A vector owns its values, so that sending it sends them.
unsafe impl<T: Send, A: Allocator> Send for Vec<T, A> {}
// SAFETY: A shared vector gives shared references to its values only.
unsafe impl<T: Sync, A: Allocator> Sync for Vec<T, A> {}

/// The value that [`Vec::push_within_capacity`] could not store. The driver drops it.
pub struct PushError<T>(#[allow(dead_code)] pub T);

impl<T, A: Allocator> Vec<T, A> {
    /// Creates an empty vector without memory.
    pub const fn new() -> Self {
        // INVARIANT: The capacity is 0.
        Self { start: NonNull::dangling(), capacity: 0, length: 0, _allocator: PhantomData }
    }

    /// Creates an empty vector with memory for `capacity` values.
    ///
    /// # Errors
    /// [`AllocError`] if there is no memory.
    pub fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        const { assert!(align_of::<T>() <= ALIGNMENT && size_of::<T>() != 0) };
        if capacity == 0 {
            return Ok(Self::new());
        }
        let bytes = capacity.checked_mul(size_of::<T>()).filter(|bytes| *bytes <= isize::MAX as usize);
        let start = NonNull::new(A::allocate(bytes.ok_or(AllocError)?, flags).cast()).ok_or(AllocError)?;
        // INVARIANT: There is memory for `capacity` values, and none is live.
        Ok(Self { start, capacity, length: 0, _allocator: PhantomData })
    }

    /// Appends a value.
    ///
    /// # Errors
    /// [`PushError`] with the value if the vector is full.
    pub fn push_within_capacity(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.length >= self.capacity {
            return Err(PushError(value));
        }
        // SAFETY: The slot is within the memory, since `length` is less than `capacity`.
        let slot = unsafe { self.start.as_ptr().add(self.length) };
        // SAFETY: The slot is in this vector's memory and holds no live value.
        unsafe { slot.write(value) };
        // INVARIANT: One more value is live; the sum is at most `capacity`.
        self.length = self.length.wrapping_add(1);
        Ok(())
    }

    /// Returns the address of the memory, which dangles if there is none.
    pub fn as_ptr(&self) -> *const T {
        self.start.as_ptr()
    }

    /// Returns the same address, for writing.
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.start.as_ptr()
    }

    /// Returns the number of values for which there is memory.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns all values.
    pub fn as_slice(&self) -> &[T] {
        self
    }

    /// Returns all values, mutable.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self
    }
}

impl<T, A: Allocator> Deref for Vec<T, A> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `length` values are live by the invariant; `start` is aligned even if it dangles.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

impl<T, A: Allocator> DerefMut for Vec<T, A> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: `length` values are live by the invariant, and the vector is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl<T, A: Allocator> Drop for Vec<T, A> {
    fn drop(&mut self) {
        // SAFETY: The values are live by the invariant, and nothing uses the vector after its drop.
        unsafe { core::ptr::drop_in_place(self.as_mut_slice()) };
        if self.capacity != 0 {
            // SAFETY: The memory is of allocator `A` by the invariant, and the values in it are gone.
            unsafe { A::free(self.start.as_ptr().cast()) };
        }
    }
}
