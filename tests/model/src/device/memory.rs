// SPDX-License-Identifier: CECILL-B
//! Mappings that the kernel may change at any time. No reference to their bytes exists; they are copied in and out.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use knem_core::uapi::ParamIovec;
use nix::errno::Errno;
use nix::libc;

/// A mapping.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps private memory.
    pub(super) fn anonymous(length: usize) -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        Self::new(length, length, protection, flags, -1, 0).expect("memory")
    }

    /// Maps a part of a file; has the length as requested and rounded to pages.
    pub(super) fn of_file(
        file: BorrowedFd<'_>,
        (length, rounded): (u64, u64),
        protection: c_int,
        flags: c_int,
        offset: u64,
    ) -> Result<Self, Errno> {
        Self::new(length as usize, rounded as usize, protection, flags, file.as_raw_fd(), offset as libc::off_t)
    }

    fn new(
        asked: usize,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: libc::off_t,
    ) -> Result<Self, Errno> {
        // SAFETY: The kernel chooses the address, so that no existing mapping is replaced.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), asked, protection, flags, file, offset) };
        if start == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Errno::ENOMEM)?, length })
    }

    pub(super) fn address(&self) -> u64 {
        self.start.as_ptr().expose_provenance() as u64
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn part(&self, start: usize, length: usize) -> ParamIovec {
        ParamIovec { base: self.address() + start as u64, len: length as u64 }
    }

    fn at(&self, start: usize, length: usize) -> *mut u8 {
        assert!(start + length <= self.length, "inside the mapping");
        self.start.as_ptr().wrapping_add(start)
    }

    pub(super) fn store(&self, start: usize, bytes: &[u8]) {
        let to = self.at(start, bytes.len());
        // SAFETY: The range is inside the mapping, as `at` checks, and callers store only where it is writable.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    pub(super) fn load<const N: usize>(&self, start: usize) -> [u8; N] {
        std::array::from_fn(|n| self.peek(start + n))
    }

    /// Reads one byte with acquire semantics: what was stored before it is visible, too.
    pub(super) fn peek(&self, offset: usize) -> u8 {
        // SAFETY: The byte is inside the mapping, as `at` checks. The kernel may write it concurrently, as a whole.
        unsafe { AtomicU8::from_ptr(self.at(offset, 1)) }.load(Ordering::Acquire)
    }

    /// Copies the first bytes out, some of which may be changing.
    pub(super) fn copy_out(&self, length: usize, into: &mut Vec<u8>) {
        into.resize(length, 0);
        let from = self.at(0, length);
        // SAFETY: The range is inside the mapping, as `at` checks, and does not overlap the vector's memory.
        unsafe { std::ptr::copy(from, into.as_mut_ptr(), length) };
    }

    pub(super) fn protect(&self, start: usize, length: usize, protection: c_int) {
        let start = self.at(start, length).cast::<c_void>();
        // SAFETY: The range is inside the mapping, and no reference to its bytes exists.
        let result = unsafe { libc::mprotect(start, length, protection) };
        Errno::result(result).expect("mprotect");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: The mapping belongs to this value, and no reference to its bytes exists.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        Errno::result(result).expect("munmap");
    }
}
