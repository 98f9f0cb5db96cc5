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

/// A mapping. The driver may change it behind the compiler's back, therefore slices of it are taken
/// anew after each command and never kept across one.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference its bytes are only read here; what the driver writes is looked at after
// its command.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Anonymous, private, readable and writable; nothing has touched it.
    pub fn new(length: usize) -> Self {
        // SAFETY: the kernel chooses the place.
        let start = unsafe { mmap_anonymous(None, nonzero(length), both(), MapFlags::MAP_PRIVATE) };
        Self { start: start.expect("mmap"), length }
    }

    /// A mapping of a file.
    pub fn of_file(file: impl AsFd, length: usize, protection: ProtFlags, flags: MapFlags) -> Self {
        Self::try_of_file(file, length, protection, flags, 0).expect("mmap of a file")
    }

    /// A mapping of a file, if that is possible.
    pub fn try_of_file(
        file: impl AsFd,
        length: usize,
        protection: ProtFlags,
        flags: MapFlags,
        offset: i64,
    ) -> Result<Self, Errno> {
        // SAFETY: the kernel chooses the place.
        let start = unsafe { mmap(None, nonzero(length), protection, flags, file, offset) }?;
        Ok(Self { start, length })
    }

    /// As [`Mapping::new`], with these contents.
    pub fn holding(bytes: &[u8]) -> Self {
        let mut mapping = Self::new(bytes.len().max(1));
        mapping.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        mapping
    }

    /// Two pages more than asked for, the first and last of which no one may access.
    pub fn between_holes(length: usize) -> (Self, u64) {
        let mapping = Self::new(length + 2 * PAGE);
        mapping.protect(0, PAGE, ProtFlags::PROT_NONE);
        mapping.protect(PAGE + length, PAGE, ProtFlags::PROT_NONE);
        let inside = mapping.address() + PAGE as u64;
        (mapping, inside)
    }

    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no bytes; none is like that.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The whole as a segment.
    pub fn segment(&self) -> ParamIovec {
        segment(self.address(), self.length as u64)
    }

    /// A part as a segment.
    pub fn part(&self, offset: usize, length: usize) -> ParamIovec {
        assert!(offset + length <= self.length);
        segment(self.address() + offset as u64, length as u64)
    }

    /// The bytes, until the next command.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped, of that length. Callers do not keep it across a command.
        unsafe { std::slice::from_raw_parts(self.start.cast::<u8>().as_ptr(), self.length) }
    }

    /// One byte, as it is right now: another process may be changing it.
    pub fn peek(&self, offset: usize) -> u8 {
        assert!(offset < self.length);
        let place = self.start.as_ptr().cast::<u8>().wrapping_add(offset);
        // SAFETY: inside the mapping.
        unsafe { place.read_volatile() }
    }

    /// The bytes, until the next command.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped, of that length, borrowed exclusively. Callers do not keep it across a command.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast::<u8>().as_ptr(), self.length) }
    }

    /// Changes what may be done with a part.
    pub fn protect(&self, offset: usize, length: usize, protection: ProtFlags) {
        assert!(offset + length <= self.length);
        // SAFETY: inside the mapping.
        let start = unsafe { self.start.byte_add(offset) };
        // SAFETY: nobody uses the range while its protection changes.
        unsafe { mprotect(start, length, protection) }.expect("mprotect");
    }

    /// Advises the kernel on the whole; says whether it listened.
    pub fn advise(&self, advice: MmapAdvise) -> bool {
        // SAFETY: the whole mapping; the advices used here lose no data that anybody needs.
        unsafe { madvise(self.start, self.length, advice) }.is_ok()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's; slices of it have ended with their borrows.
        unsafe { munmap(self.start, self.length) }.expect("munmap");
    }
}

/// A file in memory, of this length.
pub fn memory_file(length: usize) -> OwnedFd {
    let file = memfd_create(c"knem-test", MFdFlags::MFD_CLOEXEC).expect("memfd");
    nix::unistd::ftruncate(&file, i64::try_from(length).expect("a file size")).expect("ftruncate");
    file
}

/// An address in user space where nothing is mapped.
pub fn hole() -> u64 {
    Mapping::new(16 * PAGE).address()
}

/// Readable and writable.
pub fn both() -> ProtFlags {
    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
}

fn nonzero(length: usize) -> NonZeroUsize {
    NonZeroUsize::new(length).expect("a mapping has bytes")
}
