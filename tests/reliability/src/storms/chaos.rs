// SPDX-License-Identifier: CECILL-B
//! Any call with any argument, from processes that share files and memory, fork and are killed: nothing is expected but
//! that the kernel has nothing to report, and that everything is released in the end. `failing` has some in a hundred
//! allocations and user copies fail besides.

use std::time::Duration;

use knem_conformance::children::Child;
use knem_conformance::device::{Knem, COMMANDS};
use knem_conformance::memory::{both, memory_file, Mapping, PAGE};
use knem_conformance::random::Random;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::mman::{MapFlags, ProtFlags};

use super::Weather;
use crate::crowd::end;
use crate::nth;
use crate::report::count;
use crate::shared::Shared;

/// Processes at a time, and files that they inherit.
const CROWD: usize = 3;
const FILES: usize = 6;
/// Cookies that they show each other, on one page with the counts.
const COOKIES: usize = 64;
const OPERATIONS: usize = COOKIES;
const GRANTED: usize = COOKIES + 1;
const FORKS: usize = COOKIES + 2;

pub(super) fn run(weather: &Weather) {
    let (operations, granted, forks) = storm(weather);
    count("operations of chaos", operations);
    count("operations of chaos that succeeded", granted);
    count("processes of chaos", forks);
}

/// The same while requests fail at random, in every task of the storm.
pub(super) fn failing(weather: &Weather) {
    nth::prepare().unwrap_or_else(|why| panic!("{why}"));
    let kinds = ["failslab", "fail_page_alloc", "fail_usercopy"];
    let set = |name: &str, value: &str| {
        for kind in kinds {
            let path = format!("/sys/kernel/debug/{kind}/{name}");
            std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    };
    set("task-filter", "Y");
    set("times", "-1");
    set("interval", "1");
    set("probability", "3");
    let (operations, ..) = storm_of(weather, || {
        // The processes' own memory fails as well, which ends them: nothing to report.
        std::panic::set_hook(Box::new(|_| ()));
        let _ = std::fs::write("/proc/self/make-it-fail", "1");
    });
    set("probability", "0");
    count("operations while 3 % of allocations and user copies fail", operations);
}

/// Pages that do not exist, behind those that do: what is too long ends there, and not in memory of something else.
const GUARD: usize = 16;

fn guarded(pages: usize) -> Mapping {
    let mapping = Mapping::new((pages + GUARD) * PAGE);
    mapping.protect(pages * PAGE, GUARD * PAGE, ProtFlags::PROT_NONE);
    mapping
}

/// Bytes before the guard.
fn usable(mapping: &Mapping) -> usize {
    mapping.len() - GUARD * PAGE
}

fn storm(weather: &Weather) -> (u64, u64, u64) {
    storm_of(weather, || ())
}

fn storm_of(weather: &Weather, prepare: impl Fn()) -> (u64, u64, u64) {
    let shared = Shared::new();
    let (mut random, mut generation) = (Random::new(weather.seed), weather.seed);
    while !weather.is_over() {
        let files: Vec<Knem> = (0..FILES).map(|_| Knem::open()).collect();
        // The mapping goes on behind the end of its file.
        let memory = Mapping::of_file(memory_file(64 * PAGE), (64 + GUARD) * PAGE, both(), MapFlags::MAP_SHARED);
        let children: Vec<Child> = (0..CROWD)
            .map(|_| {
                generation += 1;
                Child::start(|| {
                    prepare();
                    live(&files, &memory, &mut Random::new(generation.wrapping_mul(0x9e37_79b9_7f4a_7c15)), &shared);
                })
            })
            .collect();
        drop((files, memory));
        std::thread::sleep(Duration::from_millis(50 + random.below(400) as u64));
        for child in children {
            end(child);
        }
        reap();
        shared.add(FORKS, CROWD as u64);
    }
    (shared.get(OPERATIONS), shared.get(GRANTED), shared.get(FORKS))
}

/// Grandchildren die with their parents, and are this program's then if it is the first process.
fn reap() {
    use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive) {}
}

/// What a process of the storm has of its own.
struct Own<'a> {
    files: &'a [Knem],
    memory: &'a Mapping,
    shared: &'a Shared,
    opened: Vec<Knem>,
    private: Mapping,
    arrays: Vec<Mapping>,
}

fn live(files: &[Knem], memory: &Mapping, random: &mut Random, shared: &Shared) {
    let mut own = Own { files, memory, shared, opened: Vec::new(), private: guarded(16), arrays: Vec::new() };
    loop {
        let granted = own.act(random);
        shared.add(OPERATIONS, 1);
        shared.add(GRANTED, granted.into());
    }
}

impl Own<'_> {
    fn file(&self, random: &mut Random) -> &Knem {
        let number = random.below(self.files.len() + self.opened.len());
        self.files.get(number).unwrap_or_else(|| &self.opened[number - self.files.len()])
    }

    /// An address: mostly of memory, often at its edges.
    fn address(&self, random: &mut Random) -> u64 {
        match random.below(12) {
            0 => random.next(),
            1 => 0,
            2 => u64::MAX - random.below(PAGE) as u64,
            3 => self.memory.address() + usable(self.memory) as u64 - random.below(40) as u64,
            4..=7 => self.private.address() + random.below(usable(&self.private)) as u64,
            _ => self.memory.address() + random.below(usable(self.memory)) as u64,
        }
    }

    fn length(random: &mut Random) -> u64 {
        match random.below(8) {
            0 => random.next(),
            1 => 0,
            2 => PAGE as u64,
            _ => random.below(9 * PAGE) as u64,
        }
    }

    fn cookie(&self, random: &mut Random) -> u64 {
        let cookie = self.shared.get(random.below(COOKIES));
        if random.one_in(30) {
            cookie ^ (1 << random.below(64))
        } else {
            cookie
        }
    }

    /// A command with its structure as an array of words, of which some mean something.
    fn command(&mut self, random: &mut Random) -> bool {
        let command = if random.one_in(40) { random.next() as u32 } else { COMMANDS[random.below(COMMANDS.len())] };
        let list: Vec<[u64; 2]> = (0..random.below(6)).map(|_| [self.address(random), Self::length(random)]).collect();
        let (array, number) = (list.as_ptr().expose_provenance() as u64, list.len() as u64);
        let flags = if random.one_in(8) { random.next() as u32 } else { 1 << random.below(8) };
        let flags = if random.one_in(3) { 0 } else { u64::from(flags) };
        let (one, other) = (self.cookie(random), self.cookie(random));
        let offset = if random.one_in(3) { 0 } else { Self::length(random) };
        let slot = random.below(2 * PAGE) as u64;
        let bound = Self::length(random);
        use knem_core::uapi as u;
        let write = random.below(2) as u64;
        let mut words = match command {
            u::CMD_CREATE_REGION => [array, number | flags << 32, random.below(4) as u64, 0, 0, 0, 0, 0],
            u::CMD_DESTROY_REGION => [one, 0, 0, 0, 0, 0, 0, 0],
            u::CMD_COPY => [one, offset, other, 0, flags, slot, 0, 0],
            u::CMD_COPY_BOUNDED => [one, offset, other, 0, bound, flags, slot, 0],
            u::CMD_INLINE_COPY => [array, number | write << 32, one, offset, flags, slot, 0, 0],
            u::CMD_INLINE_COPY_BOUNDED => [array, number | write << 32, one, offset, bound, flags, slot, 0],
            u::CMD_BIND_OFFLOAD => [1 << random.below(3) | 8 << 32, array, 0, 0, 0, 0, 0, 0],
            u::CMD_INIT_SEND => [array, number | flags << 32, 0, 0, 0, 0, 0, 0],
            u::CMD_INIT_ASYNC_RECV | u::CMD_SYNC_RECV => [array, number | slot << 32, one, flags, 0, 0, 0, 0],
            _ => [random.next(), random.next(), one, offset, flags, slot, 0, 0],
        };
        let file = self.file(random);
        let granted = if random.one_in(30) {
            file.command_at(command, self.address(random))
        } else {
            file.command(command, &mut words)
        };
        let created = match command {
            u::CMD_CREATE_REGION => words[3],
            u::CMD_INIT_SEND => words[2],
            _ => 0,
        };
        if granted.is_ok() && created != 0 {
            self.shared.set(random.below(COOKIES), created);
        }
        granted.is_ok()
    }

    fn act(&mut self, random: &mut Random) -> bool {
        match random.below(40) {
            0 => {
                let flags = [OFlag::O_RDWR, OFlag::O_RDWR | OFlag::O_NONBLOCK, OFlag::O_WRONLY, OFlag::O_RDONLY];
                let opened = Knem::open_as(flags[random.below(4)]);
                let good = opened.is_ok();
                self.opened.extend(opened);
                if self.opened.len() > 8 {
                    self.opened.swap_remove(random.below(8));
                }
                good
            }
            1 => {
                let length = if random.one_in(10) { 64 * PAGE } else { 1 + random.below(2 * PAGE) };
                let offset = if random.one_in(10) { PAGE as i64 } else { 0 };
                let flags = if random.one_in(10) { MapFlags::MAP_PRIVATE } else { MapFlags::MAP_SHARED };
                let array = Mapping::try_of_file(self.file(random).fd(), length, both(), flags, offset);
                let good = array.is_ok();
                self.arrays.extend(array);
                if self.arrays.len() > 6 {
                    self.arrays.swap_remove(random.below(6));
                }
                good
            }
            2 => {
                self.private = guarded(1 + random.below(20));
                true
            }
            3 => {
                let protection = [ProtFlags::PROT_NONE, ProtFlags::PROT_READ, both()][random.below(3)];
                let page = random.below(usable(&self.private) / PAGE);
                self.private.protect(page * PAGE, PAGE, protection);
                true
            }
            4 | 5 => {
                let mut buffer = [0; 64];
                let file = self.file(random);
                let ready = poll(&mut [PollFd::new(file.fd(), PollFlags::POLLIN)], PollTimeout::ZERO);
                // Where another process takes the event first, the read waits until this process is killed.
                ready == Ok(1) && nix::unistd::read(file.fd(), &mut buffer[..random.below(65)]).is_ok()
            }
            6 if random.one_in(10) => nix::unistd::write(self.file(random).fd(), b"0").is_ok(),
            7 if random.one_in(20) => {
                // SAFETY: The process has one thread here, so that the child may use all locks; its private memory is a
                // copy.
                match unsafe { libc::fork() } {
                    0 => {
                        // SAFETY: The call accesses no memory; it only makes the child end with its parent.
                        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                        for _ in 0..random.below(200) {
                            self.act(random);
                            self.shared.add(OPERATIONS, 1);
                        }
                        // SAFETY: The call ends the child at once, so that no destructor of the parent's values runs
                        // here.
                        unsafe { libc::_exit(0) }
                    }
                    -1 => false,
                    child => {
                        if random.one_in(2) {
                            // SAFETY: The call accesses no memory; the child is not waited for yet, so that its pid is
                            // not reused.
                            unsafe { libc::kill(child, libc::SIGKILL) };
                        }
                        // SAFETY: The status pointer may be null; the call only waits for the child.
                        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
                        self.shared.add(FORKS, 1);
                        true
                    }
                }
            }
            8 => std::fs::read("/proc/driver/knem/contexts").is_ok(),
            9 if random.one_in(4) => std::fs::read("/proc/driver/knem/regions").is_ok(),
            _ => self.command(random),
        }
    }
}
