// SPDX-License-Identifier: CECILL-B
//! Copies: checks in the order that is required of a driver.

use nix::errno::Errno;

use super::bug::Bug;
use super::file::{lock, File, State, Work};
use super::ranges::{self, carry, pair, skip, Move, Range};
use super::regions::Region;
use super::Threads;
use crate::command::{Argument, Command, List, Offset, Request, Spot};
use crate::counters::Counter;
use crate::outcome::Outcome;

/// The kind of a request's command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A present command.
    Today,
    /// `INIT_ASYNC_RECV`.
    AsyncReceive,
    /// `SYNC_RECV`.
    SyncReceive,
}

/// The evaluated flags of a request.
struct Wish {
    dma: bool,
    queued: bool,
    pinned: bool,
    /// Completion queues an event.
    notify: bool,
    /// The slot gets the result.
    stores: bool,
}

/// The caller's own memory.
#[derive(Clone)]
struct Local {
    ranges: Vec<Range>,
    /// Whether it is the source.
    outward: bool,
}

impl Threads {
    /// Executes any command that copies.
    pub(super) fn requested(&mut self, command: &Command) -> Outcome {
        let (result, argument, has_status) = match command {
            Command::Copy { request, source, destination } => {
                let spots = [(*source, 1), (*destination, 2)];
                (self.copy(Kind::Today, request, &spots, None), request.argument, true)
            }
            Command::Inline { request, local, write, remote } => {
                let need = if *write == 0 { 1 } else { 2 };
                let result = self.copy(Kind::Today, request, &[(*remote, need)], Some((local, *write != 0)));
                (result, request.argument, true)
            }
            Command::Receive { request, local, cookie, wait } => {
                let spot = Spot { cookie: *cookie, offset: Offset::At(0) };
                let kind = if *wait { Kind::SyncReceive } else { Kind::AsyncReceive };
                (self.copy(kind, request, &[(spot, 1)], Some((local, false))), request.argument, *wait)
            }
            _ => return Outcome::Done,
        };
        match result {
            Err(errno) => Outcome::Refused(errno),
            Ok(_) if !has_status => Outcome::Done,
            Ok(_) if argument == Argument::ReadOnly => Outcome::Refused(Errno::EFAULT),
            Ok(status) => Outcome::Status(status),
        }
    }

    fn copy(
        &mut self,
        kind: Kind,
        request: &Request,
        spots: &[(Spot, u32)],
        local: Option<(&List, bool)>,
    ) -> Result<u32, Errno> {
        let file = self.context(request.fd)?;
        if request.argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        let wish = self.wish(kind, request, &file)?;
        self.add(Counter::Submitted);
        if wish.dma {
            self.add(Counter::RejectedFlags);
            return Err(Errno::EINVAL);
        }
        if wish.notify {
            self.room_for_an_event(&lock(&file.state))?;
        }
        let local = local.map(|(list, outward)| self.local(list, outward)).transpose()?;
        let found = self.look_up_all(request.user, spots)?;
        self.add(Counter::Processed);
        let moves = self.moves(request, spots, &found, local.clone());
        let pinned = local.as_ref().map_or(Ok(()), |local| self.pin(local, &wish, &moves));
        let withdrawn = if pinned.is_ok() { !self.has(Bug::UsedTwice) } else { self.has(Bug::RefusedConsumes) };
        self.consume(&found, withdrawn);
        pinned?;

        let mut state = lock(&file.state);
        state.used = true;
        if wish.queued && !moves.is_empty() {
            if let Some(array) = &mut state.array {
                array[request.slot as usize] = 0;
            }
            file.hand_over(&mut state, Work { moves, slot: request.slot, notify: wish.notify });
            self.add(Counter::ProcessedThread);
            return Ok(0);
        }
        // The thread continues meanwhile.
        drop(state);
        let status = self.copy_now(&moves);
        let mut state = lock(&file.state);
        if wish.stores || self.has(Bug::WaitingTouchesSlot) {
            if let Some(place) = state.array.as_mut().and_then(|array| array.get_mut(request.slot as usize)) {
                *place = status as u8;
            }
        }
        if wish.notify && !(moves.is_empty() && self.has(Bug::EmptyWithoutEvent)) {
            state.events.push_back(request.slot);
        }
        Ok(if wish.stores && moves.is_empty() { 0 } else { status })
    }

    /// Checks the flags, and the slot if they require one.
    fn wish(&self, kind: Kind, request: &Request, file: &File) -> Result<Wish, Errno> {
        let mut flags = (request.flags | self.settings.forced) & !self.settings.ignored & 0x5f;
        let slots = lock(&file.state).array.as_ref().map_or(0, Vec::len);
        let notify = flags & 0x40 > 0;
        if kind == Kind::SyncReceive {
            if notify && !self.has(Bug::WaitingNotifies) {
                return Err(Errno::EINVAL);
            }
            flags &= !0x0e;
        } else {
            if (flags & 0x0e > 0 || kind == Kind::AsyncReceive) && slots <= request.slot as usize {
                return Err(Errno::EINVAL);
            }
            if notify && (flags & 2 > 0 || (kind == Kind::Today && flags & 0x0c == 0)) {
                return Err(Errno::EINVAL);
            }
        }
        Ok(Wish {
            dma: flags & 1 > 0,
            queued: flags & 8 > 0,
            pinned: flags & 0x10 > 0,
            notify: notify && kind != Kind::SyncReceive,
            stores: kind == Kind::AsyncReceive || flags & 0x0e > 0,
        })
    }

    /// Checks whether the queue can hold all expected events and another one.
    pub(super) fn room_for_an_event(&self, state: &State) -> Result<(), Errno> {
        let slots = state.array.as_ref().map_or(0, Vec::len);
        let most = if self.has(Bug::SmallQueue) { slots - 1 } else { slots };
        if state.events.len() + state.coming >= most {
            return Err(Errno::EBUSY);
        }
        Ok(())
    }

    fn local(&mut self, list: &List, outward: bool) -> Result<Local, Errno> {
        match ranges::of_list(list) {
            Ok(ranges) => Ok(Local { ranges, outward }),
            Err(errno) => {
                self.add(if errno == Errno::ENOMEM { Counter::RejectedMemory } else { Counter::RejectedArgument });
                Err(errno)
            }
        }
    }

    /// Pins the caller's memory if requested: all of it for the queue, else the start of what is copied.
    fn pin(&mut self, local: &Local, wish: &Wish, moves: &[Move]) -> Result<(), Errno> {
        if !(wish.queued || wish.pinned || (local.outward && self.settings.pin_reads)) {
            return Ok(());
        }
        let start = moves.first().map(|one| (if local.outward { one.0 } else { one.1 }, one.2));
        let ranges = if wish.queued { local.ranges.clone() } else { Vec::from_iter(start) };
        if let Err(errno) = ranges::pin(&ranges, !local.outward) {
            if !self.has(Bug::PinNotCounted) {
                self.add(Counter::RejectedPin);
            }
            return Err(errno);
        }
        self.add(Counter::ProcessedPinned);
        Ok(())
    }

    fn moves(
        &self,
        request: &Request,
        spots: &[(Spot, u32)],
        found: &[(u64, Region)],
        local: Option<Local>,
    ) -> Vec<Move> {
        let remote = |n: usize| {
            let Offset::At(mut offset) = spots[n].0.offset else { return Vec::new() };
            let ranges = &found[n].1.ranges;
            if self.has(Bug::SeamOffByOne) && ranges.first().is_some_and(|first| offset == u64::from(first.1)) {
                offset = offset.saturating_sub(1);
            }
            skip(ranges, offset)
        };
        let (from, to) = match local {
            Some(Local { ranges, outward: true }) => (ranges, remote(0)),
            Some(Local { ranges, outward: false }) => (remote(0), ranges),
            None => (remote(0), remote(1)),
        };
        let excess = u64::from(self.has(Bug::BoundExceeded));
        pair(&from, &to, request.bound.map_or(u64::MAX, |bound| bound.saturating_add(excess)))
    }

    /// Copies in the call, and returns the status.
    fn copy_now(&mut self, moves: &[Move]) -> u32 {
        let mut good = true;
        for one in moves {
            good = ranges::pin(&[(one.0, one.2)], false).is_ok() && ranges::pin(&[(one.1, one.2)], true).is_ok();
            if !good {
                break;
            }
            carry(&mut lock(&self.memory), *one);
        }
        if !good {
            self.add(Counter::FailedUserCopy);
        }
        if good || self.has(Bug::FailureHidden) {
            1
        } else {
            2
        }
    }
}
