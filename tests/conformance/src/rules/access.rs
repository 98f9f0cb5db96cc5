// SPDX-License-Identifier: CECILL-B
//! Access rules: which processes may use a region, and how.

use knem_core::uapi;
use nix::errno::Errno;
use nix::unistd::{setresuid, Uid};

use crate::children::{become_user, in_child, with_open_node, STRANGER};
use crate::counters::{counts, NO_COOKIE, SUBMITTED};
use crate::device::{Knem, READ, SUCCESS, WRITE};
use crate::memory::Mapping;

crate::trials![
    "4" protection_decides_the_direction,
    "4 R13" strangers_are_refused,
    "3" owners_can_share_with_all,
    "4" ownership_is_looked_at_before_protection,
    "4" root_is_a_stranger_too,
    "4 R13" user_of_the_open_counts,
];

fn protection_decides_the_direction() {
    let (knem, memory, local) = (Knem::open(), Mapping::new(64), Mapping::new(64));
    let all = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let local = &[local.segment()];
    for protection in [0, READ, WRITE, READ | WRITE] {
        let region = knem.create(&[memory.segment()], protection, 0).expect("created");
        let expect = |bit: u32| if protection & bit != 0 { Ok(SUCCESS) } else { Err(Errno::EACCES) };
        assert_eq!(knem.read(region, 0, local, 0), expect(READ), "{protection}");
        assert_eq!(knem.write(region, 0, local, 0), expect(WRITE), "{protection}");
        assert_eq!(knem.copy((region, 0), (all, 0), Some(8), 0), expect(READ), "{protection}");
        assert_eq!(knem.copy((all, 0), (region, 0), Some(8), 0), expect(WRITE), "{protection}");
        // Also if there is nothing to copy.
        assert_eq!(knem.read(region, 64, local, 0), expect(READ), "{protection}");
        assert_eq!(knem.read(region, 0, &[], 0), expect(READ), "{protection}");
    }
    let refused = knem.create(&[memory.segment()], 0, 0).expect("created");
    counts(&[(SUBMITTED, 1), (NO_COOKIE, 1)], || {
        assert_eq!(knem.read(refused, 0, local, 0), Err(Errno::EACCES));
    });
}

/// Runs `work` as another user with its own context.
fn as_stranger(work: impl FnOnce(&Knem)) {
    with_open_node(|| {
        in_child(|| {
            become_user(STRANGER);
            work(&Knem::open());
        });
    });
}

fn strangers_are_refused() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"private"));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    as_stranger(|theirs| {
        let local = Mapping::new(7);
        let own = theirs.create(&[local.segment()], READ | WRITE, 0).expect("created");
        for flags in [0, uapi::FLAG_PINLOCAL] {
            assert_eq!(theirs.read(region, 0, &[local.segment()], flags), Err(Errno::EPERM));
            assert_eq!(theirs.write(region, 0, &[local.segment()], flags), Err(Errno::EPERM));
        }
        assert_eq!(theirs.copy((region, 0), (own, 0), None, 0), Err(Errno::EPERM));
        assert_eq!(theirs.copy((own, 0), (region, 0), None, 0), Err(Errno::EPERM));
        assert_eq!(theirs.read(own, 0, &[local.segment()], 0), Ok(SUCCESS), "its own");
        assert_eq!(local.bytes(), [0; 7]);
        assert_eq!(theirs.destroy(region), Err(Errno::EINVAL));
        // Access through the owner's file descriptor is refused as well: the caller's ids count.
        assert_eq!(knem.read(region, 0, &[local.segment()], 0), Err(Errno::EPERM));
    });
    assert_eq!(memory.bytes(), b"private");
}

fn owners_can_share_with_all() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"public"));
    let region = knem.create(&[memory.segment()], READ, uapi::FLAG_ANY_USER_ACCESS).expect("created");
    as_stranger(|theirs| {
        let local = Mapping::new(6);
        assert_eq!(theirs.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
        assert_eq!(local.bytes(), b"public");
        assert_eq!(theirs.write(region, 0, &[local.segment()], 0), Err(Errno::EACCES));
    });
}

fn ownership_is_looked_at_before_protection() {
    let (knem, memory) = (Knem::open(), Mapping::new(4));
    let region = knem.create(&[memory.segment()], 0, 0).expect("created");
    as_stranger(|theirs| {
        let local = Mapping::new(4);
        assert_eq!(theirs.read(region, 0, &[local.segment()], 0), Err(Errno::EPERM));
    });
}

fn root_is_a_stranger_too() {
    let (receive, send) = nix::unistd::pipe().expect("pipe");
    let (wait, go) = nix::unistd::pipe().expect("pipe");
    let child = with_open_node(|| {
        let child = crate::children::Child::start(|| {
            become_user(STRANGER);
            let (theirs, memory) = (Knem::open(), Mapping::new(4));
            let region = theirs.create(&[memory.segment()], READ, 0).expect("created");
            nix::unistd::write(&send, &region.to_ne_bytes()).expect("sent");
            nix::unistd::read(&wait, &mut [0]).expect("the signal to go on");
        });
        let mut number = [0; 8];
        assert_eq!(nix::unistd::read(&receive, &mut number), Ok(8));
        let (knem, local) = (Knem::open(), Mapping::new(4));
        assert_eq!(knem.read(u64::from_ne_bytes(number), 0, &[local.segment()], 0), Err(Errno::EPERM));
        child
    });
    nix::unistd::write(&go, b"!").expect("written");
    child.succeeds();
}

fn user_of_the_open_counts() {
    crate::machine::need_root();
    in_child(|| {
        let (knem, memory, local) = (Knem::open(), Mapping::new(4), Mapping::new(4));
        let private = knem.create(&[memory.segment()], READ, 0).expect("created");
        let public = knem.create(&[memory.segment()], READ, uapi::FLAG_ANY_USER_ACCESS).expect("created");
        let stranger = Uid::from_raw(STRANGER);
        setresuid(stranger, stranger, stranger).expect("setresuid");
        assert_eq!(knem.read(private, 0, &[local.segment()], 0), Err(Errno::EPERM));
        assert_eq!(knem.read(public, 0, &[local.segment()], 0), Ok(SUCCESS));
        assert_eq!(knem.destroy(private), Ok(()), "the file owns it, not the user");
    });
}
