// SPDX-License-Identifier: CECILL-B
//! The table at the end.

use crate::case::Case;
use crate::verdict::Shown;

/// Returns its first line.
pub fn head() -> String {
    format!(
        "{:<7} {:<15} {:<50} {:>5} {:<10} {:<10} {:<13} {:>9} {:>14} {:>9} {:>14}",
        "KERNEL",
        "CLIENT",
        "PROGRAM",
        "RANKS",
        "USER",
        "MEMLOCK",
        "SETTING",
        "MESSAGES",
        "VERIFIED BYTES",
        "REQUESTS",
        "COPIED BYTES"
    )
}

/// Returns the line of a run; a failed run has a word instead of its numbers.
pub fn line(kernel: &str, case: &Case, shown: Option<&Shown>) -> String {
    let start = format!(
        "{kernel:<7} {:<15} {:<50} {:>5} {:<10} {:<10} {:<13}",
        case.client.name(),
        case.checks,
        case.ranks,
        case.user.name(),
        case.limit(),
        case.setting.name()
    );
    let Some(shown) = shown else {
        return format!("{start} FAILED");
    };
    if case.must_fail {
        return format!("{start} the changed byte was found");
    }
    // The client's own program does not report how much it compared.
    let number = |value: u64| if case.client.reports() { value.to_string() } else { "-".to_owned() };
    format!(
        "{start} {:>9} {:>14} {:>9} {:>14}",
        number(shown.messages),
        number(shown.bytes),
        shown.counted.submitted,
        shown.counted.bytes
    )
}
