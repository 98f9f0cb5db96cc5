// SPDX-License-Identifier: CECILL-B
//! Submission of asynchronous copies, and reading of completion events: the common part of [`crate::StatusArray`] and
//! [`crate::Queue`].

use std::ops::Range;

use nix::errno::Errno;

use crate::segments::Segments;
use crate::{arguments, Cookie, CopyOptions, Device, Error, Memory, Submission};

/// Submits a copy between a region and a part of `memory`.
///
/// # Panics
///
/// If the part is not inside the memory.
pub(crate) fn inline(
    device: &Device,
    write: bool,
    region: Cookie,
    (memory, part): (&Memory, Range<usize>),
    options: CopyOptions,
    submission: Submission,
) -> Result<(), Error> {
    let segments = Segments::part(memory, &part);
    let mut argument = arguments::inline(write.into(), region, &segments, options)?;
    argument.flags |= submission.flags();
    argument.async_status_index = submission.slot;
    // SAFETY: address and count are those of a list that lives until the call has returned. Its memory belongs to a
    // `Memory`, which may change at any time; after that is dropped, the pages are no longer part of this process.
    unsafe { device.backend().submit_inline_copy(&mut argument) }.map_err(refused)
}

/// Submits a copy from one region to an offset of another.
pub(crate) fn copy(
    device: &Device,
    (source, destination, destination_offset): (Cookie, Cookie, u64),
    options: CopyOptions,
    submission: Submission,
) -> Result<(), Error> {
    let mut argument = arguments::between(source, (destination, destination_offset), options);
    argument.flags |= submission.flags();
    argument.async_status_index = submission.slot;
    device.backend().copy_bounded(&mut argument).map_err(refused)
}

/// Reads completion events. Blocks until `events` is full, unless the file is non-blocking; returns the number of
/// events.
pub(crate) fn read_events(device: &Device, events: &mut [u32]) -> Result<usize, Error> {
    let mut bytes = vec![0; size_of_val(events)];
    let outcome = device.backend().read_events(&mut bytes);
    let length = outcome.map_err(|errno| Error::of("reading completion events", errno))?;
    let mut count = 0;
    for (event, four) in events.iter_mut().zip(bytes.get(..length).unwrap_or_default().chunks_exact(4)) {
        *event = four.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte));
        if cfg!(target_endian = "big") {
            *event = event.swap_bytes();
        }
        count += 1;
    }
    Ok(count)
}

/// Maps the errno of a submission.
fn refused(errno: Errno) -> Error {
    match errno {
        // It has more causes than for synchronous copies.
        Errno::EINVAL => Error::NotSubmitted,
        Errno::EBUSY => Error::QueueFull,
        errno => Error::of_copy(errno, false),
    }
}
