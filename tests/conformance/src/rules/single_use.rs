// SPDX-License-Identifier: CECILL-B
//! Single-use regions: consumed by the first request that is accepted, and by no other.

use knem_core::uapi;
use nix::errno::Errno;

use crate::device::{segment, Inline, Knem, FAILED, READ, SUCCESS, WRITE};
use crate::memory::{hole, Mapping};

const SINGLE: u32 = uapi::FLAG_SINGLEUSE;

crate::trials![
    "4" second_use_is_einval,
    "R40" zero_bytes_are_a_use,
    "R40" failed_copy_is_a_use,
    "R40" refused_requests_are_no_use,
    "R40" unpinnable_memory_is_no_use,
    "R40" bad_destination_spares_the_source,
    "R40" both_sides_are_used,
    "R40" same_region_on_both_sides_is_einval,
    "R40" only_one_of_many_gets_it,
];

fn region(knem: &Knem, memory: &Mapping, protection: u32) -> u64 {
    knem.create(&[memory.segment()], protection, SINGLE).expect("created")
}

fn second_use_is_einval() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"once"), Mapping::new(4));
    let single = region(&knem, &memory, READ);
    assert_eq!(knem.read(single, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"once");
    assert_eq!(knem.read(single, 0, &[local.segment()], 0), Err(Errno::EINVAL));
    assert_eq!(knem.destroy(single), Err(Errno::EINVAL));
}

fn zero_bytes_are_a_use() {
    let (knem, memory, local) = (Knem::open(), Mapping::new(4), Mapping::new(4));
    let offsets = region(&knem, &memory, READ);
    assert_eq!(knem.read(offsets, 4, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(knem.destroy(offsets), Err(Errno::EINVAL));
    let bounded = region(&knem, &memory, READ);
    let nothing = Inline { cookie: bounded, segments: &[local.segment()], bound: Some(0), ..Inline::default() };
    assert_eq!(knem.inline(nothing), Ok(SUCCESS));
    assert_eq!(knem.destroy(bounded), Err(Errno::EINVAL));
    let nowhere = region(&knem, &memory, READ);
    assert_eq!(knem.read(nowhere, 0, &[], 0), Ok(SUCCESS));
    assert_eq!(knem.destroy(nowhere), Err(Errno::EINVAL));
}

fn failed_copy_is_a_use() {
    let (knem, memory) = (Knem::open(), Mapping::new(4));
    let single = region(&knem, &memory, READ);
    assert_eq!(knem.read(single, 0, &[segment(hole(), 4)], 0), Ok(FAILED));
    assert_eq!(knem.destroy(single), Err(Errno::EINVAL));
}

fn refused_requests_are_no_use() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"once"), Mapping::holding(b"more"));
    let single = region(&knem, &memory, WRITE);
    let into = &[local.segment()];
    assert_eq!(knem.read(single, 0, into, 0), Err(Errno::EACCES));
    assert_eq!(knem.write(single, 0, into, uapi::FLAG_NOTIFY_FD), Err(Errno::EINVAL));
    assert_eq!(knem.write(single, 0, into, uapi::FLAG_DMA), Err(Errno::EINVAL));
    assert_eq!(knem.write(single, 0, into, uapi::FLAG_MEMCPYTHREAD), Err(Errno::EINVAL));
    assert_eq!(knem.write(single, 0, into, 0), Ok(SUCCESS), "usable still");
    assert_eq!(memory.bytes(), b"more");
}

fn unpinnable_memory_is_no_use() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"once"), Mapping::new(4));
    let single = region(&knem, &memory, READ | WRITE);
    let nowhere = &[segment(hole(), 4)];
    assert_eq!(knem.read(single, 0, nowhere, uapi::FLAG_PINLOCAL), Err(Errno::EFAULT));
    assert_eq!(knem.write(single, 0, nowhere, 0), Err(Errno::EFAULT));
    assert_eq!(knem.read(single, 0, &[local.segment()], 0), Ok(SUCCESS), "usable still");
    assert_eq!(local.bytes(), b"once");
}

fn bad_destination_spares_the_source() {
    let (knem, memory, other) = (Knem::open(), Mapping::holding(b"once"), Mapping::new(4));
    let single = region(&knem, &memory, READ);
    let read_only = knem.create(&[other.segment()], READ, 0).expect("created");
    assert_eq!(knem.copy((single, 0), (read_only, 0), None, 0), Err(Errno::EACCES));
    assert_eq!(knem.copy((single, 0), (0, 0), None, 0), Err(Errno::EINVAL));
    let writable = knem.create(&[other.segment()], WRITE, 0).expect("created");
    assert_eq!(knem.copy((single, 0), (writable, 0), None, 0), Ok(SUCCESS), "usable still");
    assert_eq!(other.bytes(), b"once");
    assert_eq!(knem.destroy(single), Err(Errno::EINVAL));
}

fn both_sides_are_used() {
    let (knem, memory, other) = (Knem::open(), Mapping::holding(b"once"), Mapping::new(4));
    let (source, destination) = (region(&knem, &memory, READ), region(&knem, &other, WRITE));
    assert_eq!(knem.copy((source, 0), (destination, 0), None, 0), Ok(SUCCESS));
    assert_eq!((knem.destroy(source), knem.destroy(destination)), (Err(Errno::EINVAL), Err(Errno::EINVAL)));
}

fn same_region_on_both_sides_is_einval() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"once"), Mapping::new(4));
    let single = region(&knem, &memory, READ | WRITE);
    assert_eq!(knem.copy((single, 0), (single, 2), Some(2), 0), Err(Errno::EINVAL));
    assert_eq!(knem.read(single, 0, &[local.segment()], 0), Ok(SUCCESS), "usable still");
}

fn only_one_of_many_gets_it() {
    let (knem, memory) = (Knem::open(), Mapping::new(64 << 10));
    for _ in 0..200 {
        let single = region(&knem, &memory, READ);
        let winners: usize = std::thread::scope(|scope| {
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let local = Mapping::new(64 << 10);
                        match knem.read(single, 0, &[local.segment()], 0) {
                            Ok(SUCCESS) => 1,
                            Err(Errno::EINVAL) => 0,
                            other => panic!("{other:?}"),
                        }
                    })
                })
                .collect();
            readers.into_iter().map(|reader| reader.join().expect("a reader")).sum()
        });
        assert_eq!(winners, 1);
    }
}
