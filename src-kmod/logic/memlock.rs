// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! How much memory may be pinned.

use crate::logic::refusal::Refusal;

/// Limits that a new pin has to respect, in pages.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The process's RLIMIT_MEMLOCK, if it is enforced.
    pub process: Option<u64>,
    /// The ceiling for the whole machine.
    pub machine: u64,
}

/// Decides on a pin from the sums, in pages, that would result: `process` pinned by the process's address space
/// and `machine` pinned through the driver. `exempt` tells whether the caller is above its RLIMIT_MEMLOCK (it has
/// CAP_IPC_LOCK) and is asked only when that matters.
///
/// # Errors
/// [`Refusal::PinLimit`] (ENOMEM).
pub fn admit(limits: Limits, process: u64, machine: u64, exempt: impl FnOnce() -> bool) -> Result<(), Refusal> {
    if machine > limits.machine {
        return Err(Refusal::PinLimit);
    }
    match limits.process {
        Some(limit) if process > limit && !exempt() => Err(Refusal::PinLimit),
        _ => Ok(()),
    }
}

/// The machine's ceiling in pages: `param_mib` mebibytes, or half of the `ram` pages if that is 0.
#[must_use]
pub const fn ceiling(param_mib: u64, ram: u64, page_shift: u32) -> u64 {
    if param_mib == 0 {
        return ram >> 1;
    }
    match param_mib.checked_mul(1 << 20) {
        Some(bytes) => match bytes.checked_shr(page_shift) {
            Some(pages) => pages,
            None => 0,
        },
        None => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::{admit, ceiling, Limits};
    use crate::logic::refusal::Refusal;

    #[test]
    fn limits_are_inclusive() {
        let limits = Limits { process: Some(10), machine: 20 };
        assert_eq!(admit(limits, 10, 20, || panic!("not needed")), Ok(()));
        assert_eq!(admit(limits, 11, 20, || false), Err(Refusal::PinLimit));
        assert_eq!(admit(limits, 11, 20, || true), Ok(()));
        assert_eq!(admit(limits, 1, 21, || true), Err(Refusal::PinLimit));
        assert_eq!(admit(Limits { process: None, machine: 20 }, u64::MAX, 20, || false), Ok(()));
    }

    #[test]
    fn ceiling_defaults_to_half() {
        assert_eq!(ceiling(0, 1001, 12), 500);
        assert_eq!(ceiling(1, 1001, 12), 256);
        assert_eq!(ceiling(u64::MAX, 1001, 12), u64::MAX);
    }
}
