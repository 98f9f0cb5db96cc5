// SPDX-License-Identifier: GPL-2.0-only
//! How memory is allocated.

use kernel::alloc::Flags;
use kernel::prelude::*;

/// For `open`, which the kernel calls under a mutex of all misc devices: an allocation that reclaims memory would make every open of
/// such a device wait, and a process in a control group at its limit could make it wait for long. So it neither reclaims nor waits,
/// and is charged even where that exceeds the group's limit; the kernel makes the group pay later. How much that can be is
/// bounded by the parameter `max_contexts`.
pub(crate) fn no_wait() -> Flags {
    GFP_ATOMIC | __GFP_NOWARN | (GFP_KERNEL_ACCOUNT & !GFP_KERNEL)
}
