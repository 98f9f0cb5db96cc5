// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! How much memory may be pinned.

use crate::logic::refusal::Refusal;

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

/// Whether a process may have `pages` pages pinned. `limit` is its RLIMIT_MEMLOCK in pages, if that is enforced;
/// `exempt` tells whether the caller is above it (it has CAP_IPC_LOCK) and is asked only when that matters.
///
/// # Errors
/// [`Refusal::PinLimit`] (ENOMEM).
pub fn admit(pages: u64, limit: Option<u64>, exempt: impl FnOnce() -> bool) -> Result<(), Refusal> {
    match limit {
        Some(limit) if pages > limit && !exempt() => Err(Refusal::PinLimit),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{admit, ceiling};
    use crate::logic::refusal::Refusal;

    #[test]
    fn the_limit_is_inclusive() {
        assert_eq!(admit(10, Some(10), || panic!("not needed")), Ok(()));
        assert_eq!(admit(11, Some(10), || false), Err(Refusal::PinLimit));
        assert_eq!(admit(11, Some(10), || true), Ok(()));
        assert_eq!(admit(u64::MAX, None, || panic!("not needed")), Ok(()));
    }

    #[test]
    fn ceiling_defaults_to_half() {
        assert_eq!(ceiling(0, 1001, 12), 500);
        assert_eq!(ceiling(1, 1001, 12), 256);
        assert_eq!(ceiling(1, 1001, 16), 16);
        assert_eq!(ceiling(u64::MAX, 1001, 12), u64::MAX);
    }
}
