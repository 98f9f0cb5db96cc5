// SPDX-License-Identifier: CECILL-B
//! Kinds of memory: which can be a region, and that a region has the bytes that its owner sees.

use std::ffi::c_long;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags};

use crate::children::Child;
use crate::device::{segment, Knem, READ, SUCCESS, WRITE};
use crate::machine::need_kernel;
use crate::memory::{both, memory_file, Mapping, PAGE};

crate::trials![
    "5.6 R30" untouched_memory_follows_its_owner,
    "5.6 R30" read_only_memory_follows_its_owner,
    "5.6 R30" memory_after_read_only_memory_follows_its_owner,
    "5.6 R30" memory_whose_protection_changes_follows_its_owner,
    "R30" shared_files_in_memory,
    "R30" private_files_can_be_read,
    "R30" shared_files_on_disk_are_not_kept_pinned,
    "R30" huge_pages_of_their_own,
    "R30" transparent_huge_pages,
    "R30" private_mapping_of_huge_pages_can_be_read,
    "R33 W17" forking_owner_is_still_seen,
    "R33 W17" forked_child_is_not_written,
    "R30" secret_memory_is_efault,
    "R30" special_mappings_are_efault,
    "R30" stack_and_data,
];

fn contents(knem: &Knem, region: u64, length: usize) -> Vec<u8> {
    let local = Mapping::new(length);
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    local.bytes().to_vec()
}

fn untouched_memory_follows_its_owner() {
    let (knem, mut memory) = (Knem::open(), Mapping::new(4 * PAGE));
    // Pages that were at most read are the zero page, which all processes share.
    assert_eq!(memory.bytes()[PAGE], 0);
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(contents(&knem, region, 4 * PAGE), [0; 4 * PAGE]);
    memory.bytes_mut().fill(9);
    assert!(contents(&knem, region, 4 * PAGE) == [9; 4 * PAGE], "what the owner has written since");
}

/// Returns pages of zeros that were only read, and pages of a private mapping of a file; both read-only.
fn read_only_memory() -> [Mapping; 2] {
    let file = memory_file(PAGE);
    let mapping = Mapping::of_file(file.as_fd(), PAGE, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
    let zeros = Mapping::new(PAGE);
    zeros.protect(0, PAGE, ProtFlags::PROT_READ);
    assert_eq!((zeros.bytes()[0], mapping.bytes()[0]), (0, 0));
    [zeros, mapping]
}

fn read_only_memory_follows_its_owner() {
    need_kernel((5, 19), "a pinned page is copied when its owner writes after its protection was changed");
    for mut memory in read_only_memory() {
        let knem = Knem::open();
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        memory.protect(0, PAGE, both());
        memory.bytes_mut().fill(9);
        assert!(contents(&knem, region, PAGE) == [9; PAGE], "what the owner has written since");
    }
}

fn memory_after_read_only_memory_follows_its_owner() {
    let (knem, mut memory) = (Knem::open(), Mapping::new(8 * PAGE));
    memory.protect(0, 4 * PAGE, ProtFlags::PROT_READ);
    assert!(memory.bytes() == [0; 8 * PAGE]);
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    memory.bytes_mut()[4 * PAGE..].fill(9);
    assert!(contents(&knem, region, 8 * PAGE)[4 * PAGE..] == [9; 4 * PAGE], "what the owner has written since");
}

fn memory_whose_protection_changes_follows_its_owner() {
    need_kernel((5, 19), "a pinned page is copied when its owner writes after its protection was changed");
    let (knem, mut memory) = (Knem::open(), Mapping::holding(&[1; PAGE]));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    memory.protect(0, PAGE, ProtFlags::PROT_READ);
    memory.protect(0, PAGE, both());
    memory.bytes_mut().fill(9);
    assert!(contents(&knem, region, PAGE) == [9; PAGE], "what the owner has written since");
}

fn shared_files_in_memory() {
    let (knem, file) = (Knem::open(), memory_file(8 * PAGE));
    let mut here = Mapping::of_file(file.as_fd(), 8 * PAGE, both(), MapFlags::MAP_SHARED);
    let there = Mapping::of_file(file.as_fd(), 8 * PAGE, ProtFlags::PROT_READ, MapFlags::MAP_SHARED);
    let region = knem.create(&[here.segment()], READ | WRITE, 0).expect("created");
    let data = Mapping::holding(&[3; 8 * PAGE]);
    assert_eq!(knem.write(region, 0, &[data.segment()], 0), Ok(SUCCESS));
    assert!(there.bytes() == [3; 8 * PAGE]);
    here.bytes_mut().fill(4);
    assert!(contents(&knem, region, 8 * PAGE) == [4; 8 * PAGE]);
    // The file is truncated: the pages stay, and nothing crashes.
    nix::unistd::ftruncate(&file, 0).expect("ftruncate");
    assert!(contents(&knem, region, 8 * PAGE) == [4; 8 * PAGE]);
}

/// Creates a file of one page on the disk, if the disk's file system must be notified of writes.
fn disk_file() -> (std::path::PathBuf, std::fs::File) {
    let path = std::path::PathBuf::from(format!("/var/tmp/knem-vm-tests.{}", std::process::id()));
    std::fs::write(&path, [8; PAGE]).expect("a file");
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).expect("opens");
    (path, file)
}

fn private_files_can_be_read() {
    let ((path, file), knem) = (disk_file(), Knem::open());
    let mapping = Mapping::of_file(&file, PAGE, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE);
    let region = knem.create(&[mapping.segment()], READ, 0).expect("created");
    assert!(contents(&knem, region, PAGE) == [8; PAGE]);
    let writable = Mapping::of_file(&file, PAGE, both(), MapFlags::MAP_PRIVATE);
    let region = knem.create(&[writable.segment()], READ | WRITE, 0).expect("created");
    assert_eq!(knem.write(region, 0, &[segment(mapping.address(), 1)], 0), Ok(SUCCESS));
    std::fs::remove_file(path).expect("removed");
}

fn shared_files_on_disk_are_not_kept_pinned() {
    let ((path, file), knem) = (disk_file(), Knem::open());
    let mapping = Mapping::of_file(&file, PAGE, both(), MapFlags::MAP_SHARED);
    let region = knem.create(&[mapping.segment()], READ, 0).expect("created");
    assert!(contents(&knem, region, PAGE) == [8; PAGE]);
    // The file system must be notified of writes, so that such memory is pinned only while it is copied.
    let writable = knem.create(&[mapping.segment()], READ | WRITE, 0).expect("created");
    assert_eq!(knem.write(writable, 0, &[segment(mapping.address() + 1, 1)], 0), Ok(SUCCESS));
    let data = Mapping::holding(&[9; PAGE]);
    assert_eq!(knem.write(writable, 0, &[data.segment()], 0), Ok(SUCCESS));
    assert!(mapping.bytes() == [9; PAGE] && contents(&knem, region, PAGE) == [9; PAGE]);
    nix::unistd::fsync(&file).expect("fsync");
    assert!(std::fs::read(&path).expect("read") == [9; PAGE]);
    // It may also be the local side, even of a request that outlives its call.
    let slots = crate::slots::Slots::map(&knem, PAGE).expect("mapped");
    let source = knem.create(&[data.segment()], READ, 0).expect("created");
    for flags in [0, knem_core::uapi::FLAG_PINLOCAL, crate::slots::THREAD] {
        slots.set(0, crate::slots::PENDING);
        let request = crate::device::Inline { cookie: source, segments: &[mapping.segment()], flags, ..Default::default() };
        let answer = knem.inline_at(request, 0).expect("accepted");
        if flags == crate::slots::THREAD {
            assert_eq!(slots.wait(0), crate::slots::DONE);
        } else {
            assert_eq!(answer, SUCCESS);
        }
    }
    std::fs::remove_file(path).expect("removed");
}

fn huge_pages_of_their_own() {
    const HUGE: usize = 2 << 20;
    let pool = "/proc/sys/vm/nr_hugepages";
    if let Err(error) = std::fs::write(pool, "4") {
        crate::skip(format!("no pool of huge pages can be made: {error}"));
    }
    let file = nix::sys::memfd::memfd_create(c"knem-huge", nix::sys::memfd::MFdFlags::MFD_HUGETLB).expect("memfd");
    nix::unistd::ftruncate(&file, 4 << 20).expect("ftruncate");
    {
        let (knem, mut memory) = (Knem::open(), Mapping::of_file(&file, 2 * HUGE, both(), MapFlags::MAP_SHARED));
        memory.bytes_mut().fill(1);
        let region = knem.create(&[memory.part(4096 + 7, HUGE)], READ | WRITE, 0).expect("created");
        memory.bytes_mut().fill(2);
        assert!(contents(&knem, region, HUGE).iter().all(|byte| *byte == 2));
        let data = Mapping::holding(&vec![5; HUGE]);
        assert_eq!(knem.write(region, 0, &[data.segment()], 0), Ok(SUCCESS));
        let (before, rest) = memory.bytes().split_at(4096 + 7);
        let (inside, after) = rest.split_at(HUGE);
        assert!(before.iter().chain(after).all(|byte| *byte == 2) && inside.iter().all(|byte| *byte == 5));
    }
    drop(file);
    std::fs::write(pool, "0").expect("the pool goes");
}

fn transparent_huge_pages() {
    const LENGTH: usize = 16 << 20;
    let (knem, mut memory) = (Knem::open(), Mapping::new(LENGTH));
    if !memory.advise(MmapAdvise::MADV_HUGEPAGE) {
        crate::skip("this kernel has no transparent huge pages");
    }
    crate::random::Random::new(1).fill(memory.bytes_mut());
    assert!(huge_kibibytes(&memory) > 0, "the kernel gave no huge page");
    for (offset, length) in [(0, LENGTH), (1, LENGTH - 1), ((2 << 20) - 1, (2 << 20) + 2), (4095, 1)] {
        let region = knem.create(&[memory.part(offset, length)], READ, 0).expect("created");
        assert!(contents(&knem, region, length) == memory.bytes()[offset..offset + length], "{length} at {offset}");
        assert_eq!(knem.destroy(region), Ok(()));
    }
    // The huge pages are split while they are pinned: the first page of each is unmapped.
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let before = memory.bytes().to_vec();
    memory.protect(PAGE, PAGE, ProtFlags::PROT_READ);
    assert!(contents(&knem, region, LENGTH) == before);
}

fn private_mapping_of_huge_pages_can_be_read() {
    const LENGTH: usize = 8 << 20;
    const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    let before = std::fs::read_to_string(SETTING).unwrap_or_default();
    if let Err(error) = std::fs::write(SETTING, "force") {
        crate::skip(format!("files in memory cannot have huge pages: {error}"));
    }
    let file = memory_file(LENGTH);
    let mut shared = Mapping::of_file(&file, LENGTH, both(), MapFlags::MAP_SHARED);
    shared.bytes_mut().fill(6);
    let private = [ProtFlags::PROT_READ, both()]
        .map(|protection| Mapping::of_file(&file, LENGTH, protection, MapFlags::MAP_PRIVATE));
    let chosen = before.split(['[', ']']).nth(1).unwrap_or("never");
    std::fs::write(SETTING, chosen).expect("the setting is restored");
    // The mapping has huge pages of the file, which the kernel must split before it copies.
    for memory in private {
        let knem = Knem::open();
        assert!(memory.bytes().iter().all(|byte| *byte == 6));
        let region = knem.create(&[memory.part(4096 + 7, LENGTH / 2)], READ, 0).expect("created");
        assert!(contents(&knem, region, LENGTH / 2).iter().all(|byte| *byte == 6));
    }
}

/// Returns how much of a mapping consists of huge pages now.
fn huge_kibibytes(memory: &Mapping) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
    let start = format!("{:x}-", memory.address());
    let lines = maps.lines().skip_while(|line| !line.starts_with(&start));
    let line = lines.into_iter().find_map(|line| line.strip_prefix("AnonHugePages:")).expect("the mapping is listed");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn forking_owner_is_still_seen() {
    for protection in [READ, READ | WRITE] {
        let (knem, mut memory) = (Knem::open(), Mapping::holding(&[1; 4 * PAGE]));
        let region = knem.create(&[memory.segment()], protection, 0).expect("created");
        let (wait, go) = nix::unistd::pipe().expect("pipe");
        let child = Child::start(|| {
            nix::unistd::read(&wait, &mut [0]).expect("a signal");
            assert!(memory.bytes() == [1; 4 * PAGE], "the child has its own copy");
        });
        memory.bytes_mut().fill(2);
        assert!(contents(&knem, region, 4 * PAGE) == [2; 4 * PAGE], "the parent's writes after the fork");
        nix::unistd::write(&go, b"!").expect("written");
        child.succeeds();
    }
}

fn forked_child_is_not_written() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 4 * PAGE]));
    let region = knem.create(&[memory.segment()], WRITE, 0).expect("created");
    let (wait, go) = nix::unistd::pipe().expect("pipe");
    let child = Child::start(|| {
        nix::unistd::read(&wait, &mut [0]).expect("a signal");
        assert!(memory.bytes() == [1; 4 * PAGE], "the region is the parent's");
    });
    let data = Mapping::holding(&[2; 4 * PAGE]);
    assert_eq!(knem.write(region, 0, &[data.segment()], 0), Ok(SUCCESS));
    assert!(memory.bytes() == [2; 4 * PAGE]);
    nix::unistd::write(&go, b"!").expect("written");
    child.succeeds();
}

fn secret_memory_is_efault() {
    // SAFETY: The call only creates a file descriptor and accesses no memory.
    let number: c_long = unsafe { libc::syscall(libc::SYS_memfd_secret, 0) };
    let number = Errno::result(number).unwrap_or_else(|errno| crate::skip(format!("no secret memory here: {errno}")));
    // SAFETY: The descriptor was created just now, and nothing else owns it.
    let file = unsafe { OwnedFd::from_raw_fd(i32::try_from(number).expect("a descriptor")) };
    nix::unistd::ftruncate(&file, PAGE as i64).expect("ftruncate");
    let mut memory = Mapping::of_file(&file, PAGE, both(), MapFlags::MAP_SHARED);
    memory.bytes_mut().fill(1);
    assert_eq!(Knem::open().create(&[memory.segment()], READ, 0), Err(Errno::EFAULT));
}

fn special_mappings_are_efault() {
    // Pages of a hypervisor's clock: VM_IO and VM_PFNMAP on every kernel. ([vvar] is neither since 7.3, and can be
    // pinned.)
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let Some(line) = maps.lines().find(|line| line.ends_with("[vvar_vclock]")) else {
        crate::skip("no clock's pages are mapped");
    };
    let base = u64::from_str_radix(line.split('-').next().expect("an address"), 16).expect("an address");
    let knem = Knem::open();
    assert_eq!(knem.create(&[segment(base, 64)], READ, 0), Err(Errno::EFAULT));
}

fn stack_and_data() {
    static DATA: [u8; 5] = *b"fixed";
    let stack = *b"stack";
    let knem = Knem::open();
    for (place, expected) in [(stack.as_ptr(), b"stack"), (DATA.as_ptr(), b"fixed")] {
        let region = knem.create(&[segment(place.expose_provenance() as u64, 5)], READ, 0).expect("created");
        assert_eq!(contents(&knem, region, 5), expected);
    }
}
