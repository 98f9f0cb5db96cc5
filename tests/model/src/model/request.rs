// SPDX-License-Identifier: CECILL-B
//! Requests: the reasons to refuse them, in order, and their effects.

use crate::counters::Counter;
use knem_core::uapi::{
    FLAG_ANY_ASYNC_MASK, FLAG_ANY_COPY_MASK, FLAG_ANY_THREAD_MASK, FLAG_ASYNCDMACOMPLETE, FLAG_DMA, FLAG_MEMCPYTHREAD,
    FLAG_NOTIFY_FD, FLAG_PINLOCAL, PROT_READ, PROT_WRITE, STATUS_FAILED, STATUS_PENDING, STATUS_SUCCESS,
};
use nix::errno::Errno;

use super::{accessible, Flight, Model, Used};
use crate::command::{burst_slot, Argument, Command, Cookie, List, Offset, Request, Spot, BURST_FLAGS};
use crate::memory::{self, Byte, Segment};
use crate::outcome::Outcome;

/// The three kinds of commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The present commands.
    Copy,
    /// `INIT_ASYNC_RECV`.
    Slot,
    /// `SYNC_RECV`.
    Wait,
}

/// One side of a copy.
enum Side<'a> {
    Region(Spot),
    Local(&'a List),
}

/// The effects of a request, if it is not refused.
pub(super) struct Plan {
    /// Bytes that are read and written, in order.
    pub(super) reads: Vec<Byte>,
    pub(super) writes: Vec<Byte>,
    /// Whether the thread executes it.
    pub(super) by_thread: bool,
    /// Whether there is a slot, or an event.
    pub(super) slot: bool,
    pub(super) notify: bool,
}

impl Model {
    pub(super) fn request(&mut self, command: &Command) -> Outcome {
        let Some((way, request, source, destination)) = sides(command) else { return Outcome::Done };
        let outcome = match self.submit(way, request, &source, &destination) {
            Err(errno) => Outcome::Refused(errno),
            Ok(_) if way == Way::Slot => Outcome::Done,
            Ok(status) => Outcome::Status(status.into()),
        };
        match outcome {
            // The copy was made, but its status cannot be returned.
            Outcome::Status(_) if request.argument == Argument::ReadOnly => Outcome::Refused(Errno::EFAULT),
            outcome => outcome,
        }
    }

    /// Returns the effective flags of a request.
    fn flags(&self, way: Way, flags: u32) -> u32 {
        let flags = (flags | self.settings.forced) & !self.settings.ignored & FLAG_ANY_COPY_MASK;
        match way {
            Way::Wait => flags & !FLAG_ANY_ASYNC_MASK,
            Way::Copy | Way::Slot => flags,
        }
    }

    fn submit(&mut self, way: Way, request: &Request, source: &Side<'_>, destination: &Side<'_>) -> Result<u8, Errno> {
        let file = self.context(request.fd)?;
        if request.argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        let given = (request.flags | self.settings.forced) & !self.settings.ignored;
        let flags = self.flags(way, request.flags);
        let slots = self.slots(file);
        self.used(file, Used::Perhaps);

        if (way == Way::Slot || flags & FLAG_ANY_ASYNC_MASK != 0) && request.slot as usize >= slots {
            return Err(Errno::EINVAL);
        }
        let notify = flags & FLAG_NOTIFY_FD != 0;
        match way {
            Way::Copy if notify && (flags & FLAG_ANY_THREAD_MASK == 0 || flags & FLAG_ASYNCDMACOMPLETE != 0) => {
                return Err(Errno::EINVAL);
            }
            Way::Slot if notify && flags & FLAG_ASYNCDMACOMPLETE != 0 => return Err(Errno::EINVAL),
            Way::Wait if given & FLAG_NOTIFY_FD != 0 => return Err(Errno::EINVAL),
            _ => {}
        }

        self.count(Counter::Submitted);
        if flags & FLAG_DMA != 0 {
            // There is no DMA channel.
            self.count(Counter::RejectedFlags);
            return Err(Errno::EINVAL);
        }
        if notify && self.files[file].events.len() == slots {
            return Err(Errno::EBUSY);
        }
        for side in [source, destination] {
            if let Side::Local(list) = side {
                let refused = match list {
                    List::TooLong => Some((Counter::RejectedMemory, Errno::ENOMEM)),
                    List::Absent(_) => Some((Counter::RejectedArgument, Errno::EFAULT)),
                    List::Of(segments) if segments.iter().any(Segment::absurd) => {
                        Some((Counter::RejectedArgument, Errno::EFAULT))
                    }
                    List::Of(_) => None,
                };
                if let Some((counter, errno)) = refused {
                    self.count(counter);
                    return Err(errno);
                }
            }
        }
        if let Err(errno) = self.find(request.user, source, destination) {
            self.count(Counter::RejectedCookie);
            return Err(errno);
        }
        self.count(Counter::Processed);
        let by_thread = flags & FLAG_MEMCPYTHREAD != 0;
        let pinned = by_thread || flags & FLAG_PINLOCAL != 0;
        let (from, to) = (self.bytes(source), self.bytes(destination));
        let count = from.len().min(to.len()).min(bound(request));
        for (side, write) in [(source, false), (destination, true)] {
            let Side::Local(list) = side else { continue };
            if pinned || (!write && self.settings.pin_reads) {
                // The thread's requests pin all of the memory. The others pin only what they copy, window by window: a
                // later window that cannot be pinned makes the copy fail.
                let list = local(list);
                let first = if by_thread { &list[..] } else { &list[..count.min(1)] };
                if first.iter().any(|&byte| !accessible(byte, write)) {
                    self.count(Counter::RejectedPin);
                    return Err(Errno::EFAULT);
                }
                self.count(Counter::ProcessedPinned);
            }
        }

        // Accepted.
        self.used(file, Used::Yes);
        for side in [source, destination] {
            if let Side::Region(Spot { cookie: Cookie::Region(number), .. }) = side {
                let region = &mut self.regions[*number];
                region.alive &= !region.single_use;
            }
        }
        let in_slot = way == Way::Slot || flags & FLAG_ANY_ASYNC_MASK != 0;
        let (from, to) = (&from[..count], &to[..count]);
        let (status, returned) = if count == 0 {
            (STATUS_SUCCESS, if in_slot { STATUS_PENDING } else { STATUS_SUCCESS })
        } else if by_thread {
            self.count(Counter::ProcessedThread);
            self.fly(file, request.slot, notify, from, to);
            (STATUS_SUCCESS, STATUS_PENDING)
        } else {
            let status = self.carry(from, to);
            if status == STATUS_FAILED {
                self.count(Counter::FailedUserCopy);
            }
            (status, status)
        };
        if in_slot {
            if let Some(slots) = &mut self.files[file].array.slots {
                slots[request.slot as usize] = status;
            }
        }
        if notify {
            let file = &mut self.files[file];
            file.events.push_back(request.slot);
            if returned != STATUS_PENDING || count == 0 {
                // All earlier events have arrived: sequences are arranged so.
                file.arrived = file.events.len();
            }
        }
        Ok(returned)
    }

    /// Copies byte by byte.
    fn carry(&mut self, from: &[Byte], to: &[Byte]) -> u8 {
        let good = from.iter().all(|&byte| accessible(byte, false)) && to.iter().all(|&byte| accessible(byte, true));
        if !good {
            // The driver may copy up to the failure or not, and in any order.
            self.unsure = to.iter().copied().filter(|&byte| accessible(byte, true)).collect();
            return STATUS_FAILED;
        }
        for (from, to) in from.iter().zip(to) {
            self.memory[*to as usize] = self.memory[*from as usize];
        }
        STATUS_SUCCESS
    }

    /// Copies, and records that the copy may not have happened yet.
    fn fly(&mut self, file: usize, slot: u32, notify: bool, from: &[Byte], to: &[Byte]) {
        self.carry(from, to);
        let lane = self.files[file].lane;
        for byte in from {
            self.reading[*byte as usize] |= lane;
        }
        for byte in to {
            self.writing[*byte as usize] |= lane;
        }
        self.files[file].flying.push(Flight { slot, notify, writes: to.to_vec() });
    }

    /// Checks whether a user may use the regions of both sides.
    fn find(&self, user: usize, source: &Side<'_>, destination: &Side<'_>) -> Result<(), Errno> {
        let mut claimed = None;
        for (side, need) in [(source, PROT_READ), (destination, PROT_WRITE)] {
            let Side::Region(spot) = side else { continue };
            let Cookie::Region(number) = spot.cookie else { return Err(Errno::EINVAL) };
            let region = &self.regions[number];
            if !region.alive {
                return Err(Errno::EINVAL);
            }
            if !region.any_user && region.owner != Some(self.user(user)) {
                return Err(Errno::EPERM);
            }
            if region.protection & need == 0 {
                return Err(Errno::EACCES);
            }
            // Both sides cannot be the same single-use region.
            if region.single_use && claimed.replace(number) == Some(number) {
                return Err(Errno::EINVAL);
            }
        }
        Ok(())
    }

    /// Returns the bytes of a side, from its offset on.
    fn bytes(&self, side: &Side<'_>) -> Vec<Byte> {
        match side {
            Side::Local(list) => local(list),
            Side::Region(Spot { cookie: Cookie::Region(number), offset: Offset::At(offset) }) => {
                let start = usize::try_from(*offset).unwrap_or(usize::MAX);
                self.regions[*number].bytes.get(start..).unwrap_or(&[]).to_vec()
            }
            Side::Region(_) => Vec::new(),
        }
    }

    /// Returns the effects of a request, none for other commands.
    pub(super) fn plan(&self, command: &Command) -> Option<Plan> {
        let (way, request, source, destination) = sides(command)?;
        let (mut reads, mut writes) = (self.bytes(&source), self.bytes(&destination));
        let count = reads.len().min(writes.len()).min(bound(request));
        reads.truncate(count);
        writes.truncate(count);
        let flags = self.flags(way, request.flags);
        Some(Plan {
            by_thread: flags & FLAG_MEMCPYTHREAD != 0 && count != 0,
            slot: way == Way::Slot || flags & FLAG_ANY_ASYNC_MASK != 0,
            notify: flags & FLAG_NOTIFY_FD != 0,
            reads,
            writes,
        })
    }

    pub(super) fn burst(&mut self, fd: usize, count: u32, empty: bool) -> Outcome {
        let file = match self.context(fd) {
            Ok(file) => file,
            Err(errno) => return Outcome::Refused(errno),
        };
        let (mut accepted, mut refused) = (0, 0);
        for n in 0..count {
            self.count(Counter::Submitted);
            if self.files[file].events.len() == self.slots(file) {
                refused += 1;
                continue;
            }
            accepted += 1;
            self.count(Counter::Processed);
            self.used(file, Used::Yes);
            let slot = burst_slot(n);
            if let Some(slots) = &mut self.files[file].array.slots {
                slots[slot as usize] = STATUS_SUCCESS;
            }
            self.files[file].events.push_back(slot);
            if empty {
                self.files[file].arrived = self.files[file].events.len();
            } else {
                self.count(Counter::ProcessedThread);
                // Its memory is its own, which no other request uses.
                self.files[file].flying.push(Flight { slot, notify: true, writes: Vec::new() });
            }
        }
        Outcome::Burst(accepted, refused)
    }

    /// Whether the driver, with its settings, accepts a burst's requests.
    pub(super) fn bursts(&self) -> bool {
        let flags = self.flags(Way::Copy, BURST_FLAGS);
        flags & BURST_FLAGS == BURST_FLAGS && flags & (FLAG_DMA | FLAG_ASYNCDMACOMPLETE) == 0
    }
}

/// Returns a request's kind and its sides: source, destination.
fn sides(command: &Command) -> Option<(Way, &Request, Side<'_>, Side<'_>)> {
    Some(match command {
        Command::Copy { request, source, destination } => {
            (Way::Copy, request, Side::Region(*source), Side::Region(*destination))
        }
        Command::Inline { request, local, write: 0, remote } => {
            (Way::Copy, request, Side::Region(*remote), Side::Local(local))
        }
        Command::Inline { request, local, remote, .. } => {
            (Way::Copy, request, Side::Local(local), Side::Region(*remote))
        }
        Command::Receive { request, local, cookie, wait } => {
            let way = if *wait { Way::Wait } else { Way::Slot };
            let source = Side::Region(Spot { cookie: *cookie, offset: Offset::At(0) });
            (way, request, source, Side::Local(local))
        }
        _ => return None,
    })
}

fn local(list: &List) -> Vec<Byte> {
    match list {
        List::Of(segments) => memory::bytes(segments),
        _ => Vec::new(),
    }
}

/// Returns the bound of a request in bytes, limited to what the memory can have.
fn bound(request: &Request) -> usize {
    request.bound.map_or(usize::MAX, |bound| usize::try_from(bound).unwrap_or(usize::MAX))
}
