// SPDX-License-Identifier: CECILL-B
//! The detailed statistics, `/proc/driver/knem`: what is counted where, and who sees which rows.

use std::collections::BTreeMap;
use std::fs;

use knem_core::logic::{histogram, statistics};
use knem_core::uapi;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::getpid;

use crate::children::{become_user, in_child, with_open_node, STRANGER};
use crate::device::{Knem, READ, SUCCESS, WRITE};
use crate::loaded::loaded_with;
use crate::memory::Mapping;
use crate::slots::{Asynchronous, DONE, PENDING, THREAD};
use crate::waiting;

crate::trials![
    "R45" copies_are_counted_by_path_size_and_time,
    "R45" every_copy_is_in_one_bucket_of_each_histogram,
    "R45" refusals_are_counted_by_call_errno_and_reason,
    "R45" as_many_refusals_as_errors,
    "R45" clearing_resets_all_of_it,
    "R45" pins_are_shown_now_and_at_their_peak,
    "R43" contexts_and_regions_are_listed,
    "R43" users_see_their_own_only_and_totals,
    "R43" rows_reveal_nothing_about_cookies,
    "R43" many_regions_are_listed_whole,
    "R37" closed_files_have_left_the_lists,
];

const STATISTICS: &str = "/proc/driver/knem/statistics";
const CONTEXTS: &str = "/proc/driver/knem/contexts";
const REGIONS: &str = "/proc/driver/knem/regions";

fn read(path: &str) -> String {
    fs::read_to_string(path).expect("readable by all users")
}

/// Returns the number of every line by the text before it.
fn statistics() -> BTreeMap<String, u64> {
    let text = read(STATISTICS);
    let line = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a number");
        (name.to_owned(), value.parse().expect("a number"))
    };
    text.lines().map(line).collect()
}

/// Returns what `action` adds to the numbers, without those that do not change and without times.
fn added(action: impl FnOnce()) -> BTreeMap<String, u64> {
    let before = statistics();
    action();
    let mut after = statistics();
    after.remove("age_ns");
    after.retain(|name, value| {
        *value -= before.get(name).copied().unwrap_or_default();
        *value != 0
    });
    after
}

fn number(of: &BTreeMap<String, u64>, name: &str) -> u64 {
    of.get(name).copied().unwrap_or_default()
}

/// Returns the sum over a histogram's buckets.
fn total(of: &BTreeMap<String, u64>, histogram: &str) -> u64 {
    of.range(format!("{histogram} ")..)
        .take_while(|(name, _)| name.starts_with(histogram))
        .map(|(_, count)| count)
        .sum()
}

fn rows(path: &str) -> Vec<Vec<String>> {
    read(path).lines().skip(1).map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

fn copies_are_counted_by_path_size_and_time() {
    let (knem, source, target) = (Knem::open(), Mapping::new(5000), Mapping::new(5000));
    let region = knem.create(&[source.segment()], READ, 0).expect("created");
    let other = knem.create(&[target.segment()], WRITE, 0).expect("created");
    let mapped = added(|| assert_eq!(knem.read(region, 0, &[target.segment()], 0), Ok(SUCCESS)));
    assert_eq!(number(&mapped, "path mapped bytes"), 5000);
    assert_eq!(number(&mapped, "path mapped size 4096"), 1, "{mapped:?}");
    assert_eq!(total(&mapped, "path mapped time_ns"), 1);
    assert_eq!(number(&mapped, "submitted"), 1);

    let pinned = added(|| {
        assert_eq!(knem.read(region, 0, &[target.segment()], uapi::FLAG_PINLOCAL), Ok(SUCCESS));
        assert_eq!(knem.copy((region, 0), (other, 0), Some(100), 0), Ok(SUCCESS));
    });
    assert_eq!(number(&pinned, "path pinned bytes"), 5100);
    assert_eq!((number(&pinned, "path pinned size 4096"), number(&pinned, "path pinned size 64")), (1, 1));

    let threaded = added(|| {
        let asynchronous = Asynchronous::new(4, &[7; 3000]);
        assert_eq!(asynchronous.read(1, THREAD), Ok(PENDING.into()));
        assert_eq!(asynchronous.slots.wait(1), DONE);
    });
    assert_eq!(number(&threaded, "path thread bytes"), 3000, "{threaded:?}");
    assert_eq!(number(&threaded, "path thread size 2048"), 1);
    assert!(!threaded.keys().any(|name| name.starts_with("path mapped") || name.starts_with("path pinned")));
}

fn every_copy_is_in_one_bucket_of_each_histogram() {
    let (knem, memory, local) = (Knem::open(), Mapping::new(70_000), Mapping::new(70_000));
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    let sizes: Vec<usize> = (0..17).map(|bits| 1 << bits).chain([0, 3, 4095, 4097, 65_535, 70_000]).collect();
    let counted = added(|| {
        for size in &sizes {
            assert_eq!(knem.read(region, 0, &[local.part(0, *size)], 0), Ok(SUCCESS));
        }
    });
    let mut expected = BTreeMap::new();
    for size in &sizes {
        *expected.entry(histogram::least(histogram::bucket(*size as u64))).or_insert(0u64) += 1;
    }
    for (least, count) in expected {
        assert_eq!(number(&counted, &format!("path mapped size {least}")), count, "{counted:?}");
    }
    assert_eq!(total(&counted, "path mapped size"), sizes.len() as u64);
    assert_eq!(total(&counted, "path mapped time_ns"), sizes.len() as u64);
    assert_eq!(number(&counted, "path mapped bytes"), sizes.iter().sum::<usize>() as u64);
}

/// Provokes errors of every kind that needs no special setup.
fn mistakes(knem: &Knem) -> Vec<(&'static str, &'static str, &'static str)> {
    let memory = Mapping::new(4096);
    let hidden = knem.create(&[memory.segment()], 0, 0).expect("created");
    assert_eq!(knem.read(hidden, 0, &[memory.segment()], 0), Err(Errno::EACCES));
    assert_eq!(knem.read(hidden ^ 1, 0, &[memory.segment()], 0), Err(Errno::EINVAL));
    assert_eq!(knem.copy((0, 0), (0, 0), None, 0), Err(Errno::EINVAL));
    assert_eq!(knem.create(&[memory.part(0, 1)], READ, 0).map(drop), Ok(()));
    assert_eq!(knem.command_at(uapi::CMD_CREATE_REGION, 0), Err(Errno::EFAULT));
    assert_eq!(knem.command_at(0x1234, 0), Err(Errno::ENOSYS));
    let text = Knem::open_as(OFlag::O_RDONLY).expect("opens");
    assert_eq!(text.command_at(uapi::CMD_GET_INFO, 0), Err(Errno::EBADF));
    vec![
        ("INLINE_COPY", "EACCES", "protection"),
        ("INLINE_COPY", "EINVAL", "no_such_cookie"),
        ("COPY", "EINVAL", "no_such_cookie"),
        ("CREATE_REGION", "EFAULT", ""),
        ("unknown", "ENOSYS", "unknown_command"),
        ("GET_INFO", "EBADF", "no_context"),
    ]
}

fn refusals_are_counted_by_call_errno_and_reason() {
    let knem = Knem::open();
    let mut made = Vec::new();
    let counted = added(|| made = mistakes(&knem));
    for (call, errno, reason) in made {
        // The suite's copies use the bounded commands.
        let counts = [call.to_owned(), format!("{call}_BOUNDED")];
        let count: u64 = counts.iter().map(|call| number(&counted, &format!("refused {call} {errno}"))).sum();
        assert_eq!(count, 1, "{call} {errno}: {counted:?}");
        assert!(reason.is_empty() || number(&counted, &format!("reason {reason}")) > 0, "{reason}: {counted:?}");
    }
}

fn as_many_refusals_as_errors() {
    let knem = Knem::open();
    let mut errors = 0;
    let counted = added(|| {
        for _ in 0..10 {
            errors += mistakes(&knem).len() as u64;
        }
    });
    assert_eq!(total(&counted, "refused"), errors, "{counted:?}");
}

fn clearing_resets_all_of_it() {
    let (memory, local) = (Mapping::new(4096), Mapping::new(4096));
    let knem = Knem::open();
    let region = knem.create(&[memory.segment()], READ, 0).expect("created");
    assert_eq!(knem.read(region, 0, &[local.segment()], 0), Ok(SUCCESS));
    mistakes(&knem);
    fs::write(crate::device::node(), "1").expect("root clears");
    let now = statistics();
    assert_eq!(total(&now, "path"), 0, "{now:?}");
    assert_eq!(total(&now, "refused") + total(&now, "reason"), 0, "{now:?}");
    assert_eq!(number(&now, "submitted"), 0);
    // The present state is not cleared.
    assert_eq!((number(&now, "regions"), number(&now, "contexts")), (3, 1), "{now:?}");
    assert!(number(&now, "pinned_bytes") >= 4096);
    assert!(number(&now, "age_ns") < 3_600_000_000_000);
}

fn pins_are_shown_now_and_at_their_peak() {
    loaded_with(&[], || {
        let knem = Knem::open();
        let large = Mapping::new(64 << 20);
        assert_eq!(number(&statistics(), "pinned_bytes"), 0);
        let region = knem.create(&[large.segment()], WRITE, 0).expect("created");
        assert_eq!(number(&statistics(), "pinned_bytes"), 64 << 20);
        assert_eq!(knem.destroy(region), Ok(()));
        let after = statistics();
        assert_eq!((number(&after, "pinned_bytes"), number(&after, "pinned_bytes_peak")), (0, 64 << 20));
    });
}

fn contexts_and_regions_are_listed() {
    let (knem, memory) = (Knem::open(), Mapping::new(3 * 4096));
    knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
    knem.create(&[memory.part(0, 100)], READ, uapi::FLAG_SINGLEUSE | uapi::FLAG_ANY_USER_ACCESS).expect("created");
    let contexts = rows(CONTEXTS);
    let ours: Vec<_> = contexts.iter().filter(|row| row[2] == getpid().to_string()).collect();
    assert_eq!(ours.len(), 1, "{contexts:?}");
    // context uid pid regions bytes requests copied slots
    assert_eq!(ours[0][1], "0");
    assert_eq!(ours[0][3..], ["2", "12388", "0", "0", "0"]);
    let regions: Vec<_> = rows(REGIONS).into_iter().filter(|row| row[0] == ours[0][0]).collect();
    let mut flags: Vec<_> = regions.iter().map(|row| (row[2].as_str(), row[4].as_str(), row[5].as_str())).collect();
    flags.sort_unstable();
    assert_eq!(flags, [("100", "r-", "single_use,any_user"), ("12288", "rw", "-")]);
    for row in &regions {
        assert!((1..=4).contains(&row[3].parse::<u32>().expect("extents")), "{row:?}");
    }
}

fn users_see_their_own_only_and_totals() {
    let knem = Knem::open();
    knem.create(&[Mapping::new(4096).segment()], READ, 0).expect("created");
    with_open_node(|| {
        in_child(|| {
            become_user(STRANGER);
            assert_eq!(rows(CONTEXTS), [[""; 0]; 0]);
            assert_eq!(rows(REGIONS), [[""; 0]; 0]);
            let own = Knem::open();
            own.create(&[], READ, 0).expect("created");
            let contexts = rows(CONTEXTS);
            assert_eq!(contexts.len(), 1, "{contexts:?}");
            assert_eq!(contexts[0][1..4], [STRANGER.to_string(), getpid().to_string(), "1".to_owned()]);
            assert_eq!(rows(REGIONS).len(), 1);
            assert_eq!(number(&statistics(), "contexts"), 2);
        });
    });
    assert_eq!(rows(CONTEXTS).len(), 1);
}

fn rows_reveal_nothing_about_cookies() {
    let knem = Knem::open();
    let cookies: Vec<u64> = (0..20).map(|_| knem.create(&[], READ, 0).expect("created")).collect();
    let text = read(CONTEXTS) + &read(REGIONS) + &read(STATISTICS);
    for cookie in cookies {
        for part in [format!("{cookie:x}"), cookie.to_string(), format!("{:x}", cookie >> 32)] {
            assert!(!text.contains(&part), "{cookie:#x}");
        }
    }
}

fn many_regions_are_listed_whole() {
    let knem = Knem::open();
    for _ in 0..5000 {
        knem.create(&[], READ, 0).expect("created");
    }
    let mut ordinals: Vec<u32> = rows(REGIONS).iter().map(|row| row[1].parse().expect("a number")).collect();
    ordinals.sort_unstable();
    assert_eq!(ordinals, (0..5000).collect::<Vec<u32>>());
}

fn closed_files_have_left_the_lists() {
    drop(Knem::open());
    waiting::until("no file is left", || rows(CONTEXTS).is_empty() && rows(REGIONS).is_empty());
    let now = statistics();
    assert_eq!((number(&now, "contexts"), number(&now, "regions"), number(&now, "pinned_bytes")), (0, 0, 0));
    assert_eq!(number(&now, "version"), u64::from(statistics::VERSION));
}
