// SPDX-License-Identifier: CECILL-B
//! The device: information, regions, and copies.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::Path;

use knem_core::uapi::{self, CmdCreateRegion, CmdInfo};

use crate::segments::Segments;
use crate::{arguments, Backend, Cookie, CopyFlags, Error, KernelDriver, Memory, Region, RegionFlags};

/// An open device. Its regions cannot outlive it.
pub struct Device {
    backend: Box<dyn Backend>,
    info: Info,
}

/// Information from the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Version of the interface.
    pub abi: u32,
    /// A DMA engine is available.
    pub has_dma: bool,
    /// Request flags that the administrator has disabled.
    pub ignored_flags: u32,
    /// Request flags that the administrator has added to every request.
    pub forced_flags: u32,
}

impl From<CmdInfo> for Info {
    fn from(info: CmdInfo) -> Self {
        Self {
            abi: info.abi,
            has_dma: info.features & uapi::FEATURE_DMA != 0,
            ignored_flags: info.ignored_flags,
            forced_flags: info.forced_flags,
        }
    }
}

/// Part of a region that a copy uses, and its flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// First byte of the region to use. At or beyond the end of the region, nothing is copied.
    pub offset: u64,
    /// Maximum number of bytes to copy; `None` copies to the end of the shorter side.
    pub bound: Option<u64>,
    /// Flags of the copy.
    pub flags: CopyFlags,
}

/// Access of other processes to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Write it.
    Write,
    /// Read and write it.
    ReadWrite,
}

impl Access {
    const fn protection(self) -> u32 {
        match self {
            Self::Read => uapi::PROT_READ,
            Self::Write => uapi::PROT_WRITE,
            Self::ReadWrite => uapi::PROT_READ | uapi::PROT_WRITE,
        }
    }
}

/// Direction of an inline copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    FromRegion = 0,
    IntoRegion = 1,
}

impl Device {
    /// Opens `/dev/knem`.
    ///
    /// # Errors
    ///
    /// Those of [`Device::open_at`].
    pub fn open() -> Result<Self, Error> {
        Self::open_at(Path::new(uapi::DEVICE_FILENAME))
    }

    /// Opens a node elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::NoDevice`] (ENOENT, ENODEV, ENXIO, or no character device), [`Error::Permission`] (EACCES, EPERM),
    /// [`Error::System`] with any other errno of open(2), ENOSPC for too many contexts, and the errors of
    /// [`Device::new`].
    pub fn open_at(path: &Path) -> Result<Self, Error> {
        Self::new(Box::new(KernelDriver::open(path)?))
    }

    /// Uses a driver that is open already.
    ///
    /// # Errors
    ///
    /// [`Error::NotKnem`] with the errno of GET_INFO, [`Error::WrongAbi`].
    pub fn new(backend: Box<dyn Backend>) -> Result<Self, Error> {
        let info = backend.get_info().map_err(|errno| Error::NotKnem { errno })?;
        if info.abi != uapi::ABI_VERSION {
            return Err(Error::WrongAbi { driver: info.abi });
        }
        Ok(Self { backend, info: info.into() })
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Returns the driver's information from the time of opening.
    pub fn info(&self) -> Info {
        self.info
    }

    /// Requests the information again (`KNEM_CMD_GET_INFO`): a request without other effects, to measure the cost of a
    /// request.
    ///
    /// # Errors
    /// [`Error::NotKnem`] with the errno, if the driver refuses.
    pub fn query(&self) -> Result<Info, Error> {
        Ok(self.backend.get_info().map_err(|errno| Error::NotKnem { errno })?.into())
    }

    /// Creates a region of a part of `memory`.
    ///
    /// # Errors
    ///
    /// [`Error::PinRefused`] (ENOMEM), [`Error::BadAddress`] (EFAULT); [`Error::System`] with EBUSY for too many
    /// regions, EPERM where `strict_dumpable` forbids it, EINVAL for lengths of more than 63 bits, EINTR if the process
    /// is killed.
    ///
    /// # Panics
    ///
    /// If the part is not inside the mapping.
    pub fn share_memory<'a>(
        &'a self,
        memory: &'a Memory,
        part: Range<usize>,
        access: Access,
        flags: RegionFlags,
    ) -> Result<Region<'a>, Error> {
        let segments = Segments::part(memory, &part);
        // SAFETY: the bytes of a `Memory` may change at any time, and there are no references to them. If the region
        // outlives it, the pages that the kernel uses are no longer mapped in this process. The list of segments lives
        // until the call returns.
        unsafe { self.create(&segments, part.len() as u64, access.protection(), flags) }
    }

    /// Creates a region that other processes may read.
    ///
    /// # Errors
    ///
    /// [`Error::PinRefused`] (ENOMEM), [`Error::BadAddress`] (EFAULT); [`Error::System`] with EBUSY for too many
    /// regions, EPERM where `strict_dumpable` forbids it, EINVAL for lengths of more than 63 bits, EINTR if the process
    /// is killed. [`Error::TooManySegments`] for more than 2^32 - 1 slices.
    pub fn share<'a>(&'a self, memory: &[IoSlice<'a>], flags: RegionFlags) -> Result<Region<'a>, Error> {
        let bytes = total(memory.iter().map(|slice| slice.len()));
        // SAFETY: the region may not be written. The list of segments lives until the call returns.
        unsafe { self.create(&Segments::reading(memory), bytes, uapi::PROT_READ, flags) }
    }

    /// Creates a region that other processes may read and write. [`Device::share_memory`] does this without `unsafe`.
    ///
    /// # Errors
    ///
    /// Those of [`Device::share`].
    ///
    /// # Safety
    ///
    /// Other processes write the memory behind the compiler's back. Before the borrow ends:
    ///
    /// - The region is destroyed or dropped, and not forgotten.
    /// - No process is inside a copy into it: destroying a region does not wait for those. As a rule the
    ///   peer reports that its copy has returned, and only then the region is destroyed.
    pub unsafe fn share_writable<'a>(
        &'a self,
        memory: &mut [IoSliceMut<'a>],
        flags: RegionFlags,
    ) -> Result<Region<'a>, Error> {
        let bytes = total(memory.iter().map(|slice| slice.len()));
        let segments = Segments::writing(memory);
        // SAFETY: the memory is borrowed exclusively for `'a`, and by the function's contract no process writes it
        // after that. The list of segments lives until the call returns.
        unsafe { self.create(&segments, bytes, uapi::PROT_READ | uapi::PROT_WRITE, flags) }
    }

    /// Copies from a region into `memory`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRegion`] or, with a DMA flag, [`Error::NoDmaOrRegion`] (EINVAL), [`Error::OtherUser`] (EPERM),
    /// [`Error::Protection`] (EACCES), [`Error::BadAddress`] (EFAULT), [`Error::OutOfMemory`] (ENOMEM);
    /// [`Error::CopyFailed`] if the copy stopped early.
    pub fn read(&self, region: Cookie, memory: &mut [u8], options: CopyOptions) -> Result<(), Error> {
        self.read_vectored(region, &mut [IoSliceMut::new(memory)], options)
    }

    /// Copies from a region into several slices, one after the other.
    ///
    /// # Errors
    ///
    /// Those of [`Device::read`], and [`Error::TooManySegments`] for more than 2^32 - 1 slices.
    pub fn read_vectored(
        &self,
        region: Cookie,
        memory: &mut [IoSliceMut<'_>],
        options: CopyOptions,
    ) -> Result<(), Error> {
        // SAFETY: the slices are borrowed exclusively.
        unsafe { self.inline_copy(region, &Segments::writing(memory), Way::FromRegion, options) }
    }

    /// Copies `memory` into a region.
    ///
    /// # Errors
    ///
    /// Those of [`Device::read`].
    pub fn write(&self, region: Cookie, memory: &[u8], options: CopyOptions) -> Result<(), Error> {
        self.write_vectored(region, &[IoSlice::new(memory)], options)
    }

    /// Copies several slices, one after the other, into a region.
    ///
    /// # Errors
    ///
    /// Those of [`Device::read_vectored`].
    pub fn write_vectored(&self, region: Cookie, memory: &[IoSlice<'_>], options: CopyOptions) -> Result<(), Error> {
        // SAFETY: the slices are only read.
        unsafe { self.inline_copy(region, &Segments::reading(memory), Way::IntoRegion, options) }
    }

    /// Copies from one region into another, from `offset` of the source to `destination_offset` of the destination.
    ///
    /// # Errors
    ///
    /// Those of [`Device::read`].
    pub fn copy(
        &self,
        source: Cookie,
        destination: Cookie,
        destination_offset: u64,
        options: CopyOptions,
    ) -> Result<(), Error> {
        let mut argument = arguments::between(source, (destination, destination_offset), options);
        let outcome = self.backend.copy_bounded(&mut argument);
        outcome.map_err(|errno| Error::of_copy(errno, wants_dma(options.flags)))?;
        succeeded(argument.current_status)
    }

    /// Destroys a region.
    pub(crate) fn withdraw(&self, region: Cookie) -> Result<(), Error> {
        self.backend.destroy_region(region).map_err(Error::of_destroy)
    }

    /// # Safety
    ///
    /// As [`Backend::create_region`], for the segments' memory.
    unsafe fn create(
        &self,
        segments: &Segments,
        bytes: u64,
        protection: u32,
        flags: RegionFlags,
    ) -> Result<Region<'_>, Error> {
        let mut argument = CmdCreateRegion {
            iovec_array: segments.address(),
            iovec_nr: segments.count()?,
            flags: flags.bits(),
            protection,
            ..CmdCreateRegion::default()
        };
        // SAFETY: address and count are those of a borrowed list. By this function's contract its memory may be used.
        unsafe { self.backend.create_region(&mut argument) }.map_err(|errno| Error::of_create(errno, bytes))?;
        Ok(Region::new(self, Cookie::from_raw(argument.cookie)))
    }

    /// # Safety
    ///
    /// From a region, the segments' memory may be written during the call.
    unsafe fn inline_copy(
        &self,
        region: Cookie,
        segments: &Segments,
        way: Way,
        options: CopyOptions,
    ) -> Result<(), Error> {
        let mut argument = arguments::inline(way as u32, region, segments, options)?;
        // SAFETY: address and count are those of a borrowed list. `CopyFlags` has no asynchronous flag. By this
        // function's contract the segments' memory may be used.
        let outcome = unsafe { self.backend.inline_copy_bounded(&mut argument) };
        outcome.map_err(|errno| Error::of_copy(errno, wants_dma(options.flags)))?;
        succeeded(argument.current_status)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("info", &self.info).finish_non_exhaustive()
    }
}

fn wants_dma(flags: CopyFlags) -> bool {
    flags.bits() & uapi::FLAG_DMA != 0
}

/// Returns the sum of lengths. It saturates, because shared slices may overlap.
fn total(lengths: impl Iterator<Item = usize>) -> u64 {
    lengths.fold(0, |sum, length| sum.saturating_add(length as u64))
}

fn succeeded(status: u32) -> Result<(), Error> {
    if status == u32::from(uapi::STATUS_SUCCESS) {
        Ok(())
    } else if status == u32::from(uapi::STATUS_FAILED) {
        Err(Error::CopyFailed)
    } else {
        Err(Error::UnexpectedStatus { status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeDriver;

    fn device() -> Device {
        Device::new(Box::new(FakeDriver::new())).unwrap()
    }

    #[test]
    fn reads_what_is_shared() {
        let (device, data) = (device(), *b"hello world");
        let region = device.share(&[IoSlice::new(&data)], RegionFlags::NONE).unwrap();
        let mut copy = [0; 11];
        device.read(region.cookie(), &mut copy, CopyOptions::default()).unwrap();
        assert_eq!(copy, data);
    }

    #[test]
    fn offset_and_bound_choose_a_part() {
        let (device, data) = (device(), *b"hello world");
        let region = device.share(&[IoSlice::new(&data)], RegionFlags::NONE).unwrap();
        let mut copy = [b'.'; 11];
        let options = CopyOptions { offset: 6, bound: Some(3), ..CopyOptions::default() };
        device.read(region.cookie(), &mut copy, options).unwrap();
        assert_eq!(&copy, b"wor........");
    }

    #[test]
    fn vectors_are_streams_of_bytes() {
        let device = device();
        let region = device.share(&[IoSlice::new(b"abc"), IoSlice::new(b"defgh")], RegionFlags::NONE).unwrap();
        let (mut first, mut second) = ([0; 5], [b'.'; 5]);
        let mut local = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        device.read_vectored(region.cookie(), &mut local, CopyOptions::default()).unwrap();
        assert_eq!((&first, &second), (b"abcde", b"fgh.."));
    }

    #[test]
    fn writes_into_a_writable_region() {
        let device = device();
        let mut data = *b"..........";
        {
            let mut memory = [IoSliceMut::new(&mut data)];
            // SAFETY: the copy below has returned when the region is dropped.
            let region = unsafe { device.share_writable(&mut memory, RegionFlags::NONE) }.unwrap();
            let options = CopyOptions { offset: 2, ..CopyOptions::default() };
            device.write_vectored(region.cookie(), &[IoSlice::new(b"ab"), IoSlice::new(b"cd")], options).unwrap();
        }
        assert_eq!(&data, b"..abcd....");
    }

    #[test]
    fn a_part_of_a_mapping_can_be_shared_and_changed() {
        let device = device();
        let memory = Memory::new(std::num::NonZeroUsize::new(8192).unwrap()).unwrap();
        let region = device.share_memory(&memory, 4096..4100, Access::ReadWrite, RegionFlags::NONE).unwrap();
        device.write(region.cookie(), b"abcdef", CopyOptions::default()).unwrap();
        memory.write_at(4097, b"X");
        let mut copy = [b'.'; 6];
        device.read(region.cookie(), &mut copy, CopyOptions::default()).unwrap();
        assert_eq!(&copy, b"aXcd..");
        let mut beyond = [1];
        memory.read_at(4100, &mut beyond);
        assert_eq!(beyond, [0]);
    }

    #[test]
    fn a_write_only_region_cannot_be_read() {
        let device = device();
        let memory = Memory::new(std::num::NonZeroUsize::MIN).unwrap();
        let region = device.share_memory(&memory, 0..1, Access::Write, RegionFlags::NONE).unwrap();
        let refused = device.read(region.cookie(), &mut [0], CopyOptions::default());
        assert!(matches!(refused, Err(Error::Protection)));
    }

    #[test]
    fn copies_between_regions() {
        let device = device();
        let mut data = *b"..........";
        let source = device.share(&[IoSlice::new(b"abcdef")], RegionFlags::NONE).unwrap();
        {
            let mut memory = [IoSliceMut::new(&mut data)];
            // SAFETY: the copy below has returned when the region is dropped.
            let destination = unsafe { device.share_writable(&mut memory, RegionFlags::NONE) }.unwrap();
            let options = CopyOptions { offset: 1, bound: Some(4), ..CopyOptions::default() };
            device.copy(source.cookie(), destination.cookie(), 3, options).unwrap();
        }
        assert_eq!(&data, b"...bcde...");
    }

    #[test]
    fn a_dropped_region_is_gone() {
        let device = device();
        let cookie = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap().cookie();
        let refused = device.read(cookie, &mut [0; 3], CopyOptions::default());
        assert!(matches!(refused, Err(Error::NoSuchRegion)));
    }

    #[test]
    fn a_used_up_region_says_so_when_destroyed() {
        let device = device();
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::SINGLE_USE).unwrap();
        device.read(region.cookie(), &mut [0; 3], CopyOptions::default()).unwrap();
        assert!(matches!(region.destroy(), Err(Error::NoSuchRegion)));
    }

    #[test]
    fn a_read_only_region_cannot_be_written() {
        let device = device();
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let refused = device.write(region.cookie(), b"x", CopyOptions::default());
        assert!(matches!(refused, Err(Error::Protection)));
    }

    #[test]
    fn another_version_of_the_interface_is_refused() {
        let refused = Device::new(Box::new(FakeDriver::with_abi(0xc)));
        assert!(matches!(refused, Err(Error::WrongAbi { driver: 0xc })));
    }

    #[test]
    fn dma_without_an_engine_says_which() {
        let device = device();
        let region = device.share(&[IoSlice::new(b"abc")], RegionFlags::NONE).unwrap();
        let options = CopyOptions { flags: CopyFlags::DMA, ..CopyOptions::default() };
        let refused = device.read(region.cookie(), &mut [0; 3], options);
        assert!(matches!(refused, Err(Error::NoDmaOrRegion)));
    }

    #[test]
    fn unknown_states_are_not_success() {
        assert!(succeeded(1).is_ok());
        assert!(matches!(succeeded(2), Err(Error::CopyFailed)));
        assert!(matches!(succeeded(0), Err(Error::UnexpectedStatus { status: 0 })));
        assert!(matches!(succeeded(7), Err(Error::UnexpectedStatus { status: 7 })));
    }
}
