// SPDX-License-Identifier: CECILL-B
//! The first process of a benchmark: it makes the copies in a shuffled order and compares the bytes.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::num::NonZeroUsize;

use knem::{Access, Device, Memory, RegionFlags};

use super::buffer::Buffer;
use super::clock::Moment;
use super::evict::Evictor;
use super::methods::Method;
use super::order::{share, Shuffler};
use super::pattern::{Pattern, Wrong};
use super::protocol::{Line, Opened, Reply, Request};
use super::results::{RegionCost, Row};
use super::times::{Summary, Times};
use super::transfer::{First, Transfer};
use super::xpmem::Xpmem;
use crate::exit::Failure;
use crate::sizes::format_size;

/// The copies to measure.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Methods.
    pub(crate) methods: Vec<Method>,
    /// Sizes, in the order of the report.
    pub(crate) sizes: Vec<usize>,
    /// Measured copies of each method and size; `None` chooses by size.
    pub(crate) iterations: Option<u32>,
    /// Few copies, if chosen by size.
    pub(crate) quick: bool,
    /// Rounds that the copies are spread over.
    pub(crate) rounds: u32,
    /// Unmeasured copies at the start of each round.
    pub(crate) warmup: u32,
    /// Compare the bytes of every copy.
    pub(crate) verify: bool,
    /// Seed of the order.
    pub(crate) seed: u64,
}

/// A method and a size: a row of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    size: usize,
    method: Method,
}

impl Plan {
    /// Returns the number of measured copies of this size.
    pub(crate) fn iterations_of(&self, size: usize) -> u32 {
        let (about, least, most) = if self.quick { (16 << 20, 5, 30) } else { (128 << 20, 10, 100) };
        let fitting: usize = about / size.max(1);
        self.iterations.unwrap_or(u32::try_from(fitting).unwrap_or(u32::MAX).clamp(least, most))
    }

    /// Returns every method of every size, in the order of the report.
    fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.sizes.iter().flat_map(|size| self.methods.iter().map(|method| Cell { size: *size, method: *method }))
    }

    /// Returns the cells in the order of a round: the sizes are shuffled, and so are the methods of a size, which are
    /// consecutive. So compared methods are measured within moments, in which the speed of the machine changes little.
    fn order(&self, shuffler: &mut Shuffler) -> Vec<Cell> {
        let mut sizes = self.sizes.clone();
        shuffler.shuffle(&mut sizes);
        let mut order = Vec::new();
        for size in sizes {
            let mut methods = self.methods.clone();
            shuffler.shuffle(&mut methods);
            order.extend(methods.into_iter().map(|method| Cell { size, method }));
        }
        order
    }

    /// Returns the number of all measured copies.
    pub(crate) fn copies(&self) -> u64 {
        let of_sizes: u64 = self.sizes.iter().map(|size| u64::from(self.iterations_of(*size))).sum();
        of_sizes.saturating_mul(self.methods.len() as u64)
    }
}

/// Measures everything. `progress` is called after each visit with the number of its copies.
pub(crate) fn measure<R: BufRead, W: Write>(
    first: &First<'_>,
    line: &mut Line<R, W>,
    plan: &Plan,
    mut evictor: Option<&mut Evictor>,
    mut progress: impl FnMut(Method, usize, u64),
) -> Result<Vec<Row>, Failure> {
    let mut times: BTreeMap<Cell, Times> = BTreeMap::new();
    let mut made: BTreeMap<Cell, u32> = BTreeMap::new();
    let mut shuffler = Shuffler::new(plan.seed);
    for round in 0..plan.rounds.max(1) {
        for cell in plan.order(&mut shuffler) {
            let count = share(plan.iterations_of(cell.size), plan.rounds, round);
            if count == 0 {
                continue;
            }
            // Contents differ from copy to copy, over all rounds.
            let made = made.entry(cell).or_default();
            let visit = Visit { plan, count, from: *made };
            let times = times.entry(cell).or_default();
            visit.run(first, line, cell, evictor.as_deref_mut(), times)?;
            times.end_of_round(round);
            *made = made.saturating_add(plan.warmup).saturating_add(count);
            progress(cell.method, cell.size, count.into());
        }
    }
    // A size that was given twice has two equal rows.
    let row = |cell: Cell| {
        let times = times.get(&cell).cloned().unwrap_or_default();
        Row {
            method: cell.method,
            into_peer: first.writes(cell.method),
            size: cell.size,
            rounds: times.rounds().clone(),
            times: times.summary(),
            verified: plan.verify,
        }
    };
    Ok(plan.cells().map(row).collect())
}

/// Consecutive copies of one cell.
struct Visit<'a> {
    plan: &'a Plan,
    count: u32,
    from: u32,
}

impl Visit<'_> {
    /// Makes them. The second process releases its memory even after an error.
    fn run<R: BufRead, W: Write>(
        &self,
        first: &First<'_>,
        line: &mut Line<R, W>,
        cell: Cell,
        evictor: Option<&mut Evictor>,
        times: &mut Times,
    ) -> Result<(), Failure> {
        let outcome = self.copies(first, line, cell, evictor, times);
        let closed = line.ask(Request::Close);
        outcome?;
        closed.map(drop)
    }

    fn copies<R: BufRead, W: Write>(
        &self,
        first: &First<'_>,
        line: &mut Line<R, W>,
        cell: Cell,
        mut evictor: Option<&mut Evictor>,
        times: &mut Times,
    ) -> Result<(), Failure> {
        let Cell { size, method } = cell;
        let xpmem = if method == Method::Xpmem { Some(Xpmem::open().map_err(Failure::Other)?) } else { None };
        let opened = open(first, line, cell)?;
        let attached = match &xpmem {
            Some(xpmem) => Some(xpmem.attach(opened.name as i64, size)?),
            None => None,
        };
        let source = if method == Method::Memcpy { Some(Buffer::new(size)?) } else { None };
        let mut transfer = Transfer { first, method, buffer: Buffer::new(size)?, source, opened, attached };
        for number in 0..self.plan.warmup.saturating_add(self.count) {
            let copy = Copy { cell, iteration: self.from.saturating_add(number), into: first.writes(method) };
            if self.plan.verify {
                copy.prepare(line, &transfer)?;
            }
            if let Some(evictor) = evictor.as_deref_mut() {
                line.ask(Request::Evict)?;
                evictor.evict();
            }
            let nanoseconds = transfer.run(line)?;
            if self.plan.verify {
                copy.check(line, &transfer)?;
            }
            if number >= self.plan.warmup {
                times.add(nanoseconds);
            }
        }
        Ok(())
    }
}

fn open<R: BufRead, W: Write>(first: &First<'_>, line: &mut Line<R, W>, cell: Cell) -> Result<Opened, Failure> {
    match line.ask(Request::Open { size: cell.size, way: first.way(cell.method) })? {
        Reply::Opened(opened) => Ok(opened),
        _ => Err(Failure::Other("the second process has no memory".to_owned())),
    }
}

/// Tries a method with one byte.
pub(crate) fn try_once<R: BufRead, W: Write>(
    first: &First<'_>,
    line: &mut Line<R, W>,
    method: Method,
) -> Result<(), Failure> {
    let plan = Plan {
        methods: vec![method],
        sizes: vec![1],
        iterations: Some(1),
        quick: true,
        rounds: 1,
        warmup: 0,
        verify: true,
        seed: 0,
    };
    measure(first, line, &plan, None, |_, _, _| {}).map(drop)
}

/// One copy, with its expected contents.
struct Copy {
    cell: Cell,
    iteration: u32,
    into: bool,
}

impl Copy {
    fn pattern(&self) -> Pattern {
        Pattern::new(self.cell.size, self.iteration)
    }

    /// Fills the source with the contents, and every byte of the destination with another value.
    fn prepare<R: BufRead, W: Write>(&self, line: &mut Line<R, W>, transfer: &Transfer<'_>) -> Result<(), Failure> {
        let (contents, poison) = (self.pattern(), self.pattern().poison());
        if let Some(source) = &transfer.source {
            source.fill(contents);
            transfer.buffer.fill(poison);
        } else if self.into {
            line.ask(Request::Poison(self.iteration))?;
            transfer.buffer.fill(contents);
        } else {
            line.ask(Request::Fill(self.iteration))?;
            transfer.buffer.fill(poison);
        }
        Ok(())
    }

    /// Compares the destination, and the source if it is in this process: copying must not change it.
    fn check<R: BufRead, W: Write>(&self, line: &mut Line<R, W>, transfer: &Transfer<'_>) -> Result<(), Failure> {
        for buffer in [Some(&transfer.buffer), transfer.source.as_ref()].into_iter().flatten() {
            buffer.check(self.pattern()).map_err(|wrong| self.wrong(wrong))?;
            if !buffer.surroundings_intact() {
                return Err(self.surroundings());
            }
        }
        if self.into {
            match line.ask(Request::Check(self.iteration))? {
                Reply::Done => {}
                Reply::Wrong(wrong) => return Err(self.wrong(wrong)),
                _ => return Err(self.surroundings()),
            }
        }
        Ok(())
    }

    fn wrong(&self, Wrong { offset, expected, found }: Wrong) -> Failure {
        Failure::Other(format!("WRONG DATA in {self}: byte {offset} is {found:#04x} and must be {expected:#04x}"))
    }

    fn surroundings(&self) -> Failure {
        Failure::Other(format!("WRONG DATA in {self}: bytes outside the destination have changed"))
    }
}

impl std::fmt::Display for Copy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "copy {} of {} by {}", self.iteration, format_size(self.cell.size), self.cell.method.name())
    }
}

/// Number of requests that [`null_call`] measures.
const NULL_CALLS: u32 = 1000;

/// Returns the median time of a request without effect, in nanoseconds.
pub(crate) fn null_call(device: &Device) -> Result<u64, Failure> {
    let mut times = Times::default();
    for _ in 0..NULL_CALLS {
        let start = Moment::now();
        device.query()?;
        times.add(start.elapsed());
    }
    Ok(times.summary().median_ns)
}

/// Measures the time to create and destroy a region of this size.
pub(crate) fn region_cost(device: &Device, size: usize, iterations: u32) -> Result<RegionCost, Failure> {
    let memory = Memory::new(NonZeroUsize::MIN.saturating_add(size.saturating_sub(1)))?;
    // Fault the pages in before the first region, as a program would have.
    for page in (0..size).step_by(4096) {
        memory.write_at(page, &[1]);
    }
    let (mut create, mut destroy) = (Times::default(), Times::default());
    for _ in 0..iterations {
        let start = Moment::now();
        let region = device.share_memory(&memory, 0..size, Access::ReadWrite, RegionFlags::NONE)?;
        create.add(start.elapsed());
        let start = Moment::now();
        region.destroy()?;
        destroy.add(start.elapsed());
    }
    let (create, destroy): (Summary, Summary) = (create.summary(), destroy.summary());
    Ok(RegionCost { size, create, destroy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_sizes_are_copied_less_often() {
        let plan = Plan {
            methods: vec![Method::Shm, Method::Memcpy],
            sizes: vec![1, 1 << 30],
            iterations: None,
            quick: false,
            rounds: 5,
            warmup: 0,
            verify: true,
            seed: 1,
        };
        assert_eq!(plan.iterations_of(1), 100);
        assert_eq!(plan.iterations_of(4 << 20), 32);
        assert_eq!(plan.iterations_of(1 << 30), 10);
        assert_eq!(plan.copies(), 220);
        assert_eq!(Plan { quick: true, ..plan.clone() }.iterations_of(1 << 20), 16);
        assert_eq!(Plan { iterations: Some(3), ..plan }.iterations_of(1), 3);
    }
}
