// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Who may do what: with a region, and with the statistics.

use crate::logic::refusal::Refusal;
use crate::uapi;

/// What a request does with a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Copy out of it.
    Read,
    /// Copy into it.
    Write,
}

/// The part of a region that access depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Real user id of whoever opened the file that the region was created on (a global id).
    pub owner: u32,
    /// Whether other users may use the region.
    pub any_user: bool,
    /// `PROT_*` bits given at creation.
    pub protection: u32,
}

impl Rule {
    /// Whether a task with real user id `caller` may use the region as `want` says.
    ///
    /// There is no privilege that overrides the rule, and ownership is looked at before protection.
    ///
    /// # Errors
    /// [`Refusal::OtherUser`] (EPERM), then [`Refusal::Protection`] (EACCES).
    pub const fn check(&self, caller: u32, want: Want) -> Result<(), Refusal> {
        if !self.any_user && caller != self.owner {
            return Err(Refusal::OtherUser);
        }
        let needed = match want {
            Want::Read => uapi::PROT_READ,
            Want::Write => uapi::PROT_WRITE,
        };
        if self.protection & needed == 0 {
            return Err(Refusal::Protection);
        }
        Ok(())
    }
}

/// Whether a write to the device may clear the statistics.
///
/// `privileged`: whoever opened the file has CAP_SYS_ADMIN. `in_use`: the file's
/// context has created a region or made a request.
///
/// The original answered EBUSY to every privileged write, since each file that can be written has a context;
/// an unused one clears here, so that the documented `echo 1 > /dev/knem` works.
///
/// # Errors
/// [`Refusal::NotPrivileged`] (EPERM), then [`Refusal::Busy`] (EBUSY).
pub const fn may_clear(privileged: bool, in_use: bool) -> Result<(), Refusal> {
    if !privileged {
        return Err(Refusal::NotPrivileged);
    }
    if in_use {
        return Err(Refusal::Busy);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{may_clear, Rule, Want};
    use crate::logic::refusal::Refusal;

    #[test]
    fn every_combination_of_user_and_protection() {
        for any_user in [false, true] {
            for protection in 0..8 {
                for caller in [0, 1000, 1001] {
                    let rule = Rule { owner: 1000, any_user, protection };
                    for (want, bit) in [(Want::Read, 1), (Want::Write, 2)] {
                        let expected = if caller != 1000 && !any_user {
                            Err(Refusal::OtherUser)
                        } else if protection & bit == 0 {
                            Err(Refusal::Protection)
                        } else {
                            Ok(())
                        };
                        assert_eq!(rule.check(caller, want), expected, "{rule:?} {caller} {want:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn privilege_is_asked_before_use() {
        assert_eq!(may_clear(true, false), Ok(()));
        assert_eq!(may_clear(true, true), Err(Refusal::Busy));
        assert_eq!(may_clear(false, true), Err(Refusal::NotPrivileged));
        assert_eq!(may_clear(false, false), Err(Refusal::NotPrivileged));
    }
}
