// SPDX-License-Identifier: CECILL-B
//! Memory that both processes of a benchmark have mapped: a few words to meet at, and a ring to send data through.
//!
//! It has no name in the file system, and is gone with the last process that has it.
//!
//! The ring works as the shared-memory paths of MPI libraries do: 8 chunks of 32 KiB each, which the sender fills and the
//! receiver empties in turn, both at the same time. Each byte is copied twice, and stays in a cache in between.

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{fcntl, FcntlArg, FdFlag};
use nix::sys::memfd::{memfd_create, MFdFlags};
use nix::sys::mman::{mmap, munmap, MapFlags, ProtFlags};
use nix::unistd::ftruncate;

use crate::exit::Failure;

/// Bytes of a chunk of the ring.
pub(crate) const CHUNK: usize = 32 << 10;
/// Chunks of the ring.
pub(crate) const CHUNKS: usize = 8;
/// A word for each of these places, in a cache line of its own.
const LINE: usize = 128;
const WORDS_SIZE: usize = 4096;
const SIZE: usize = WORDS_SIZE + CHUNKS * CHUNK;
/// How long one process waits for the other, which may have ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the processes meet.
#[derive(Clone, Copy)]
enum Place {
    /// The first process sets it when the clock runs.
    Go = CHUNKS as isize,
    /// The last byte has been received.
    Done = CHUNKS as isize + 1,
    /// A cookie has been created, or could not be.
    Offer = CHUNKS as isize + 2,
    /// The cookie.
    Cookie = CHUNKS as isize + 3,
}

/// What became of a region that was to be created.
const OFFERED: u32 = 1;
const NOT_OFFERED: u32 = 2;

/// The memory.
pub(crate) struct Shared {
    start: NonNull<u8>,
    file: File,
}

// SAFETY: a mapping belongs to the process, not to a thread; it is unmapped once, by the one owner.
unsafe impl Send for Shared {}
// SAFETY: words are accessed atomically; a chunk by whoever its word allows to.
unsafe impl Sync for Shared {}

impl Shared {
    /// New memory; its descriptor outlives `exec`.
    pub(crate) fn new() -> Result<Self, Failure> {
        let file = memfd_create("knem-bench", MFdFlags::empty()).map_err(cannot)?;
        ftruncate(&file, i64::try_from(SIZE).unwrap_or(i64::MAX)).map_err(cannot)?;
        Self::map(file.into())
    }

    /// The memory that the other process made, which left its descriptor open.
    pub(crate) fn inherited(descriptor: i32) -> Result<Self, Failure> {
        let path = format!("/proc/self/fd/{descriptor}");
        let opened = File::options().read(true).write(true).open(&path);
        Self::map(opened.map_err(|error| Failure::Other(format!("cannot share memory ({path}): {error}")))?)
    }

    /// The descriptor to be inherited.
    pub(crate) fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Keeps the descriptor from programs that are started from now on.
    pub(crate) fn close_on_exec(&self) -> Result<(), Failure> {
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(drop).map_err(cannot)
    }

    fn map(file: File) -> Result<Self, Failure> {
        let length = NonZeroUsize::MIN.saturating_add(SIZE - 1);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let owned: OwnedFd = file.into();
        // SAFETY: the kernel chooses the place, so nothing is mapped over.
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &owned, 0) }.map_err(cannot)?;
        Ok(Self { start: start.cast(), file: owned.into() })
    }

    /// First process, before each copy: nothing has happened yet.
    pub(crate) fn reset(&self) {
        for index in 0..CHUNKS {
            self.full(index).store(0, Ordering::Release);
        }
        for place in [Place::Go, Place::Done, Place::Offer] {
            self.at(place).store(0, Ordering::Release);
        }
    }

    /// First process: the clock runs.
    pub(crate) fn go(&self) {
        self.at(Place::Go).store(1, Ordering::Release);
    }

    /// Second process: waits for that.
    pub(crate) fn wait_for_go(&self) -> Result<(), Failure> {
        self.wait(Place::Go).map(drop)
    }

    /// Whoever has received the last byte, or has used the region, says so.
    pub(crate) fn done(&self) {
        self.at(Place::Done).store(1, Ordering::Release);
    }

    /// Waits for that.
    pub(crate) fn wait_for_done(&self) -> Result<(), Failure> {
        self.wait(Place::Done).map(drop)
    }

    /// Second process: hands over the cookie of a new region; `None` if there is none.
    pub(crate) fn offer(&self, cookie: Option<u64>) {
        self.cookie().store(cookie.unwrap_or(0), Ordering::Relaxed);
        let state = if cookie.is_some() { OFFERED } else { NOT_OFFERED };
        self.at(Place::Offer).store(state, Ordering::Release);
    }

    /// First process: waits for the cookie.
    pub(crate) fn wait_for_offer(&self) -> Result<Option<u64>, Failure> {
        let state = self.wait(Place::Offer)?;
        Ok((state == OFFERED).then(|| self.cookie().load(Ordering::Relaxed)))
    }

    /// Sends as many bytes through the ring; `fill` copies those of a place into a piece.
    pub(crate) fn send(&self, size: usize, fill: impl Fn(usize, &mut [u8])) -> Result<(), Failure> {
        for (index, place) in (0..size).step_by(CHUNK).enumerate() {
            let full = self.full(index % CHUNKS);
            until(|| full.load(Ordering::Acquire) == 0)?;
            let length = CHUNK.min(size - place);
            // SAFETY: inside the mapping; the receiver leaves it alone until it is full.
            fill(place, unsafe { std::slice::from_raw_parts_mut(self.chunk(index % CHUNKS), length) });
            full.store(u32::try_from(length).unwrap_or(u32::MAX), Ordering::Release);
        }
        Ok(())
    }

    /// Receives as many bytes through the ring; `empty` copies a piece to its place.
    pub(crate) fn receive(&self, size: usize, empty: impl Fn(usize, &[u8])) -> Result<(), Failure> {
        for (index, place) in (0..size).step_by(CHUNK).enumerate() {
            let full = self.full(index % CHUNKS);
            until(|| full.load(Ordering::Acquire) != 0)?;
            let length = CHUNK.min(size - place);
            // SAFETY: inside the mapping; the sender leaves it alone until it is empty.
            empty(place, unsafe { std::slice::from_raw_parts(self.chunk(index % CHUNKS), length) });
            full.store(0, Ordering::Release);
        }
        Ok(())
    }

    fn wait(&self, place: Place) -> Result<u32, Failure> {
        until(|| self.at(place).load(Ordering::Acquire) != 0)?;
        Ok(self.at(place).load(Ordering::Acquire))
    }

    fn at(&self, place: Place) -> &AtomicU32 {
        self.full(place as usize)
    }

    /// How many bytes a chunk holds; 0 when it may be filled.
    fn full(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the words are inside the mapping's first part.
        let place = unsafe { self.start.as_ptr().add(index * LINE) };
        // SAFETY: aligned, mapped as long as `self`, and both processes access it atomically.
        unsafe { AtomicU32::from_ptr(place.cast()) }
    }

    fn cookie(&self) -> &AtomicU64 {
        // SAFETY: as above.
        let place = unsafe { self.start.as_ptr().add(Place::Cookie as usize * LINE) };
        // SAFETY: as above.
        unsafe { AtomicU64::from_ptr(place.cast()) }
    }

    fn chunk(&self, index: usize) -> *mut u8 {
        // SAFETY: the ring is inside the mapping, behind the words.
        unsafe { self.start.as_ptr().add(WORDS_SIZE + index * CHUNK) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping; nobody has a reference into it.
        let unmapped = unsafe { munmap(self.start.cast(), SIZE) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

/// Waits until it is so: at first without leaving the CPU, then giving it to others in between, who may be the other process.
pub(crate) fn until(so: impl Fn() -> bool) -> Result<(), Failure> {
    const WITHOUT_YIELDING: u32 = 2000;
    const BETWEEN_LOOKS_AT_THE_CLOCK: u32 = 4096;
    for _ in 0..WITHOUT_YIELDING {
        if so() {
            return Ok(());
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        for _ in 0..BETWEEN_LOOKS_AT_THE_CLOCK {
            if so() {
                return Ok(());
            }
            std::thread::yield_now();
        }
    }
    Err(Failure::Other(format!("the other process has not answered for {} seconds", PATIENCE.as_secs())))
}

fn cannot(errno: nix::errno::Errno) -> Failure {
    Failure::Other(format!("cannot share memory between the two processes: {}", errno.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order() {
        let shared = Shared::new().unwrap();
        for size in [1, CHUNK, CHUNK + 1, 3 * CHUNK * CHUNKS + 5] {
            let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            let received = std::sync::Mutex::new(vec![0; size]);
            shared.reset();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    shared.wait_for_go().unwrap();
                    shared.send(size, |place, piece| piece.copy_from_slice(&sent[place..][..piece.len()])).unwrap();
                });
                shared.go();
                let empty = |place: usize, piece: &[u8]| {
                    received.lock().unwrap()[place..][..piece.len()].copy_from_slice(piece);
                };
                shared.receive(size, empty).unwrap();
            });
            let received = received.into_inner().unwrap();
            assert!(sent == received, "{size}");
        }
    }

    #[test]
    fn offers_arrive_whole() {
        let shared = Shared::new().unwrap();
        for offer in [Some(0xdead_beef_0123_4567), None] {
            shared.reset();
            shared.offer(offer);
            assert_eq!(shared.wait_for_offer().unwrap(), offer);
            shared.done();
            shared.wait_for_done().unwrap();
        }
    }

    #[test]
    fn another_mapping_is_the_same_memory() {
        let shared = Shared::new().unwrap();
        let other = Shared::inherited(shared.descriptor()).unwrap();
        shared.close_on_exec().unwrap();
        shared.offer(Some(7));
        assert_eq!(other.wait_for_offer().unwrap(), Some(7));
    }

    #[test]
    fn words_do_not_reach_into_the_ring() {
        assert!((Place::Cookie as usize + 1) * LINE <= WORDS_SIZE);
    }
}
