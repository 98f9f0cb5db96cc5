// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Access checks: of requests to regions, and of writes that clear the statistics.

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

/// The user ids of a process, in the initial user namespace.
///
/// The original driver compared only the real user id, so that the regions of a set-user-id program were open to the
/// user who ran it. Here both ids must be equal, which makes no difference to other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Real user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
}

/// The part of a region that access depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The opener of the file on which the region was created.
    pub owner: Identity,
    /// The creator of the region. It differs from the opener only if an open file was passed to another process or kept
    /// while ids were changed. Such a region can be used only with `any_user`: it belongs neither to the owner of its
    /// memory nor to the owner of the file alone.
    pub creator: Identity,
    /// Whether other users may use the region.
    pub any_user: bool,
    /// `PROT_*` bits of its creation.
    pub protection: u32,
}

impl Rule {
    /// Whether a request of `caller` is one of another user, which could keep the region's memory by never ending.
    pub const fn is_foreign(&self, caller: Identity) -> bool {
        !(same(caller, self.owner) && same(caller, self.creator))
    }

    /// Checks whether `caller` may use the region as `want` requires. Returns whether it is another user.
    ///
    /// No privilege overrides the rule, and ownership is checked before protection.
    ///
    /// # Errors
    /// [`Refusal::OtherUser`] (EPERM), then [`Refusal::Protection`] (EACCES).
    pub const fn check(&self, caller: Identity, want: Want) -> Result<bool, Refusal> {
        let foreign = self.is_foreign(caller);
        if foreign && !self.any_user {
            return Err(Refusal::OtherUser);
        }
        let needed = match want {
            Want::Read => uapi::PROT_READ,
            Want::Write => uapi::PROT_WRITE,
        };
        if self.protection & needed == 0 {
            return Err(Refusal::Protection);
        }
        Ok(foreign)
    }
}

/// Compares as `==`, which is not available in a constant function.
const fn same(one: Identity, other: Identity) -> bool {
    one.uid == other.uid && one.euid == other.euid
}

/// Checks whether a write to the device may clear the statistics.
///
/// `privileged`: the opener of the file has CAP_SYS_ADMIN. `in_use`: the file's context has created a region or made a
/// request.
///
/// The original driver returned EBUSY for every privileged write, since each writable file has a context. Here an
/// unused context may clear, so that the documented `echo 1 > /dev/knem` works.
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
    extern crate std;
    use super::{may_clear, Identity, Rule, Want};
    use crate::logic::refusal::Refusal;
    use std::vec::Vec;

    #[test]
    fn every_combination_of_users_and_protection() {
        let ids = [0, 1000, 1001].into_iter();
        let people: Vec<Identity> =
            ids.clone().flat_map(|uid| ids.clone().map(move |euid| Identity { uid, euid })).collect();
        for owner in &people {
            for creator in &people {
                for caller in &people {
                    for (any_user, protection) in
                        [false, true].into_iter().flat_map(|any| (0..8).map(move |p| (any, p)))
                    {
                        let rule = Rule { owner: *owner, creator: *creator, any_user, protection };
                        for (want, bit) in [(Want::Read, 1), (Want::Write, 2)] {
                            let foreign = caller != owner || caller != creator;
                            let expected = if !any_user && foreign {
                                Err(Refusal::OtherUser)
                            } else if protection & bit == 0 {
                                Err(Refusal::Protection)
                            } else {
                                Ok(foreign)
                            };
                            assert_eq!(rule.check(*caller, want), expected, "{rule:?} {caller:?} {want:?}");
                        }
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
