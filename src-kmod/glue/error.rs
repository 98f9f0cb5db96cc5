// SPDX-License-Identifier: GPL-2.0-only
//! Refusals as the kernel's errors. Here, where each has to pass, they are counted.

use crate::glue::counters;
use crate::logic::profile;
use crate::logic::refusal::Refusal;
use kernel::prelude::*;

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        counters::add(profile::reason(refusal), 1);
        Error::from_errno(refusal.errno().wrapping_neg())
    }
}
