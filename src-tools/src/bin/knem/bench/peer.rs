// SPDX-License-Identifier: CECILL-B
//! The second process of a benchmark: it owns the memory at the other end, fills it and compares it.

use std::io::{BufRead, Write};

use knem::{Access, Device, Region, RegionFlags};

use super::buffer::Buffer;
use super::evict::Evictor;
use super::pattern::Pattern;
use super::protocol::{Line, Opened, Reply, Request, Way};
use super::shared::Shared;
use super::xpmem::Xpmem;
use crate::exit::Failure;

/// The second process.
pub(crate) struct Second<'a> {
    /// The driver, if the benchmark uses it.
    pub(crate) device: Option<&'a Device>,
    /// The memory that both processes share.
    pub(crate) shared: &'a Shared,
    /// Empties its caches.
    pub(crate) evictor: Evictor,
}

impl Second<'_> {
    /// Serves requests until the first process closes the connection.
    pub(crate) fn serve<R: BufRead, W: Write>(&mut self, line: &mut Line<R, W>) -> Result<(), Failure> {
        while let Some(request) = line.next_request()? {
            let (size, way) = match request {
                Request::Open { size, way } => (size, way),
                // After an error the memory has been released already.
                Request::Close => {
                    line.reply(&Reply::Done)?;
                    continue;
                }
                _ => return Err(Failure::Other("the first process did not open memory".to_owned())),
            };
            if let Err(failure) = self.serve_memory(line, size, way) {
                line.reply(&Reply::Failed(failure.status(), failure.to_string()))?;
            }
        }
        Ok(())
    }

    /// Serves requests on one buffer until it is closed.
    fn serve_memory<R: BufRead, W: Write>(
        &mut self,
        line: &mut Line<R, W>,
        size: usize,
        way: Way,
    ) -> Result<(), Failure> {
        let buffer = Buffer::new(size)?;
        let region = match way {
            Way::ReadRegion => Some(share(self.device, &buffer, Access::Read, RegionFlags::NONE)?),
            Way::WriteRegion => Some(share(self.device, &buffer, Access::Write, RegionFlags::NONE)?),
            Way::Address | Way::Segment => None,
        };
        let xpmem = if way == Way::Segment { Some(Xpmem::open().map_err(Failure::Other)?) } else { None };
        let segment = match &xpmem {
            // SAFETY: the buffer outlives the offer, and this process accesses it only through copies.
            Some(xpmem) => Some(unsafe { xpmem.offer(buffer.address(), size) }?),
            None => None,
        };
        let cookie = region.as_ref().map(|region| region.cookie().as_raw());
        let name = cookie.or_else(|| segment.as_ref().map(|segment| segment.segment() as u64)).unwrap_or(0);
        line.reply(&Reply::Opened(Opened { name, address: buffer.address() }))?;
        while let Some(request) = line.next_request()? {
            let reply = match request {
                Request::Close => {
                    if let Some(region) = region {
                        region.destroy()?;
                    }
                    return line.reply(&Reply::Done);
                }
                Request::Open { .. } => {
                    return Err(Failure::Other("the first process did not close the previous memory".to_owned()));
                }
                Request::Send | Request::Receive | Request::Offer { .. } => {
                    line.reply(&Reply::Done)?;
                    self.take_part(&buffer, request)?;
                    Reply::Done
                }
                Request::Check(iteration) => check(&buffer, Pattern::new(size, iteration)),
                Request::Fill(iteration) => {
                    buffer.fill(Pattern::new(size, iteration));
                    Reply::Done
                }
                Request::Poison(iteration) => {
                    buffer.fill(Pattern::new(size, iteration).poison());
                    Reply::Done
                }
                Request::Evict => {
                    self.evictor.evict();
                    Reply::Done
                }
            };
            line.reply(&reply)?;
        }
        Ok(())
    }

    /// Takes part in a copy that needs both processes.
    fn take_part(&self, buffer: &Buffer, request: Request) -> Result<(), Failure> {
        self.shared.wait_for_go()?;
        match request {
            Request::Send => self.shared.send(buffer.size(), |offset, piece| buffer.copy_out(offset, piece)),
            Request::Receive => {
                self.shared.receive(buffer.size(), |offset, piece| buffer.copy_in(offset, piece))?;
                self.shared.done();
                Ok(())
            }
            Request::Offer { writable } => {
                let access = if writable { Access::Write } else { Access::Read };
                match share(self.device, buffer, access, RegionFlags::SINGLE_USE) {
                    Ok(region) => {
                        self.shared.offer(Some(region.cookie().as_raw()));
                        self.shared.wait_for_done()
                    }
                    Err(failure) => {
                        self.shared.offer(None);
                        Err(failure)
                    }
                }
            }
            _ => Ok(()),
        }
    }
}

fn share<'b>(
    device: Option<&'b Device>,
    buffer: &'b Buffer,
    access: Access,
    flags: RegionFlags,
) -> Result<Region<'b>, Failure> {
    let device = device.ok_or_else(|| Failure::Other("this benchmark does not use the device".to_owned()))?;
    Ok(device.share_memory(buffer.memory(), buffer.part(), access, flags)?)
}

fn check(buffer: &Buffer, pattern: Pattern) -> Reply {
    match buffer.check(pattern) {
        Err(wrong) => Reply::Wrong(wrong),
        Ok(()) if !buffer.surroundings_intact() => Reply::Surroundings,
        Ok(()) => Reply::Done,
    }
}
