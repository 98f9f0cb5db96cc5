// SPDX-License-Identifier: CECILL-B
//! The status array of a file, and its events.

use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;

use super::bug::Bug;
use super::file::lock;
use super::Threads;
use crate::command::{Mode, Shape, FENCE_SLOT};
use crate::outcome::Outcome;

impl Threads {
    /// Maps the status array, which starts the thread.
    pub(super) fn map(&self, fd: usize, shape: Shape) -> Result<(), Errno> {
        let file = self.file(fd)?;
        match (file.mode, shape.private || shape.read_only) {
            (Mode::WriteOnly, _) | (Mode::ReadOnly, false) => return Err(Errno::EACCES),
            (Mode::ReadOnly, true) => return Err(Errno::EBADF),
            (Mode::ReadWrite, _) => {}
        }
        if shape.offset > 0 || shape.private || shape.length > 0x1_0000_0000 {
            return Err(Errno::EINVAL);
        }
        let mut state = lock(&file.state);
        if state.array.is_some() {
            return Err(Errno::EBUSY);
        }
        let pages = shape.length.div_ceil(self.settings.page);
        if pages > self.settings.max_slots / self.settings.page {
            return Err(Errno::ENOMEM);
        }
        let rounded = pages * self.settings.page;
        let slots = if self.has(Bug::SlotsNotRounded) { shape.length.max(FENCE_SLOT.into()) + 1 } else { rounded };
        state.array = Some(vec![0; slots.min(rounded) as usize]);
        (state.mapped, state.used) = (true, true);
        let own = Arc::clone(&file);
        state.thread = Some(std::thread::spawn(move || own.work()));
        Ok(())
    }

    /// Reads events.
    pub(super) fn read(&self, fd: usize, bytes: u32, blocking: bool, absent: bool) -> Result<Outcome, Errno> {
        let file = self.file(fd)?;
        match file.mode {
            Mode::WriteOnly => return Err(Errno::EBADF),
            Mode::ReadOnly => {
                return match (bytes, absent) {
                    (0, _) => Ok(Outcome::Events(Vec::new())),
                    (_, true) => Err(Errno::EFAULT),
                    (_, false) => Ok(Outcome::Text),
                }
            }
            Mode::ReadWrite => {}
        }
        let mut state = lock(&file.state);
        if state.array.is_none() || bytes & 3 > 0 {
            return Err(Errno::EINVAL);
        }
        let (wanted, mut events) = (bytes as usize / 4, Vec::new());
        while events.len() < wanted {
            if absent && !state.events.is_empty() {
                if self.has(Bug::EventsLost) {
                    state.events.pop_front();
                }
                return Err(Errno::EFAULT);
            }
            match state.events.pop_front() {
                Some(event) => events.push(event),
                // A bug must not block the test: no other event can arrive.
                None if blocking && state.idle() => return Err(Errno::EDEADLK),
                None if blocking => state = file.wait_for_thread(state),
                None if events.is_empty() => return Err(Errno::EAGAIN),
                None => break,
            }
        }
        Ok(Outcome::Events(events))
    }

    pub(super) fn poll(&self, fd: usize, wait: bool) -> Result<Outcome, Errno> {
        let file = self.file(fd)?;
        let mut state = lock(&file.state);
        while wait && state.events.is_empty() {
            if state.idle() {
                return Err(Errno::EDEADLK);
            }
            state = file.wait_for_thread(state);
        }
        Ok(Outcome::Ready(match (file.mode, state.array.is_some(), state.events.is_empty()) {
            (Mode::ReadOnly, _, _) | (_, true, false) => libc::POLLIN,
            (_, true, true) => 0,
            (_, false, _) => libc::POLLERR,
        }))
    }
}
