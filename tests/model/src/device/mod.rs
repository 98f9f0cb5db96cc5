// SPDX-License-Identifier: CECILL-B
//! The real device, by raw commands, which may be wrong in ways that a library would not allow.

mod arguments;
mod ground;
mod memory;
mod pins;
mod request;
mod text;

use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::counters::Counters;
use knem_core::uapi::{self, CmdBindOffload, CmdCreateRegion, CmdInfo, CmdInitSend, PROT_READ, PROT_WRITE};
use nix::errno::Errno;
use nix::fcntl::{fcntl, open, FcntlArg, OFlag};
use nix::libc;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::stat::Mode as Permissions;

use crate::command::{Bind, Command, Mode, Shape, FENCE_SLOT};
use crate::outcome::Outcome;
use crate::system::{Settings, System};
use crate::{command, memory as layout};

use arguments::Page;
pub use ground::Ground;
use memory::Mapping;
pub use pins::pinned;

/// The device, and the state of one sequence.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    settings: Settings,
    max_segments: u32,
    /// The arenas, followed by the hole.
    memory: Mapping,
    /// A page for structures that cannot be written.
    page: Page,
    fds: Vec<Option<Descriptor>>,
    /// By file: its mode, and its status array.
    files: Vec<(Mode, Option<Mapping>)>,
    cookies: Vec<u64>,
    own: Own,
    reader: OwnedFd,
    /// The counters at the time when the model's were last 0.
    start: Counters,
    /// Whether nothing else uses the driver: its counters and the machine's pinned pages are compared.
    alone: bool,
    pinned: Option<i64>,
}

#[derive(Debug)]
struct Descriptor {
    fd: OwnedFd,
    file: usize,
}

/// The test's own regions, for fences and bursts.
#[derive(Debug)]
struct Own {
    memory: Mapping,
    /// Source and destination of a fence's mark, and of a burst's byte.
    cookies: [u64; 4],
    mark: u64,
    _file: OwnedFd,
}

/// Waits until a condition holds. It always does in the end, or the program's watchdog ends the program.
fn wait_until(mut so: impl FnMut() -> bool) {
    for turn in 0u32.. {
        if so() {
            return;
        }
        if turn < 200 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
    }
}

impl Device {
    /// Sets up a sequence.
    ///
    /// # Panics
    /// If the device cannot be opened or there is no memory: the machine is not suitable for the test.
    #[must_use]
    pub fn new(ground: &Ground) -> Self {
        let path = ground.path().to_owned();
        let alone = ground.is_alone();
        let pinned = if alone { pins::pinned() } else { None };
        let file = open_at(&path, OFlag::O_RDWR).expect("the device opens");
        let reader = open_at(&path, OFlag::O_RDONLY).expect("the device opens for reading");
        let memory = Mapping::anonymous(layout::TOTAL + HOLE);
        memory.store(0, &layout::initial());
        memory.protect(layout::CONSTANT, layout::ARENA, libc::PROT_READ);
        memory.protect(layout::TOTAL, HOLE, libc::PROT_NONE);
        let own = Own::new(file);
        let start = text::counters(&reader);
        Self {
            path,
            settings: ground.settings().clone(),
            max_segments: ground.max_segments(),
            memory,
            page: Page::new(),
            fds: Vec::new(),
            files: Vec::new(),
            cookies: Vec::new(),
            own,
            reader,
            start,
            alone,
            pinned,
        }
    }

    /// Returns a descriptor; the model only refers to open ones.
    fn fd(&self, fd: usize) -> Result<BorrowedFd<'_>, Errno> {
        self.fds[fd].as_ref().map(|descriptor| descriptor.fd.as_fd()).ok_or(Errno::EBADF)
    }

    /// Returns an address where nothing is mapped.
    fn hole(&self) -> u64 {
        self.memory.address() + layout::TOTAL as u64
    }

    fn open(&mut self, mode: Mode, user: usize) -> Result<(), Errno> {
        let flags = match mode {
            Mode::ReadWrite => OFlag::O_RDWR,
            Mode::WriteOnly => OFlag::O_WRONLY,
            Mode::ReadOnly => OFlag::O_RDONLY,
        };
        let fd = ground::being(&self.settings, user, || open_at(&self.path, flags))?;
        self.fds.push(Some(Descriptor { fd, file: self.files.len() }));
        self.files.push((mode, None));
        Ok(())
    }

    fn duplicate(&mut self, fd: usize) -> Result<(), Errno> {
        let descriptor = self.fds[fd].as_ref().ok_or(Errno::EBADF)?;
        let copy = descriptor.fd.try_clone().map_err(|_| Errno::EMFILE)?;
        let file = descriptor.file;
        self.fds.push(Some(Descriptor { fd: copy, file }));
        Ok(())
    }

    fn map(&mut self, fd: usize, shape: Shape) -> Result<(), Errno> {
        let file = self.fds[fd].as_ref().map(|descriptor| descriptor.file).ok_or(Errno::EBADF)?;
        let protection = libc::PROT_READ | if shape.read_only { 0 } else { libc::PROT_WRITE };
        let flags = if shape.private { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
        let offset = u64::from(shape.offset) * self.settings.page;
        let rounded = shape.length.div_ceil(self.settings.page) * self.settings.page;
        let mapping = Mapping::of_file(self.fd(fd)?, (shape.length, rounded), protection, flags, offset)?;
        self.files[file].1 = Some(mapping);
        Ok(())
    }

    fn bind(&self, fd: usize, how: Bind, argument: command::Argument) -> Result<(), Errno> {
        let mask = [0xffu8; 4096];
        let (flags, mask_len, mask_ptr) = match how {
            Bind::Current => (uapi::BIND_FLAG_CURRENT, 0, 0),
            Bind::Reversed => (uapi::BIND_FLAG_CURRENT_REVERSED, 0, 0),
            Bind::All(length) => (uapi::BIND_FLAG_CUSTOM, length, mask.as_ptr().expose_provenance() as u64),
            Bind::AbsentMask => (uapi::BIND_FLAG_CUSTOM, 8, self.hole()),
            Bind::Flags(flags) => (flags, 0, 0),
        };
        let mut bind = CmdBindOffload { flags, mask_len, mask_ptr };
        self.call(self.fd(fd)?, uapi::CMD_BIND_OFFLOAD, argument, &mut bind)
    }

    fn create(&mut self, command: &Command) -> Result<(), Errno> {
        let Command::Create { fd, user, list, protection, flags, argument, old } = command else { return Ok(()) };
        let list = self.list(list);
        let fd = self.fd(*fd)?;
        let cookie = ground::being(&self.settings, *user, || {
            if *old {
                let (send_iovec_array, send_iovec_nr) = list.given();
                let mut send = CmdInitSend { send_iovec_array, send_iovec_nr, flags: *flags, send_cookie: 0 };
                self.call(fd, uapi::CMD_INIT_SEND, *argument, &mut send).map(|()| send.send_cookie)
            } else {
                let (iovec_array, iovec_nr) = list.given();
                let (flags, protection, pad1) = (*flags, *protection, arguments::GARBAGE);
                let mut create = CmdCreateRegion { iovec_array, iovec_nr, flags, protection, pad1, cookie: 0 };
                self.call(fd, uapi::CMD_CREATE_REGION, *argument, &mut create).map(|()| create.cookie)
            }
        })?;
        assert_ne!(cookie, 0, "no region has cookie 0");
        assert!(!self.cookies.contains(&cookie), "no cookie comes twice");
        self.cookies.push(cookie);
        Ok(())
    }

    fn info(&self, fd: usize, argument: command::Argument) -> Result<CmdInfo, Errno> {
        let mut info = CmdInfo::default();
        self.call(self.fd(fd)?, uapi::CMD_GET_INFO, argument, &mut info)?;
        Ok(info)
    }

    fn read(&self, fd: usize, bytes: u32, blocking: bool, absent: bool) -> Result<Outcome, Errno> {
        let descriptor = self.fds[fd].as_ref().ok_or(Errno::EBADF)?;
        let mut buffer = vec![0u8; bytes as usize];
        let address = if absent { self.hole() } else { buffer.as_mut_ptr().expose_provenance() as u64 };
        let (raw, address) = (descriptor.fd.as_raw_fd(), std::ptr::with_exposed_provenance_mut(address as usize));
        if self.files[descriptor.file].0 == Mode::ReadOnly {
            // SAFETY: The buffer has this length, or nothing is mapped at the address, which the driver checks.
            let read = Errno::result(unsafe { libc::pread(raw, address, buffer.len(), 0) })?;
            let good = b"knem ".iter().zip(&buffer[..read as usize]).all(|(must, is)| must == is);
            return Ok(match (bytes, good) {
                (0, _) => Outcome::Events(Vec::new()),
                (_, true) => Outcome::Text,
                (_, false) => Outcome::Broken("the statistics do not begin as they should".to_owned()),
            });
        }
        let flags = OFlag::from_bits_retain(fcntl(&descriptor.fd, FcntlArg::F_GETFL)?);
        let mut wanted = flags & !OFlag::O_NONBLOCK;
        if !blocking {
            wanted |= OFlag::O_NONBLOCK;
        }
        fcntl(&descriptor.fd, FcntlArg::F_SETFL(wanted))?;
        // SAFETY: As above, the buffer has this length, or nothing is mapped at the address.
        let read = Errno::result(unsafe { libc::read(raw, address, buffer.len()) })?;
        if read % 4 != 0 {
            return Ok(Outcome::Broken(format!("read gave {read} bytes")));
        }
        let event = |bytes: &[u8]| bytes.try_into().map_or(u32::MAX, u32::from_ne_bytes);
        Ok(Outcome::Events(buffer[..read as usize].chunks_exact(4).map(event).collect()))
    }

    fn poll(&self, fd: usize, wait: bool) -> Result<Outcome, Errno> {
        let all = PollFlags::POLLIN | PollFlags::POLLOUT | PollFlags::POLLRDNORM | PollFlags::POLLPRI;
        let mut one = [PollFd::new(self.fd(fd)?, all)];
        poll(&mut one, if wait { PollTimeout::NONE } else { PollTimeout::ZERO })?;
        Ok(Outcome::Ready(one[0].revents().unwrap_or(PollFlags::empty()).bits()))
    }

    fn clear(&mut self, fd: usize) -> Result<(), Errno> {
        let written = nix::unistd::write(self.fd(fd)?, b"1\n")?;
        assert_eq!(written, 2, "all is taken");
        self.start = Counters::default();
        Ok(())
    }

    fn fence(&mut self, fd: usize) -> Outcome {
        self.own.mark += 1;
        self.own.memory.store(0, &self.own.mark.to_ne_bytes());
        let (source, destination) = (self.own.cookies[0], self.own.cookies[1]);
        let request = self.between(source, destination, 8, uapi::FLAG_MEMCPYTHREAD, FENCE_SLOT);
        match self.fd(fd).and_then(|fd| self.submit_own(fd, request)) {
            Err(errno) => return Outcome::Refused(errno),
            Ok(status) if status != u32::from(uapi::STATUS_PENDING) => return Outcome::Status(status),
            Ok(_) => {}
        }
        wait_until(|| self.own.memory.load::<8>(8) == self.own.mark.to_ne_bytes());
        let file = self.fds[fd].as_ref().map(|descriptor| descriptor.file);
        if let Some(array) = file.and_then(|file| self.files[file].1.as_ref()) {
            wait_until(|| array.peek(FENCE_SLOT as usize) == uapi::STATUS_SUCCESS);
        }
        Outcome::Done
    }

    fn burst(&self, fd: usize, count: u32, empty: bool) -> Outcome {
        let (mut accepted, mut refused) = (0, 0);
        let Ok(fd) = self.fd(fd) else { return Outcome::Refused(Errno::EBADF) };
        for n in 0..count {
            let (source, destination) = (self.own.cookies[2], self.own.cookies[3]);
            let (length, slot) = (u64::from(!empty), command::burst_slot(n));
            let request = self.between(source, destination, length, command::BURST_FLAGS, slot);
            match self.submit_own(fd, request) {
                Ok(status) if status == u32::from(uapi::STATUS_PENDING) => accepted += 1,
                Ok(status) => return Outcome::Status(status),
                Err(Errno::EBUSY) => refused += 1,
                Err(errno) => return Outcome::Refused(errno),
            }
        }
        Outcome::Burst(accepted, refused)
    }

    fn close_all(&mut self) {
        self.fds.clear();
        self.files.clear();
    }
}

/// Size of the hole in bytes.
const HOLE: usize = 64 << 10;

fn open_at(path: &std::path::Path, flags: OFlag) -> Result<OwnedFd, Errno> {
    open(path, flags | OFlag::O_CLOEXEC, Permissions::empty())
}

impl Own {
    fn new(file: OwnedFd) -> Self {
        let memory = Mapping::anonymous(layout::ARENA);
        let cookies = [(0, 8, PROT_READ), (8, 8, PROT_WRITE), (64, 1, PROT_READ), (128, 1, PROT_WRITE)]
            .map(|(start, length, protection)| request::region(file.as_fd(), memory.part(start, length), protection));
        Self { memory, cookies, mark: 0, _file: file }
    }
}

impl System for Device {
    fn settings(&self) -> Settings {
        self.settings.clone()
    }

    fn carry_out(&mut self, command: &Command) -> Outcome {
        let result = match command {
            Command::Open { mode, user } => self.open(*mode, *user),
            Command::Duplicate { fd } => self.duplicate(*fd),
            Command::Close { fd, .. } => {
                self.fds[*fd] = None;
                Ok(())
            }
            Command::Map { fd, shape } => self.map(*fd, *shape),
            Command::Unmap { file, .. } => {
                self.files[*file].1 = None;
                Ok(())
            }
            Command::Info { fd, argument } => {
                return self.info(*fd, *argument).map_or_else(Outcome::Refused, Outcome::Info)
            }
            Command::Unknown { fd, number } => self.fd(*fd).and_then(|fd| {
                // SAFETY: No command has this number, so that the address is not used.
                let result = unsafe { libc::ioctl(fd.as_raw_fd(), (*number).into(), std::ptr::null_mut::<c_void>()) };
                Errno::result(result).map(drop)
            }),
            Command::Bind { fd, how, argument } => self.bind(*fd, *how, *argument),
            Command::Create { .. } => self.create(command),
            Command::Destroy { fd, cookie, argument } => {
                let mut cookie = cookie.value(&self.cookies);
                self.fd(*fd).and_then(|fd| self.call(fd, uapi::CMD_DESTROY_REGION, *argument, &mut cookie))
            }
            Command::Copy { .. } | Command::Inline { .. } | Command::Receive { .. } => return self.request(command),
            Command::Burst { fd, count, empty } => return self.burst(*fd, *count, *empty),
            Command::Read { fd, bytes, blocking, absent } => {
                return self.read(*fd, *bytes, *blocking, *absent).unwrap_or_else(Outcome::Refused)
            }
            Command::Poll { fd, wait } => return self.poll(*fd, *wait).unwrap_or_else(Outcome::Refused),
            Command::Clear { fd } => self.clear(*fd),
            Command::Store { start, length, seed } => {
                let bytes: Vec<u8> = (0..*length).map(|n| layout::pattern(*seed, n)).collect();
                self.memory.store(*start, &bytes);
                Ok(())
            }
            Command::Poke { file, slot, value } => {
                if let Some(array) = &self.files[*file].1 {
                    array.store(*slot, &[*value]);
                }
                Ok(())
            }
            Command::Settle => Ok(()),
            Command::Fence { fd } => return self.fence(*fd),
            Command::Await { file, slots } => {
                if let Some(array) = &self.files[*file].1 {
                    for slot in slots {
                        wait_until(|| array.peek(*slot as usize) != uapi::STATUS_PENDING);
                    }
                }
                Ok(())
            }
        };
        result.into()
    }

    fn memory(&mut self, into: &mut Vec<u8>) {
        self.memory.copy_out(layout::TOTAL, into);
    }

    fn slots(&mut self, file: usize, into: &mut Vec<u8>) {
        if let Some(array) = &self.files[file].1 {
            array.copy_out(array.length(), into);
        }
    }

    fn counters(&mut self) -> Option<Counters> {
        self.alone.then(|| text::counters(&self.reader).since(&self.start))
    }

    fn finish(mut self) -> Result<(), String> {
        self.close_all();
        let before = self.pinned;
        // Releases the memory, and the test's own file and regions.
        drop(self);
        pins::come_back_to(before)
    }
}
