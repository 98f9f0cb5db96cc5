// SPDX-License-Identifier: CECILL-B
//! One timed copy, by any of the methods.
//!
//! The clock starts when the source has its data and the destination may be overwritten. It stops when the last byte is
//! copied and the first process knows it. The messages of an MPI library before and after a copy are the same for all
//! methods and are not measured, except the start signal to the second process where both processes take part (shm,
//! knem-oneshot).

use std::io::{BufRead, IoSlice, IoSliceMut, Write};

use knem::{Access, Cookie, CopyFlags, CopyOptions, Device, RegionFlags, Status, StatusArray, Submission};
use nix::errno::Errno;
use nix::sys::uio::{process_vm_readv, process_vm_writev, RemoteIoVec};
use nix::unistd::Pid;

use super::buffer::Buffer;
use super::clock::Moment;
use super::methods::Method;
use super::protocol::{Line, Opened, Request, Way};
use super::shared::{until, Shared};
use super::xpmem::Attached;
use crate::exit::Failure;

/// The first process.
pub(crate) struct First<'a> {
    /// The driver, if it is used.
    pub(crate) device: Option<&'a Device>,
    /// The status array, if there is one.
    pub(crate) statuses: Option<&'a StatusArray<'a>>,
    /// The memory that both processes share.
    pub(crate) shared: &'a Shared,
    /// The second process.
    pub(crate) peer: Pid,
    /// Flags of KNEM copies.
    pub(crate) flags: CopyFlags,
    /// Methods without a fixed direction copy into the second process.
    pub(crate) write: bool,
}

/// Copies of one size by one method.
pub(crate) struct Transfer<'a> {
    /// The process.
    pub(crate) first: &'a First<'a>,
    /// Method.
    pub(crate) method: Method,
    /// Memory of this process: the destination, or the source when copying into the second process.
    pub(crate) buffer: Buffer,
    /// The source, if it is in this process too.
    pub(crate) source: Option<Buffer>,
    /// Memory of the second process.
    pub(crate) opened: Opened,
    /// Memory of the second process, attached to this one.
    pub(crate) attached: Option<Attached<'a>>,
}

impl First<'_> {
    /// Whether this method copies into the second process.
    pub(crate) fn writes(&self, method: Method) -> bool {
        method.into_peer(self.write)
    }

    /// Returns the access that the method needs to the memory of the second process.
    pub(crate) fn way(&self, method: Method) -> Way {
        match method {
            Method::KnemOneshot | Method::VmRead | Method::VmWrite | Method::Shm | Method::Memcpy => Way::Address,
            Method::Xpmem => Way::Segment,
            _ if self.writes(method) => Way::WriteRegion,
            _ => Way::ReadRegion,
        }
    }

    fn device(&self) -> Result<&Device, Failure> {
        self.device.ok_or_else(|| Failure::Other("this benchmark does not use the device".to_owned()))
    }
}

impl Transfer<'_> {
    /// Copies once; returns the time in nanoseconds.
    pub(crate) fn run<R: BufRead, W: Write>(&mut self, line: &mut Line<R, W>) -> Result<u64, Failure> {
        match self.method {
            Method::KnemCached | Method::KnemWrite | Method::KnemPinned => self.inline(),
            Method::KnemOneshot => self.oneshot(line),
            Method::KnemAsync => self.asynchronous(),
            Method::KnemRegion => self.region(),
            Method::VmRead | Method::VmWrite => self.other_memory(),
            Method::Shm => self.ring(line),
            Method::Xpmem => self.attached(),
            Method::Memcpy => self.local(),
        }
    }

    fn writes(&self) -> bool {
        self.first.writes(self.method)
    }

    fn options(&self) -> CopyOptions {
        let pinned = if self.method == Method::KnemPinned { CopyFlags::PIN_LOCAL } else { CopyFlags::NONE };
        CopyOptions { flags: self.first.flags | pinned, ..CopyOptions::default() }
    }

    fn inline(&mut self) -> Result<u64, Failure> {
        self.inline_with(Cookie::from_raw(self.opened.name), Moment::now)
    }

    /// Copies from or into a region; `start` returns the start time.
    fn inline_with(&mut self, cookie: Cookie, start: impl FnOnce() -> Moment) -> Result<u64, Failure> {
        let (options, into) = (self.options(), self.writes());
        let device = self.first.device()?;
        let body = self.buffer.body_mut();
        let start = start();
        if into {
            device.write(cookie, body, options)?;
        } else {
            device.read(cookie, body, options)?;
        }
        Ok(start.elapsed())
    }

    fn oneshot<R: BufRead, W: Write>(&mut self, line: &mut Line<R, W>) -> Result<u64, Failure> {
        let shared = self.first.shared;
        shared.reset();
        line.ask(Request::Offer { writable: self.writes() })?;
        let start = Moment::now();
        shared.go();
        let copied = match shared.wait_for_offer()? {
            Some(cookie) => self.inline_with(Cookie::from_raw(cookie), || start),
            None => Ok(0),
        };
        shared.done();
        // If there was no region, this reply has the reason.
        line.reply_to_last()?;
        copied
    }

    fn asynchronous(&self) -> Result<u64, Failure> {
        let array = self.first.statuses.ok_or_else(|| {
            Failure::Other("the driver has no status array, which copies by the worker thread need".to_owned())
        })?;
        let (memory, part, options) = (self.buffer.memory(), self.buffer.part(), self.options());
        let cookie = Cookie::from_raw(self.opened.name);
        let submission = Submission::default();
        let start = Moment::now();
        let request = if self.writes() {
            array.write(cookie, memory, part, options, submission)
        } else {
            array.read(cookie, memory, part, options, submission)
        }?;
        until(|| request.status() != Status::Pending)?;
        let elapsed = start.elapsed();
        request.wait()?;
        Ok(elapsed)
    }

    fn region(&self) -> Result<u64, Failure> {
        let device = self.first.device()?;
        let (access, into) = if self.writes() { (Access::Read, true) } else { (Access::Write, false) };
        // The local region is created for each copy, and not measured: the cost of regions is reported separately.
        let here = device.share_memory(self.buffer.memory(), self.buffer.part(), access, RegionFlags::NONE)?;
        let there = Cookie::from_raw(self.opened.name);
        let (from, to) = if into { (here.cookie(), there) } else { (there, here.cookie()) };
        let start = Moment::now();
        device.copy(from, to, 0, self.options())?;
        let elapsed = start.elapsed();
        here.destroy()?;
        Ok(elapsed)
    }

    fn other_memory(&mut self) -> Result<u64, Failure> {
        let (pid, base, size) = (self.first.peer, self.opened.address, self.buffer.size());
        let into = self.writes();
        let mut done = 0;
        let start = Moment::now();
        // A call copies at most 2 GiB.
        while done < size {
            let remote = [RemoteIoVec { base: base + done, len: size - done }];
            let body = &mut self.buffer.body_mut()[done..];
            let moved = if into {
                process_vm_writev(pid, &[IoSlice::new(body)], &remote)
            } else {
                process_vm_readv(pid, &mut [IoSliceMut::new(body)], &remote)
            };
            match moved {
                Ok(0) => return Err(Failure::Other(format!("{} copied nothing", self.method.name()))),
                Ok(moved) => done += moved,
                Err(errno) => return Err(Failure::Other(vm_refused(self.method, errno))),
            }
        }
        Ok(start.elapsed())
    }

    fn ring<R: BufRead, W: Write>(&self, line: &mut Line<R, W>) -> Result<u64, Failure> {
        let (shared, buffer, size) = (self.first.shared, &self.buffer, self.buffer.size());
        shared.reset();
        line.ask(if self.writes() { Request::Receive } else { Request::Send })?;
        let start = Moment::now();
        shared.go();
        if self.writes() {
            shared.send(size, |offset, piece| buffer.copy_out(offset, piece))?;
            shared.wait_for_done()?;
        } else {
            shared.receive(size, |offset, piece| buffer.copy_in(offset, piece))?;
        }
        let elapsed = start.elapsed();
        line.reply_to_last()?;
        Ok(elapsed)
    }

    fn attached(&mut self) -> Result<u64, Failure> {
        let into = self.writes();
        let there = self.attached.as_ref().ok_or_else(|| Failure::Other("nothing is attached".to_owned()))?.start();
        let body = self.buffer.body_mut();
        let start = Moment::now();
        if into {
            // SAFETY: as many bytes are attached, and their owner does not access them before the next request.
            unsafe { std::ptr::copy_nonoverlapping(body.as_ptr(), there, body.len()) };
        } else {
            // SAFETY: as above.
            unsafe { std::ptr::copy_nonoverlapping(there.cast_const(), body.as_mut_ptr(), body.len()) };
        }
        Ok(start.elapsed())
    }

    fn local(&mut self) -> Result<u64, Failure> {
        let source = self.source.as_mut().ok_or_else(|| Failure::Other("there is no source".to_owned()))?.body_mut();
        let body = self.buffer.body_mut();
        let start = Moment::now();
        body.copy_from_slice(std::hint::black_box(source));
        std::hint::black_box(body);
        Ok(start.elapsed())
    }
}

/// Returns the message of an error of process_vm_readv or process_vm_writev.
pub(crate) fn vm_refused(method: Method, errno: Errno) -> String {
    let call = if method == Method::VmWrite { "process_vm_writev" } else { "process_vm_readv" };
    match errno {
        Errno::EPERM => format!(
            "{call} is not permitted: see /proc/sys/kernel/yama/ptrace_scope, and in a container its seccomp profile (SYS_PTRACE)"
        ),
        Errno::ENOSYS => format!("the kernel has no {call} (CONFIG_CROSS_MEMORY_ATTACH), or a sandbox hides it"),
        other => format!("{call}: {}", other.desc()),
    }
}
