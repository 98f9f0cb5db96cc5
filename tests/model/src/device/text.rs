// SPDX-License-Identifier: CECILL-B
//! The counters in the statistics text.

use std::os::fd::AsFd;

use crate::counters::{Counters, LINES};
use nix::sys::uio::pread;

/// Reads the counters: the numbers at the ends of lines, in their order.
pub(super) fn counters(reader: &impl AsFd) -> Counters {
    let mut bytes = vec![0; 16 << 10];
    let length = pread(reader, &mut bytes, 0).expect("the statistics can be read");
    let text = String::from_utf8_lossy(&bytes[..length]);
    let mut numbers =
        text.lines().filter_map(|line| line.rsplit_once(": ")).filter_map(|(_, number)| number.parse().ok());
    let mut totals = Counters::default();
    for value in &mut totals.0[..LINES] {
        *value = numbers.next().expect("every counter has a line");
    }
    totals
}
