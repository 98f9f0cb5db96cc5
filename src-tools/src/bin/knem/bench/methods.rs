// SPDX-License-Identifier: CECILL-B
//! The methods of copying, and the syntax of a list of methods.

/// A method of copying from one process to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Method {
    /// KNEM, region created beforehand.
    KnemCached,
    /// KNEM, a single-use region for each copy.
    KnemOneshot,
    /// KNEM, by the context's worker thread.
    KnemAsync,
    /// KNEM, into the other process's region.
    KnemWrite,
    /// KNEM, from region to region.
    KnemRegion,
    /// KNEM, with the local memory pinned.
    KnemPinned,
    /// `process_vm_readv`.
    VmRead,
    /// `process_vm_writev`.
    VmWrite,
    /// Two copies through a ring in shared memory.
    Shm,
    /// XPMEM: the other process's memory is attached, and copied from or to.
    Xpmem,
    /// `memcpy` within one process.
    Memcpy,
}

impl Method {
    /// All methods, in the order of reports.
    pub(crate) const ALL: [Self; 11] = [
        Self::KnemCached,
        Self::KnemOneshot,
        Self::KnemAsync,
        Self::KnemWrite,
        Self::KnemRegion,
        Self::KnemPinned,
        Self::VmRead,
        Self::VmWrite,
        Self::Shm,
        Self::Xpmem,
        Self::Memcpy,
    ];

    /// Returns its name on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KnemCached => "knem-cached",
            Self::KnemOneshot => "knem-oneshot",
            Self::KnemAsync => "knem-async",
            Self::KnemWrite => "knem-write",
            Self::KnemRegion => "knem-region",
            Self::KnemPinned => "knem-pinned",
            Self::VmRead => "vmread",
            Self::VmWrite => "vmwrite",
            Self::Shm => "shm",
            Self::Xpmem => "xpmem",
            Self::Memcpy => "memcpy",
        }
    }

    /// Returns the words of a list on the command line: every method, and the groups.
    pub(crate) fn words() -> Vec<&'static str> {
        Self::ALL.map(Self::name).into_iter().chain(["all", "knem", "peers"]).collect()
    }

    /// Whether it needs the driver.
    pub(crate) fn is_knem(self) -> bool {
        self.name().starts_with("knem-")
    }

    /// Whether KNEM is compared with it: another method between two processes.
    pub(crate) fn is_peer(self) -> bool {
        !self.is_knem() && self != Self::Memcpy
    }

    /// Whether it copies into the second process, with (`write`) or without `--write`.
    pub(crate) fn into_peer(self, write: bool) -> bool {
        match self {
            Self::KnemWrite | Self::VmWrite => true,
            Self::VmRead | Self::Memcpy => false,
            _ => write,
        }
    }

    /// Returns the default methods of this direction.
    pub(crate) fn usual(write: bool) -> Vec<Self> {
        let other_way = |method: &Self| write && matches!(method, Self::KnemCached | Self::VmRead);
        Self::ALL.into_iter().filter(|method| !other_way(method)).collect()
    }

    /// Parses a list of names and groups. Each method is returned once, in the order of reports.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let mut chosen = Vec::new();
        for name in text.split(',').map(str::trim) {
            let before = chosen.len();
            chosen.extend(Self::ALL.into_iter().filter(|method| match name {
                "all" => true,
                "knem" => method.is_knem(),
                "peers" => !method.is_knem(),
                _ => method.name() == name,
            }));
            if chosen.len() == before {
                let names = Self::ALL.map(Self::name).join(", ");
                return Err(format!("{name:?} is not a method: use {names}, or the groups all, knem, peers"));
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_groups_are_understood() {
        assert_eq!(Method::parse_list("shm, knem-cached,shm"), Ok(vec![Method::KnemCached, Method::Shm]));
        assert_eq!(Method::parse_list("all").map(|list| list.len()), Ok(Method::ALL.len()));
        assert_eq!(Method::parse_list("knem").map(|list| list.len()), Ok(6));
        assert_eq!(
            Method::parse_list("peers"),
            Ok(vec![Method::VmRead, Method::VmWrite, Method::Shm, Method::Xpmem, Method::Memcpy])
        );
    }

    #[test]
    fn other_names_are_refused_with_the_list() {
        for text in ["", "cma", "shm,,memcpy"] {
            let reason = Method::parse_list(text).unwrap_err();
            assert!(reason.contains("vmread") && reason.contains("peers"), "{reason}");
        }
    }

    #[test]
    fn directions_are_those_of_the_names() {
        assert!(Method::KnemWrite.into_peer(false) && Method::VmWrite.into_peer(false));
        assert!(!Method::VmRead.into_peer(true) && !Method::Shm.into_peer(false) && Method::Shm.into_peer(true));
        assert!(!Method::usual(true).contains(&Method::VmRead));
        assert_eq!(Method::usual(false), Method::ALL);
    }
}
