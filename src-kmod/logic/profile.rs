// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! What the driver counts beside the lines of the compatible text: copies by their path, with their sizes and times,
//! and refusals by command and reason; and the text of `/proc/driver/knem/statistics`, which tells all of it.
//!
//! All of it is counters, in one array after those of [`Counter`]; the functions here say where each one is.

use crate::logic::counter::{self, Counter};
use crate::logic::histogram::{bucket, least, BUCKETS};
use crate::logic::refusal::Refusal;
use crate::uapi;
use core::fmt::{Result, Write};

/// Version of the text. Lines may come in new; a new number means that a line has changed its meaning.
pub const VERSION: u32 = 1;

/// How a copy was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Path {
    /// By the calling processor, through the caller's mapping.
    Mapped,
    /// By the calling processor, between pinned memories.
    Pinned,
    /// By the thread of the file.
    Thread,
    /// By a DMA engine, or in place of one that could not be had after all.
    Engine,
}

/// Every path, with its name in the text.
pub const PATHS: [(Path, &str); 4] =
    [(Path::Mapped, "mapped"), (Path::Pinned, "pinned"), (Path::Thread, "thread"), (Path::Engine, "dma")];

/// What comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Event {
    /// A region was created.
    RegionCreated,
    /// A region's memory was given back.
    RegionGone,
    /// A file was opened for writing.
    ContextOpened,
    /// Such a file was closed.
    ContextClosed,
    /// A region was created whose memory is pinned only while it is copied.
    UnpinnedCreated,
    /// The last reference to such a region is gone.
    UnpinnedGone,
    /// Memory was taken unpinned, of a region or of a request.
    Unpinned,
}

const EVENTS: usize = 7;

/// What may be refused: commands by their numbers, and the other calls.
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
    /// ioctl with this number.
    Command(u32),
    /// open for writing.
    Open,
    /// mmap of the status array.
    Map,
    /// write, which clears the statistics.
    Clear,
}

/// The errors that the calls have, as positive numbers (asm-generic/errno-base.h, errno.h). 0 stands for all others.
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

/// Where copies by a path that failed are counted.
#[must_use]
pub fn failed(path: Path) -> usize {
    of_path(path, FAILED)
}

/// Where the bytes of a path are counted.
#[must_use]
pub fn bytes(path: Path) -> usize {
    of_path(path, BYTES)
}

/// Where copies of as many bytes are counted.
#[must_use]
pub fn size(path: Path, bytes: u64) -> usize {
    of_path(path, SIZES.saturating_add(bucket(bytes)))
}

/// Where copies that took as many nanoseconds are counted.
#[must_use]
pub fn time(path: Path, nanoseconds: u64) -> usize {
    of_path(path, TIMES.saturating_add(bucket(nanoseconds)))
}

/// From as many bytes on, the time of each copy is taken. Looking at the clock twice takes longer than to copy a tenth of them.
pub const TIMED: u64 = 4096;

/// Of the shorter copies by a path within a call, the time of one in as many is taken on each CPU. The others count where it has.
pub const SAMPLE: u32 = 16;

/// Whether a short copy's time is taken: then `None`, else where the latest one was counted. `state` is the CPU's: in its upper half the number of
/// short copies, in its lower half where the latest one whose time was taken was counted, 0 if there was none.
#[must_use]
pub fn sample(state: u64) -> Option<usize> {
    let (count, latest) = ((state >> 32) as u32, state as u32);
    if latest == 0 || count % SAMPLE == 0 {
        return None;
    }
    usize::try_from(latest).ok()
}

/// Where calls that ended with this errno (positive) are counted.
#[must_use]
pub fn refused(call: Call, errno: i32) -> usize {
    // The last ones stand for all others.
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

/// As `enumerate`, which checks for an overflow that cannot be, and panics.
fn numbered<T>(items: &[T]) -> impl Iterator<Item = (usize, &T)> {
    (0..items.len()).zip(items)
}

fn in_table(row: usize, column: usize) -> usize {
    FIRST_REFUSED.saturating_add(row.saturating_mul(ERRNOS.len())).saturating_add(column)
}

/// Where refusals for a reason are counted.
#[must_use]
pub fn reason(refusal: Refusal) -> usize {
    FIRST_REASON.saturating_add(refusal as usize)
}

/// Where an event is counted.
#[must_use]
pub fn event(event: Event) -> usize {
    FIRST_EVENT.saturating_add(event as usize)
}

/// What the text tells beside the counters.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Nanoseconds since the module was loaded, or the counters cleared.
    pub age_ns: u64,
    /// Bytes that are pinned.
    pub pinned_bytes: u64,
    /// The most that was seen pinned.
    pub pinned_bytes_peak: u64,
    /// Files that are open for writing.
    pub contexts: u64,
    /// Regions that have memory.
    pub regions: u64,
    /// Those of them whose memory is pinned only while it is copied.
    pub regions_unpinned: u64,
}

/// Writes the text; `value` gives each counter. Lines of counters that are 0 are left out where there are many.
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
        let mut places = Vec::new();
        places.extend((0..counter::COUNT).collect::<Vec<usize>>());
        for (path, _) in PATHS {
            places.extend([failed(path), bytes(path)]);
            for n in 0..BUCKETS {
                places.extend([size(path, least(n)), time(path, least(n))]);
            }
        }
        for (call, _) in CALLS {
            places.extend(ERRNOS.map(|(errno, _)| refused(call, errno)));
        }
        places.extend(Refusal::NAMES.map(|(refusal, _)| reason(refusal)));
        places.extend([Event::RegionCreated, Event::RegionGone, Event::ContextOpened, Event::ContextClosed].map(event));
        places.extend([Event::UnpinnedCreated, Event::UnpinnedGone, Event::Unpinned].map(event));
        assert_eq!(places.len(), COUNT);
        assert_eq!(places.iter().copied().collect::<BTreeSet<_>>(), (0..COUNT).collect());
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
        let place = size(Path::Thread, 5000);
        let one = text(|n| u64::from(n == place));
        assert!(one.contains("\npath thread size 4096 1\n"), "{one}");
        let place = refused(Call::Command(uapi::CMD_COPY), 13);
        let one = text(|n| u64::from(n == place));
        assert!(one.contains("\nrefused COPY EACCES 1\n"), "{one}");
    }
}
