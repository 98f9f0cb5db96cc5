// SPDX-License-Identifier: CECILL-B
//! The reference model: the behaviour of a KNEM driver, as simple as possible.
//!
//! A request for the thread takes effect in the model at once, and is recorded as in flight until it is known to have
//! ended. Sequences are arranged (see `resolve`) so that the difference cannot be seen, except where
//! [`Model::may_differ`], [`Model::slot_is`] and [`Model::act`] allow for it.

mod request;
mod resolve;

use std::collections::VecDeque;

use crate::counters::{Counter, Counters};
use knem_core::uapi::{self, CmdInfo};
use nix::errno::Errno;
use nix::libc;

use crate::command::{Argument, Bind, Command, Cookie, List, Mode, Shape, FENCE_SLOT};
use crate::memory::{self, Byte, Segment, CONSTANT, HOLE, TOTAL};
use crate::outcome::Outcome;
use crate::system::{Settings, User};

/// Most files that may be open at a time.
const MOST_FILES: usize = 8;

/// The state of a driver.
#[derive(Clone, Debug)]
pub struct Model {
    settings: Settings,
    memory: Vec<u8>,
    /// For each byte, a bit for each file with a request in flight that reads it.
    reading: Vec<u16>,
    /// The same for writing.
    writing: Vec<u16>,
    /// Bytes whose contents are unknown, because a request to write them was dropped.
    unknown: Vec<bool>,
    /// Bytes that the last command may have changed in any way.
    unsure: Vec<Byte>,
    /// The file number of each descriptor.
    fds: Vec<Option<usize>>,
    files: Vec<File>,
    regions: Vec<Region>,
    counters: Counters,
}

/// An open file.
#[derive(Clone, Debug)]
struct File {
    mode: Mode,
    opener: User,
    /// Its bit in `reading` and `writing`.
    lane: u16,
    descriptors: usize,
    array: Array,
    /// Requests that may not have ended.
    flying: Vec<Flight>,
    /// Unread events, in order, including future ones.
    events: VecDeque<u32>,
    /// How many of them are certain to have arrived.
    arrived: usize,
    used: Used,
}

/// The status array of a file.
#[derive(Clone, Debug, Default)]
struct Array {
    /// Its contents once everything in flight has ended; none until it is mapped, which is possible once.
    slots: Option<Vec<u8>>,
    /// Whether it is still mapped.
    mapped: bool,
    writable: bool,
}

/// A request in flight.
#[derive(Clone, Debug)]
struct Flight {
    slot: u32,
    notify: bool,
    writes: Vec<Byte>,
}

/// Whether a file is in use, as far as clearing the statistics depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Used {
    No,
    /// It was used for a request that was refused.
    Perhaps,
    Yes,
}

#[derive(Clone, Debug)]
struct Region {
    file: usize,
    /// The user that may use it, if not all users; none if it was created by another user than the file's opener.
    owner: Option<User>,
    any_user: bool,
    protection: u32,
    single_use: bool,
    alive: bool,
    bytes: Vec<Byte>,
    /// The ends of its segments.
    seams: Vec<u64>,
}

impl Model {
    /// Creates a driver that is not in use.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            memory: memory::initial(),
            reading: vec![0; TOTAL],
            writing: vec![0; TOTAL],
            unknown: vec![false; TOTAL],
            unsure: Vec::new(),
            fds: Vec::new(),
            files: Vec::new(),
            regions: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Executes a definite command, and returns the outcome.
    ///
    /// If several outcomes are correct and `seen` is one of them, it returns that.
    pub fn act(&mut self, command: &Command, seen: Option<&Outcome>) -> Outcome {
        match command {
            Command::Open { mode, user } => self.open(*mode, *user),
            Command::Duplicate { fd } => self.duplicate(*fd),
            Command::Close { fd, .. } => self.close(*fd),
            Command::Map { fd, shape } => self.map(*fd, *shape).into(),
            Command::Unmap { file, .. } => self.unmap(*file),
            Command::Info { fd, argument } => self.info(*fd, *argument),
            Command::Unknown { fd, .. } => self.unknown_command(*fd).into(),
            Command::Bind { fd, how, argument } => self.bind(*fd, *how, *argument).into(),
            Command::Create { fd, user, list, protection, flags, argument, old } => {
                let (protection, old) = if *old { (uapi::PROT_READ, true) } else { (*protection, false) };
                self.create(*fd, *user, list, protection, *flags, *argument, old).into()
            }
            Command::Destroy { fd, cookie, argument } => self.destroy(*fd, *cookie, *argument).into(),
            Command::Copy { .. } | Command::Inline { .. } | Command::Receive { .. } => self.request(command),
            Command::Burst { fd, count, empty } => self.burst(*fd, *count, *empty),
            Command::Read { fd, bytes, blocking, absent } => self.read(*fd, *bytes, *blocking, *absent, seen),
            Command::Poll { fd, wait } => self.poll(*fd, *wait, seen),
            Command::Clear { fd } => self.clear(*fd, seen),
            Command::Store { start, length, seed } => {
                for n in 0..*length {
                    self.memory[start + n] = memory::pattern(*seed, n);
                }
                Outcome::Done
            }
            Command::Poke { file, slot, value } => {
                if let Some(slots) = &mut self.files[*file].array.slots {
                    slots[*slot] = *value;
                }
                Outcome::Done
            }
            // Never definite.
            Command::Settle => Outcome::Done,
            Command::Fence { fd } => self.fence(*fd),
            Command::Await { file, .. } => {
                self.land(*file);
                Outcome::Done
            }
        }
    }

    /// Returns the contents of the memory, once nothing is in flight.
    #[must_use]
    pub fn memory(&self) -> &[u8] {
        &self.memory
    }

    /// Whether the content of a byte is unknown now.
    #[must_use]
    pub fn may_differ(&self, byte: usize) -> bool {
        self.writing[byte] != 0 || self.unknown[byte]
    }

    /// Whether [`Model::may_differ`] for any byte.
    #[must_use]
    pub fn in_motion(&self) -> bool {
        self.files.iter().any(|file| !file.flying.is_empty()) || self.unknown.contains(&true)
    }

    /// Adopts the contents of the bytes that the last command may have changed in any way.
    pub fn adopt(&mut self, memory: &[u8]) {
        for byte in std::mem::take(&mut self.unsure) {
            self.memory[byte as usize] = memory[byte as usize];
        }
    }

    /// Returns the files whose status array is mapped.
    pub fn mapped(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.files.len()).filter(|&file| self.files[file].array.mapped)
    }

    /// Returns the number of slots of a file's status array, 0 if it was never mapped.
    #[must_use]
    pub fn slots(&self, file: usize) -> usize {
        self.files[file].array.slots.as_ref().map_or(0, Vec::len)
    }

    /// Whether a value in a slot is correct at this moment.
    #[must_use]
    pub fn slot_is(&self, file: usize, slot: usize, value: u8) -> bool {
        let file = &self.files[file];
        let last = file.array.slots.as_ref().and_then(|slots| slots.get(slot)).copied();
        let flying = || file.flying.iter().any(|flight| flight.slot as usize == slot);
        // Requests for the thread succeed.
        last == Some(value) || (flying() && matches!(value, uapi::STATUS_PENDING | uapi::STATUS_SUCCESS))
    }

    /// Returns the status array, once nothing is in flight.
    #[must_use]
    pub fn array(&self, file: usize) -> &[u8] {
        self.files[file].array.slots.as_deref().unwrap_or(&[])
    }

    /// Returns the counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the number of events that a file has accepted and not delivered.
    #[must_use]
    pub fn outstanding(&self, file: usize) -> usize {
        self.files[file].events.len()
    }

    /// Returns the file of a descriptor, if it is open.
    #[must_use]
    pub fn file_of(&self, fd: usize) -> Option<usize> {
        self.fds.get(fd).copied().flatten()
    }

    /// Returns whether a region can be used, and whether only once.
    #[must_use]
    pub fn region(&self, number: usize) -> Option<(bool, bool)> {
        self.regions.get(number).map(|region| (region.alive, region.single_use))
    }

    /// Returns the number of regions that were ever created.
    #[must_use]
    pub fn regions(&self) -> usize {
        self.regions.len()
    }

    fn count(&mut self, counter: Counter) {
        self.counters.0[counter as usize] += 1;
    }

    fn user(&self, user: usize) -> User {
        self.settings.users[user]
    }

    fn open(&mut self, mode: Mode, user: usize) -> Outcome {
        let taken = self.files.iter().filter(|file| file.alive()).fold(0, |taken, file| taken | file.lane);
        let lane = 1u16 << (!taken).trailing_zeros();
        self.fds.push(Some(self.files.len()));
        self.files.push(File {
            mode,
            opener: self.user(user),
            lane,
            descriptors: 1,
            array: Array::default(),
            flying: Vec::new(),
            events: VecDeque::new(),
            arrived: 0,
            used: Used::No,
        });
        Outcome::Done
    }

    fn duplicate(&mut self, fd: usize) -> Outcome {
        let file = self.fds[fd];
        if let Some(file) = file {
            self.files[file].descriptors += 1;
        }
        self.fds.push(file);
        Outcome::Done
    }

    fn close(&mut self, fd: usize) -> Outcome {
        if let Some(file) = self.fds[fd].take() {
            self.files[file].descriptors -= 1;
            self.end(file);
        }
        Outcome::Done
    }

    fn unmap(&mut self, file: usize) -> Outcome {
        self.files[file].array.mapped = false;
        self.end(file);
        Outcome::Done
    }

    /// Closes a file if nothing refers to it any more.
    fn end(&mut self, number: usize) {
        if self.files[number].alive() {
            return;
        }
        for region in self.regions.iter_mut().filter(|region| region.file == number) {
            region.alive = false;
        }
        // Requests in flight are dropped before, during or after their execution, which is not reported.
        let file = &mut self.files[number];
        for flight in std::mem::take(&mut file.flying) {
            for byte in flight.writes {
                self.unknown[byte as usize] = true;
            }
        }
        self.clear_lane(number);
    }

    fn clear_lane(&mut self, file: usize) {
        let lane = self.files[file].lane;
        for bits in self.reading.iter_mut().chain(&mut self.writing) {
            *bits &= !lane;
        }
    }

    /// Records that everything in flight on a file has ended.
    fn land(&mut self, number: usize) {
        let file = &mut self.files[number];
        file.arrived = file.events.len();
        if !std::mem::take(&mut file.flying).is_empty() {
            self.clear_lane(number);
        }
    }

    /// Returns the file, if it accepts commands.
    fn context(&mut self, fd: usize) -> Result<usize, Errno> {
        match self.fds[fd] {
            Some(file) if self.files[file].mode != Mode::ReadOnly => Ok(file),
            _ => Err(Errno::EBADF),
        }
    }

    fn used(&mut self, file: usize, how: Used) {
        if self.files[file].used != Used::Yes {
            self.files[file].used = how;
        }
    }

    fn map(&mut self, fd: usize, shape: Shape) -> Result<(), Errno> {
        let Some(number) = self.fds[fd] else { return Err(Errno::EBADF) };
        let (page, most) = (self.settings.page, self.settings.max_slots);
        let file = &mut self.files[number];
        // The kernel checks this before it calls the driver: a mapping requires read permission, and a shared one that
        // is writable requires write permission.
        let writable = !shape.private && !shape.read_only;
        if file.mode == Mode::WriteOnly || (writable && file.mode == Mode::ReadOnly) {
            return Err(Errno::EACCES);
        }
        if file.mode == Mode::ReadOnly {
            return Err(Errno::EBADF);
        }
        let slots = shape.length.div_ceil(page) * page;
        if shape.offset != 0 || slots > 1 << 32 || shape.private {
            return Err(Errno::EINVAL);
        }
        if file.array.slots.is_some() {
            return Err(Errno::EBUSY);
        }
        if slots > most {
            return Err(Errno::ENOMEM);
        }
        file.array = Array { slots: Some(vec![0; slots as usize]), mapped: true, writable };
        self.used(number, Used::Yes);
        Ok(())
    }

    fn info(&mut self, fd: usize, argument: Argument) -> Outcome {
        match self.context(fd) {
            Err(errno) => Outcome::Refused(errno),
            Ok(_) if argument != Argument::Good => Outcome::Refused(Errno::EFAULT),
            Ok(_) => Outcome::Info(CmdInfo {
                abi: 0xd,
                features: 0,
                ignored_flags: self.settings.ignored,
                forced_flags: self.settings.forced,
            }),
        }
    }

    fn unknown_command(&mut self, fd: usize) -> Result<(), Errno> {
        self.context(fd)?;
        Err(Errno::ENOSYS)
    }

    fn bind(&mut self, fd: usize, how: Bind, argument: Argument) -> Result<(), Errno> {
        let file = self.context(fd)?;
        if argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        if self.files[file].array.slots.is_some() {
            return Err(Errno::EBUSY);
        }
        let result = match how {
            Bind::Current | Bind::Reversed | Bind::All(_) => Ok(()),
            Bind::AbsentMask => Err(Errno::EFAULT),
            Bind::Flags(1 | 2 | 4) => Ok(()),
            Bind::Flags(_) => Err(Errno::EINVAL),
        };
        self.used(file, Used::Perhaps);
        result
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one command")]
    fn create(
        &mut self,
        fd: usize,
        user: usize,
        list: &List,
        protection: u32,
        flags: u32,
        argument: Argument,
        old: bool,
    ) -> Result<(), Errno> {
        let file = self.context(fd)?;
        if argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        self.used(file, Used::Perhaps);
        let segments = match list {
            List::TooLong => return Err(Errno::ENOMEM),
            List::Absent(_) => return Err(Errno::EFAULT),
            List::Of(segments) => segments,
        };
        if segments.iter().any(Segment::absurd) {
            return Err(Errno::EFAULT);
        }
        let bytes = memory::bytes(segments);
        if bytes.iter().any(|&byte| !accessible(byte, protection & uapi::PROT_WRITE != 0)) {
            return Err(Errno::EFAULT);
        }
        if argument == Argument::ReadOnly {
            // The cookie cannot be returned, and the region is destroyed again.
            return Err(Errno::EFAULT);
        }
        let flags = (flags | self.settings.forced) & !self.settings.ignored & 0xa0;
        let creator = self.user(user);
        let seams = segments.iter().scan(0, |sum, segment| {
            *sum += u64::from(segment.length);
            Some(*sum)
        });
        self.regions.push(Region {
            file,
            owner: (creator == self.files[file].opener).then_some(creator),
            any_user: flags & 0x80 != 0,
            protection,
            single_use: old || flags & 0x20 != 0,
            alive: true,
            seams: seams.collect(),
            bytes,
        });
        self.used(file, Used::Yes);
        Ok(())
    }

    fn destroy(&mut self, fd: usize, cookie: Cookie, argument: Argument) -> Result<(), Errno> {
        let file = self.context(fd)?;
        if argument == Argument::Absent {
            return Err(Errno::EFAULT);
        }
        match cookie {
            Cookie::Region(number) if self.regions[number].alive && self.regions[number].file == file => {
                self.regions[number].alive = false;
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn read(&mut self, fd: usize, bytes: u32, blocking: bool, absent: bool, seen: Option<&Outcome>) -> Outcome {
        let Some(number) = self.fds[fd] else { return Outcome::Refused(Errno::EBADF) };
        let file = &mut self.files[number];
        match file.mode {
            Mode::WriteOnly => return Outcome::Refused(Errno::EBADF),
            Mode::ReadOnly if bytes == 0 => return Outcome::Events(Vec::new()),
            Mode::ReadOnly if absent => return Outcome::Refused(Errno::EFAULT),
            Mode::ReadOnly => return Outcome::Text,
            Mode::ReadWrite => {}
        }
        if file.array.slots.is_none() || bytes % 4 != 0 {
            return Outcome::Refused(Errno::EINVAL);
        }
        let wanted = (bytes / 4) as usize;
        if wanted == 0 {
            return Outcome::Events(Vec::new());
        }
        if absent && !file.events.is_empty() {
            // No event is lost.
            return Outcome::Refused(Errno::EFAULT);
        }
        // Events that have arrived must be delivered; future ones may be, or must be if the read blocks.
        let most = file.events.len().min(wanted);
        let least = if blocking { most } else { file.arrived.min(wanted) };
        let count = match seen {
            Some(Outcome::Events(events)) if (least..=most).contains(&events.len()) => events.len(),
            Some(Outcome::Refused(Errno::EAGAIN)) if least == 0 => 0,
            _ => most,
        };
        file.arrived = file.arrived.saturating_sub(count);
        match count {
            0 => Outcome::Refused(Errno::EAGAIN),
            _ => Outcome::Events(file.events.drain(..count).collect()),
        }
    }

    fn poll(&mut self, fd: usize, wait: bool, seen: Option<&Outcome>) -> Outcome {
        let Some(number) = self.fds[fd] else { return Outcome::Ready(libc::POLLNVAL) };
        let file = &mut self.files[number];
        let may_be_late = !wait && file.arrived == 0 && seen == Some(&Outcome::Ready(0));
        Outcome::Ready(match (file.mode, &file.array.slots) {
            (Mode::ReadOnly, _) => libc::POLLIN,
            (_, None) => libc::POLLERR,
            _ if file.events.is_empty() || may_be_late => 0,
            _ => {
                file.arrived = file.arrived.max(1);
                libc::POLLIN
            }
        })
    }

    fn clear(&mut self, fd: usize, seen: Option<&Outcome>) -> Outcome {
        let file = match self.context(fd) {
            Ok(file) => &self.files[file],
            Err(errno) => return Outcome::Refused(errno),
        };
        if file.opener.effective != 0 {
            return Outcome::Refused(Errno::EPERM);
        }
        let busy = match file.used {
            Used::Yes => true,
            Used::No => false,
            Used::Perhaps => seen != Some(&Outcome::Done),
        };
        if busy {
            return Outcome::Refused(Errno::EBUSY);
        }
        self.counters = Counters::default();
        Outcome::Done
    }

    fn fence(&mut self, fd: usize) -> Outcome {
        let file = match self.context(fd) {
            Ok(file) => file,
            Err(errno) => return Outcome::Refused(errno),
        };
        for counter in [Counter::Submitted, Counter::Processed, Counter::ProcessedThread] {
            self.count(counter);
        }
        if let Some(slots) = &mut self.files[file].array.slots {
            slots[FENCE_SLOT as usize] = uapi::STATUS_SUCCESS;
        }
        self.land(file);
        Outcome::Done
    }
}

impl File {
    /// Whether anything still refers to it.
    fn alive(&self) -> bool {
        self.descriptors > 0 || self.array.mapped
    }
}

/// Whether a process may read, or write, a byte.
fn accessible(byte: Byte, write: bool) -> bool {
    byte != HOLE && !(write && byte as usize >= CONSTANT)
}
