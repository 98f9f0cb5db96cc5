// SPDX-License-Identifier: CECILL-B
//! Another driver in miniature, made without looking at the model: with real threads, ranges instead of bytes, and
//! cookies in a table. It can be given a bug, to show that the comparison finds it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::counters::{Counter, Counters, LINES};
use knem_core::uapi::CmdInfo;
use nix::errno::Errno;
use nix::libc;

use crate::command::{
    burst_slot, Argument, Bind, Command, Cookie, List, Mode, Offset, Request, Shape, Spot, FENCE_SLOT,
};
use crate::memory::{initial, pattern, Place, Segment, CONSTANT};
use crate::outcome::Outcome;
use crate::system::{Settings, System, User};

/// What may be wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// An offset at the end of the first segment is taken for its last byte.
    SeamOffByOne,
    /// A bound is exceeded by a byte.
    BoundExceeded,
    /// A request that is refused consumes a single-use region all the same.
    RefusedConsumes,
    /// A single-use region can be used again.
    UsedTwice,
    /// Only half of a cookie is compared.
    HalfACookie,
    /// Effective user ids are not looked at.
    RealUserOnly,
    /// Protection is looked at before the owner.
    AccessBeforeOwner,
    /// Regions stay when their file is closed.
    RegionsOutliveFile,
    /// The thread takes the newest request first.
    NewestFirst,
    /// A request of nothing has no event.
    EmptyWithoutEvent,
    /// One event less than there are slots.
    SmallQueue,
    /// Events that cannot be delivered are lost.
    EventsLost,
    /// A request that waits writes to its slot.
    WaitingTouchesSlot,
    /// A failed copy is said to have succeeded.
    FailureHidden,
    /// What was pinned in vain is not counted.
    PinNotCounted,
    /// The number of slots is not rounded up to a page.
    SlotsNotRounded,
    /// The thread forgets to say that a request is over.
    StatusForgotten,
    /// `SYNC_RECV` takes a notification.
    WaitingNotifies,
}

/// All bugs.
pub const BUGS: [Bug; 18] = [
    Bug::SeamOffByOne,
    Bug::BoundExceeded,
    Bug::RefusedConsumes,
    Bug::UsedTwice,
    Bug::HalfACookie,
    Bug::RealUserOnly,
    Bug::AccessBeforeOwner,
    Bug::RegionsOutliveFile,
    Bug::NewestFirst,
    Bug::EmptyWithoutEvent,
    Bug::SmallQueue,
    Bug::EventsLost,
    Bug::WaitingTouchesSlot,
    Bug::FailureHidden,
    Bug::PinNotCounted,
    Bug::SlotsNotRounded,
    Bug::StatusForgotten,
    Bug::WaitingNotifies,
];

/// The driver.
#[derive(Debug)]
pub struct Threads {
    settings: Settings,
    bug: Option<Bug>,
    memory: Arc<Mutex<Vec<u8>>>,
    counters: [u64; LINES],
    descriptors: Vec<Option<Arc<File>>>,
    files: Vec<Arc<File>>,
    table: BTreeMap<u64, Region>,
    cookies: Vec<u64>,
}

#[derive(Debug)]
struct File {
    number: usize,
    opener: User,
    mode: Mode,
    state: Mutex<State>,
    changed: Condvar,
    memory: Arc<Mutex<Vec<u8>>>,
    bug: Option<Bug>,
}

#[derive(Debug, Default)]
struct State {
    descriptors: usize,
    mapped: bool,
    array: Option<Vec<u8>>,
    queue: VecDeque<Work>,
    working: bool,
    /// Somebody waits for the thread.
    awaited: bool,
    stop: bool,
    events: VecDeque<u32>,
    coming: usize,
    used: bool,
    thread: Option<JoinHandle<()>>,
}

impl State {
    /// Whether the thread has nothing to do.
    fn idle(&self) -> bool {
        !self.working && self.queue.is_empty()
    }
}

#[derive(Debug)]
struct Work {
    moves: Vec<Move>,
    slot: u32,
    notify: bool,
}

/// From, to, how many.
type Move = (u32, u32, u32);

#[derive(Clone, Debug)]
struct Region {
    file: usize,
    users: Option<User>,
    everybody: bool,
    protection: u32,
    once: bool,
    ranges: Vec<(u32, u32)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl File {
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the thread.
    fn wait_for_thread<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.awaited = true;
        self.changed.notify_all();
        self.wait(state)
    }

    /// The thread of a file.
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if state.stop {
                return;
            }
            let work = match self.bug {
                // As lazy as can be, so that the order always shows.
                Some(Bug::NewestFirst) if !state.awaited => None,
                Some(Bug::NewestFirst) => state.queue.pop_back(),
                _ => state.queue.pop_front(),
            };
            let Some(work) = work else {
                state.awaited = false;
                state = self.wait(state);
                continue;
            };
            state.working = true;
            drop(state);
            for one in work.moves {
                carry(&mut lock(&self.memory), one);
                std::thread::yield_now();
            }
            state = lock(&self.state);
            if self.bug != Some(Bug::StatusForgotten) || work.slot == FENCE_SLOT {
                if let Some(array) = &mut state.array {
                    array[work.slot as usize] = 1;
                }
            }
            if work.notify {
                state.coming -= 1;
                state.events.push_back(work.slot);
            }
            state.working = false;
            self.changed.notify_all();
        }
    }
}

fn carry(memory: &mut [u8], (from, to, count): Move) {
    for n in 0..count as usize {
        memory[to as usize + n] = memory[from as usize + n];
    }
}

/// The moves between two lists of ranges.
fn pair(from: &[(u32, u32)], to: &[(u32, u32)], most: u64) -> Vec<Move> {
    let (mut moves, mut left) = (Vec::new(), most);
    let (mut from, mut to) = (from.iter().copied(), to.iter().copied());
    let (mut source, mut target) = ((0, 0), (0, 0));
    loop {
        while source.1 == 0 {
            let Some(next) = from.next() else { return moves };
            source = next;
        }
        while target.1 == 0 {
            let Some(next) = to.next() else { return moves };
            target = next;
        }
        let count = source.1.min(target.1).min(u32::try_from(left).unwrap_or(u32::MAX));
        if count == 0 {
            return moves;
        }
        moves.push((source.0, target.0, count));
        source = (source.0 + count, source.1 - count);
        target = (target.0 + count, target.1 - count);
        left -= u64::from(count);
    }
}

/// The ranges after `offset` bytes.
fn skip(ranges: &[(u32, u32)], mut offset: u64) -> Vec<(u32, u32)> {
    let mut rest = Vec::new();
    for &(start, length) in ranges {
        let gone = offset.min(u64::from(length)) as u32;
        offset -= u64::from(gone);
        rest.push((start + gone, length - gone));
    }
    rest
}

impl Threads {
    /// A driver, with a bug or without.
    #[must_use]
    pub fn new(settings: Settings, bug: Option<Bug>) -> Self {
        Self {
            settings,
            bug,
            memory: Arc::new(Mutex::new(initial())),
            counters: [0; LINES],
            descriptors: Vec::new(),
            files: Vec::new(),
            table: BTreeMap::new(),
            cookies: Vec::new(),
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn add(&mut self, counter: Counter) {
        self.counters[counter as usize] += 1;
    }

    fn file(&self, fd: usize) -> Result<Arc<File>, Errno> {
        self.descriptors[fd].clone().ok_or(Errno::EBADF)
    }

    fn context(&self, fd: usize) -> Result<Arc<File>, Errno> {
        let file = self.file(fd)?;
        if file.mode == Mode::ReadOnly {
            return Err(Errno::EBADF);
        }
        Ok(file)
    }

    fn end(&mut self, file: &File) {
        let mut state = lock(&file.state);
        if state.descriptors > 0 || state.mapped {
            return;
        }
        state.stop = true;
        state.queue.clear();
        file.changed.notify_all();
        let thread = state.thread.take();
        drop(state);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        if !self.has(Bug::RegionsOutliveFile) {
            self.table.retain(|_, region| region.file != file.number);
        }
    }

    fn map(&self, fd: usize, shape: Shape) -> Result<(), Errno> {
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

    fn bind(&self, fd: usize, how: Bind, argument: Argument) -> Result<(), Errno> {
        let file = self.context(fd)?;
        if argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        let mapped = lock(&file.state).array.is_some();
        match how {
            _ if mapped => Err(Errno::EBUSY),
            Bind::Flags(_) => Err(Errno::EINVAL),
            Bind::AbsentMask => Err(Errno::EFAULT),
            Bind::Current | Bind::Reversed | Bind::All(_) => Ok(()),
        }
    }

    /// The ranges of a list; a hole is where no memory is.
    fn ranges(list: &List) -> Result<Vec<(u32, u32)>, Errno> {
        let segments = match list {
            List::Of(segments) => segments,
            List::Absent(_) => return Err(Errno::EFAULT),
            List::TooLong => return Err(Errno::ENOMEM),
        };
        let range = |segment: &Segment| match segment.place {
            _ if segment.length == 0 => Ok((0, 0)),
            Place::Memory(start) => Ok((start, segment.length)),
            Place::Hole => Ok((HOLE_START, segment.length)),
            Place::Kernel | Place::Wrapping => Err(Errno::EFAULT),
        };
        segments.iter().map(range).collect()
    }

    /// Tries to pin.
    fn pin(ranges: &[(u32, u32)], write: bool) -> Result<(), Errno> {
        let end = if write { CONSTANT as u32 } else { HOLE_START };
        if ranges.iter().any(|(start, length)| *length > 0 && *start >= end) {
            return Err(Errno::EFAULT);
        }
        Ok(())
    }

    fn create(&mut self, command: &Command) -> Result<(), Errno> {
        let Command::Create { fd, user, list, protection, flags, argument, old } = command else { return Ok(()) };
        let file = self.context(*fd)?;
        if *argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        let ranges = Self::ranges(list)?;
        let protection = if *old { 1 } else { *protection };
        Self::pin(&ranges, protection & 2 > 0)?;
        if *argument == Argument::ReadOnly {
            return Err(Errno::EFAULT);
        }
        let flags = (flags | self.settings.forced) & !self.settings.ignored;
        let caller = self.settings.users[*user];
        let number = self.cookies.len() as u64 + 1;
        // Unlike counting, a product of an odd number has bits everywhere.
        let cookie = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.cookies.push(cookie);
        let region = Region {
            file: file.number,
            users: (caller == file.opener).then_some(caller),
            everybody: flags & 0x80 > 0,
            protection,
            once: *old || flags & 0x20 > 0,
            ranges,
        };
        self.table.insert(cookie, region);
        lock(&file.state).used = true;
        Ok(())
    }

    fn cookie(&self, cookie: Cookie) -> u64 {
        match cookie {
            Cookie::Region(number) => self.cookies[number],
            Cookie::Flipped(number, bit) => self.cookies[number] ^ (1 << bit),
            Cookie::Raw(number) => number,
        }
    }

    fn look_up(&self, spot: Spot, user: usize, need: u32) -> Result<(u64, Region), Errno> {
        let cookie = self.cookie(spot.cookie);
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
        let mut checks = [(owned || region.everybody, Errno::EPERM), (region.protection & need > 0, Errno::EACCES)];
        if self.has(Bug::AccessBeforeOwner) {
            checks.reverse();
        }
        match checks.into_iter().find(|(good, _)| !good) {
            Some((_, errno)) => Err(errno),
            None => Ok((*cookie, region.clone())),
        }
    }

    fn destroy(&mut self, fd: usize, cookie: Cookie, argument: Argument) -> Result<(), Errno> {
        let file = self.context(fd)?;
        if argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        let cookie = self.cookie(cookie);
        match self.table.get(&cookie) {
            Some(region) if region.file == file.number => {
                self.table.remove(&cookie);
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    /// `kind`: 0 for today's commands, 1 for INIT_ASYNC_RECV, 2 for SYNC_RECV.
    fn copy(
        &mut self,
        kind: u32,
        request: &Request,
        regions: &[(Spot, u32)],
        local: Option<(&List, bool)>,
    ) -> Result<Option<u32>, Errno> {
        let file = self.context(request.fd)?;
        if request.argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        let mut flags = (request.flags | self.settings.forced) & !self.settings.ignored & 0x5f;
        let slots = lock(&file.state).array.as_ref().map_or(0, Vec::len);
        let notify = flags & 0x40 > 0;
        if kind == 2 {
            if notify && !self.has(Bug::WaitingNotifies) {
                return Err(Errno::EINVAL);
            }
            flags &= !0x0e;
        } else {
            if (flags & 0x0e > 0 || kind == 1) && slots <= request.slot as usize {
                return Err(Errno::EINVAL);
            }
            if notify && (flags & 2 > 0 || (kind == 0 && flags & 0x0c == 0)) {
                return Err(Errno::EINVAL);
            }
        }
        let notify = notify && kind != 2;
        let stores = kind == 1 || flags & 0x0e > 0;
        self.add(Counter::Submitted);
        if flags & 1 > 0 {
            self.add(Counter::RejectedFlags);
            return Err(Errno::EINVAL);
        }
        if notify {
            let state = lock(&file.state);
            let most = if self.has(Bug::SmallQueue) { slots - 1 } else { slots };
            if state.events.len() + state.coming >= most {
                return Err(Errno::EBUSY);
            }
        }
        let own = match local.map(|(list, _)| Self::ranges(list)).transpose() {
            Ok(own) => own,
            Err(errno) => {
                self.add(if errno == Errno::ENOMEM { Counter::RejectedMemory } else { Counter::RejectedArgument });
                return Err(errno);
            }
        };
        let mut found: Vec<(u64, Region)> = Vec::new();
        for (spot, need) in regions {
            let region = self.look_up(*spot, request.user, *need);
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
        self.add(Counter::Processed);
        let queued = flags & 8 > 0;
        let mut pinned = true;
        if let (Some(own), Some((_, outward))) = (&own, local) {
            pinned = queued || flags & 0x10 > 0 || (outward && self.settings.pin_reads);
            if pinned {
                if let Err(errno) = Self::pin(own, !outward) {
                    if !self.has(Bug::PinNotCounted) {
                        self.add(Counter::RejectedPin);
                    }
                    self.consume(&found, self.has(Bug::RefusedConsumes));
                    return Err(errno);
                }
                self.add(Counter::ProcessedPinned);
            }
        }
        self.consume(&found, !self.has(Bug::UsedTwice));

        let ranges = |n: usize| {
            let Offset::At(mut offset) = regions[n].0.offset else { return Vec::new() };
            let ranges = &found[n].1.ranges;
            if self.has(Bug::SeamOffByOne) && ranges.first().is_some_and(|first| offset == u64::from(first.1)) {
                offset = offset.saturating_sub(1);
            }
            skip(ranges, offset)
        };
        let (from, to) = match (own, local) {
            (Some(own), Some((_, true))) => (own, ranges(0)),
            (Some(own), _) => (ranges(0), own),
            (None, _) => (ranges(0), ranges(1)),
        };
        let excess = u64::from(self.has(Bug::BoundExceeded));
        let moves = pair(&from, &to, request.bound.map_or(u64::MAX, |bound| bound.saturating_add(excess)));

        let mut state = lock(&file.state);
        state.used = true;
        let slot = request.slot as usize;
        if queued && !moves.is_empty() {
            if let Some(array) = &mut state.array {
                array[slot] = 0;
            }
            state.coming += usize::from(notify);
            state.queue.push_back(Work { moves, slot: request.slot, notify });
            file.changed.notify_all();
            drop(state);
            self.add(Counter::ProcessedThread);
            return Ok(Some(0));
        }
        drop(state);
        let mut status = 1;
        for one in &moves {
            let bad = Self::pin(&[(one.0, one.2)], false).is_err() || Self::pin(&[(one.1, one.2)], true).is_err();
            if bad {
                status = 2;
                break;
            }
            carry(&mut lock(&self.memory), *one);
        }
        if status == 2 && !pinned {
            self.add(Counter::FailedUserCopy);
        }
        if self.has(Bug::FailureHidden) {
            status = 1;
        }
        let mut state = lock(&file.state);
        if stores || self.has(Bug::WaitingTouchesSlot) {
            if let Some(place) = state.array.as_mut().and_then(|array| array.get_mut(slot)) {
                *place = status as u8;
            }
        }
        if notify && !(moves.is_empty() && self.has(Bug::EmptyWithoutEvent)) {
            state.events.push_back(request.slot);
        }
        Ok(Some(if stores && moves.is_empty() { 0 } else { status }))
    }

    fn consume(&mut self, found: &[(u64, Region)], really: bool) {
        for (cookie, _) in found.iter().filter(|(_, region)| region.once && really) {
            self.table.remove(cookie);
        }
    }

    fn read(&mut self, fd: usize, bytes: u32, blocking: bool, absent: bool) -> Result<Outcome, Errno> {
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
                // A bug must not keep the test waiting: nothing else can come.
                None if blocking && state.idle() => return Err(Errno::EDEADLK),
                None if blocking => state = file.wait_for_thread(state),
                None if events.is_empty() => return Err(Errno::EAGAIN),
                None => break,
            }
        }
        Ok(Outcome::Events(events))
    }

    fn poll(&self, fd: usize, wait: bool) -> Result<Outcome, Errno> {
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

    fn clear(&mut self, fd: usize) -> Result<(), Errno> {
        let file = self.context(fd)?;
        if file.opener.effective > 0 {
            return Err(Errno::EPERM);
        }
        if lock(&file.state).used {
            return Err(Errno::EBUSY);
        }
        self.counters = [0; LINES];
        Ok(())
    }

    /// A request of the system's own, as a burst or a fence makes it.
    fn own(&mut self, fd: usize, slot: u32, notify: bool, moves: Vec<Move>) -> Result<(), Errno> {
        let file = self.context(fd)?;
        self.add(Counter::Submitted);
        let most = usize::from(self.has(Bug::SmallQueue));
        let mut state = lock(&file.state);
        let slots = state.array.as_ref().map_or(0, Vec::len) - most;
        if notify && state.events.len() + state.coming >= slots {
            return Err(Errno::EBUSY);
        }
        state.used = true;
        if let Some(array) = &mut state.array {
            array[slot as usize] = u8::from(moves.is_empty());
        }
        if moves.is_empty() {
            state.events.push_back(slot);
        } else {
            state.coming += usize::from(notify);
            state.queue.push_back(Work { moves, slot, notify });
            file.changed.notify_all();
            self.add(Counter::ProcessedThread);
        }
        drop(state);
        self.add(Counter::Processed);
        Ok(())
    }

    fn fence(&mut self, fd: usize) -> Result<(), Errno> {
        self.own(fd, FENCE_SLOT, false, vec![(0, 0, 1)])?;
        let file = self.context(fd)?;
        let mut state = lock(&file.state);
        while !state.idle() {
            state = file.wait_for_thread(state);
        }
        Ok(())
    }
}

/// Where the hole starts, in the miniature's addresses.
const HOLE_START: u32 = 1 << 30;

impl System for Threads {
    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    fn carry_out(&mut self, command: &Command) -> Outcome {
        let result = match command {
            Command::Open { mode, user } => {
                let file = Arc::new(File {
                    number: self.files.len(),
                    opener: self.settings.users[*user],
                    mode: *mode,
                    state: Mutex::new(State { descriptors: 1, ..State::default() }),
                    changed: Condvar::new(),
                    memory: Arc::clone(&self.memory),
                    bug: self.bug,
                });
                self.descriptors.push(Some(Arc::clone(&file)));
                self.files.push(file);
                Ok(())
            }
            Command::Duplicate { fd } => self.file(*fd).map(|file| {
                lock(&file.state).descriptors += 1;
                self.descriptors.push(Some(file));
            }),
            Command::Close { fd, .. } => self.file(*fd).map(|file| {
                self.descriptors[*fd] = None;
                lock(&file.state).descriptors -= 1;
                self.end(&file);
            }),
            Command::Unmap { file, .. } => {
                let file = Arc::clone(&self.files[*file]);
                lock(&file.state).mapped = false;
                self.end(&file);
                Ok(())
            }
            Command::Map { fd, shape } => self.map(*fd, *shape),
            Command::Info { fd, argument } => match self.context(*fd) {
                Ok(_) if *argument == Argument::Good => {
                    let (forced_flags, ignored_flags) = (self.settings.forced, self.settings.ignored);
                    return Outcome::Info(CmdInfo { abi: 13, features: 0, ignored_flags, forced_flags });
                }
                Ok(_) => Err(Errno::EFAULT),
                Err(errno) => Err(errno),
            },
            Command::Unknown { fd, .. } => self.context(*fd).and(Err(Errno::ENOSYS)),
            Command::Bind { fd, how, argument } => self.bind(*fd, *how, *argument),
            Command::Create { .. } => self.create(command),
            Command::Destroy { fd, cookie, argument } => self.destroy(*fd, *cookie, *argument),
            Command::Copy { .. } | Command::Inline { .. } | Command::Receive { .. } => return self.requested(command),
            Command::Burst { fd, count, empty } => {
                let (mut accepted, mut refused) = (0, 0);
                for n in 0..*count {
                    let moves = if *empty { Vec::new() } else { vec![(0, 0, 1)] };
                    match self.own(*fd, burst_slot(n), true, moves) {
                        Ok(()) => accepted += 1,
                        Err(Errno::EBUSY) => refused += 1,
                        Err(errno) => return Outcome::Refused(errno),
                    }
                }
                return Outcome::Burst(accepted, refused);
            }
            Command::Read { fd, bytes, blocking, absent } => {
                return self.read(*fd, *bytes, *blocking, *absent).unwrap_or_else(Outcome::Refused)
            }
            Command::Poll { fd, wait } => return self.poll(*fd, *wait).unwrap_or_else(Outcome::Refused),
            Command::Clear { fd } => self.clear(*fd),
            Command::Store { start, length, seed } => {
                let mut memory = lock(&self.memory);
                for n in 0..*length {
                    memory[start + n] = pattern(*seed, n);
                }
                Ok(())
            }
            Command::Poke { file, slot, value } => {
                if let Some(array) = &mut lock(&self.files[*file].state).array {
                    array[*slot] = *value;
                }
                Ok(())
            }
            Command::Settle => Ok(()),
            Command::Fence { fd } => self.fence(*fd),
            Command::Await { file, .. } => {
                let file = &self.files[*file];
                let mut state = lock(&file.state);
                while !state.idle() {
                    state = file.wait_for_thread(state);
                }
                Ok(())
            }
        };
        result.into()
    }

    fn memory(&mut self, into: &mut Vec<u8>) {
        into.clone_from(&lock(&self.memory));
    }

    fn slots(&mut self, file: usize, into: &mut Vec<u8>) {
        if let Some(array) = &lock(&self.files[file].state).array {
            into.clone_from(array);
        }
    }

    fn counters(&mut self) -> Counters {
        Counters(self.counters)
    }

    fn finish(mut self) -> Result<(), String> {
        for file in std::mem::take(&mut self.files) {
            let mut state = lock(&file.state);
            (state.descriptors, state.mapped) = (0, false);
            drop(state);
            self.end(&file);
        }
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A sequence that failed leaves threads behind.
        for file in std::mem::take(&mut self.files) {
            let mut state = lock(&file.state);
            (state.descriptors, state.mapped) = (0, false);
            drop(state);
            self.end(&file);
        }
    }
}

impl Threads {
    fn requested(&mut self, command: &Command) -> Outcome {
        let (result, argument, told) = match command {
            Command::Copy { request, source, destination } => {
                (self.copy(0, request, &[(*source, 1), (*destination, 2)], None), request.argument, true)
            }
            Command::Inline { request, local, write, remote } => {
                let need = if *write == 0 { 1 } else { 2 };
                let result = self.copy(0, request, &[(*remote, need)], Some((local, *write != 0)));
                (result, request.argument, true)
            }
            Command::Receive { request, local, cookie, wait } => {
                let spot = Spot { cookie: *cookie, offset: Offset::At(0) };
                let kind = if *wait { 2 } else { 1 };
                (self.copy(kind, request, &[(spot, 1)], Some((local, false))), request.argument, *wait)
            }
            _ => return Outcome::Done,
        };
        match result {
            Err(errno) => Outcome::Refused(errno),
            Ok(_) if !told => Outcome::Done,
            Ok(_) if argument == Argument::ReadOnly => Outcome::Refused(Errno::EFAULT),
            Ok(status) => Outcome::Status(status.unwrap_or(0)),
        }
    }
}
