// SPDX-License-Identifier: CECILL-B
//! Requests that the system makes itself: bursts and fences.

use nix::errno::Errno;

use super::file::{lock, Work};
use super::ranges::Move;
use super::Threads;
use crate::command::{burst_slot, FENCE_SLOT};
use crate::counters::Counter;
use crate::outcome::Outcome;

impl Threads {
    /// Makes the requests of a burst, and returns how many were accepted.
    pub(super) fn burst(&mut self, fd: usize, count: u32, empty: bool) -> Outcome {
        let (mut accepted, mut refused) = (0, 0);
        for n in 0..count {
            let moves = if empty { Vec::new() } else { vec![(0, 0, 1)] };
            match self.own(fd, burst_slot(n), true, moves) {
                Ok(()) => accepted += 1,
                Err(Errno::EBUSY) => refused += 1,
                Err(errno) => return Outcome::Refused(errno),
            }
        }
        Outcome::Burst(accepted, refused)
    }

    /// Makes another request, and waits for everything before it.
    pub(super) fn fence(&mut self, fd: usize) -> Result<(), Errno> {
        self.own(fd, FENCE_SLOT, false, vec![(0, 0, 1)])?;
        self.context(fd)?.settle();
        Ok(())
    }

    fn own(&mut self, fd: usize, slot: u32, notify: bool, moves: Vec<Move>) -> Result<(), Errno> {
        let file = self.context(fd)?;
        self.add(Counter::Submitted);
        let mut state = lock(&file.state);
        if notify {
            self.room_for_an_event(&state)?;
        }
        state.used = true;
        if let Some(array) = &mut state.array {
            array[slot as usize] = u8::from(moves.is_empty());
        }
        if moves.is_empty() {
            state.events.push_back(slot);
        } else {
            file.hand_over(&mut state, Work { moves, slot, notify });
            self.add(Counter::ProcessedThread);
        }
        drop(state);
        self.add(Counter::Processed);
        Ok(())
    }
}
