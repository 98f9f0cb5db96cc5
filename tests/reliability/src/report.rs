// SPDX-License-Identifier: CECILL-B
//! Counts for the report, which the host reads from the output.

use std::any::Any;

/// A line of the report.
pub(crate) fn count(name: &str, value: u64) {
    println!("counted {value} {name}");
}

/// The message of a panic.
pub(crate) fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
}
