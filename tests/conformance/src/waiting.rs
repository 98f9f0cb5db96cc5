// SPDX-License-Identifier: CECILL-B
//! Waits for a state, never for a fixed time.

use std::time::{Duration, Instant};

/// The longest time for any wait, on the slowest emulated machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds, and returns whether it did.
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
/// If it does not hold in time.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(comes(condition), "{what}: not after {} s", PATIENCE.as_secs());
}
