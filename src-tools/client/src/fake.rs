// SPDX-License-Identifier: CECILL-B
//! A driver without a kernel, for tests: it has regions of this process only, and copies them at once.
//!
//! It implements the part of the interface that the library uses: cookies, protection, single use, offsets, bounds and
//! truncation; with [`FakeDriver::with_thread`] also the status array, asynchronous requests and events. It has one
//! user, no DMA engine, and does not detect bad addresses.
//!
//! ```
//! use knem::{fake::FakeDriver, CopyOptions, Device, RegionFlags};
//! use std::io::IoSlice;
//!
//! # fn main() -> Result<(), knem::Error> {
//! let driver = FakeDriver::new();
//! let device = Device::new(Box::new(driver.clone()))?;
//! let region = device.share(&[IoSlice::new(b"data")], RegionFlags::NONE)?;
//! assert_eq!(driver.region_count(), 1);
//! let mut copy = [0; 4];
//! device.read(region.cookie(), &mut copy, CopyOptions::default())?;
//! assert_eq!(&copy, b"data");
//! drop(region);
//! assert_eq!(driver.region_count(), 0);
//! # Ok(())
//! # }
//! ```

mod thread;

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use knem_core::uapi::{self, CmdCopyBounded, CmdCreateRegion, CmdInfo, CmdInlineCopyBounded, ParamIovec};
use nix::errno::Errno;

use crate::{Backend, Cookie};
use thread::FakeThread;

/// The driver. Clones share their regions, as open files of one kernel do.
#[derive(Clone)]
pub struct FakeDriver {
    abi: u32,
    wrong_last_byte: bool,
    pin_limit: u64,
    regions: Arc<Mutex<Regions>>,
    thread: Option<Arc<FakeThread>>,
}

#[derive(Default)]
struct Regions {
    listed: HashMap<u64, FakeRegion>,
    created: u64,
}

#[derive(Clone)]
struct FakeRegion {
    segments: Vec<ParamIovec>,
    protection: u32,
    single_use: bool,
}

impl FakeDriver {
    /// Creates a driver with this version of the interface.
    pub fn new() -> Self {
        Self::with_abi(uapi::ABI_VERSION)
    }

    /// Creates a driver with another version of the interface.
    pub fn with_abi(abi: u32) -> Self {
        Self { abi, wrong_last_byte: false, pin_limit: u64::MAX, regions: Arc::default(), thread: None }
    }

    /// Makes the driver omit the last byte of inline copies, for tests of tests.
    pub fn with_wrong_last_byte(self) -> Self {
        Self { wrong_last_byte: true, ..self }
    }

    /// Makes the driver refuse regions of more than `bytes`, as a limit of locked memory does.
    pub fn with_pin_limit(self, bytes: u64) -> Self {
        Self { pin_limit: bytes, ..self }
    }

    /// Adds a status array and a worker thread, which has made each copy before the request returns. The result is a
    /// new open file; later clones share it.
    pub fn with_thread(self) -> Self {
        Self { thread: Some(Arc::new(FakeThread::new())), ..self }
    }

    /// Makes the worker thread report completions only when [`FakeDriver::complete`] is called. The bytes are still
    /// copied at once, which a driver may do.
    pub fn holding(self) -> Self {
        if let Some(thread) = &self.thread {
            thread.hold();
        }
        self
    }

    /// Completes the request in a slot. Needs [`FakeDriver::with_thread`]; does nothing before the array is mapped.
    pub fn complete(&self, slot: u32, success: bool) {
        if let Some(thread) = &self.thread {
            thread.complete(slot, success);
        }
    }

    /// Makes reading events fail from now on.
    pub fn break_down(&self) {
        if let Some(thread) = &self.thread {
            thread.break_down();
        }
    }

    /// Returns the number of regions.
    pub fn region_count(&self) -> usize {
        self.regions().listed.len()
    }

    fn regions(&self) -> MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FakeDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl Regions {
    /// Returns the region of a cookie, if it allows this access.
    fn find(&self, cookie: u64, protection: u32) -> Result<FakeRegion, Errno> {
        let region = self.listed.get(&cookie).ok_or(Errno::EINVAL)?;
        if region.protection & protection == 0 {
            return Err(Errno::EACCES);
        }
        Ok(region.clone())
    }

    /// Removes a single-use region after its use.
    fn used(&mut self, cookie: u64) {
        if self.listed.get(&cookie).is_some_and(|region| region.single_use) {
            self.listed.remove(&cookie);
        }
    }
}

impl Backend for FakeDriver {
    fn get_info(&self) -> Result<CmdInfo, Errno> {
        Ok(CmdInfo { abi: self.abi, ..CmdInfo::default() })
    }

    unsafe fn create_region(&self, argument: &mut CmdCreateRegion) -> Result<(), Errno> {
        // SAFETY: the trait's contract: readable segments at that address.
        let segments = unsafe { segments(argument.iovec_array, argument.iovec_nr) };
        let bytes = segments.iter().fold(0u64, |sum, segment| sum.saturating_add(segment.len));
        if bytes > self.pin_limit {
            return Err(Errno::ENOMEM);
        }
        let mut regions = self.regions();
        regions.created += 1;
        // Any odd multiplier makes the numbers distinct and opaque.
        let cookie = regions.created.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let single_use = argument.flags & uapi::FLAG_SINGLEUSE != 0;
        regions.listed.insert(cookie, FakeRegion { segments, protection: argument.protection, single_use });
        argument.cookie = cookie;
        Ok(())
    }

    fn destroy_region(&self, cookie: Cookie) -> Result<(), Errno> {
        self.regions().listed.remove(&cookie.as_raw()).map(drop).ok_or(Errno::EINVAL)
    }

    unsafe fn inline_copy_bounded(&self, argument: &mut CmdInlineCopyBounded) -> Result<(), Errno> {
        // SAFETY: the trait's contract.
        unsafe { self.inline(argument) }
    }

    fn copy_bounded(&self, argument: &mut CmdCopyBounded) -> Result<(), Errno> {
        self.refuse_what_is_missing(argument.flags)?;
        let mut regions = self.regions();
        let source = regions.find(argument.src_cookie, uapi::PROT_READ)?;
        let destination = regions.find(argument.dst_cookie, uapi::PROT_WRITE)?;
        if source.single_use && argument.src_cookie == argument.dst_cookie {
            return Err(Errno::EINVAL);
        }
        let (from, to) = ((&*source.segments, argument.src_offset), (&*destination.segments, argument.dst_offset));
        let slot = argument.async_status_index;
        self.accept(slot, argument.flags)?;
        // SAFETY: by the contract of `create_region`, the memory of a region may be used while it is listed.
        unsafe { copy_streams(from, to, argument.length) };
        regions.used(argument.src_cookie);
        regions.used(argument.dst_cookie);
        argument.current_status = self.ended(slot, argument.flags);
        Ok(())
    }

    unsafe fn submit_inline_copy(&self, argument: &mut CmdInlineCopyBounded) -> Result<(), Errno> {
        // SAFETY: the trait's contract, which allows copying at once.
        unsafe { self.inline(argument) }
    }

    fn map_status(&self, length: usize) -> Result<NonNull<u8>, Errno> {
        self.thread.as_ref().ok_or(Errno::ENOSYS)?.map(length)
    }

    fn read_events(&self, events: &mut [u8]) -> Result<usize, Errno> {
        self.thread.as_ref().ok_or(Errno::ENOSYS)?.read(events)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.thread.as_ref().map(|thread| thread.fd())
    }
}

impl FakeDriver {
    fn refuse_what_is_missing(&self, flags: u32) -> Result<(), Errno> {
        let missing = uapi::FLAG_DMA | if self.thread.is_none() { uapi::FLAG_ANY_ASYNC_MASK } else { 0 };
        if flags & missing != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Accepts a request, if it is asynchronous.
    fn accept(&self, slot: u32, flags: u32) -> Result<(), Errno> {
        match &self.thread {
            Some(thread) if flags & uapi::FLAG_ANY_ASYNC_MASK != 0 => thread.accept(slot, flags),
            _ => Ok(()),
        }
    }

    /// Completes a request, and returns its status at the end of the call.
    fn ended(&self, slot: u32, flags: u32) -> u32 {
        match &self.thread {
            Some(thread) if flags & uapi::FLAG_ANY_ASYNC_MASK != 0 => {
                thread.copied(slot);
                uapi::STATUS_PENDING.into()
            }
            _ => uapi::STATUS_SUCCESS.into(),
        }
    }

    /// Copies between the caller's memory and a region.
    ///
    /// # Safety
    ///
    /// As [`Backend::inline_copy_bounded`].
    unsafe fn inline(&self, argument: &mut CmdInlineCopyBounded) -> Result<(), Errno> {
        self.refuse_what_is_missing(argument.flags)?;
        // SAFETY: the trait's contract: readable segments at that address.
        let local = unsafe { segments(argument.local_iovec_array, argument.local_iovec_nr) };
        let mut regions = self.regions();
        let reading = argument.write == 0;
        let remote = regions.find(argument.remote_cookie, if reading { uapi::PROT_READ } else { uapi::PROT_WRITE })?;
        let available = sum(&local).min(sum(&remote.segments).saturating_sub(argument.remote_offset));
        let bound =
            if self.wrong_last_byte { available.saturating_sub(1).min(argument.length) } else { argument.length };
        let (remote, local) = ((&*remote.segments, argument.remote_offset), (&*local, 0));
        let (from, to) = if reading { (remote, local) } else { (local, remote) };
        let slot = argument.async_status_index;
        self.accept(slot, argument.flags)?;
        // SAFETY: the local memory may be used by the trait's contract, and the region's by that of `create_region`,
        // since it is still listed.
        unsafe { copy_streams(from, to, bound) };
        regions.used(argument.remote_cookie);
        argument.current_status = self.ended(slot, argument.flags);
        Ok(())
    }
}

/// Returns the sum of the lengths of segments.
fn sum(segments: &[ParamIovec]) -> u64 {
    segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.len))
}

/// Reads a list of segments.
///
/// # Safety
///
/// `count` segments can be read at `address`.
unsafe fn segments(address: u64, count: u32) -> Vec<ParamIovec> {
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: by the contract, `count` segments can be read there.
    unsafe { std::slice::from_raw_parts(pointer::<ParamIovec>(address), count as usize) }.to_vec()
}

/// Copies a stream of bytes between lists of segments, each from an offset, to the end of the shorter side.
///
/// # Safety
///
/// The source's memory may be read, the destination's written.
unsafe fn copy_streams(from: (&[ParamIovec], u64), to: (&[ParamIovec], u64), bound: u64) {
    let (mut source, mut destination) = (pieces_from(from.0, from.1), pieces_from(to.0, to.1));
    let (mut here, mut there) = (source.next(), destination.next());
    let mut left = bound;
    while let (Some(read), Some(write)) = (&mut here, &mut there) {
        let length = read.len.min(write.len).min(left);
        if length == 0 {
            break;
        }
        // SAFETY: by the function's contract both pieces may be used, and each has that many bytes left. `copy` allows
        // them to overlap.
        unsafe { std::ptr::copy(pointer::<u8>(read.base), pointer::<u8>(write.base), length as usize) };
        left -= length;
        for (piece, rest) in [(&mut here, &mut source), (&mut there, &mut destination)] {
            if let Some(current) = piece {
                current.base += length;
                current.len -= length;
                if current.len == 0 {
                    *piece = rest.next();
                }
            }
        }
    }
}

/// Returns the segments with bytes at or after `offset`, the first one shortened. None is empty.
fn pieces_from(segments: &[ParamIovec], offset: u64) -> std::vec::IntoIter<ParamIovec> {
    let mut skip = offset;
    let mut pieces = Vec::new();
    for segment in segments {
        let skipped = skip.min(segment.len);
        skip -= skipped;
        if segment.len > skipped {
            pieces.push(ParamIovec { base: segment.base + skipped, len: segment.len - skipped });
        }
    }
    pieces.into_iter()
}

/// Returns the pointer of an address that was passed through the interface.
fn pointer<T>(address: u64) -> *mut T {
    std::ptr::with_exposed_provenance_mut(address as usize)
}
