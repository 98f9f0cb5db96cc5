// SPDX-License-Identifier: CECILL-B
//! Arguments of copy requests, synchronous or asynchronous.

use knem_core::uapi::{CmdCopyBounded, CmdInlineCopyBounded};

use crate::segments::Segments;
use crate::{Cookie, CopyOptions, Error};

/// Builds the argument of a copy between memory and a region; with `write` 1 into the region.
pub(crate) fn inline(
    write: u32,
    region: Cookie,
    segments: &Segments,
    options: CopyOptions,
) -> Result<CmdInlineCopyBounded, Error> {
    Ok(CmdInlineCopyBounded {
        local_iovec_array: segments.address(),
        local_iovec_nr: segments.count()?,
        write,
        remote_cookie: region.as_raw(),
        remote_offset: options.offset,
        length: options.bound.unwrap_or(u64::MAX),
        flags: options.flags.bits(),
        ..CmdInlineCopyBounded::default()
    })
}

/// Builds the argument of a copy from one region to an offset of another.
pub(crate) fn between(
    source: Cookie,
    (destination, destination_offset): (Cookie, u64),
    options: CopyOptions,
) -> CmdCopyBounded {
    CmdCopyBounded {
        src_cookie: source.as_raw(),
        src_offset: options.offset,
        dst_cookie: destination.as_raw(),
        dst_offset: destination_offset,
        length: options.bound.unwrap_or(u64::MAX),
        flags: options.flags.bits(),
        ..CmdCopyBounded::default()
    }
}
