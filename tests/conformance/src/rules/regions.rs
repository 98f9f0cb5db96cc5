// SPDX-License-Identifier: CECILL-B
//! Lifetime of a region: creation, destruction, and ownership.

use std::os::fd::AsRawFd;

use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::{fcntl, FcntlArg, FdFlag};

use crate::children::{exec, in_child};
use crate::counters::nothing_is_pinned;
use crate::device::{segment, Knem, READ, SUCCESS, WRITE};
use crate::memory::{Mapping, PAGE};

crate::trials![
    "5" region_can_be_read_until_destroyed,
    "2.4" destroying_twice_is_einval,
    "5.1" empty_regions_are_regions,
    "5.1" empty_segments_are_not_looked_at,
    "2.3" other_protection_bits_change_nothing,
    "2.4" only_its_own_file_destroys_it,
    "10" closing_destroys,
    "10" duplicates_share_regions,
    "10" forked_files_share_regions,
    "10" executed_programs_share_regions,
    "5.6" memory_outlives_its_mapping,
    "R29" pages_are_released_when_destroyed,
    "R29" pages_are_released_when_closed,
    "R21" hundred_thousand_regions_at_once,
];

fn read_bytes(knem: &Knem, region: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let local = Mapping::new(length.max(1));
    let status = knem.read(region, 0, &[local.part(0, length)], 0)?;
    assert_eq!(status, SUCCESS);
    Ok(local.bytes()[..length].to_vec())
}

fn region_can_be_read_until_destroyed() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"contents"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(read_bytes(&knem, region, 8), Ok(b"contents".to_vec()));
    assert_eq!(knem.destroy(region), Ok(()));
    assert_eq!(read_bytes(&knem, region, 8), Err(Errno::EINVAL));
}

fn destroying_twice_is_einval() {
    let knem = Knem::open();
    let region = knem.create(&[], READ, 0).expect("created");
    assert_eq!(knem.destroy(region), Ok(()));
    assert_eq!(knem.destroy(region), Err(Errno::EINVAL));
    assert_eq!(knem.destroy(0), Err(Errno::EINVAL));
}

fn empty_regions_are_regions() {
    let (knem, local) = (Knem::open(), Mapping::holding(b"same"));
    let region = knem.create(&[], READ | WRITE, 0).expect("created");
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(knem.write(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(knem.copy((region, 0), (region, 9), None, 0), Ok(SUCCESS));
    // Also with an empty local side.
    assert_eq!(knem.read(region, 0, &[], 0), Ok(SUCCESS));
    assert_eq!(knem.read(region, 0, &[], uapi::FLAG_PINLOCAL), Ok(SUCCESS));
    assert_eq!(knem.write(region, 0, &[], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"same");
}

fn empty_segments_are_not_looked_at() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"abcd"));
    let wild = [0, 1, u64::MAX, 0xffff_8880_0000_0000].map(|base| segment(base, 0));
    let segments = [wild[0], memory.part(0, 2), wild[1], wild[2], memory.part(2, 2), wild[3]];
    let region = knem.create(&segments, READ | WRITE, 0).expect("created");
    let local = Mapping::new(4);
    let into = [wild[2], local.part(0, 1), wild[3], local.part(1, 3), wild[1]];
    for flags in [0, uapi::FLAG_PINLOCAL] {
        assert_eq!(knem.read(region, 0, &into, flags), Ok(SUCCESS));
        assert_eq!(local.bytes(), b"abcd");
        assert_eq!(knem.write(region, 0, &into, flags), Ok(SUCCESS));
    }
    assert_eq!(read_bytes(&knem, knem.create(&wild, READ, 0).expect("created"), 0), Ok(Vec::new()));
}

fn other_protection_bits_change_nothing() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"abcd"));
    let region = knem.create(&[memory.segment()], !WRITE, 0).expect("created");
    assert_eq!(read_bytes(&knem, region, 4), Ok(b"abcd".to_vec()));
    assert_eq!(knem.write(region, 0, &[memory.segment()], 0), Err(Errno::EACCES));
}

fn only_its_own_file_destroys_it() {
    let (owner, other, memory) = (Knem::open(), Knem::open(), Mapping::holding(b"mine"));
    let region = owner.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(other.destroy(region), Err(Errno::EINVAL));
    assert_eq!(read_bytes(&other, region, 4), Ok(b"mine".to_vec()));
    assert_eq!(owner.destroy(region), Ok(()));
}

fn closing_destroys() {
    let (owner, other, memory) = (Knem::open(), Knem::open(), Mapping::holding(b"mine"));
    let region = owner.create(&[memory.segment()], READ, 0).expect("created");
    drop(owner);
    assert_eq!(read_bytes(&other, region, 4), Err(Errno::EINVAL));
}

fn duplicates_share_regions() {
    let (owner, memory) = (Knem::open(), Mapping::holding(b"mine"));
    let region = owner.create(&[memory.segment()], READ, 0).expect("created");
    let duplicate = owner.duplicate();
    drop(owner);
    assert_eq!(read_bytes(&duplicate, region, 4), Ok(b"mine".to_vec()));
    assert_eq!(duplicate.destroy(region), Ok(()));
}

fn forked_files_share_regions() {
    let (knem, mut memory) = (Knem::open(), Mapping::holding(b"parent's"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let (receive, send) = nix::unistd::pipe().expect("pipe");
    let child = crate::children::Child::start(|| {
        assert_eq!(knem.destroy(region), Ok(()), "by the child");
        // A region of the child's memory, in the shared context.
        memory.bytes_mut().copy_from_slice(b"child's!");
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        nix::unistd::write(&send, &region.to_ne_bytes()).expect("sent");
    });
    let mut number = [0; 8];
    assert_eq!(nix::unistd::read(&receive, &mut number), Ok(8));
    child.succeeds();
    // It outlives the child, because the context does.
    let theirs = u64::from_ne_bytes(number);
    assert_eq!(read_bytes(&knem, theirs, 8), Ok(b"child's!".to_vec()));
    assert_eq!(knem.destroy(region), Err(Errno::EINVAL), "the child has done that");
    assert_eq!(memory.bytes(), b"parent's");
    assert_eq!(knem.destroy(theirs), Ok(()));
}

fn executed_programs_share_regions() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"mine"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    fcntl(knem.fd(), FcntlArg::F_SETFD(FdFlag::empty())).expect("fcntl");
    let output = exec(&["destroy".to_owned(), knem.fd().as_raw_fd().to_string(), region.to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(knem.destroy(region), Err(Errno::EINVAL));
}

fn memory_outlives_its_mapping() {
    // NetPIPE frees the sender's buffer before the peer has copied it.
    let (knem, memory) = (Knem::open(), Mapping::holding(&[7; 3 * PAGE]));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    drop(memory);
    assert_eq!(read_bytes(&knem, region, 3 * PAGE), Ok(vec![7; 3 * PAGE]));
}

fn pages_are_released_when_destroyed() {
    nothing_is_pinned();
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 100 * PAGE]));
    let regions: Vec<u64> =
        (0..10).map(|_| knem.create(&[memory.segment()], READ | WRITE, 0).expect("created")).collect();
    crate::counters::pinned_pages_become(1000);
    for region in regions {
        assert_eq!(knem.destroy(region), Ok(()));
    }
    nothing_is_pinned();
}

fn pages_are_released_when_closed() {
    nothing_is_pinned();
    let memory = Mapping::holding(&[1; 100 * PAGE]);
    {
        let knem = Knem::open();
        for _ in 0..10 {
            knem.create(&[memory.segment()], READ, 0).expect("created");
        }
    }
    nothing_is_pinned();
    in_child(|| {
        // The process exits without closing the descriptor.
        let knem = std::mem::ManuallyDrop::new(Knem::open());
        knem.create(&[memory.segment()], READ, 0).expect("created");
    });
    nothing_is_pinned();
}

fn hundred_thousand_regions_at_once() {
    let knem = Knem::open();
    let regions: Vec<u64> = (0..100_000).map(|_| knem.create(&[], 0, 0).expect("created")).collect();
    for region in regions {
        assert_eq!(knem.destroy(region), Ok(()));
    }
}
