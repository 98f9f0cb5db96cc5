// SPDX-License-Identifier: CECILL-B
//! Memory that may be shared for writing without `unsafe`.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{mmap_anonymous, munmap, MapFlags, ProtFlags};

use crate::Error;

/// A mapping of its own, filled with zeros at first, that other processes may change at any time.
///
/// It never hands out references to its bytes: they are copied in and out, and what is read while
/// another process writes is a mixture of old and new bytes. It can be shared for writing safely, even if its
/// region is leaked: when it is dropped, the kernel's pages are no longer part of this process.
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
// SAFETY: all accesses are copies from and to a place that is expected to change at any time.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps at least one byte. It starts at a page's start.
    pub fn new(length: NonZeroUsize) -> Result<Self, Error> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so nothing is mapped over.
        let start = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }
            .map_err(|errno| Error::System { what: format!("mapping {length} bytes"), source: errno.into() })?;
        Ok(Self { start, length })
    }

    /// Maps as many bytes as these, and copies them there. There must be one at least.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, Error> {
        let length = NonZeroUsize::new(bytes.len()).ok_or_else(|| Error::of("mapping 0 bytes", Errno::EINVAL))?;
        let memory = Self::new(length)?;
        memory.write_at(0, bytes);
        Ok(memory)
    }

    /// A copy of all its bytes, as they are now.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size()];
        self.read_at(0, &mut bytes);
        bytes
    }

    /// Length in bytes, as it was asked for. Never 0.
    pub fn size(&self) -> usize {
        self.length.get()
    }

    /// Where it starts. Who makes a reference of it has to see to it that nobody changes the bytes meanwhile.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.cast().as_ptr()
    }

    /// Copies `bytes` to `offset`.
    ///
    /// # Panics
    ///
    /// If they do not fit.
    pub fn write_at(&self, offset: usize, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: the place has that many bytes, inside the mapping. Nobody holds a reference to them,
        // so `bytes` is elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Panics
    ///
    /// If there are not as many.
    pub fn read_at(&self, offset: usize, bytes: &mut [u8]) {
        let place = self.place(offset, bytes.len());
        // SAFETY: the place has that many bytes, inside the mapping. Nobody holds a reference to them,
        // so `bytes` is elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(place.cast_const(), bytes.as_mut_ptr(), bytes.len()) };
    }

    /// The address of a part, for the driver.
    ///
    /// # Panics
    ///
    /// If the part is not inside.
    pub(crate) fn address(&self, part: &Range<usize>) -> u64 {
        let length = part.end.checked_sub(part.start).expect("a part ends after its start");
        self.place(part.start, length).expose_provenance() as u64
    }

    fn place(&self, offset: usize, length: usize) -> *mut u8 {
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
