// SPDX-License-Identifier: CECILL-B
//! Memory that can be shared for writing without `unsafe`.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{mmap_anonymous, munmap, MapFlags, ProtFlags};

use crate::Error;

/// A private mapping, initially zero, that other processes may change at any time.
///
/// There are no references to its bytes: they are copied in and out, and a read during a write of another process
/// returns a mixture of old and new bytes. It can be shared for writing safely, even if its region is leaked: when it
/// is dropped, the pages that the kernel uses are no longer part of this process.
///
/// ```
/// # fn main() -> Result<(), knem::Error> {
/// let memory = knem::Memory::copy_of(b"some bytes")?;
/// memory.write_at(5, b"words");
/// let mut word = [0; 5];
/// memory.read_at(5, &mut word);
/// assert_eq!(&word, b"words");
/// assert_eq!(memory.to_vec(), b"some words");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Memory {
    start: NonNull<c_void>,
    length: NonZeroUsize,
}

// SAFETY: a mapping belongs to the process, not to a thread; it is unmapped once, by the one owner.
unsafe impl Send for Memory {}
// SAFETY: all accesses are copies from and to bytes that may change at any time, and there are no references to them.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps `length` bytes, page-aligned.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with the errno of mmap(2): ENOMEM.
    pub fn new(length: NonZeroUsize) -> Result<Self, Error> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so the mapping replaces no other one.
        let start = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }
            .map_err(|errno| Error::System { what: format!("mapping {length} bytes"), source: errno.into() })?;
        Ok(Self { start, length })
    }

    /// Maps as many bytes as there are in `bytes`, and copies them.
    ///
    /// # Errors
    ///
    /// [`Error::System`] with EINVAL for no bytes, or with ENOMEM.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, Error> {
        let length = NonZeroUsize::new(bytes.len()).ok_or_else(|| Error::of("mapping 0 bytes", Errno::EINVAL))?;
        let memory = Self::new(length)?;
        memory.write_at(0, bytes);
        Ok(memory)
    }

    /// Returns a copy of its current bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size()];
        self.read_at(0, &mut bytes);
        bytes
    }

    /// Returns its length in bytes, as requested. Never 0.
    pub fn size(&self) -> usize {
        self.length.get()
    }

    /// Returns its address. While a reference made from it exists, no process may change the bytes.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.cast().as_ptr()
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    ///
    /// If the mapping has fewer bytes there.
    pub fn write_at(&self, offset: usize, bytes: &[u8]) {
        let start = self.at(offset, bytes.len());
        // SAFETY: `at` has checked that the mapping has that many bytes there. There is no reference to them,
        // so `bytes` does not overlap them.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Panics
    ///
    /// If the mapping has fewer bytes there.
    pub fn read_at(&self, offset: usize, bytes: &mut [u8]) {
        let start = self.at(offset, bytes.len());
        // SAFETY: `at` has checked that the mapping has that many bytes there. There is no reference to them,
        // so `bytes` does not overlap them.
        unsafe { std::ptr::copy_nonoverlapping(start.cast_const(), bytes.as_mut_ptr(), bytes.len()) };
    }

    /// Returns the address of a part, for the driver.
    ///
    /// # Panics
    ///
    /// If the part is not inside the mapping.
    pub(crate) fn address(&self, part: &Range<usize>) -> u64 {
        let length = part.end.checked_sub(part.start).expect("a part ends after its start");
        self.at(part.start, length).expose_provenance() as u64
    }

    fn at(&self, offset: usize, length: usize) -> *mut u8 {
        let end = offset.checked_add(length);
        assert!(end.is_some_and(|end| end <= self.size()), "{length} bytes at {offset} are not inside {}", self.size());
        // SAFETY: `offset` is inside the mapping or its end.
        unsafe { self.start.cast::<u8>().as_ptr().add(offset) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping. No reference to it exists.
        let unmapped = unsafe { munmap(self.start, self.size()) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(length: usize) -> Memory {
        Memory::new(NonZeroUsize::new(length).unwrap()).unwrap()
    }

    #[test]
    fn keeps_what_is_written() {
        let memory = memory(10);
        memory.write_at(7, b"abc");
        let mut bytes = [1; 4];
        memory.read_at(6, &mut bytes);
        assert_eq!(&bytes, b"\0abc");
        assert_eq!(memory.size(), 10);
    }

    #[test]
    fn may_be_a_copy() {
        assert_eq!(Memory::copy_of(b"abc").unwrap().to_vec(), b"abc");
        assert!(Memory::copy_of(b"").is_err());
    }

    #[test]
    #[should_panic(expected = "not inside")]
    fn ends_where_it_was_asked_to() {
        memory(10).write_at(8, b"abc");
    }

    #[test]
    #[should_panic(expected = "not inside")]
    fn offsets_do_not_wrap() {
        memory(10).write_at(usize::MAX, b"abc");
    }
}
