// SPDX-License-Identifier: GPL-2.0-only
//! Types that can be copied to user memory as bytes.

/// A type whose values can be written as bytes.
///
/// # Safety
/// The type must have no padding.
pub unsafe trait AsBytes {}

// SAFETY: An integer has no padding.
unsafe impl AsBytes for u32 {}
