// SPDX-License-Identifier: CECILL-B
//! The text of the device, and clearing its counters.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{kill, Signal};
use nix::sys::uio::pread;
use nix::unistd::{read, write};

use crate::children::{become_user, in_child, with_open_node, Child, STRANGER};
use crate::counters::{counters, counts, text, PINNED, PROCESSED, SUBMITTED};
use crate::device::{Knem, READ, SUCCESS, WRITE};
use crate::memory::Mapping;
use crate::skip;

crate::trials![
    "8.1" text_has_the_known_lines,
    "8.1 R43" text_can_be_read_in_pieces,
    "8.1" text_is_made_at_each_read,
    "8.3" bad_buffers_are_efault,
    "2.3" creating_and_destroying_is_not_counted,
    "6.2" copies_are_counted,
    "8" rows_of_regions_are_read_piece_by_piece,
    "8" reader_of_many_regions_can_be_killed,
    "8" contexts_count_their_regions,
    "8.5 R44" strangers_cannot_clear,
    "8.5 R44" files_in_use_cannot_clear,
    "8.5 R44" refused_mapping_is_no_use,
    "8.5 R44" privileged_writers_clear,
];

const LABELS: [&str; 13] = [
    " Requests submitted                           : ",
    " Requests processed (total)                   : ",
    "          processed (using DMA)               : ",
    "          processed (offloaded to thread)     : ",
    "          processed (with pinned local pages) : ",
    " Requests rejected (invalid flags)            : ",
    "          rejected (not enough memory)        : ",
    "          rejected (invalid ioctl argument)   : ",
    "          rejected (unexisting region cookie) : ",
    "          rejected (failed to pin local pages): ",
    " Requests failed during memcpy from/to user   : ",
    "          failed during DMA copy              : ",
    " DMA copy cleanup timeout                     : ",
];

fn text_has_the_known_lines() {
    let text = text();
    assert!(text.ends_with('\n') && !text.contains('\0'), "{text:?}");
    let lines: Vec<&str> = text.lines().collect();
    let version = std::fs::read_to_string("/sys/module/knem/version").expect("the module has a version");
    assert_eq!(lines[0], format!("knem {}", version.trim()));
    assert_eq!(lines[1], " Driver ABI=0xd");
    let info = Knem::open().info();
    let flags = format!(" Flags: forcing {:#x}, ignoring {:#x}", info.forced_flags, info.ignored_flags);
    assert_eq!(lines[2], flags);
    let engine = lines[3].strip_prefix(" DMAEngine: ").expect("the engines' line");
    let known = ["NoKernelSupport", "KernelSupported Disabled", "KernelSupported Enabled NoChannelAvailable"];
    let chunk = engine.strip_prefix("KernelSupported Enabled ChansAvail ChunkMin=").and_then(|rest| rest.strip_suffix('B'));
    assert!(known.contains(&engine) || chunk.is_some_and(|bytes| bytes.parse::<u64>().is_ok()), "{engine}");
    assert_eq!(chunk.is_some(), info.features & knem_core::uapi::FEATURE_DMA != 0, "text and feature bit agree");
    let debug = [" Debug: NotBuilt", " Debug: BuiltIn Disabled", " Debug: BuiltIn Enabled"];
    assert!(debug.contains(&lines[4]), "{}", lines[4]);
    assert!(lines.len() >= 5 + LABELS.len(), "{text}");
    for (line, label) in lines[5..].iter().zip(LABELS) {
        let value = line.strip_prefix(label).unwrap_or_else(|| panic!("{line:?} is not {label:?}"));
        assert!(value.parse::<i64>().is_ok(), "{line:?}");
    }
}

fn text_can_be_read_in_pieces() {
    let (whole, knem) = (text(), Knem::open_as(OFlag::O_RDONLY).expect("opens"));
    let mut pieces = Vec::new();
    for size in (1..).map(|n| n * 7) {
        let mut piece = vec![0; size];
        let length = read(knem.fd(), &mut piece).expect("read");
        if length == 0 {
            break;
        }
        pieces.extend_from_slice(&piece[..length]);
    }
    assert_eq!(String::from_utf8_lossy(&pieces), whole);
    let end = i64::try_from(whole.len()).expect("a short text");
    for (offset, expected) in [(0, whole.len().min(100)), (end - 3, 3), (end, 0), (end + 1, 0), (i64::MAX - 4096, 0)] {
        let mut piece = [0; 100];
        assert_eq!(pread(knem.fd(), &mut piece, offset), Ok(expected), "at {offset}");
        let start = usize::try_from(offset).expect("an offset").min(whole.len());
        assert_eq!(piece[..expected], whole.as_bytes()[start..start + expected]);
    }
    assert_eq!(pread(knem.fd(), &mut [], 0), Ok(0));
}

fn text_is_made_at_each_read() {
    let knem = Knem::open_as(OFlag::O_RDONLY).expect("opens");
    let submitted = |knem: &Knem| {
        let mut bytes = vec![0; 4096];
        let length = pread(knem.fd(), &mut bytes, 0).expect("pread");
        String::from_utf8_lossy(&bytes[..length]).lines().nth(5).map(str::to_owned)
    };
    let before = submitted(&knem);
    let _ = Knem::open().read(0, 0, &[], 0);
    assert_ne!(submitted(&knem), before);
}

fn bad_buffers_are_efault() {
    let knem = Knem::open_as(OFlag::O_RDONLY).expect("opens");
    // SAFETY: Nothing is mapped at the address, so that no memory can be overwritten; the kernel checks it.
    let result = unsafe {
        nix::libc::read(std::os::fd::AsRawFd::as_raw_fd(&knem.fd()), crate::memory::hole() as usize as *mut _, 64)
    };
    assert_eq!(Errno::result(result), Err(Errno::EFAULT));
}

fn creating_and_destroying_is_not_counted() {
    let (knem, memory) = (Knem::open(), Mapping::new(8192));
    counts(&[], || {
        let region = knem.create(&[memory.segment()], READ, 0).expect("created");
        assert_eq!(knem.destroy(region), Ok(()));
        assert_eq!(knem.destroy(region), Err(Errno::EINVAL));
    });
}

fn copies_are_counted() {
    let (knem, memory, local) = (Knem::open(), Mapping::new(8192), Mapping::new(8192));
    let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    let local = &[local.segment()];
    counts(&[(SUBMITTED, 1), (PROCESSED, 1)], || assert_eq!(knem.read(region, 0, local, 0), Ok(SUCCESS)));
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1)], || {
        assert_eq!(knem.read(region, 0, local, knem_core::uapi::FLAG_PINLOCAL), Ok(SUCCESS));
    });
    // pinlocalread is 1: memory of the caller that is read is pinned.
    counts(&[(SUBMITTED, 1), (PROCESSED, 1), (PINNED, 1)], || {
        assert_eq!(knem.write(region, 0, local, 0), Ok(SUCCESS));
    });
    counts(&[(SUBMITTED, 1), (PROCESSED, 1)], || {
        assert_eq!(knem.copy((region, 0), (region, 4096), None, 0), Ok(SUCCESS));
    });
}

fn strangers_cannot_clear() {
    let _ = Knem::open().read(0, 0, &[], 0);
    let before = counters();
    with_open_node(|| {
        in_child(|| {
            become_user(STRANGER);
            for mode in [OFlag::O_WRONLY, OFlag::O_RDWR] {
                let knem = Knem::open_as(mode).expect("opens");
                assert_eq!(write(knem.fd(), b"1"), Err(Errno::EPERM));
            }
        });
    });
    assert_eq!(counters(), before);
}

fn files_in_use_cannot_clear() {
    crate::machine::need_root();
    let knem = Knem::open();
    knem.create(&[], READ, 0).expect("created");
    assert_eq!(write(knem.fd(), b"1"), Err(Errno::EBUSY));
}

fn refused_mapping_is_no_use() {
    crate::machine::need_root();
    let knem = Knem::open();
    let most: usize = crate::parameters::get("max_slots").and_then(|most| most.parse().ok()).unwrap_or(1 << 24);
    assert_eq!(crate::slots::Slots::map(&knem, most + 1).map(drop), Err(Errno::ENOMEM));
    assert_eq!(write(knem.fd(), b"1"), Ok(1));
}

fn privileged_writers_clear() {
    crate::machine::need_root();
    let _ = Knem::open().read(0, 0, &[], 0);
    assert!(counters()[SUBMITTED] > 0);
    // As `echo 1 > /dev/knem` does.
    let knem = Knem::open_as(OFlag::O_WRONLY | OFlag::O_TRUNC).expect("opens");
    assert_eq!(write(knem.fd(), b"1\n"), Ok(2));
    assert!(counters().values().all(|value| *value == 0), "{:?}", counters());
}

/// Returns the rows of a file in /proc/driver/knem.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().skip(1).map(|line| line.split(' ').collect())
}

fn proc_file(name: &str) -> File {
    let path = format!("/proc/driver/knem/{name}");
    File::open(&path).unwrap_or_else(|error| skip(format!("{path}: {error}")))
}

fn rows_of_regions_are_read_piece_by_piece() {
    const COUNT: usize = 5_000;
    let knem = Knem::open();
    let regions: Vec<u64> = (0..COUNT).map(|_| knem.create(&[], READ, 0).expect("created")).collect();
    let (mut file, mut text, mut buffer) = (proc_file("regions"), Vec::new(), vec![0; 1 << 20]);
    loop {
        let length = file.read(&mut buffer).expect("readable");
        if length == 0 {
            break;
        }
        // A call returns at most the kernel's buffer, however much there is.
        assert!(length <= 1 << 16, "{length} bytes at once");
        text.extend_from_slice(&buffer[..length]);
        // Regions that are created meanwhile are not listed.
        for _ in 0..20 {
            knem.create(&[], READ, 0).expect("created");
        }
    }
    let text = String::from_utf8(text).expect("text");
    // The previous test may have left a context of a process that is about to exit.
    let last = rows(&text).last().expect("rows")[0].to_owned();
    let own: Vec<usize> = rows(&text).filter(|row| row[0] == last).map(|row| row[1].parse().expect("a number")).collect();
    assert!(own.len() < COUNT + 200, "{}", own.len());
    assert!(own.iter().copied().take(COUNT).eq(0..COUNT), "each once, in the order of their creation");
    // The text is the same from any offset.
    let part = &mut buffer[..1000];
    let offset = text.len() / 2;
    let length = pread(proc_file("regions"), part, offset as i64).expect("readable");
    assert!(length > 0 && text.as_bytes()[offset..].starts_with(&part[..length]));
    drop(regions);
}

fn reader_of_many_regions_can_be_killed() {
    let knem = Knem::open();
    for _ in 0..10_000 {
        knem.create(&[], READ, 0).expect("created");
    }
    for name in ["regions", "contexts"] {
        let reader = Child::start(|| loop {
            let mut text = String::new();
            proc_file(name).read_to_string(&mut text).expect("readable");
        });
        std::thread::sleep(Duration::from_millis(50));
        let start = Instant::now();
        kill(reader.id(), Signal::SIGKILL).expect("killed");
        reader.wait();
        assert!(start.elapsed() < Duration::from_secs(1), "{name}: {:?}", start.elapsed());
    }
}

fn contexts_count_their_regions() {
    let (knem, memory) = (Knem::open(), Mapping::new(100));
    let regions: Vec<u64> = (1..=5).map(|n| knem.create(&[memory.part(0, n)], READ, 0).expect("created")).collect();
    let listed = || {
        let mut text = String::new();
        proc_file("contexts").read_to_string(&mut text).expect("readable");
        let row = rows(&text).last().expect("a row");
        (row[3].to_owned(), row[4].to_owned())
    };
    let count = |regions: &str, bytes: &str| (regions.to_owned(), bytes.to_owned());
    assert_eq!(listed(), count("5", "15"));
    assert_eq!(knem.destroy(regions[1]), Ok(()));
    assert_eq!(listed(), count("4", "13"));
    let single = knem.create(&[memory.part(0, 7)], READ, uapi::FLAG_SINGLEUSE).expect("created");
    assert_eq!(listed(), count("5", "20"));
    assert_eq!(knem.read(single, 0, &[], 0), Ok(SUCCESS));
    assert_eq!(listed(), count("4", "13"));
}
