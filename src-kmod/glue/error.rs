// SPDX-License-Identifier: GPL-2.0-only
//! Refusals as the kernel's errors. Here, where each has to pass, they are counted.

use crate::glue::counters;
use crate::logic::refusal::Refusal;
use crate::logic::statistics;
use kernel::prelude::*;

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        counters::add(statistics::reason(refusal), 1);
        Error::from_errno(refusal.errno().wrapping_neg())
    }
}
