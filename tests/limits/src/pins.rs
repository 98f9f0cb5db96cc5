// SPDX-License-Identifier: CECILL-B
//! Limits of pinned memory: one user's use never causes another user's refusal.

use knem_core::uapi;

use crate::children::{become_user, in_child, with_open_node, Child};
use crate::counters::{nothing_is_pinned, status_kilobytes};
use crate::device::{segment, Inline, Knem, READ, WRITE};
use crate::mapping::{Mapping, PAGE};
use crate::party::{limit, victim, Attacker, Shared, ATTACKER, LIMIT, VICTIM};
use crate::stalled::Stalled;
use crate::waiting;

crate::trials![
    "R18 A4" regions_of_no_memory_cost_others_nothing,
    "R18 A4" requests_for_no_memory_cost_others_nothing,
    "R18 A4" request_that_never_ends_costs_others_nothing,
    "R17 A5" pins_of_a_request_are_bounded_and_shown,
    "R17 A8" processes_of_a_user_share_its_limit,
    "R29 B6" stalled_reader_keeps_nothing_of_an_owner_that_has_gone,
    "R29 B6" reader_of_another_user_fetches_its_own_pages,
];

/// Regions of a page that the victim creates during an attack. Each must be created and pinned at once.
const REGIONS: usize = 300;

/// Checks the victim: no creation may be refused, and each region must be pinned.
fn victim_is_not_refused() {
    victim(|| {
        let (knem, memory) = (Knem::open(), Mapping::holding(&[1; PAGE]));
        for n in 0..REGIONS {
            let region = knem.create(&[memory.segment()], READ, 0);
            assert!(region.is_ok(), "creation {n} of the victim: {region:?}");
            assert_eq!(status_kilobytes("VmPin"), 4, "region {n} of the victim is pinned");
            knem.destroy(region.expect("created")).expect("destroyed");
            waiting::until("the page is released", || status_kilobytes("VmPin") == 0);
        }
    });
}

/// Returns half the machine's memory in bytes, as the default ceiling, less some pages.
fn half_of_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).expect("MemTotal");
    let kilobytes: u64 = line.split_whitespace().next().expect("a number").parse().expect("a number");
    kilobytes * 1024 / 2 - 16 * PAGE as u64
}

/// Returns a segment of this number of bytes where nothing is mapped.
fn nothing(bytes: u64) -> uapi::ParamIovec {
    segment(0x10000, bytes)
}

/// Returns a request that pins its local side.
fn pinning(region: u64, segments: &[uapi::ParamIovec]) -> Inline<'_> {
    Inline { cookie: region, segments, write: 1, flags: uapi::FLAG_PINLOCAL, ..Inline::default() }
}

fn regions_of_no_memory_cost_others_nothing() {
    with_open_node(|| {
        let attackers: [Attacker; 2] = std::array::from_fn(|_| {
            Attacker::start(|begun| {
                let knem = Knem::open();
                begun();
                loop {
                    assert!(knem.create(&[nothing(1 << 45)], READ, 0).is_err());
                }
            })
        });
        victim_is_not_refused();
        drop(attackers);
    });
    nothing_is_pinned();
}

fn requests_for_no_memory_cost_others_nothing() {
    with_open_node(|| {
        let attackers: [Attacker; 2] = std::array::from_fn(|_| {
            Attacker::start(|begun| {
                let (knem, memory) = (Knem::open(), Mapping::new(PAGE));
                let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
                begun();
                loop {
                    let _ = knem.inline(pinning(region, &[nothing(half_of_memory())]));
                }
            })
        });
        victim_is_not_refused();
        drop(attackers);
    });
    nothing_is_pinned();
}

fn request_that_never_ends_costs_others_nothing() {
    with_open_node(|| {
        let stalls = stalls_for_all();
        let attacker = Attacker::start(|begun| {
            let bytes = usize::try_from(half_of_memory()).expect("a length").next_multiple_of(PAGE);
            let (knem, memory, stalled) = (Knem::open(), Mapping::new(PAGE), Stalled::new(1));
            let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
            let rest = Mapping::new(bytes);
            begun();
            let _ = knem.inline(pinning(region, &[stalled.memory().segment(), rest.segment()]));
        });
        victim_is_not_refused();
        drop(attacker);
        drop(stalls);
    });
    nothing_is_pinned();
}

/// Allows ordinary users to stall the kernel's accesses to their memory, until this is dropped.
struct Stalls(String);

const STALLS: &str = "/proc/sys/vm/unprivileged_userfaultfd";

fn stalls_for_all() -> Stalls {
    let Ok(before) = std::fs::read_to_string(STALLS) else { crate::runner::skip("no userfaultfd") };
    std::fs::write(STALLS, "1").expect("userfaultfd for ordinary users");
    Stalls(before)
}

impl Drop for Stalls {
    fn drop(&mut self) {
        std::fs::write(STALLS, &self.0).expect("as before");
    }
}

/// KiB that a request may have pinned above the limit, which it needs for any progress.
const FLOOR: i64 = 64;

fn pins_of_a_request_are_bounded_and_shown() {
    with_open_node(|| {
        let stalls = stalls_for_all();
        let attacker = Attacker::start(|begun| {
            // 64 MiB that are present, then a page that never becomes present.
            let (mut good, stalled) = (Mapping::new(64 << 20), Stalled::new(1));
            good.bytes_mut().fill(1);
            let knem = Knem::open();
            let memory = Mapping::new(good.len() + PAGE);
            // The region is larger than the limit, and is created nevertheless.
            let region = knem.create(&[memory.segment()], READ | WRITE, 0).expect("created");
            begun();
            let _ = knem.inline(pinning(region, &[good.segment(), stalled.memory().segment()]));
        });
        let pinned = || {
            let text = std::fs::read_to_string(format!("/proc/{}/status", attacker.id())).expect("it runs");
            let line = text.lines().find_map(|line| line.strip_prefix("VmPin:")).expect("VmPin");
            line.split_whitespace().next().expect("a number").parse::<i64>().expect("a number")
        };
        // Both sides of the copy are pinned a window at a time.
        let most = 2 * FLOOR + i64::try_from(LIMIT / 1024).expect("a limit");
        for _ in 0..200 {
            assert!(pinned() <= most, "{} kB are pinned, at most {most} may be", pinned());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        drop(attacker);
        drop(stalls);
    });
    nothing_is_pinned();
}

fn processes_of_a_user_share_its_limit() {
    const PROCESSES: u32 = 8;
    let most = i64::try_from(LIMIT / 1024).expect("a limit");
    with_open_node(|| {
        in_child(|| {
            limit(LIMIT);
            become_user(ATTACKER);
            let (ready, done, sum) = (Shared::new(), Shared::new(), Shared::new());
            let children: Vec<Child> = (0..PROCESSES)
                .map(|n| {
                    Child::start(|| {
                        let (knem, memory) = (Knem::open(), Mapping::holding(&[1; 12 * PAGE]));
                        waiting::until("its turn", || ready.get() == n);
                        // A region that must not be pinned is created nevertheless.
                        knem.create(&[memory.segment()], READ, 0).expect("created");
                        sum.set(sum.get() + u32::try_from(status_kilobytes("VmPin")).expect("kilobytes"));
                        ready.set(n + 1);
                        waiting::until("the others", || done.get() != 0);
                    })
                })
                .collect();
            waiting::until("all regions", || ready.get() == PROCESSES);
            let pinned = sum.get();
            done.set(1);
            children.into_iter().for_each(Child::succeeds);
            assert!(i64::from(pinned) <= most, "{pinned} kB are pinned by one user whose limit is {most}");
            assert!(pinned > 0, "the first region is pinned");
        });
    });
    nothing_is_pinned();
}

/// An owner's region for every user, and its cookie, which the owner passes to other processes.
struct Offer {
    cookie: [Shared; 2],
    go: Shared,
}

impl Offer {
    fn new() -> Self {
        Self { cookie: [Shared::new(), Shared::new()], go: Shared::new() }
    }

    /// As the owner, creates the region and keeps it until [`Offer::end`].
    fn make(&self, memory: &Mapping, flags: u32) {
        limit(LIMIT);
        become_user(VICTIM);
        let knem = Knem::open();
        let flags = flags | uapi::FLAG_ANY_USER_ACCESS;
        let cookie = knem.create(&[memory.segment()], READ | WRITE, flags).expect("created");
        self.cookie[1].set((cookie >> 32) as u32);
        self.cookie[0].set(cookie as u32);
        waiting::until("the owner may end", || self.go.get() != 0);
    }

    /// Waits for the cookie and returns it.
    fn cookie(&self) -> u64 {
        waiting::until("the region is there", || self.cookie[0].get() != 0);
        u64::from(self.cookie[1].get()) << 32 | u64::from(self.cookie[0].get())
    }

    fn end(&self) {
        self.go.set(1);
    }
}

/// Seconds for which a request of another user may keep pages of an owner that has exited.
const GRACE: u64 = 20;

fn stalled_reader_keeps_nothing_of_an_owner_that_has_gone() {
    with_open_node(|| {
        let stalls = stalls_for_all();
        for (create, flags) in [
            (0, 0),
            (0, uapi::FLAG_PINLOCAL),
            (0, uapi::FLAG_MEMCPYTHREAD),
            (uapi::FLAG_SINGLEUSE, 0),
            (uapi::FLAG_SINGLEUSE, uapi::FLAG_MEMCPYTHREAD),
        ] {
            let offer = Offer::new();
            let owner = Child::start(|| offer.make(&Mapping::holding(&[1; 8 * PAGE]), create));
            let cookie = offer.cookie();
            let attacker = Attacker::start(|begun| {
                let (knem, stalled) = (Knem::open(), Stalled::new(1));
                let slots = crate::slots::Slots::map(&knem, 1).expect("mapped");
                begun();
                let segments = &[stalled.memory().segment()];
                let _ = knem.inline_at(Inline { cookie, segments, flags, ..Inline::default() }, 0);
                std::mem::forget(slots);
            });
            std::thread::sleep(std::time::Duration::from_millis(300));
            offer.end();
            owner.succeeds();
            let start = std::time::Instant::now();
            waiting::until("the owner's pages are released", || crate::counters::pinned_pages() == 0);
            let waited = start.elapsed().as_secs();
            assert!(waited <= GRACE, "flags {create:#x} and {flags:#x}: {waited} s after the end of the owner");
            drop(attacker);
        }
        drop(stalls);
    });
    nothing_is_pinned();
}

fn reader_of_another_user_fetches_its_own_pages() {
    const BYTES: usize = 3 << 20;
    with_open_node(|| {
        for (create, flags) in [(0, 0), (0, uapi::FLAG_PINLOCAL), (uapi::FLAG_SINGLEUSE, 0)] {
            let offer = Offer::new();
            let bytes: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
            let owner = Child::start(|| offer.make(&Mapping::holding(&bytes), create));
            let cookie = offer.cookie();
            in_child(|| {
                become_user(ATTACKER);
                // Memory without pages, in two pieces that are not page-aligned.
                let (knem, local) = (Knem::open(), Mapping::new(BYTES + 2 * PAGE));
                let segments = [local.part(17, 1 << 20), local.part((1 << 20) + PAGE, BYTES - (1 << 20))];
                assert_eq!(knem.read(cookie, 0, &segments, flags), Ok(crate::device::SUCCESS));
                let whole = local.bytes();
                assert!(whole[17..17 + (1 << 20)] == bytes[..1 << 20], "the first piece");
                assert!(whole[(1 << 20) + PAGE..BYTES + PAGE] == bytes[1 << 20..], "the second piece");
                if create == 0 {
                    let fresh = Mapping::holding(&[7; 5 * PAGE]);
                    assert_eq!(knem.write(cookie, 3, &[fresh.segment()], flags), Ok(crate::device::SUCCESS));
                    let mut back = Mapping::new(5 * PAGE);
                    assert_eq!(knem.read(cookie, 3, &[back.segment()], flags), Ok(crate::device::SUCCESS));
                    assert!(back.bytes_mut().iter().all(|byte| *byte == 7));
                    assert_eq!(
                        knem.read(cookie, 0, &[segment(crate::mapping::hole(), 9)], 0),
                        Ok(crate::device::FAILED)
                    );
                }
            });
            offer.end();
            owner.succeeds();
        }
    });
    nothing_is_pinned();
}
