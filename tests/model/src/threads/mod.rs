// SPDX-License-Identifier: CECILL-B
//! Another driver in miniature, written independently of the model: with real threads, ranges instead of bytes, and
//! cookies in a table. It can be given a bug, to show that the comparison finds it.

mod bug;
mod copy;
mod events;
mod file;
mod own;
mod ranges;
mod regions;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use knem_core::uapi::CmdInfo;
use nix::errno::Errno;

use self::file::{lock, File};
use self::regions::Region;
use crate::command::{Argument, Bind, Command, Mode};
use crate::counters::{Counter, Counters, LINES};
use crate::memory::{initial, pattern};
use crate::outcome::Outcome;
use crate::system::{Settings, System};

pub use self::bug::{Bug, BUGS};

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

impl Threads {
    /// Creates a driver, with or without a bug.
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

    /// Returns a file that accepts commands.
    fn context(&self, fd: usize) -> Result<Arc<File>, Errno> {
        let file = self.file(fd)?;
        if file.mode == Mode::ReadOnly {
            return Err(Errno::EBADF);
        }
        Ok(file)
    }

    fn open(&mut self, mode: Mode, user: usize) {
        let opener = self.settings.users[user];
        let file = Arc::new(File::new(self.files.len(), opener, mode, Arc::clone(&self.memory), self.bug));
        self.descriptors.push(Some(Arc::clone(&file)));
        self.files.push(file);
    }

    /// Closes a file that nothing refers to any more.
    fn end(&mut self, file: &File) {
        let state = lock(&file.state);
        if state.descriptors > 0 || state.mapped {
            return;
        }
        file.stop(state);
        if !self.has(Bug::RegionsOutliveFile) {
            self.table.retain(|_, region| region.file != file.number);
        }
    }

    fn info(&self, fd: usize, argument: Argument) -> Outcome {
        match self.context(fd) {
            Err(errno) => Outcome::Refused(errno),
            Ok(_) if argument != Argument::Good => Outcome::Refused(Errno::EFAULT),
            Ok(_) => {
                let (forced_flags, ignored_flags) = (self.settings.forced, self.settings.ignored);
                Outcome::Info(CmdInfo { abi: 13, features: 0, ignored_flags, forced_flags })
            }
        }
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
}

impl System for Threads {
    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    fn carry_out(&mut self, command: &Command) -> Outcome {
        let result = match command {
            Command::Open { mode, user } => {
                self.open(*mode, *user);
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
            Command::Info { fd, argument } => return self.info(*fd, *argument),
            Command::Unknown { fd, .. } => self.context(*fd).and(Err(Errno::ENOSYS)),
            Command::Bind { fd, how, argument } => self.bind(*fd, *how, *argument),
            Command::Create { .. } => self.create(command),
            Command::Destroy { fd, cookie, argument } => self.destroy(*fd, *cookie, *argument),
            Command::Copy { .. } | Command::Inline { .. } | Command::Receive { .. } => return self.requested(command),
            Command::Burst { fd, count, empty } => return self.burst(*fd, *count, *empty),
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
                self.files[*file].settle();
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

    fn counters(&mut self) -> Option<Counters> {
        Some(Counters(self.counters))
    }

    fn finish(self) -> Result<(), String> {
        // Dropping it closes everything.
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A failed sequence leaves threads behind.
        for file in std::mem::take(&mut self.files) {
            let mut state = lock(&file.state);
            (state.descriptors, state.mapped) = (0, false);
            drop(state);
            self.end(&file);
        }
    }
}
