// SPDX-License-Identifier: GPL-2.0-only
//! The module's parameters.

use crate::glue::ffi;
use crate::logic::flags::{Masks, Parameters};
use crate::logic::memlock::Enforced;
use kernel::prelude::*;

/// Reads one of the variables behind the parameters, which sysfs may change at any time.
macro_rules! read {
    ($param:ident) => {
        // SAFETY: The variable is an integer that exists as long as the module. The kernel writes it as a whole, so
        // that a volatile read returns one of its values.
        unsafe { core::ptr::read_volatile(&raw const ffi::$param) }
    };
}

/// The driver's version.
pub(crate) fn version() -> &'static str {
    // SAFETY: C defines `knem_shim_version_len` as the number of characters, which are constant and exist as long as
    // the module.
    let version = unsafe {
        core::slice::from_raw_parts((&raw const ffi::knem_shim_version).cast::<u8>(), ffi::knem_shim_version_len)
    };
    core::str::from_utf8(version).unwrap_or("unknown")
}

/// Returns the masks of flags that the parameters request.
fn asked_for() -> Result<Masks> {
    Ok(Masks::new(Parameters {
        pinlocal: read!(knem_param_pinlocal) != 0,
        no_dma: read!(knem_param_dma) == 0,
        no_thread: read!(knem_param_thread) == 0,
        sync: read!(knem_param_sync) != 0,
        force: read!(knem_param_forceflags),
        ignore: read!(knem_param_ignoreflags),
    })?)
}

/// Checks the parameters at load and completes `forceflags` and `ignoreflags`, which can be read back.
///
/// # Errors
/// EINVAL if a flag is both forced and ignored.
pub(crate) fn settle() -> Result {
    let masks = asked_for().inspect_err(|_| {
        pr_err!("a flag is both forced and ignored: check forceflags, ignoreflags, pinlocal, dma, thread and sync\n");
    })?;
    // SAFETY: Nothing else accesses the variables: the module is being loaded, and the parameters are read-only in
    // sysfs. Each is written as a whole.
    unsafe {
        core::ptr::write_volatile(&raw mut ffi::knem_param_forceflags, masks.forced);
        core::ptr::write_volatile(&raw mut ffi::knem_param_ignoreflags, masks.ignored);
    }
    Ok(())
}

/// The masks of forced and ignored flags.
pub(crate) fn masks() -> Masks {
    Masks { forced: read!(knem_param_forceflags), ignored: read!(knem_param_ignoreflags) }
}

/// How RLIMIT_MEMLOCK is enforced.
pub(crate) fn memlock() -> Enforced {
    Enforced::by(read!(knem_param_memlock))
}

/// The ceiling of pinned memory in mebibytes, 0 for the default.
pub(crate) fn max_pinned_mib() -> u64 {
    read!(knem_param_max_pinned_mb) as u64
}

/// The ceiling of a user's pinned memory in mebibytes, 0 for the default.
pub(crate) fn max_user_pinned_mib() -> u64 {
    read!(knem_param_max_user_pinned_mb) as u64
}

/// Whether memory may be used that must not be pinned because of a limit.
pub(crate) fn unpinned() -> bool {
    read!(knem_param_unpinned) != 0
}

/// Most segments in a region or request.
pub(crate) fn max_segments() -> u32 {
    read!(knem_param_max_segments)
}

/// Most regions of a context.
pub(crate) fn max_regions() -> u32 {
    read!(knem_param_max_regions)
}

/// Most contexts of a user.
pub(crate) fn max_contexts() -> u32 {
    read!(knem_param_max_contexts)
}

/// Most requests of a context that wait for its worker thread.
pub(crate) fn max_queued() -> u32 {
    read!(knem_param_max_queued)
}

/// Most slots of a status array.
pub(crate) fn max_slots() -> u64 {
    read!(knem_param_max_slots) as u64
}

/// Most memory of a user's status arrays and events in mebibytes, 0 for the default.
pub(crate) fn max_slots_mib() -> u64 {
    read!(knem_param_max_slots_mb) as u64
}

/// Whether only processes of the opener's user and pid namespaces may use a region.
pub(crate) fn strict_ns() -> bool {
    read!(knem_param_strict_ns) != 0
}

/// Whether only processes in the initial user and pid namespaces may open the device for writing.
pub(crate) fn initial_ns() -> bool {
    read!(knem_param_strict_ns) >= 2
}

/// Whether a process that is not dumpable may not create regions for its own user.
pub(crate) fn strict_dumpable() -> bool {
    read!(knem_param_strict_dumpable) != 0
}

/// The CPUs of worker threads without BIND_OFFLOAD: those of the process that maps the status array (positive), all
/// others (negative), or all (0).
pub(crate) fn binding() -> i32 {
    read!(knem_param_binding)
}

/// Whether refusals are reported in the kernel log.
pub(crate) fn debug() -> bool {
    read!(knem_param_debug) != 0
}

/// Most bytes of the statistics text.
pub(crate) fn stats_length() -> usize {
    read!(knem_param_statslen) as usize
}

/// Whether the statistics list contexts and regions.
pub(crate) fn stats_verbose() -> bool {
    read!(knem_param_statsverbose) != 0
}

/// Whether requests that read the caller's memory pin it.
pub(crate) fn pin_reads() -> bool {
    read!(knem_param_pinlocalread) != 0
}

/// Whether DMA may be used.
pub(crate) fn dma() -> bool {
    read!(knem_param_dma) != 0
}

/// The longest chunk that the CPU copies although DMA was requested.
pub(crate) fn dma_min() -> u64 {
    u64::from(read!(knem_param_dmamin))
}

/// Most DMA channels to claim.
pub(crate) fn dma_channels() -> u32 {
    read!(knem_param_dmachannels)
}

/// Milliseconds without progress after which a DMA channel is given up.
pub(crate) fn dma_timeout() -> u32 {
    read!(knem_param_dmatimeout)
}
