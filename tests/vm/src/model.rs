// SPDX-License-Identifier: CECILL-B
//! Random sequences of requests, compared with a model that moves one byte at a time.

use knem_core::uapi::{self, ParamIovec};
use nix::errno::Errno;

use crate::counters::nothing_is_pinned;
use crate::device::{Inline, Knem, READ, SUCCESS, WRITE};
use crate::memory::Mapping;
use crate::random::Random;

crate::trials![known_sequences, new_sequence];

const ARENA: usize = 128 << 10;
const ARENAS: usize = 3;
const STEPS: usize = 1200;

fn known_sequences() {
    for seed in [1, 2, 3] {
        run(seed, STEPS);
    }
}

fn new_sequence() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let seed = u64::from(now.subsec_nanos()) ^ now.as_secs();
    if let Err(panic) = std::panic::catch_unwind(|| run(seed, STEPS)) {
        eprintln!("the seed was {seed}: add it to the known sequences");
        std::panic::resume_unwind(panic);
    }
}

/// Places of bytes, in order: what a list of segments means. All of them are in one arena.
#[derive(Clone)]
struct Stream {
    arena: usize,
    segments: Vec<(usize, usize)>,
}

impl Stream {
    fn random(random: &mut Random) -> Self {
        let longest = [1, 100, 5000, 60_000][random.below(4)];
        let count = [0, 1, 1, 2, 3, 8, 9, 40][random.below(8)];
        let segments = (0..count)
            .map(|_| {
                let length = if random.one_in(6) { 0 } else { random.below(longest) + 1 };
                (random.below(ARENA - length), length)
            })
            .collect();
        Self { arena: random.below(ARENAS), segments }
    }

    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.segments.iter().flat_map(|(start, length)| *start..start + length)
    }

    fn length(&self) -> usize {
        self.segments.iter().map(|(_, length)| length).sum()
    }

    fn in_memory(&self, arenas: &[Mapping]) -> Vec<ParamIovec> {
        self.segments.iter().map(|(start, length)| arenas[self.arena].part(*start, *length)).collect()
    }
}

struct Region {
    cookie: u64,
    stream: Stream,
    protection: u32,
    single_use: bool,
    alive: bool,
}

struct World {
    knem: Knem,
    arenas: Vec<Mapping>,
    expected: Vec<Vec<u8>>,
    regions: Vec<Region>,
}

/// Runs a sequence. The seed tells which one.
fn run(seed: u64, steps: usize) {
    let mut random = Random::new(seed);
    let expected: Vec<Vec<u8>> = (0..ARENAS).map(|_| random.bytes(ARENA)).collect();
    let arenas = expected.iter().map(|bytes| Mapping::holding(bytes)).collect();
    let mut world = World { knem: Knem::open(), arenas, expected, regions: Vec::new() };
    for step in 0..steps {
        match random.below(10) {
            0 | 1 => world.create(&mut random),
            2 => world.destroy(&mut random),
            3 | 4 => world.copy(&mut random),
            5 => world.owner_writes(&mut random),
            _ => world.inline(&mut random),
        }
        for (arena, expected) in world.arenas.iter().zip(&world.expected) {
            if arena.bytes() != expected {
                let place = arena.bytes().iter().zip(expected).position(|(is, must)| is != must);
                panic!("seed {seed}, step {step}: byte {place:?} of an arena is wrong");
            }
        }
    }
    drop(world);
    nothing_is_pinned();
}

impl World {
    fn create(&mut self, random: &mut Random) {
        let stream = Stream::random(random);
        let protection = [READ, WRITE, READ | WRITE, READ | WRITE, 0][random.below(5)];
        let single_use = random.one_in(5);
        let flags = if single_use { uapi::FLAG_SINGLEUSE } else { 0 };
        let cookie = self.knem.create(&stream.in_memory(&self.arenas), protection, flags).expect("created");
        self.regions.push(Region { cookie, stream, protection, single_use, alive: true });
    }

    fn destroy(&mut self, random: &mut Random) {
        if self.regions.is_empty() {
            return;
        }
        let index = random.below(self.regions.len());
        let region = &mut self.regions[index];
        let expected = if region.alive { Ok(()) } else { Err(Errno::EINVAL) };
        assert_eq!(self.knem.destroy(region.cookie), expected);
        region.alive = false;
    }

    fn owner_writes(&mut self, random: &mut Random) {
        let (arena, start) = (random.below(ARENAS), random.below(ARENA - 100));
        let bytes = random.bytes(100);
        self.arenas[arena].bytes_mut()[start..start + 100].copy_from_slice(&bytes);
        self.expected[arena][start..start + 100].copy_from_slice(&bytes);
    }

    /// What the driver must answer about a region.
    fn verdict(&self, index: usize, bit: u32) -> Result<(), Errno> {
        let region = &self.regions[index];
        if !region.alive {
            Err(Errno::EINVAL)
        } else if region.protection & bit == 0 {
            Err(Errno::EACCES)
        } else {
            Ok(())
        }
    }

    fn inline(&mut self, random: &mut Random) {
        if self.regions.is_empty() {
            return;
        }
        let (index, mut local) = (random.below(self.regions.len()), Stream::random(random));
        let remote = self.regions[index].stream.clone();
        // What overlaps is unspecified.
        if local.arena == remote.arena {
            local.arena = (local.arena + 1) % ARENAS;
        }
        let write = random.one_in(2);
        let (offset, bound) = (an_offset(random, remote.length()), a_bound(random));
        let request = Inline {
            cookie: self.regions[index].cookie,
            offset: offset as u64,
            segments: &local.in_memory(&self.arenas),
            write: if write { 1 + random.below(3) as u32 } else { 0 },
            bound,
            flags: if random.one_in(3) { uapi::FLAG_PINLOCAL } else { 0 },
        };
        let verdict = self.verdict(index, if write { WRITE } else { READ });
        assert_eq!(self.knem.inline(request), verdict.map(|()| SUCCESS));
        if verdict.is_ok() {
            if write {
                self.moves(&local, 0, &remote, offset, bound);
            } else {
                self.moves(&remote, offset, &local, 0, bound);
            }
            self.used(index);
        }
    }

    fn copy(&mut self, random: &mut Random) {
        if self.regions.is_empty() {
            return;
        }
        let (from, to) = (random.below(self.regions.len()), random.below(self.regions.len()));
        let (source, destination) = (self.regions[from].stream.clone(), self.regions[to].stream.clone());
        if source.arena == destination.arena {
            return;
        }
        let starts = (an_offset(random, source.length()), an_offset(random, destination.length()));
        let bound = a_bound(random);
        let places = ((self.regions[from].cookie, starts.0 as u64), (self.regions[to].cookie, starts.1 as u64));
        let verdict = self.verdict(from, READ).and_then(|()| self.verdict(to, WRITE));
        assert_eq!(self.knem.copy(places.0, places.1, bound, 0), verdict.map(|()| SUCCESS));
        if verdict.is_ok() {
            self.moves(&source, starts.0, &destination, starts.1, bound);
            self.used(from);
            self.used(to);
        }
    }

    fn used(&mut self, index: usize) {
        let region = &mut self.regions[index];
        region.alive &= !region.single_use;
    }

    /// The model: one byte at a time, to the end of the shorter side.
    fn moves(&mut self, from: &Stream, skip: usize, to: &Stream, start: usize, bound: Option<u64>) {
        let bound = bound.and_then(|bound| usize::try_from(bound).ok()).unwrap_or(usize::MAX);
        for (read, write) in from.places().skip(skip).zip(to.places().skip(start)).take(bound) {
            self.expected[to.arena][write] = self.expected[from.arena][read];
        }
    }
}

fn an_offset(random: &mut Random, length: usize) -> usize {
    match random.below(5) {
        0 => length,
        1 => length + random.below(3),
        2 => random.below(length + 1),
        _ => 0,
    }
}

fn a_bound(random: &mut Random) -> Option<u64> {
    match random.below(5) {
        0 => Some(0),
        1 => Some(u64::MAX),
        2 => Some(random.below(10_000) as u64),
        _ => None,
    }
}
