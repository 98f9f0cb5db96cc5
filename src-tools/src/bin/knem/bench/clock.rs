// SPDX-License-Identifier: CECILL-B
//! The clock of a benchmark: the CPU's time stamp counter if it has a constant rate on all CPUs, else CLOCK_MONOTONIC.
//!
//! CLOCK_MONOTONIC is read without a system call on most machines, but not on all: some hypervisors and User Mode Linux
//! have no vDSO clock, and a system call there costs more than a copy of some KiB.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Time for which the counter is compared with CLOCK_MONOTONIC: precise to 1/10000 if reading the clock takes 1 us.
const CALIBRATION: Duration = Duration::from_millis(20);

/// A moment; only differences are meaningful.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(Reading);

#[derive(Clone, Copy, Debug)]
enum Reading {
    /// Of the counter.
    Ticks(u64),
    /// Of CLOCK_MONOTONIC.
    Time(Instant),
}

impl Moment {
    /// Reads the clock.
    pub(crate) fn now() -> Self {
        Self(if rate().is_some() { Reading::Ticks(counter::read()) } else { Reading::Time(Instant::now()) })
    }

    /// Nanoseconds from this moment to now.
    pub(crate) fn elapsed(self) -> u64 {
        match self.0 {
            Reading::Ticks(start) => nanoseconds(counter::read().saturating_sub(start), rate().unwrap_or(NONE)),
            Reading::Time(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// Returns the name of the clock in reports.
pub(crate) fn name() -> &'static str {
    if rate().is_some() {
        "tsc"
    } else {
        "monotonic"
    }
}

/// Returns the overhead of the clock in nanoseconds: the shortest time between two reads.
pub(crate) fn cost() -> u64 {
    (0..1000).map(|_| Moment::now().elapsed()).min().unwrap_or_default()
}

/// Nanoseconds of 2^32 ticks.
type Rate = u64;

/// One nanosecond a tick.
const NONE: Rate = 1 << 32;

fn nanoseconds(ticks: u64, rate: Rate) -> u64 {
    u64::try_from((u128::from(ticks) * u128::from(rate)) >> 32).unwrap_or(u64::MAX)
}

/// Returns the counter's rate, measured once; `None` if the counter cannot be used as a clock.
fn rate() -> Option<Rate> {
    static RATE: OnceLock<Option<Rate>> = OnceLock::new();
    *RATE.get_or_init(|| {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if is_constant(&cpuinfo) {
            calibrate()
        } else {
            None
        }
    })
}

/// Whether the counter has one rate, in every state of power and on every CPU: Linux lists `constant_tsc` and
/// `nonstop_tsc` then.
fn is_constant(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    ["constant_tsc", "nonstop_tsc"].into_iter().all(|flag| flags.split_whitespace().any(|word| word == flag))
}

fn calibrate() -> Option<Rate> {
    let (start, first) = (Instant::now(), counter::read());
    while start.elapsed() < CALIBRATION {
        std::hint::spin_loop();
    }
    let (time, ticks) = (start.elapsed().as_nanos(), counter::read().checked_sub(first)?);
    // Rates below 100 MHz or above 100 GHz are not plausible.
    let rate = u64::try_from((time << 32).checked_div(u128::from(ticks))?).ok()?;
    (NONE / 100..=NONE * 10).contains(&rate).then_some(rate)
}

#[cfg(target_arch = "x86_64")]
mod counter {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};

    /// Reads the counter after all earlier instructions have completed.
    pub(super) fn read() -> u64 {
        // SAFETY: every x86_64 CPU has SSE2.
        unsafe { _mm_lfence() };
        // SAFETY: every x86_64 CPU has the counter, and Linux lets programs read it.
        unsafe { _rdtsc() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod counter {
    /// No counter: /proc/cpuinfo has no `constant_tsc` here.
    pub(super) fn read() -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_used_where_it_is_constant() {
        assert!(is_constant("model name : X\nflags\t\t: fpu tsc constant_tsc nonstop_tsc\n"));
        assert!(!is_constant("flags : fpu tsc constant_tsc\n"));
        assert!(!is_constant("flags : fpu not_constant_tsc nonstop_tsc\n"));
        assert!(!is_constant(""));
    }

    #[test]
    fn ticks_become_nanoseconds() {
        // 2 GHz, 4 GHz, and an hour.
        assert_eq!(nanoseconds(2_000, NONE / 2), 1_000);
        assert_eq!(nanoseconds(4_000, NONE / 4), 1_000);
        assert_eq!(nanoseconds(7_200_000_000_000, NONE / 2), 3_600_000_000_000);
    }

    #[test]
    fn it_agrees_with_the_system() {
        let (moment, instant) = (Moment::now(), Instant::now());
        std::thread::sleep(Duration::from_millis(30));
        let (ours, theirs) = (moment.elapsed(), u64::try_from(instant.elapsed().as_nanos()).unwrap());
        // The thread may lose the CPU between the two readings: only a wrong rate is far off.
        assert!(ours >= 30_000_000 && ours < theirs * 2 + 1_000_000_000, "{ours} {theirs}");
        assert!(cost() < 1_000_000);
        assert_eq!(name() == "tsc", rate().is_some());
    }
}
