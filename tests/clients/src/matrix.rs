// SPDX-License-Identifier: CECILL-B
//! The runs: all, and the short form of `make check`.

use crate::case::{Case, Client, Setting, User};

/// All checks except those that need a large machine: messages from pages to some MiB.
const ALL: &str = "point-to-point vectors alltoallv one-sided heap";

/// The same for Open MPI over UCX: it emulates one-sided communication by messages without KNEM, and its `get`
/// sometimes returns wrong data with four ranks, even if KNEM is not used (docs/mpi.md).
const WITHOUT_ONE_SIDED: &str = "point-to-point vectors alltoallv heap";

/// Limits of locked memory.
const LIMITS: [u64; 3] = [8 << 20, 64 << 10, 0];

fn case(client: Client, checks: &'static str, ranks: u32, rounds: u32) -> Case {
    Case {
        client,
        checks,
        ranks,
        rounds,
        user: User::Root,
        memlock: None,
        setting: Setting::Usual,
        over_knem: true,
        must_fail: false,
    }
}

/// Returns the short form, which takes minutes on one kernel: Open MPI and MPICH over UCX as a member, a user that is
/// none, and a check of the checks.
pub fn short() -> Vec<Case> {
    let member = |client, checks, ranks, rounds| Case { user: User::Member, ..case(client, checks, ranks, rounds) };
    vec![
        member(Client::OpenMpi5, ALL, 2, 6),
        member(Client::Mpich, "point-to-point vectors", 2, 6),
        Case { user: User::Stranger, over_knem: false, ..case(Client::OpenMpi5, "point-to-point", 2, 6) },
        Case { must_fail: true, ..member(Client::OpenMpi5, "spoiled", 2, 1) },
    ]
}

/// Returns every client, with every program, user and limit.
pub fn full() -> Vec<Case> {
    let mut cases = Vec::new();
    for client in [Client::OpenMpi5, Client::OpenMpi4, Client::OpenMpi4Ucx, Client::Mpich] {
        let all = if client == Client::OpenMpi4Ucx { WITHOUT_ONE_SIDED } else { ALL };
        cases.push(case(client, all, 2, 20));
        cases.push(Case { user: User::Member, ..case(client, all, 4, 10) });
        cases.push(Case { user: User::Member, ..case(client, "threads children", 2, 10) });
        cases.push(Case { user: User::Stranger, over_knem: false, ..case(client, all, 2, 6) });
        for limit in LIMITS {
            // Memory beyond the limit is pinned only while it is copied.
            cases.push(Case {
                user: User::Member,
                memlock: Some(limit),
                ..case(client, "point-to-point alltoallv", 2, 10)
            });
        }
        cases.push(Case { user: User::Member, ..case(client, "traffic", 4, 8) });
        cases.push(Case {
            user: User::Member,
            setting: Setting::Confined,
            ..case(client, "point-to-point traffic", 2, 4)
        });
        cases.push(Case { setting: Setting::DeviceGone, over_knem: false, ..case(client, "point-to-point", 2, 4) });
        cases.push(Case { user: User::Member, must_fail: true, ..case(client, "spoiled", 2, 1) });
    }
    for client in [Client::OpenMpi5, Client::OpenMpi4] {
        cases.push(Case { user: User::Member, setting: Setting::LeavePinned, ..case(client, ALL, 2, 10) });
    }
    cases.push(Case { user: User::Member, ..case(Client::Mpi4Py, "arrays", 2, 10) });
    cases.push(Case { user: User::Member, setting: Setting::LeavePinned, ..case(Client::Mpi4Py, "arrays", 2, 10) });
    for user in [User::Namespaces, User::Container] {
        for client in [Client::OpenMpi5, Client::Mpich] {
            cases.push(Case { user, ..case(client, "no-cma point-to-point vectors", 2, 10) });
        }
    }
    // Its tests of put and get do not use the driver in this version.
    cases.push(Case { user: User::Member, ..case(Client::UcxPerftest, "-t tag_bw -s 1048576 -n 50 -w 5", 2, 1) });
    cases.push(Case { user: User::Member, ..case(Client::Nemesis, "status array, asynchronous copies", 2, 20) });
    cases.push(Case { user: User::Member, ..case(Client::NetPipe, "-i -l 5 -u 1048576 -n 5", 2, 1) });
    cases
}

/// Returns one message of more than 2 GiB: with Open MPI's ob1 it is pinned on both sides.
pub fn large() -> Vec<Case> {
    [Client::OpenMpi5, Client::Mpich].map(|client| case(client, "large", 2, 1)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_shown_to_use_the_driver() {
        let full = full();
        for name in full.iter().map(|case| case.client) {
            assert!(full.iter().any(|case| case.client == name && case.over_knem && !case.must_fail));
        }
        assert!(short().iter().any(|case| case.must_fail));
    }
}
