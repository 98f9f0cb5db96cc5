// SPDX-License-Identifier: CECILL-B
//! Bad addresses, lengths and counts: each is refused with its errno and leaves nothing behind.

use knem_core::uapi::{self, CmdCreateRegion, CmdInlineCopy, ParamIovec};
use nix::errno::Errno;
use nix::sys::mman::ProtFlags;

use crate::counters::{
    counts, nothing_is_pinned, BAD_ARGUMENT, NO_MEMORY, NO_PIN, PINNED, PROCESSED, SUBMITTED, USER_COPY,
};
use crate::device::{segment, Inline, Knem, COMMANDS, FAILED, READ, SUCCESS, WRITE};
use crate::memory::{hole, Mapping, PAGE};

crate::trials![
    "2.7" unreadable_argument_is_efault,
    "2.7" argument_at_the_edge_of_a_page,
    "R3 W2" undelivered_cookie_leaves_no_region,
    "R3 W2" undelivered_status_is_efault,
    "2.7" unreadable_list_is_efault,
    "2.3" unmapped_region_is_efault,
    "R35" half_mapped_region_is_efault,
    "R1 W3" foreign_segments_are_efault,
    "R1 W3" overflowing_total_is_einval,
    "R9" absurd_counts_are_enomem,
    "2.3" writable_region_needs_writable_memory,
    "6.1" bad_local_memory_fails_the_copy,
    "6.1" bad_pinned_memory_is_efault,
    "6.1" later_bad_memory_fails_the_copy,
    "6.1" partial_copy_stops_at_the_fault,
    "R1 W3" foreign_local_segments_are_efault,
    "5.1" large_lists_are_taken,
];

const KERNEL: u64 = 0xffff_8880_0000_0000;
/// First address after user memory, with four and with five levels of page tables; on arm64 with 48 and with 52 bits.
const AFTER_USER: [u64; 2] =
    if cfg!(target_arch = "aarch64") { [1 << 48, 1 << 52] } else { [0x7fff_ffff_f000, 0x00ff_ffff_ffff_f000] };

fn unreadable_argument_is_efault() {
    let knem = Knem::open();
    counts(&[], || {
        for command in COMMANDS {
            for address in [0, 1, hole(), KERNEL, u64::MAX, u64::MAX - 7, AFTER_USER[0], AFTER_USER[1]] {
                assert_eq!(knem.command_at(command, address), Err(Errno::EFAULT), "{command:#x} at {address:#x}");
            }
        }
    });
}

fn argument_at_the_edge_of_a_page() {
    let (knem, (_between, inside)) = (Knem::open(), Mapping::between_holes(PAGE));
    let end = inside + PAGE as u64;
    for command in COMMANDS {
        // One byte too many, at either end. Alignment does not matter.
        let size = u64::from((command >> 16) & 0x1fff);
        assert_eq!(knem.command_at(command, end - size + 1), Err(Errno::EFAULT), "{command:#x}");
        assert_eq!(knem.command_at(command, inside - 1), Err(Errno::EFAULT), "{command:#x}");
    }
    assert_eq!(knem.command_at(uapi::CMD_GET_INFO, end - 16), Ok(()));
    // Cookie 0 can be read there, and is refused.
    assert_eq!(knem.command_at(uapi::CMD_DESTROY_REGION, end - 8), Err(Errno::EINVAL));
}

/// Maps a structure in memory that cannot be written.
fn read_only<T: Copy>(value: T) -> Mapping {
    let mapping = Mapping::new(PAGE);
    // SAFETY: The start of a page is aligned for every structure, and a page is large enough for it.
    unsafe { (mapping.address() as usize as *mut T).write(value) };
    mapping.protect(0, PAGE, ProtFlags::PROT_READ);
    mapping
}

fn list(segments: &[ParamIovec]) -> (u64, u32) {
    (segments.as_ptr().expose_provenance() as u64, u32::try_from(segments.len()).expect("a count"))
}

fn undelivered_cookie_leaves_no_region() {
    nothing_is_pinned();
    let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 10 * PAGE]));
    let segments = [memory.segment()];
    let (iovec_array, iovec_nr) = list(&segments);
    let argument = read_only(CmdCreateRegion { iovec_array, iovec_nr, protection: READ, ..Default::default() });
    for _ in 0..100 {
        assert_eq!(knem.command_at(uapi::CMD_CREATE_REGION, argument.address()), Err(Errno::EFAULT));
    }
    nothing_is_pinned();
    let info = read_only(uapi::CmdInfo::default());
    assert_eq!(knem.command_at(uapi::CMD_GET_INFO, info.address()), Err(Errno::EFAULT));
    // The driver writes nothing back to this command's argument.
    let region = knem.create(&segments, READ, 0).expect("created");
    assert_eq!(knem.command_at(uapi::CMD_DESTROY_REGION, read_only(region).address()), Ok(()));
}

fn undelivered_status_is_efault() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"data"), Mapping::new(4));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let segments = [local.segment()];
    let (local_iovec_array, local_iovec_nr) = list(&segments);
    let argument = CmdInlineCopy { local_iovec_array, local_iovec_nr, remote_cookie: region, ..Default::default() };
    let argument = read_only(argument);
    assert_eq!(knem.command_at(uapi::CMD_INLINE_COPY, argument.address()), Err(Errno::EFAULT));
    assert_eq!(knem.read(region, 0, &segments, 0), Ok(SUCCESS), "the region is as it was");
}

fn unreadable_list_is_efault() {
    let (knem, memory) = (Knem::open(), Mapping::new(64));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let (_between, inside) = Mapping::between_holes(PAGE);
    let cut = inside + PAGE as u64 - 24;
    for (iovec_array, iovec_nr) in [(0, 1), (hole(), 1), (KERNEL, 1), (u64::MAX - 7, 1), (cut, 2), (hole(), 1000)] {
        let mut create = CmdCreateRegion { iovec_array, iovec_nr, protection: READ, ..Default::default() };
        assert_eq!(knem.command(uapi::CMD_CREATE_REGION, &mut create), Err(Errno::EFAULT), "{iovec_array:#x}");
        for write in [0, 1] {
            let (local_iovec_array, local_iovec_nr, remote_cookie) = (iovec_array, iovec_nr, region);
            let mut copy =
                CmdInlineCopy { local_iovec_array, local_iovec_nr, write, remote_cookie, ..Default::default() };
            counts(&[(SUBMITTED, 1), (BAD_ARGUMENT, 1)], || {
                assert_eq!(knem.command(uapi::CMD_INLINE_COPY, &mut copy), Err(Errno::EFAULT), "{iovec_array:#x}");
            });
        }
    }
}

fn unmapped_region_is_efault() {
    let knem = Knem::open();
    for protection in [0, READ, WRITE, READ | WRITE] {
        for base in [0, 4096, hole(), hole() + 1] {
            assert_eq!(knem.create(&[segment(base, 1)], protection, 0), Err(Errno::EFAULT), "{base:#x}");
            // The length is below a small machine's ceiling, which would be checked first.
            assert_eq!(knem.create(&[segment(base, 1 << 28)], protection, 0), Err(Errno::EFAULT), "{base:#x}");
        }
    }
    let forbidden = Mapping::new(PAGE);
    forbidden.protect(0, PAGE, ProtFlags::PROT_NONE);
    assert_eq!(knem.create(&[forbidden.segment()], READ, 0), Err(Errno::EFAULT));
}

fn half_mapped_region_is_efault() {
    nothing_is_pinned();
    let (knem, good) = (Knem::open(), Mapping::holding(&[1; 100 * PAGE]));
    let (_between, inside) = Mapping::between_holes(100 * PAGE);
    for length in [100 * PAGE + 1, 101 * PAGE, 102 * PAGE] {
        let half = segment(inside, length as u64);
        assert_eq!(knem.create(&[half], READ | WRITE, 0), Err(Errno::EFAULT));
        assert_eq!(knem.create(&[good.segment(), half], READ, 0), Err(Errno::EFAULT));
        assert_eq!(knem.create(&[good.segment(), good.segment(), segment(hole(), 1)], READ, 0), Err(Errno::EFAULT));
    }
    nothing_is_pinned();
}

/// Whether this machine may have five levels of page tables, so that only the second of [`AFTER_USER`] is outside of
/// user memory.
fn has_five_levels() -> bool {
    if cfg!(target_arch = "aarch64") {
        return true;
    }
    let text = std::fs::read_to_string("/proc/cpuinfo").expect("/proc/cpuinfo");
    text.lines().any(|line| line.starts_with("flags") && line.split_whitespace().any(|flag| flag == "la57"))
}

fn foreign_segments() -> Vec<ParamIovec> {
    let mut all = vec![
        segment(0x1000, u64::MAX),
        segment(0x1000, u64::MAX - 0xfff),
        segment(u64::MAX, 1),
        segment(u64::MAX, 2),
        segment(u64::MAX - 4095, 4096),
        segment(0, u64::MAX),
        segment(1 << 63, 1 << 63),
        segment(KERNEL, 4096),
        segment(0xffff_ffff_ff60_0000, 4096),
    ];
    for base in &AFTER_USER[usize::from(has_five_levels())..] {
        all.extend([segment(*base, 1), segment(base - 1, 2), segment(base - 4096, 4097)]);
    }
    all
}

fn foreign_segments_are_efault() {
    let (knem, memory) = (Knem::open(), Mapping::new(64));
    for bad in foreign_segments() {
        for protection in [0, READ, READ | WRITE] {
            assert_eq!(knem.create(&[bad], protection, 0), Err(Errno::EFAULT), "{bad:x?}");
            assert_eq!(knem.create(&[memory.segment(), bad], protection, 0), Err(Errno::EFAULT), "{bad:x?}");
        }
    }
    nothing_is_pinned();
}

fn overflowing_total_is_einval() {
    let knem = Knem::open();
    // Each segment could be in user memory, but the sum of their lengths overflows.
    let length = highest_mapping() - 4096;
    let count = usize::try_from((1 << 63) / length + 1).expect("small");
    if count > 1 << 20 {
        crate::skip("user memory ends so low that no list of segments adds up to 63 bits");
    }
    let segments = vec![segment(4096, length); count];
    assert_eq!(knem.create(&segments, READ, 0), Err(Errno::EINVAL));
}

/// Returns the end of this process's highest mapping, which is not far below the end of user memory, except for the
/// kernel's own page for old programs at the top.
fn highest_mapping() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("every process has maps");
    let ends = maps.lines().filter(|line| !line.ends_with("[vsyscall]"));
    let ends = ends.filter_map(|line| u64::from_str_radix(line.split(['-', ' ']).nth(1)?, 16).ok());
    ends.max().expect("something is mapped")
}

fn absurd_counts_are_enomem() {
    let (knem, memory) = (Knem::open(), Mapping::new(64));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    for count in [u32::MAX, u32::MAX - 1, 1 << 31, 1 << 28, 1 << 26] {
        for address in [0, hole(), memory.address()] {
            let mut create =
                CmdCreateRegion { iovec_array: address, iovec_nr: count, protection: READ, ..Default::default() };
            assert_eq!(knem.command(uapi::CMD_CREATE_REGION, &mut create), Err(Errno::ENOMEM), "{count:#x}");
            let mut copy = CmdInlineCopy {
                local_iovec_array: address,
                local_iovec_nr: count,
                remote_cookie: region,
                ..Default::default()
            };
            counts(&[(SUBMITTED, 1), (NO_MEMORY, 1)], || {
                assert_eq!(knem.command(uapi::CMD_INLINE_COPY, &mut copy), Err(Errno::ENOMEM), "{count:#x}");
            });
        }
    }
}

fn writable_region_needs_writable_memory() {
    let (knem, memory, local) = (Knem::open(), Mapping::holding(b"data"), Mapping::new(4));
    memory.protect(0, 4, ProtFlags::PROT_READ);
    assert_eq!(knem.create(&[memory.segment()], WRITE, 0), Err(Errno::EFAULT));
    assert_eq!(knem.create(&[memory.segment()], READ | WRITE, 0), Err(Errno::EFAULT));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"data");
}

fn bad_local_memory_fails_the_copy() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"data"));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let read_only = Mapping::holding(b"same");
    read_only.protect(0, 4, ProtFlags::PROT_READ);
    for local in [segment(hole(), 4), segment(0, 4), read_only.segment()] {
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (USER_COPY, 1)], || {
            assert_eq!(knem.read(region, 0, &[local], 0), Ok(FAILED));
        });
    }
    assert_eq!(read_only.bytes(), b"same");
    // Memory that the copy does not reach is not read.
    let local = Mapping::new(4);
    assert_eq!(knem.read(region, 0, &[local.segment(), segment(hole(), 4)], 0), Ok(SUCCESS));
    assert_eq!(local.bytes(), b"data");
}

fn bad_pinned_memory_is_efault() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"data"));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let read_only = Mapping::holding(b"same");
    read_only.protect(0, 4, ProtFlags::PROT_READ);
    let good = Mapping::new(4);
    let rejected = [(SUBMITTED, 1), (PROCESSED, 1), (NO_PIN, 1)];
    for local in [&[segment(hole(), 4)][..], &[read_only.segment()], &[segment(hole(), 4), good.segment()]] {
        counts(&rejected, || {
            assert_eq!(knem.read(region, 0, local, uapi::FLAG_PINLOCAL), Err(Errno::EFAULT));
        });
    }
    // Memory that the copy does not reach is not pinned.
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1)], || {
        let local = [good.segment(), segment(hole(), 4)];
        assert_eq!(knem.read(region, 0, &local, uapi::FLAG_PINLOCAL), Ok(SUCCESS));
    });
    for flags in [0, uapi::FLAG_PINLOCAL] {
        counts(&rejected, || assert_eq!(knem.write(region, 0, &[segment(hole(), 4)], flags), Err(Errno::EFAULT)));
        // Memory that is only read may be read-only.
        counts(&[(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1)], || {
            assert_eq!(knem.write(region, 0, &[read_only.segment()], flags), Ok(SUCCESS));
        });
    }
    assert_eq!((memory.bytes(), read_only.bytes(), good.bytes()), (&b"same"[..], &b"same"[..], &b"data"[..]));
    nothing_is_pinned_but(1);
}

fn later_bad_memory_fails_the_copy() {
    const WINDOW: usize = 2 << 20;
    let (knem, memory) = (Knem::open(), Mapping::holding(&vec![7; 2 * WINDOW]));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let good = Mapping::holding(&vec![8; WINDOW]);
    let local = [good.segment(), segment(hole(), WINDOW as u64)];
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1), (USER_COPY, 1)], || {
        assert_eq!(knem.write(region, 0, &local, uapi::FLAG_PINLOCAL), Ok(FAILED));
    });
    assert!(memory.bytes()[..WINDOW].iter().all(|byte| *byte == 8), "what is before it was copied");
    assert!(memory.bytes()[WINDOW..].iter().all(|byte| *byte == 7));
    nothing_is_pinned_but(1024);
}

/// Waits until only the region of the test itself is pinned.
fn nothing_is_pinned_but(pages: i64) {
    crate::counters::pinned_pages_become(pages);
}

fn partial_copy_stops_at_the_fault() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[7; 4 * PAGE]));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let (local, inside) = Mapping::between_holes(2 * PAGE);
    assert_eq!(knem.read(region, 0, &[segment(inside, 4 * PAGE as u64)], 0), Ok(FAILED));
    // The contents are unspecified, but must be zeros or copied bytes.
    let bytes = &local.bytes()[PAGE..3 * PAGE];
    assert!(bytes.iter().all(|byte| *byte == 0 || *byte == 7));
    let bounded = segment(inside, 4 * PAGE as u64);
    let within = Inline { cookie: region, segments: &[bounded], bound: Some(2 * PAGE as u64), ..Inline::default() };
    assert_eq!(knem.inline(within), Ok(SUCCESS), "a bound keeps it from the fault");
    assert!(local.bytes()[PAGE..3 * PAGE].iter().all(|byte| *byte == 7));
}

fn foreign_local_segments_are_efault() {
    let (knem, memory) = (Knem::open(), Mapping::holding(b"data"));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    for bad in foreign_segments() {
        for flags in [0, uapi::FLAG_PINLOCAL] {
            assert_eq!(knem.read(region, 0, &[bad], flags), Err(Errno::EFAULT), "{bad:x?}");
            assert_eq!(knem.write(region, 0, &[bad], flags), Err(Errno::EFAULT), "{bad:x?}");
        }
    }
    assert_eq!(memory.bytes(), b"data");
}

fn large_lists_are_taken() {
    let (knem, memory) = (Knem::open(), Mapping::holding(&[5; PAGE]));
    // More segments than the original driver accepted.
    let segments = vec![memory.part(9, 1); 100_000];
    let region = knem.create(&segments, READ, 0).expect("created");
    let local = Mapping::new(100_001);
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    assert!(local.bytes()[..100_000].iter().all(|byte| *byte == 5));
    assert_eq!(local.bytes()[100_000], 0);
}
