// SPDX-License-Identifier: CECILL-B
//! Overlap of a copy by the worker thread with work of the process.
//!
//! The formula is that of the Intel MPI Benchmarks: `(copy + work - together) / min(copy, work)`, of three times taken
//! one after the other. The work takes about as long as the copy, in the first process, on its CPU.

use std::hint::black_box;
use std::io::{BufRead, Write};

use knem::{Access, Cookie, CopyOptions, Device, RegionFlags, Request, Status, StatusArray, Submission};

use super::buffer::Buffer;
use super::clock::Moment;
use super::protocol::{self, Line, Reply, Way};
use super::shared::until;
use super::times::{Summary, Times};
use super::transfer::First;
use crate::exit::Failure;

/// Overlap of one size.
#[derive(Clone, Debug)]
pub(crate) struct Overlap {
    /// Size of each copy.
    pub(crate) size: usize,
    /// From region to region, instead of into memory of the process.
    pub(crate) regions: bool,
    /// Time until a request was accepted.
    pub(crate) submit: Summary,
    /// Time of the copy alone.
    pub(crate) copy: Summary,
    /// Time of copy and work together.
    pub(crate) together: Summary,
    /// Median of the overlapped part of the copy, in thousandths.
    pub(crate) hidden_permille: u64,
}

/// Measures it for a size, for both kinds of copies.
///
/// # Errors
/// When the driver refuses a request, or the second process fails.
pub(crate) fn measure<R: BufRead, W: Write>(
    first: &First<'_>,
    line: &mut Line<R, W>,
    size: usize,
    iterations: u32,
) -> Result<Vec<Overlap>, Failure> {
    let (Some(device), Some(statuses)) = (first.device, first.statuses) else { return Ok(Vec::new()) };
    let Reply::Opened(opened) = line.ask(protocol::Request::Open { size, way: Way::ReadRegion })? else {
        return Err(Failure::Other("the second process has no memory".to_owned()));
    };
    let copies =
        Copies { device, statuses, source: Cookie::from_raw(opened.name), buffer: Buffer::new(size)?, iterations };
    let measured = [false, true].into_iter().map(|regions| copies.measure(regions)).collect();
    line.ask(protocol::Request::Close)?;
    measured
}

struct Copies<'a> {
    device: &'a Device,
    statuses: &'a StatusArray<'a>,
    source: Cookie,
    buffer: Buffer,
    iterations: u32,
}

impl Copies<'_> {
    fn measure(&self, regions: bool) -> Result<Overlap, Failure> {
        let (memory, part) = (self.buffer.memory(), self.buffer.part());
        let target = self.device.share_memory(memory, part.clone(), Access::Write, RegionFlags::NONE)?;
        let submit = || {
            let (options, submission) = (CopyOptions::default(), Submission::default());
            if regions {
                self.statuses.copy(self.source, target.cookie(), 0, options, submission)
            } else {
                self.statuses.read(self.source, memory, part.clone(), options, submission)
            }
        };
        let (mut submits, mut copies, mut both) = (Times::default(), Times::default(), Times::default());
        let mut hidden = Vec::new();
        // The first is not counted: it starts the thread and calibrates the work.
        for number in 0..=self.iterations {
            let start = Moment::now();
            let request = submit()?;
            let submitted = start.elapsed();
            finish(request)?;
            let copy = start.elapsed();
            let turns = turns_of(copy);
            let start = Moment::now();
            work(turns);
            let worked = start.elapsed();
            let start = Moment::now();
            let request = submit()?;
            work(turns);
            finish(request)?;
            let together = start.elapsed();
            if number > 0 {
                submits.add(submitted);
                copies.add(copy);
                both.add(together);
                hidden.push(permille(copy, worked, together));
            }
        }
        target.destroy()?;
        Ok(Overlap {
            size: self.buffer.size(),
            regions,
            submit: submits.summary(),
            copy: copies.summary(),
            together: both.summary(),
            hidden_permille: median(hidden),
        })
    }
}

fn finish(request: Request<'_>) -> Result<(), Failure> {
    until(|| request.status() != Status::Pending)?;
    Ok(request.wait()?)
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The formula, in thousandths, from 0 to 1000.
fn permille(copy: u64, work: u64, together: u64) -> u64 {
    let hidden = (copy + work).saturating_sub(together);
    (hidden.saturating_mul(1000) / copy.min(work).max(1)).min(1000)
}

/// Returns the number of turns of [`work`] that take about so many nanoseconds.
fn turns_of(nanoseconds: u64) -> u64 {
    const SAMPLE: u64 = 10_000;
    let start = Moment::now();
    work(SAMPLE);
    nanoseconds.saturating_mul(SAMPLE) / start.elapsed().max(1) + 1
}

/// Computes without memory accesses.
fn work(turns: u64) {
    let mut state = black_box(1u64);
    for _ in 0..turns {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
    black_box(state);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_is_that_of_imb() {
        assert_eq!(permille(100, 100, 200), 0);
        assert_eq!(permille(100, 100, 100), 1000);
        assert_eq!(permille(100, 120, 145), 750);
        // Noise: never below 0 or above 1000.
        assert_eq!((permille(100, 100, 500), permille(100, 100, 50)), (0, 1000));
        assert_eq!(permille(0, 0, 1), 0);
    }

    #[test]
    fn work_takes_as_long_as_it_is_to() {
        let turns = turns_of(2_000_000);
        let start = Moment::now();
        work(turns);
        // The CPU may be taken away, and is not faster than it is.
        assert!(start.elapsed() > 200_000);
    }
}
