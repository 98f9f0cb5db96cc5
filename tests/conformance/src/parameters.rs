// SPDX-License-Identifier: CECILL-B
//! The module's parameters, as the administrator sees and changes them.

use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::PathBuf;

use crate::skip;

fn path(name: &str) -> PathBuf {
    PathBuf::from("/sys/module/knem/parameters").join(name)
}

/// Returns a parameter's value.
pub fn get(name: &str) -> Option<String> {
    std::fs::read_to_string(path(name)).ok().map(|text| text.trim().to_owned())
}

/// Sets a parameter during `work`. Skips the test where it cannot be changed.
pub fn with_parameter<R>(name: &str, value: &str, work: impl FnOnce() -> R) -> R {
    let Some(before) = get(name) else { skip(format!("this driver has no parameter {name}")) };
    if let Err(error) = std::fs::write(path(name), value) {
        skip(format!("the parameter {name} cannot be changed: {error}"));
    }
    let outcome = catch_unwind(AssertUnwindSafe(work));
    std::fs::write(path(name), before).expect("the parameter can be changed back");
    outcome.unwrap_or_else(|panic| resume_unwind(panic))
}
