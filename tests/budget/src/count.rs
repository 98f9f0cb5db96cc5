// SPDX-License-Identifier: CECILL-B
//! Instructions of a call. The emulator's time stamp counter advances by one with each instruction (`-icount shift=0`).

use std::arch::x86_64::_rdtsc;

/// Rounds of a measurement. The first ones fill caches of the kernel; the shortest one counts.
const ROUNDS: u32 = 40;

/// Reads the time stamp counter.
fn counter() -> u64 {
    // SAFETY: Every x86-64 CPU has the instruction, and Linux permits it in user space.
    unsafe { _rdtsc() }
}

/// Returns the instructions of the shortest of several calls.
pub(crate) fn instructions(mut call: impl FnMut()) -> u64 {
    let mut shortest = u64::MAX;
    for _ in 0..ROUNDS {
        let before = counter();
        call();
        shortest = shortest.min(counter() - before);
    }
    shortest
}
