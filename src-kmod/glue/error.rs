// SPDX-License-Identifier: GPL-2.0-only
//! Refusals as the kernel's errors.

use crate::logic::refusal::Refusal;
use kernel::prelude::*;

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::from_errno(refusal.errno().wrapping_neg())
    }
}
