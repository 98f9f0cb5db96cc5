// SPDX-License-Identifier: CECILL-B
//! Turns a generated command into definite ones, or into none.
//!
//! Picks become numbers. Commands with an unpredictable outcome are avoided: a request whose source and destination
//! overlap, or that reads unknown bytes, is removed; one that conflicts with something in flight (the same memory on
//! another file, the same slot or queue of events from another side) waits for that first.

use super::{Model, MOST_FILES};
use crate::command::{Bind, Command, Cookie, Offset, Request, Spot};
use crate::memory::{CONSTANT, HOLE, TOTAL};

/// Number of recent regions that a pick can refer to.
const RECENT: usize = 24;

impl Model {
    /// Returns the definite commands for a generated one.
    #[must_use]
    pub fn resolve(&self, command: &Command) -> Vec<Command> {
        let Some(definite) = self.definite(command) else { return Vec::new() };
        let Some(waits) = self.must_wait(&definite) else { return Vec::new() };
        let mut commands = if waits { self.settle() } else { Vec::new() };
        if definite != Command::Settle {
            commands.push(definite);
        }
        commands
    }

    /// Returns commands that wait for everything in flight.
    #[must_use]
    pub fn settle(&self) -> Vec<Command> {
        let busy = (0..self.files.len()).filter(|&file| !self.files[file].flying.is_empty());
        busy.map(|file| match self.fds.iter().position(|fd| *fd == Some(file)) {
            Some(fd) => Command::Fence { fd },
            None => {
                let slots = self.files[file].flying.iter().map(|flight| flight.slot).collect();
                Command::Await { file, slots }
            }
        })
        .collect()
    }

    /// Returns the command with numbers for picks, or none if there is nothing to pick from.
    fn definite(&self, command: &Command) -> Option<Command> {
        let mut command = command.clone();
        match &mut command {
            Command::Open { user, .. } => {
                if self.files.iter().filter(|file| file.alive()).count() >= MOST_FILES {
                    return None;
                }
                self.pick_user(user);
            }
            Command::Duplicate { fd }
            | Command::Close { fd, .. }
            | Command::Info { fd, .. }
            | Command::Unknown { fd, .. }
            | Command::Clear { fd } => self.pick_fd(fd)?,
            Command::Map { fd, shape } => {
                self.pick_fd(fd)?;
                if shape.private {
                    // The kernel refuses private mappings that are longer than its memory before it calls the driver.
                    shape.length = shape.length.min(1 << 20);
                }
            }
            Command::Bind { fd, how, .. } => {
                self.pick_fd(fd)?;
                if let Bind::Flags(flags @ (1 | 2 | 4)) = how {
                    // These flags have commands of their own.
                    *flags = 8;
                }
            }
            Command::Unmap { file, .. } => *file = self.pick_mapped(*file)?,
            Command::Poke { file, slot, .. } => {
                *file = self.pick_mapped(*file)?;
                if !self.files[*file].array.writable {
                    return None;
                }
                *slot %= self.slots(*file);
            }
            Command::Create { fd, user, .. } => {
                self.pick_fd(fd)?;
                self.pick_user(user);
            }
            Command::Destroy { fd, cookie, .. } => {
                self.pick_fd(fd)?;
                self.pick_region(cookie)?;
                // Mostly on the file that has the region.
                if let (Cookie::Region(number), true) = (&*cookie, *fd % 4 != 3) {
                    let file = self.regions[*number].file;
                    *fd = self.fds.iter().position(|fd| *fd == Some(file)).unwrap_or(*fd);
                }
            }
            Command::Copy { request, source, destination } => {
                self.pick_request(request)?;
                self.pick_spot(source)?;
                self.pick_spot(destination)?;
            }
            Command::Inline { request, remote, .. } => {
                self.pick_request(request)?;
                self.pick_spot(remote)?;
            }
            Command::Receive { request, cookie, .. } => {
                self.pick_request(request)?;
                self.pick_region(cookie)?;
            }
            Command::Burst { fd, .. } => {
                self.pick_fd(fd)?;
                let file = self.fds[*fd]?;
                if !self.bursts() || self.slots(file) == 0 {
                    return None;
                }
            }
            Command::Read { fd, bytes, blocking, .. } => {
                self.pick_fd(fd)?;
                // A read must not block forever.
                *blocking &= self.outstanding(self.fds[*fd]?) >= (*bytes / 4) as usize;
            }
            Command::Poll { fd, wait } => {
                self.pick_fd(fd)?;
                *wait &= self.outstanding(self.fds[*fd]?) > 0;
            }
            Command::Store { start, length, .. } => {
                *start %= CONSTANT;
                *length = (*length).min(CONSTANT - *start);
            }
            Command::Settle => {}
            // These are only created here.
            Command::Fence { .. } | Command::Await { .. } => return None,
        }
        Some(command)
    }

    fn pick_fd(&self, fd: &mut usize) -> Option<()> {
        let open: Vec<usize> = (0..self.fds.len()).filter(|&fd| self.fds[fd].is_some()).collect();
        *fd = *open.get(fd.checked_rem(open.len())?)?;
        Some(())
    }

    fn pick_user(&self, user: &mut usize) {
        *user %= self.settings.users.len();
    }

    fn pick_mapped(&self, pick: usize) -> Option<usize> {
        let mapped: Vec<usize> = self.mapped().collect();
        mapped.get(pick.checked_rem(mapped.len())?).copied()
    }

    fn pick_region(&self, cookie: &mut Cookie) -> Option<()> {
        if let Cookie::Region(number) | Cookie::Flipped(number, _) = cookie {
            let count = self.regions.len();
            *number = count.checked_sub(1)? - *number % count.min(RECENT);
        }
        Some(())
    }

    fn pick_request(&self, request: &mut Request) -> Option<()> {
        self.pick_fd(&mut request.fd)?;
        self.pick_user(&mut request.user);
        Some(())
    }

    fn pick_spot(&self, spot: &mut Spot) -> Option<()> {
        self.pick_region(&mut spot.cookie)?;
        let seams = match spot.cookie {
            Cookie::Region(number) => &self.regions[number].seams[..],
            _ => &[],
        };
        let length = seams.last().copied().unwrap_or(0);
        spot.offset = Offset::At(match spot.offset {
            Offset::At(offset) => offset,
            Offset::Seam(pick) => pick.checked_rem(seams.len()).map_or(0, |pick| seams[pick]),
            Offset::Part(part) => length * u64::from(part) / 256,
            Offset::PastEnd(more) => length.saturating_add(more),
        });
        Some(())
    }

    /// Returns whether a definite command must wait for what is in flight, or none if its outcome is unpredictable.
    fn must_wait(&self, command: &Command) -> Option<bool> {
        let flying = |file: usize| !self.files[file].flying.is_empty();
        Some(match command {
            Command::Settle => true,
            Command::Close { fd, abrupt } => match self.fds[*fd] {
                Some(file) if self.files[file].descriptors == 1 && flying(file) => {
                    let file = &self.files[file];
                    let mut slots: Vec<u32> = file.flying.iter().map(|flight| flight.slot).collect();
                    slots.sort_unstable();
                    slots.dedup();
                    // Requests of a file with only a mapping are followed by their slots.
                    let followed = slots.len() == file.flying.len();
                    if file.array.mapped {
                        !followed
                    } else {
                        !abrupt
                    }
                }
                _ => false,
            },
            Command::Unmap { file, abrupt } => self.files[*file].descriptors == 0 && flying(*file) && !abrupt,
            Command::Poke { file, slot, .. } => {
                self.files[*file].flying.iter().any(|flight| flight.slot as usize == *slot)
            }
            Command::Store { start, length, .. } => {
                let range = *start..*start + *length;
                self.reading[range.clone()].iter().chain(&self.writing[range]).any(|bits| *bits != 0)
            }
            // The driver first checks whether there is an event.
            Command::Read { fd, absent: true, .. } => self.fds[*fd].is_some_and(flying),
            Command::Burst { fd, empty: true, .. } => self.fds[*fd].is_some_and(flying),
            _ => match self.plan(command) {
                Some(plan) => self.meets(command, &plan)?,
                None => false,
            },
        })
    }

    /// The same for a request.
    fn meets(&self, command: &Command, plan: &super::request::Plan) -> Option<bool> {
        let memory = |bytes: &[u32]| -> Vec<usize> {
            bytes.iter().filter(|&&byte| byte != HOLE).map(|&byte| byte as usize).collect()
        };
        let (reads, writes) = (memory(&plan.reads), memory(&plan.writes));
        if reads.iter().any(|&byte| self.unknown[byte]) {
            return None;
        }
        let mut read = vec![false; TOTAL];
        for &byte in &reads {
            read[byte] = true;
        }
        if writes.iter().any(|&byte| read[byte]) {
            return None;
        }
        let (Command::Copy { request, .. } | Command::Inline { request, .. } | Command::Receive { request, .. }) =
            command
        else {
            return Some(false);
        };
        let file = &self.files[self.fds[request.fd]?];
        // The thread of a file executes its requests one after the other.
        let others = if plan.by_thread { !file.lane } else { u16::MAX };
        let in_memory = reads.iter().any(|&byte| self.writing[byte] & others != 0)
            || writes.iter().any(|&byte| (self.writing[byte] | self.reading[byte]) & others != 0);
        let here =
            |flight: &super::Flight| (plan.slot && flight.slot == request.slot) || (plan.notify && flight.notify);
        Some(in_memory || (!plan.by_thread && file.flying.iter().any(here)))
    }
}
