// SPDX-License-Identifier: CECILL-B
//! Regions: a table by cookie, and their access rules.

use nix::errno::Errno;

use super::bug::Bug;
use super::file::lock;
use super::ranges::{self, Range};
use super::Threads;
use crate::command::{Argument, Command, Cookie, Spot};
use crate::counters::Counter;
use crate::system::User;

/// A region.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) file: usize,
    users: Option<User>,
    all_users: bool,
    protection: u32,
    pub(super) once: bool,
    pub(super) ranges: Vec<Range>,
}

impl Threads {
    pub(super) fn create(&mut self, command: &Command) -> Result<(), Errno> {
        let Command::Create { fd, user, list, protection, flags, argument, old } = command else { return Ok(()) };
        let file = self.context(*fd)?;
        if *argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        let ranges = ranges::of_list(list)?;
        let protection = if *old { 1 } else { *protection };
        ranges::pin(&ranges, protection & 2 > 0)?;
        if *argument == Argument::ReadOnly {
            return Err(Errno::EFAULT);
        }
        let flags = (flags | self.settings.forced) & !self.settings.ignored;
        let caller = self.settings.users[*user];
        let number = self.cookies.len() as u64 + 1;
        // Unlike a count, the product with an odd number has bits everywhere.
        let cookie = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.cookies.push(cookie);
        let region = Region {
            file: file.number,
            users: (caller == file.opener).then_some(caller),
            all_users: flags & 0x80 > 0,
            protection,
            once: *old || flags & 0x20 > 0,
            ranges,
        };
        self.table.insert(cookie, region);
        lock(&file.state).used = true;
        Ok(())
    }

    /// Returns the region on which `need` is requested, and its cookie.
    fn look_up(&self, spot: Spot, user: usize, need: u32) -> Result<(u64, Region), Errno> {
        let cookie = spot.cookie.value(&self.cookies);
        let found = if self.has(Bug::HalfACookie) {
            self.table.iter().find(|(known, _)| *known >> 32 == cookie >> 32)
        } else {
            self.table.get_key_value(&cookie)
        };
        let (cookie, region) = found.ok_or(Errno::EINVAL)?;
        let caller = self.settings.users[user];
        let owned = match region.users {
            Some(owner) if self.has(Bug::RealUserOnly) => owner.real == caller.real,
            owner => owner == Some(caller),
        };
        let mut checks = [(owned || region.all_users, Errno::EPERM), (region.protection & need > 0, Errno::EACCES)];
        if self.has(Bug::AccessBeforeOwner) {
            checks.reverse();
        }
        match checks.into_iter().find(|(good, _)| !good) {
            Some((_, errno)) => Err(errno),
            None => Ok((*cookie, region.clone())),
        }
    }

    /// Returns the regions of a request.
    pub(super) fn look_up_all(&mut self, user: usize, spots: &[(Spot, u32)]) -> Result<Vec<(u64, Region)>, Errno> {
        let mut found: Vec<(u64, Region)> = Vec::new();
        for (spot, need) in spots {
            let region = self.look_up(*spot, user, *need);
            let region = region.and_then(|(cookie, region)| match found.iter().any(|other| other.0 == cookie) {
                true if region.once => Err(Errno::EINVAL),
                _ => Ok((cookie, region)),
            });
            match region {
                Ok(region) => found.push(region),
                Err(errno) => {
                    self.add(Counter::RejectedCookie);
                    self.consume(&found, self.has(Bug::RefusedConsumes));
                    return Err(errno);
                }
            }
        }
        Ok(found)
    }

    /// Withdraws single-use regions that were used.
    pub(super) fn consume(&mut self, found: &[(u64, Region)], really: bool) {
        for (cookie, _) in found.iter().filter(|(_, region)| region.once && really) {
            self.table.remove(cookie);
        }
    }

    pub(super) fn destroy(&mut self, fd: usize, cookie: Cookie, argument: Argument) -> Result<(), Errno> {
        let file = self.context(fd)?;
        if argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        let cookie = cookie.value(&self.cookies);
        match self.table.get(&cookie) {
            Some(region) if region.file == file.number => {
                self.table.remove(&cookie);
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }
}
