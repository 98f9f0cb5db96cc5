// SPDX-License-Identifier: CECILL-B
//! Waiting for a state, never for a time.

use std::time::{Duration, Instant};

/// How long anything may take, on the slowest emulated machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds, and says whether it did.
pub fn comes(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    let mut pause = Duration::from_micros(50);
    while !condition() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    true
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// If it never does.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(comes(condition), "{what}: not after {} s", PATIENCE.as_secs());
}
