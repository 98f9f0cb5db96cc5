// SPDX-License-Identifier: CECILL-B
//! The caller: its user, groups and limits.

use nix::sys::resource::{getrlimit, Resource, RLIM_INFINITY};
use nix::sys::utsname::uname;
use nix::unistd::{getegid, geteuid, getgroups, Group, User};

/// The caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Name, or number where there is no name.
    pub(crate) user: String,
    /// Effective user id.
    pub(crate) uid: u32,
    /// Names of the groups that this process has.
    pub(crate) groups: Vec<String>,
    /// Limit of locked memory in bytes; `None` without a limit.
    pub(crate) memlock: Option<u64>,
    /// Hard limit, up to which the caller may raise it.
    pub(crate) memlock_hard: Option<u64>,
}

impl Caller {
    /// The calling process.
    pub(crate) fn here() -> Self {
        let uid = geteuid();
        let user = User::from_uid(uid).ok().flatten();
        let mut ids = getgroups().unwrap_or_default();
        ids.push(getegid());
        let name = |id| Group::from_gid(id).ok().flatten().map_or_else(|| id.to_string(), |group| group.name);
        let limits = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((0, 0));
        let limit = |value| (value != RLIM_INFINITY).then_some(value);
        Self {
            user: user.map_or_else(|| uid.to_string(), |user| user.name),
            uid: uid.as_raw(),
            groups: ids.into_iter().map(name).collect(),
            memlock: limit(limits.0),
            memlock_hard: limit(limits.1),
        }
    }

    /// Whether it is root.
    pub(crate) fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// Release of the running kernel, as the directories in /lib/modules are named.
pub(super) fn kernel_release() -> String {
    uname().map(|names| names.release().to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_somebody() {
        let caller = Caller::here();
        assert!(!caller.user.is_empty() && !caller.groups.is_empty());
        assert!(kernel_release().contains('.'));
    }
}
