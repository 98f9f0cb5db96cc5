// SPDX-License-Identifier: GPL-2.0-only
//! The names that every file of a driver uses.

pub use crate::alloc::{flags::*, KBox, KVVec, KVec};
pub use crate::error::{code::*, Error, Result};
pub use crate::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
pub use crate::init::PinInit;
pub use crate::{current, module, pin_init, pr_err, pr_info, pr_warn, ThisModule};
pub use macros::{pin_data, pinned_drop};
