// SPDX-License-Identifier: GPL-2.0-only
//! Allocation flags.

use kernel::alloc::Flags;
use kernel::prelude::*;

/// Flags for `open`, which the kernel calls under a mutex of all misc devices: an allocation that reclaims memory would
/// block every open of such a device, and a process in a control group at its limit could block it for long. So the
/// allocation neither reclaims nor waits. It is charged even if it exceeds the group's limit, and the kernel makes the
/// group pay later. The parameter `max_contexts` bounds how much that can be.
pub(crate) fn no_wait() -> Flags {
    GFP_ATOMIC | __GFP_NOWARN | (GFP_KERNEL_ACCOUNT & !GFP_KERNEL)
}
