// SPDX-License-Identifier: CECILL-B
//! The second process of a benchmark: it owns the regions, fills them and looks at them.

use std::io::{BufRead, Write};
use std::num::NonZeroUsize;

use knem::{Access, Device, Memory, RegionFlags};

use super::buffer::{GUARD, GUARD_BYTE};
use super::pattern::{is_all, Pattern, CHUNK};
use super::protocol::{Line, Reply, Request};
use crate::exit::Failure;

/// Answers requests until the first process goes.
pub(crate) fn serve<R: BufRead, W: Write>(device: &Device, line: &mut Line<R, W>) -> Result<(), Failure> {
    while let Some(request) = line.next_request()? {
        let Request::Share { size, writable } = request else {
            return Err(Failure::Other("the first process forgot to ask for a region".to_owned()));
        };
        if let Err(failure) = serve_region(device, line, size, writable) {
            line.reply(&Reply::Failed(failure.status(), failure.to_string()))?;
        }
    }
    Ok(())
}

/// Answers requests about one region, until it is withdrawn.
fn serve_region<R: BufRead, W: Write>(
    device: &Device,
    line: &mut Line<R, W>,
    size: usize,
    writable: bool,
) -> Result<(), Failure> {
    let body = GUARD..GUARD + size;
    let memory = Memory::new(NonZeroUsize::MIN.saturating_add(body.end + GUARD - 1))?;
    for guard in [0, body.end] {
        memory.write_at(guard, &[GUARD_BYTE; GUARD]);
    }
    let contents = Contents { memory: &memory, size };
    contents.fill(Pattern::new(size, 0));
    let access = if writable { Access::Write } else { Access::Read };
    let region = device.share_memory(&memory, body, access, RegionFlags::NONE)?;
    line.reply(&Reply::Shared(region.cookie()))?;
    while let Some(request) = line.next_request()? {
        match request {
            Request::Fill(iteration) => contents.fill(Pattern::new(size, iteration)),
            Request::Poison(iteration) => contents.fill(Pattern::new(size, iteration).poison()),
            Request::Check(iteration) => {
                line.reply(&contents.check(Pattern::new(size, iteration)))?;
                continue;
            }
            Request::Unshare => {
                region.destroy()?;
                return line.reply(&Reply::Done);
            }
            Request::Share { .. } => {
                return Err(Failure::Other("the first process forgot to withdraw a region".to_owned()));
            }
        }
        line.reply(&Reply::Done)?;
    }
    Ok(())
}

/// The bytes of the region, and those around it.
struct Contents<'a> {
    memory: &'a Memory,
    size: usize,
}

impl Contents<'_> {
    fn fill(&self, pattern: Pattern) {
        let mut chunk = [0; CHUNK];
        for start in (0..self.size).step_by(CHUNK) {
            let chunk = &mut chunk[..CHUNK.min(self.size - start)];
            pattern.fill(start, chunk);
            self.memory.write_at(GUARD + start, chunk);
        }
    }

    fn check(&self, pattern: Pattern) -> Reply {
        let mut chunk = [0; CHUNK];
        for start in (0..self.size).step_by(CHUNK) {
            let chunk = &mut chunk[..CHUNK.min(self.size - start)];
            self.memory.read_at(GUARD + start, chunk);
            if let Err(wrong) = pattern.check(start, chunk) {
                return Reply::Wrong(wrong);
            }
        }
        for guard in [0, GUARD + self.size] {
            let chunk = &mut chunk[..GUARD];
            self.memory.read_at(guard, chunk);
            if !is_all(chunk, GUARD_BYTE) {
                return Reply::Surroundings;
            }
        }
        Reply::Done
    }
}
