// SPDX-License-Identifier: CECILL-B
//! Memory of all kinds for the driver to copy.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use knem_core::uapi::ParamIovec;
use nix::errno::Errno;
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::mman::{madvise, mmap, mmap_anonymous, mprotect, munmap, MapFlags, MmapAdvise, ProtFlags};

use crate::device::segment;

/// Size of a page.
pub const PAGE: usize = 4096;

/// A mapping. The driver may change its bytes without the compiler's knowledge, so that slices of it are taken again
/// after each command and never kept across one.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: A mapping belongs to the process, not to a thread, so that any thread may use and unmap it.
unsafe impl Send for Mapping {}
// SAFETY: Through a shared reference the bytes are only read here. What the driver writes is read after its command has
// returned.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps anonymous private memory, readable and writable, with no page present.
    pub fn new(length: usize) -> Self {
        // SAFETY: The kernel chooses the address, so that no existing mapping is replaced.
        let start = unsafe { mmap_anonymous(None, nonzero(length), both(), MapFlags::MAP_PRIVATE) };
        Self { start: start.expect("mmap"), length }
    }

    /// Maps a file.
    pub fn of_file(file: impl AsFd, length: usize, protection: ProtFlags, flags: MapFlags) -> Self {
        Self::try_of_file(file, length, protection, flags, 0).expect("mmap of a file")
    }

    /// Maps a file, if that is possible.
    pub fn try_of_file(
        file: impl AsFd,
        length: usize,
        protection: ProtFlags,
        flags: MapFlags,
        offset: i64,
    ) -> Result<Self, Errno> {
        // SAFETY: The kernel chooses the address, so that no existing mapping is replaced.
        let start = unsafe { mmap(None, nonzero(length), protection, flags, file, offset) }?;
        Ok(Self { start, length })
    }

    /// Maps memory as [`Mapping::new`], with these contents.
    pub fn holding(bytes: &[u8]) -> Self {
        let mut mapping = Self::new(bytes.len().max(1));
        mapping.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        mapping
    }

    /// Maps memory between two pages that cannot be accessed. Returns the address of the memory.
    pub fn between_holes(length: usize) -> (Self, u64) {
        let mapping = Self::new(length + 2 * PAGE);
        mapping.protect(0, PAGE, ProtFlags::PROT_NONE);
        mapping.protect(PAGE + length, PAGE, ProtFlags::PROT_NONE);
        let inside = mapping.address() + PAGE as u64;
        (mapping, inside)
    }

    /// Returns the address of the first byte.
    pub fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no bytes, which no mapping is.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Returns all of it as a segment.
    pub fn segment(&self) -> ParamIovec {
        segment(self.address(), self.length as u64)
    }

    /// Returns a part as a segment.
    pub fn part(&self, offset: usize, length: usize) -> ParamIovec {
        assert!(offset + length <= self.length);
        segment(self.address() + offset as u64, length as u64)
    }

    /// Returns the bytes, valid until the next command.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: The mapping has this length, and callers do not keep the slice across a command, which could change
        // the bytes.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>().as_ptr(), self.length) }
    }

    /// Reads one byte, which another process may change concurrently.
    pub fn peek(&self, offset: usize) -> u8 {
        assert!(offset < self.length);
        let place = self.start.as_ptr().cast::<u8>().wrapping_add(offset);
        // SAFETY: The byte is inside the mapping, as was checked above.
        unsafe { place.read_volatile() }
    }

    /// Returns the bytes, valid until the next command.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: The mapping has this length and is borrowed exclusively, and callers do not keep the slice across a
        // command.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast::<u8>().as_ptr(), self.length) }
    }

    /// Changes the protection of a part.
    pub fn protect(&self, offset: usize, length: usize, protection: ProtFlags) {
        assert!(offset + length <= self.length);
        // SAFETY: The address is inside the mapping, as was checked above.
        let start = unsafe { self.start.byte_add(offset) };
        // SAFETY: The range is inside this mapping, and no slice of it exists while its protection changes.
        unsafe { mprotect(start, length, protection) }.expect("mprotect");
    }

    /// Gives the kernel advice about the mapping; returns whether it was accepted.
    pub fn advise(&self, advice: MmapAdvise) -> bool {
        // SAFETY: The range is this mapping. The advice that tests use changes no bytes that they still read.
        unsafe { madvise(self.start, self.length, advice) }.is_ok()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The mapping belongs to this value, and slices of it have ended with their borrows.
        unsafe { munmap(self.start, self.length) }.expect("munmap");
    }
}

/// Creates a memory file of this length.
pub fn memory_file(length: usize) -> OwnedFd {
    let file = memfd_create(c"knem-test", MFdFlags::MFD_CLOEXEC).expect("memfd");
    nix::unistd::ftruncate(&file, i64::try_from(length).expect("a file size")).expect("ftruncate");
    file
}

/// Returns an address in user memory where nothing is mapped.
pub fn hole() -> u64 {
    Mapping::new(16 * PAGE).address()
}

/// Returns the protection for reading and writing.
pub fn both() -> ProtFlags {
    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
}

fn nonzero(length: usize) -> NonZeroUsize {
    NonZeroUsize::new(length).expect("a mapping has bytes")
}
