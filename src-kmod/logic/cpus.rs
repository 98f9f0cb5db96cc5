// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Sets of CPUs, as masks of words.

/// Whether the first set is a subset of the second.
#[must_use]
pub fn within(these: &[usize], those: &[usize]) -> bool {
    these.iter().zip(those).all(|(these, those)| *these & !*those == 0)
}

/// Whether the set is empty.
#[must_use]
pub fn empty(these: &[usize]) -> bool {
    these.iter().all(|word| *word == 0)
}

/// Removes the CPUs that are not in the second set.
pub fn intersect(these: &mut [usize], those: &[usize]) {
    for (these, those) in these.iter_mut().zip(those) {
        *these &= *those;
    }
}

#[cfg(test)]
mod tests {
    use super::{empty, intersect, within};

    #[test]
    fn a_set_is_within_another() {
        assert!(within(&[0b0110, 0], &[0b0111, 1]));
        assert!(!within(&[0b0110, 2], &[0b0111, 1]));
        assert!(within(&[0, 0], &[0, 0]));
    }

    #[test]
    fn what_both_have_is_left() {
        let mut set = [0b0110, 1];
        intersect(&mut set, &[0b0011, 2]);
        assert_eq!(set, [0b0010, 0]);
        assert!(!empty(&set));
        intersect(&mut set, &[0b0100, 0]);
        assert!(empty(&set));
    }
}
