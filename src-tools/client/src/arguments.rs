// SPDX-License-Identifier: CECILL-B
//! What copies are asked for with, whoever makes them: the call itself, or the kernel's thread.

use knem_core::uapi::{CmdCopyBounded, CmdInlineCopyBounded};

use crate::segments::Segments;
use crate::{Cookie, CopyOptions, Error};

/// A copy between memory and a region; `write` is into the region if it is 1.
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

/// A copy from one region into another, at an offset of it.
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
