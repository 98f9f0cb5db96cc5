// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The counters beyond the compatible text of /dev/knem: copies by path, with histograms of sizes and times, and
//! refusals by command and reason; and the text of `/proc/driver/knem/statistics`, which prints all of them.
//!
//! All counters are in one array, after those of [`Counter`]; the functions here return the index of each.

use crate::logic::counter::{self, Counter};
use crate::logic::histogram::{bucket, least, BUCKETS};
use crate::logic::refusal::Refusal;
use crate::uapi;
use core::fmt::{Result, Write};

/// Version of the text. Lines may be added; a new number means that a line has changed its meaning.
pub const VERSION: u32 = 1;

/// The path of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Path {
    /// By the calling task, through the caller's mapping.
    Mapped,
    /// By the calling task, between pinned memories.
    Pinned,
    /// By the worker thread of the context.
    Thread,
    /// By a DMA channel, or by the CPU in its stead.
    Engine,
}

/// Every path, with its name in the text.
pub const PATHS: [(Path, &str); 4] =
    [(Path::Mapped, "mapped"), (Path::Pinned, "pinned"), (Path::Thread, "thread"), (Path::Engine, "dma")];

/// Events from which the present state is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Event {
    /// A region was created.
    RegionCreated,
    /// A region was freed.
    RegionGone,
    /// A file was opened for writing.
    ContextOpened,
    /// Such a file was closed.
    ContextClosed,
    /// A region was created whose memory is pinned only while it is copied.
    UnpinnedCreated,
    /// The last reference to such a region is gone.
    UnpinnedGone,
    /// Memory of a region or of a request was accepted without being pinned.
    Unpinned,
}

const EVENTS: usize = 7;

/// Calls that may be refused: commands by their numbers, and others.
pub const CALLS: [(Call, &str); 15] = [
    (Call::Command(uapi::CMD_GET_INFO), "GET_INFO"),
    (Call::Command(uapi::CMD_BIND_OFFLOAD), "BIND_OFFLOAD"),
    (Call::Command(uapi::CMD_INIT_SEND), "INIT_SEND"),
    (Call::Command(uapi::CMD_CREATE_REGION), "CREATE_REGION"),
    (Call::Command(uapi::CMD_DESTROY_REGION), "DESTROY_REGION"),
    (Call::Command(uapi::CMD_INIT_ASYNC_RECV), "INIT_ASYNC_RECV"),
    (Call::Command(uapi::CMD_SYNC_RECV), "SYNC_RECV"),
    (Call::Command(uapi::CMD_COPY), "COPY"),
    (Call::Command(uapi::CMD_INLINE_COPY), "INLINE_COPY"),
    (Call::Command(uapi::CMD_COPY_BOUNDED), "COPY_BOUNDED"),
    (Call::Command(uapi::CMD_INLINE_COPY_BOUNDED), "INLINE_COPY_BOUNDED"),
    (Call::Open, "open"),
    (Call::Map, "mmap"),
    (Call::Clear, "write"),
    (Call::Command(0), "unknown"),
];

/// A call of user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// ioctl(2) with this number.
    Command(u32),
    /// open(2) for writing.
    Open,
    /// mmap(2) of the status array.
    Map,
    /// write(2), which clears the statistics.
    Clear,
}

/// The errors of the calls, as positive numbers (asm-generic/errno-base.h, errno.h). 0 stands for all others.
pub const ERRNOS: [(i32, &str); 13] = [
    (1, "EPERM"),
    (4, "EINTR"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (19, "ENODEV"),
    (22, "EINVAL"),
    (28, "ENOSPC"),
    (38, "ENOSYS"),
    (0, "other"),
];

// Counters of a path: failed, bytes, and two histograms.
const FAILED: usize = 0;
const BYTES: usize = 1;
const SIZES: usize = 2;
const TIMES: usize = SIZES + BUCKETS;
const PATH_LEN: usize = TIMES + BUCKETS;

const FIRST_PATH: usize = counter::COUNT;
const FIRST_REFUSED: usize = FIRST_PATH + PATHS.len() * PATH_LEN;
const FIRST_REASON: usize = FIRST_REFUSED + CALLS.len() * ERRNOS.len();
const FIRST_EVENT: usize = FIRST_REASON + Refusal::NAMES.len();

/// Number of all counters, those of [`Counter`] included.
pub const COUNT: usize = FIRST_EVENT + EVENTS;

fn of_path(path: Path, field: usize) -> usize {
    FIRST_PATH.saturating_add((path as usize).saturating_mul(PATH_LEN)).saturating_add(field)
}

/// Returns the index of the failed copies by a path.
#[must_use]
pub fn failed(path: Path) -> usize {
    of_path(path, FAILED)
}

/// Returns the index of the bytes copied by a path.
#[must_use]
pub fn bytes(path: Path) -> usize {
    of_path(path, BYTES)
}

/// Returns the index of the copies of this many bytes by a path.
#[must_use]
pub fn size(path: Path, bytes: u64) -> usize {
    of_path(path, SIZES.saturating_add(bucket(bytes)))
}

/// Returns the index of the copies by a path that took this many nanoseconds.
#[must_use]
pub fn time(path: Path, nanoseconds: u64) -> usize {
    of_path(path, TIMES.saturating_add(bucket(nanoseconds)))
}

/// From this many bytes on, the time of each copy is measured. Two readings of the clock take longer than to copy a
/// tenth of that.
pub const TIMED: u64 = 4096;

/// Of the shorter copies by a path within a call, one in this many is measured on each CPU. The others are counted at
/// the same index.
pub const SAMPLE: u32 = 16;

/// Returns `None` if the time of a short copy must be measured, else the index at which the latest sample was counted.
/// `state` is the CPU's: in its upper half the number of short copies, in its lower half the index of the latest
/// sample, 0 if there was none.
#[must_use]
pub fn sample(state: u64) -> Option<usize> {
    let (count, latest) = ((state >> 32) as u32, state as u32);
    if latest == 0 || count % SAMPLE == 0 {
        return None;
    }
    usize::try_from(latest).ok()
}

/// Returns the index of the calls that failed with this errno (positive).
#[must_use]
pub fn refused(call: Call, errno: i32) -> usize {
    // The last entries stand for all others.
    let mut row = CALLS.len().saturating_sub(1);
    for (n, (known, _)) in numbered(&CALLS) {
        if *known == call {
            row = n;
        }
    }
    let mut column = ERRNOS.len().saturating_sub(1);
    for (n, (known, _)) in numbered(&ERRNOS) {
        if *known == errno {
            column = n;
        }
    }
    in_table(row, column)
}

/// Enumerates as `enumerate`, which contains a panic for an overflow that cannot happen.
fn numbered<T>(items: &[T]) -> impl Iterator<Item = (usize, &T)> {
    (0..items.len()).zip(items)
}

fn in_table(row: usize, column: usize) -> usize {
    FIRST_REFUSED.saturating_add(row.saturating_mul(ERRNOS.len())).saturating_add(column)
}

/// Returns the index of the refusals for a reason.
#[must_use]
pub fn reason(refusal: Refusal) -> usize {
    FIRST_REASON.saturating_add(refusal as usize)
}

/// Returns the index of an event.
#[must_use]
pub fn event(event: Event) -> usize {
    FIRST_EVENT.saturating_add(event as usize)
}

/// What the text contains in addition to the counters.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Nanoseconds since the module was loaded, or the counters cleared.
    pub age_ns: u64,
    /// Bytes that are pinned.
    pub pinned_bytes: u64,
    /// The most bytes that were pinned at the times when the driver checked.
    pub pinned_bytes_peak: u64,
    /// Number of files that are open for writing.
    pub contexts: u64,
    /// Number of regions.
    pub regions: u64,
    /// Number of regions whose memory is pinned only while it is copied.
    pub regions_unpinned: u64,
}

/// Writes the text. `value` returns a counter by its index. In long lists, counters that are 0 are omitted.
///
/// # Errors
/// Only those of `out`.
pub fn write(out: &mut impl Write, now: Now, value: impl Fn(usize) -> u64) -> Result {
    writeln!(out, "version {VERSION}")?;
    writeln!(out, "age_ns {}", now.age_ns)?;
    writeln!(out, "pinned_bytes {}", now.pinned_bytes)?;
    writeln!(out, "pinned_bytes_peak {}", now.pinned_bytes_peak)?;
    writeln!(out, "contexts {}", now.contexts)?;
    writeln!(out, "regions {}", now.regions)?;
    writeln!(out, "regions_unpinned {}", now.regions_unpinned)?;
    writeln!(out, "unpinned {}", value(event(Event::Unpinned)))?;
    for (counter, name) in Counter::NAMES {
        writeln!(out, "{name} {}", value(counter as usize))?;
    }
    for (path, name) in PATHS {
        writeln!(out, "path {name} bytes {}", value(bytes(path)))?;
        writeln!(out, "path {name} failed {}", value(failed(path)))?;
        for (histogram, first) in [("size", SIZES), ("time_ns", TIMES)] {
            for n in 0..BUCKETS {
                let count = value(of_path(path, first.saturating_add(n)));
                if count != 0 {
                    writeln!(out, "path {name} {histogram} {} {count}", least(n))?;
                }
            }
        }
    }
    for (row, (_, call)) in numbered(&CALLS) {
        for (column, (_, errno)) in numbered(&ERRNOS) {
            let count = value(in_table(row, column));
            if count != 0 {
                writeln!(out, "refused {call} {errno} {count}")?;
            }
        }
    }
    for (refusal, name) in Refusal::NAMES {
        let count = value(reason(refusal));
        if count != 0 {
            writeln!(out, "reason {name} {count}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::collections::BTreeSet;
    use std::string::String;
    use std::vec::Vec;

    const NOW: Now =
        Now { age_ns: 1, pinned_bytes: 2, pinned_bytes_peak: 3, contexts: 4, regions: 5, regions_unpinned: 6 };

    fn text(value: impl Fn(usize) -> u64) -> String {
        let mut text = String::new();
        write(&mut text, NOW, value).expect("a String takes everything");
        text
    }

    #[test]
    fn no_two_things_share_a_counter() {
        let mut indices = Vec::new();
        indices.extend((0..counter::COUNT).collect::<Vec<usize>>());
        for (path, _) in PATHS {
            indices.extend([failed(path), bytes(path)]);
            for n in 0..BUCKETS {
                indices.extend([size(path, least(n)), time(path, least(n))]);
            }
        }
        for (call, _) in CALLS {
            indices.extend(ERRNOS.map(|(errno, _)| refused(call, errno)));
        }
        indices.extend(Refusal::NAMES.map(|(refusal, _)| reason(refusal)));
        indices
            .extend([Event::RegionCreated, Event::RegionGone, Event::ContextOpened, Event::ContextClosed].map(event));
        indices.extend([Event::UnpinnedCreated, Event::UnpinnedGone, Event::Unpinned].map(event));
        assert_eq!(indices.len(), COUNT);
        assert_eq!(indices.iter().copied().collect::<BTreeSet<_>>(), (0..COUNT).collect());
    }

    #[test]
    fn one_short_copy_in_sixteen_is_timed() {
        let state = |count: u64, latest: u64| count << 32 | latest;
        assert_eq!(sample(state(1, 0)), None, "the first");
        let timed = (1..=160).filter(|&count| sample(state(count, 70)).is_none()).count();
        assert_eq!(timed, 10);
        assert_eq!(sample(state(u64::from(u32::MAX), 70)), Some(70));
    }

    #[test]
    fn what_is_unknown_is_counted_as_such() {
        assert_eq!(refused(Call::Command(0x1234), 22), refused(Call::Command(0), 22));
        assert_eq!(refused(Call::Map, 77), refused(Call::Map, 0));
        assert_ne!(refused(Call::Map, 22), refused(Call::Open, 22));
    }

    #[test]
    fn every_counter_but_the_events_has_its_line() {
        let all = text(|n| 1000 + n as u64);
        for n in 0..FIRST_EVENT {
            let end = std::format!(" {}\n", 1000 + n);
            assert!(all.contains(&end), "counter {n}");
        }
    }

    #[test]
    fn what_is_0_among_many_is_left_out() {
        let none = text(|_| 0);
        assert!(none.starts_with("version 1\nage_ns 1\npinned_bytes 2\npinned_bytes_peak 3\ncontexts 4\nregions 5\nregions_unpinned 6\nunpinned 0\n"));
        assert!(!none.contains("size") && !none.contains("refused") && !none.contains("reason"), "{none}");
        let index = size(Path::Thread, 5000);
        let one = text(|n| u64::from(n == index));
        assert!(one.contains("\npath thread size 4096 1\n"), "{one}");
        let index = refused(Call::Command(uapi::CMD_COPY), 13);
        let one = text(|n| u64::from(n == index));
        assert!(one.contains("\nrefused COPY EACCES 1\n"), "{one}");
    }
}
