// SPDX-License-Identifier: CECILL-B
//! Memory that the driver keeps for a user, beyond what the kernel charges to the user's processes.

use nix::errno::Errno;

use crate::children::{become_user, in_child, with_open_node};
use crate::device::Knem;
use crate::party::{victim, Attacker, ATTACKER};
use crate::slots::Slots;

crate::trials![
    "R21 A6" status_arrays_of_a_user_are_bounded,
    "R21 A6" status_arrays_of_one_user_leave_room_for_another,
];

/// Slots of the largest array.
const SLOTS: usize = 1 << 24;
/// Far more arrays than fit below the default limit, which is 1/64 of memory or 96 MiB.
const ARRAYS: usize = 64;

/// Maps as many of the largest arrays as the driver allows.
fn map_all() -> Vec<(Knem, Slots)> {
    let mut kept = Vec::new();
    for _ in 0..ARRAYS {
        let knem = Knem::open();
        match Slots::map(&knem, SLOTS) {
            Ok(slots) => kept.push((knem, slots)),
            Err(errno) => assert_eq!(errno, Errno::ENOMEM),
        }
    }
    kept
}

fn status_arrays_of_a_user_are_bounded() {
    with_open_node(|| {
        in_child(|| {
            become_user(ATTACKER);
            let mapped = map_all().len();
            assert!(mapped >= 1, "one array of 2^24 slots");
            assert!(mapped < ARRAYS / 2, "{mapped} arrays of 16 MiB");
            assert!(!map_all().is_empty(), "they were given back");
        });
    });
}

fn status_arrays_of_one_user_leave_room_for_another() {
    with_open_node(|| {
        let attacker = Attacker::start(|begun| {
            let kept = map_all();
            begun();
            std::mem::forget(kept);
        });
        victim(|| drop(Slots::map(&Knem::open(), SLOTS).expect("mapped")));
        drop(attacker);
    });
}
