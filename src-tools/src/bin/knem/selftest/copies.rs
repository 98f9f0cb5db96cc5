// SPDX-License-Identifier: CECILL-B
//! Copies of all kinds, compared byte by byte.

use std::io::{IoSlice, IoSliceMut};
use std::num::NonZeroUsize;

use knem::{Access, CopyFlags, CopyOptions, Device, Error, Memory, RegionFlags};

use super::{demand, Outcome, Subject};

/// Sizes around those of pages.
const SIZES: [usize; 6] = [1, 4095, 4096, 4097, 65_536, 300_001];
/// Contents of memory that must not be written.
const UNTOUCHED: u8 = 0xa5;
/// A large size.
const LARGE: usize = 32 << 20;

/// Returns bytes that depend on their position and on `salt`; never [`UNTOUCHED`].
pub(super) fn contents(size: usize, salt: u8) -> Vec<u8> {
    let byte = |position: usize| {
        let mixed = (position as u64 ^ u64::from(salt) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (mixed % 0xa5) as u8
    };
    (0..size).map(byte).collect()
}

/// Compares bytes and reports the first difference.
pub(super) fn compare(found: &[u8], expected: &[u8]) -> Outcome {
    match found.iter().zip(expected).position(|(found, expected)| found != expected) {
        Some(position) => Outcome::Failed(format!(
            "WRONG DATA: byte {position} of {} is {:#04x} and must be {:#04x}",
            expected.len(),
            found[position],
            expected[position]
        )),
        None => demand(found.len() == expected.len(), "the lengths differ"),
    }
}

/// Allocates memory with these bytes.
pub(super) fn memory_of(bytes: &[u8]) -> Result<Memory, Error> {
    let memory = Memory::new(NonZeroUsize::new(bytes.len()).unwrap_or(NonZeroUsize::MIN))?;
    memory.write_at(0, bytes);
    Ok(memory)
}

/// Returns all bytes of a memory.
pub(super) fn bytes_of(memory: &Memory) -> Vec<u8> {
    let mut bytes = vec![0; memory.size()];
    memory.read_at(0, &mut bytes);
    bytes
}

pub(super) fn opens(subject: &Subject<'_>) -> Result<Outcome, Error> {
    // Opening fails for another version of the interface.
    subject.open().map(|_| Outcome::Passed)
}

pub(super) fn read(subject: &Subject<'_>) -> Result<Outcome, Error> {
    each_size(&subject.open()?, |device, size| read_one(device, size, CopyFlags::NONE))
}

pub(super) fn pinned(subject: &Subject<'_>) -> Result<Outcome, Error> {
    each_size(&subject.open()?, |device, size| read_one(device, size, CopyFlags::PIN_LOCAL))
}

pub(super) fn large(subject: &Subject<'_>) -> Result<Outcome, Error> {
    read_one(&subject.open()?, LARGE, CopyFlags::NONE)
}

fn each_size(device: &Device, check: impl Fn(&Device, usize) -> Result<Outcome, Error>) -> Result<Outcome, Error> {
    for size in SIZES {
        let outcome = check(device, size)?;
        if outcome != Outcome::Passed {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Passed)
}

/// Reads a region into the middle of a buffer.
fn read_one(device: &Device, size: usize, flags: CopyFlags) -> Result<Outcome, Error> {
    const AROUND: usize = 100;
    let data = contents(size, 1);
    let region = device.share(&[IoSlice::new(&data)], RegionFlags::NONE)?;
    let mut found = vec![UNTOUCHED; size + 2 * AROUND];
    let options = CopyOptions { flags, ..CopyOptions::default() };
    device.read(region.cookie(), &mut found[AROUND..AROUND + size], options)?;
    let around = [UNTOUCHED; AROUND];
    Ok(compare(&found, &[&around, &*data, &around].concat()))
}

pub(super) fn write(subject: &Subject<'_>) -> Result<Outcome, Error> {
    const AROUND: usize = 100;
    each_size(&subject.open()?, |device, size| {
        let (data, around) = (contents(size, 2), [UNTOUCHED; AROUND]);
        let memory = memory_of(&vec![UNTOUCHED; size + 2 * AROUND])?;
        let region = device.share_memory(&memory, AROUND..AROUND + size, Access::Write, RegionFlags::NONE)?;
        device.write(region.cookie(), &data, CopyOptions::default())?;
        Ok(compare(&bytes_of(&memory), &[&around, &*data, &around].concat()))
    })
}

pub(super) fn region_to_region(subject: &Subject<'_>) -> Result<Outcome, Error> {
    // Two contexts, as two processes have them.
    let (one, other) = (subject.open()?, subject.open()?);
    let data = contents(100_000, 3);
    let memory = memory_of(&[UNTOUCHED; 100_100])?;
    let source = one.share(&[IoSlice::new(&data)], RegionFlags::NONE)?;
    let destination = other.share_memory(&memory, 0..100_100, Access::Write, RegionFlags::NONE)?;
    one.copy(source.cookie(), destination.cookie(), 50, CopyOptions::default())?;
    let around = [UNTOUCHED; 50];
    Ok(compare(&bytes_of(&memory), &[&around, &*data, &around].concat()))
}

pub(super) fn bounds(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let device = subject.open()?;
    let data = contents(10_000, 4);
    let region = device.share(&[IoSlice::new(&data)], RegionFlags::NONE)?;
    // Offset, bound, and the expected length.
    for (offset, bound, length) in [
        (0, Some(1), 1),
        (4000, Some(200), 200),
        (9_990, None, 10),
        (9_999, Some(5), 1),
        (0, Some(0), 0),
        (10_000, None, 0),
    ] {
        let mut found = vec![UNTOUCHED; 300];
        device.read(region.cookie(), &mut found, CopyOptions { offset, bound, ..CopyOptions::default() })?;
        let start = usize::try_from(offset).unwrap_or(data.len());
        let mut expected = data[start..start + length].to_vec();
        expected.resize(300, UNTOUCHED);
        let outcome = compare(&found, &expected);
        if outcome != Outcome::Passed {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Passed)
}

pub(super) fn vectors(subject: &Subject<'_>) -> Result<Outcome, Error> {
    let device = subject.open()?;
    let data = contents(20_000, 5);
    let (first, rest) = data.split_at(7);
    let (second, third) = rest.split_at(9_000);
    let pieces = [IoSlice::new(first), IoSlice::new(&[]), IoSlice::new(second), IoSlice::new(third)];
    let region = device.share(&pieces, RegionFlags::NONE)?;
    let mut found = vec![UNTOUCHED; 20_000];
    let (one, rest) = found.split_at_mut(4_097);
    let (two, three) = rest.split_at_mut(1);
    let mut local = [IoSliceMut::new(one), IoSliceMut::new(two), IoSliceMut::new(three)];
    device.read_vectored(region.cookie(), &mut local, CopyOptions::default())?;
    Ok(compare(&found, &data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_never_what_marks_the_rest() {
        let data = contents(10_000, 1);
        assert!(data.iter().all(|byte| *byte != UNTOUCHED));
        assert_ne!(data, contents(10_000, 2));
    }

    #[test]
    fn differences_are_found() {
        assert_eq!(compare(b"abc", b"abc"), Outcome::Passed);
        assert!(matches!(compare(b"abc", b"abd"), Outcome::Failed(reason) if reason.contains("byte 2")));
        assert!(matches!(compare(b"ab", b"abd"), Outcome::Failed(_)));
    }
}
