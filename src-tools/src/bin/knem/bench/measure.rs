// SPDX-License-Identifier: CECILL-B
//! The first process of a benchmark: it makes the copies, takes the times and compares the bytes.

use std::io::{BufRead, Write};
use std::num::NonZeroUsize;
use std::time::Instant;

use knem::{Access, Cookie, CopyFlags, CopyOptions, Device, Memory, RegionFlags};

use super::buffer::Buffer;
use super::pattern::{Pattern, Wrong};
use super::protocol::{Line, Reply, Request};
use super::report::{RegionCost, Row};
use super::times::Times;
use crate::exit::Failure;
use crate::sizes::format_size;

/// What is measured, for each size.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Copies that count; `None` chooses by size.
    pub(crate) iterations: Option<u32>,
    /// Copies before, that do not count.
    pub(crate) warmup: u32,
    /// Copy into the region rather than from it.
    pub(crate) write: bool,
    /// Compare the bytes of every copy.
    pub(crate) verify: bool,
    /// Also measure creating and destroying a region.
    pub(crate) region_cost: bool,
    /// How copies are made.
    pub(crate) flags: CopyFlags,
}

impl Plan {
    /// Copies that count, for this size.
    pub(crate) fn iterations_of(&self, size: usize) -> u32 {
        const ABOUT: usize = 128 << 20;
        let fitting = u32::try_from(ABOUT / size.max(1)).unwrap_or(u32::MAX).clamp(5, 100);
        self.iterations.unwrap_or(fitting)
    }
}

/// Measures one size.
pub(crate) fn measure<R: BufRead, W: Write>(
    device: &Device,
    peer: &mut Line<R, W>,
    plan: &Plan,
    size: usize,
) -> Result<Row, Failure> {
    let iterations = plan.iterations_of(size);
    let Reply::Shared(region) = peer.ask(Request::Share { size, writable: plan.write })? else {
        return Err(Failure::Other("the second process did not share a region".to_owned()));
    };
    let mut buffer = Buffer::new(size);
    let mut times = Times::default();
    for iteration in 0..plan.warmup.saturating_add(iterations) {
        let one = OneCopy { device, plan, region, iteration, pattern: Pattern::new(size, iteration) };
        let nanoseconds = if plan.write { one.write(peer, &mut buffer) } else { one.read(peer, &mut buffer) }?;
        if iteration >= plan.warmup {
            times.add(nanoseconds);
        }
    }
    peer.ask(Request::Unshare)?;
    let region_cost = if plan.region_cost { Some(region_cost(device, size, iterations)?) } else { None };
    Ok(Row { size, iterations, copy: times.summary(), region_cost, verified: plan.verify })
}

/// One copy of a benchmark.
struct OneCopy<'a> {
    device: &'a Device,
    plan: &'a Plan,
    region: Cookie,
    iteration: u32,
    pattern: Pattern,
}

impl OneCopy<'_> {
    /// From the region; gives the time.
    fn read<R: BufRead, W: Write>(&self, peer: &mut Line<R, W>, buffer: &mut Buffer) -> Result<u64, Failure> {
        if self.plan.verify {
            peer.ask(Request::Fill(self.iteration))?;
            buffer.fill(self.pattern.poison());
        }
        let start = Instant::now();
        self.device.read(self.region, buffer.body_mut(), self.options())?;
        let elapsed = nanoseconds_since(start);
        if self.plan.verify {
            buffer.check(self.pattern).map_err(|wrong| self.wrong(buffer.body().len(), wrong))?;
            if !buffer.surroundings_intact() {
                return Err(self.surroundings(buffer.body().len()));
            }
        }
        Ok(elapsed)
    }

    /// Into the region; gives the time.
    fn write<R: BufRead, W: Write>(&self, peer: &mut Line<R, W>, buffer: &mut Buffer) -> Result<u64, Failure> {
        if self.plan.verify {
            peer.ask(Request::Poison(self.iteration))?;
            buffer.fill(self.pattern);
        }
        let start = Instant::now();
        self.device.write(self.region, buffer.body(), self.options())?;
        let elapsed = nanoseconds_since(start);
        if self.plan.verify {
            // A source is not changed by being copied.
            buffer.check(self.pattern).map_err(|wrong| self.wrong(buffer.body().len(), wrong))?;
            match peer.ask(Request::Check(self.iteration))? {
                Reply::Done => {}
                Reply::Wrong(wrong) => return Err(self.wrong(buffer.body().len(), wrong)),
                _ => return Err(self.surroundings(buffer.body().len())),
            }
        }
        Ok(elapsed)
    }

    fn options(&self) -> CopyOptions {
        CopyOptions { flags: self.plan.flags, ..CopyOptions::default() }
    }

    fn wrong(&self, size: usize, wrong: Wrong) -> Failure {
        let Wrong { offset, expected, found } = wrong;
        Failure::Other(format!(
            "WRONG DATA in copy {} of {}: byte {offset} is {found:#04x} and must be {expected:#04x}",
            self.iteration,
            format_size(size)
        ))
    }

    fn surroundings(&self, size: usize) -> Failure {
        Failure::Other(format!(
            "WRONG DATA in copy {} of {}: bytes outside the destination have changed",
            self.iteration,
            format_size(size)
        ))
    }
}

/// How long creating and destroying a region of this size takes.
fn region_cost(device: &Device, size: usize, iterations: u32) -> Result<RegionCost, Failure> {
    let memory = Memory::new(NonZeroUsize::MIN.saturating_add(size.saturating_sub(1)))?;
    // Pages are there before the first region, as those of a program are.
    for page in (0..size).step_by(4096) {
        memory.write_at(page, &[1]);
    }
    let (mut create, mut destroy) = (Times::default(), Times::default());
    for _ in 0..iterations {
        let start = Instant::now();
        let region = device.share_memory(&memory, 0..size, Access::ReadWrite, RegionFlags::NONE)?;
        create.add(nanoseconds_since(start));
        let start = Instant::now();
        region.destroy()?;
        destroy.add(nanoseconds_since(start));
    }
    Ok(RegionCost { create: create.summary(), destroy: destroy.summary() })
}

fn nanoseconds_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_sizes_are_copied_less_often() {
        let plan = Plan {
            iterations: None,
            warmup: 0,
            write: false,
            verify: true,
            region_cost: false,
            flags: CopyFlags::NONE,
        };
        assert_eq!(plan.iterations_of(1), 100);
        assert_eq!(plan.iterations_of(4 << 20), 32);
        assert_eq!(plan.iterations_of(1 << 30), 5);
        assert_eq!(Plan { iterations: Some(3), ..plan }.iterations_of(1), 3);
    }
}
