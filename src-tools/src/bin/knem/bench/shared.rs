// SPDX-License-Identifier: CECILL-B
//! Shared memory of the two processes of a benchmark: a few words for synchronization, and a ring for data.
//!
//! It has no name in the file system, and is freed when the last process unmaps it.
//!
//! The ring works as the shared-memory paths of MPI libraries do: 8 chunks of 32 KiB each, which the sender fills and
//! the receiver empties in turn, both at the same time. Each byte is copied twice, and stays in a cache in between.

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

/// Size of a chunk of the ring.
pub(crate) const CHUNK: usize = 32 << 10;
/// Number of chunks of the ring.
pub(crate) const CHUNKS: usize = 8;
/// Distance of the words, so that each has its own cache line.
const LINE: usize = 128;
const WORDS_SIZE: usize = 4096;
const SIZE: usize = WORDS_SIZE + CHUNKS * CHUNK;
/// Timeout of waiting for the other process, which may have ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// Words after those of the chunks.
#[derive(Clone, Copy)]
enum Word {
    /// Set by the first process when the clock runs.
    Go = CHUNKS as isize,
    /// The last byte has been received.
    Done = CHUNKS as isize + 1,
    /// A cookie has been created, or could not be.
    Offer = CHUNKS as isize + 2,
    /// The cookie.
    Cookie = CHUNKS as isize + 3,
}

/// Values of [`Word::Offer`]: the region was created, or could not be.
const OFFERED: u32 = 1;
const NOT_OFFERED: u32 = 2;

/// The shared memory.
pub(crate) struct Shared {
    start: NonNull<u8>,
    file: File,
}

// SAFETY: a mapping belongs to the process, not to a thread; it is unmapped once, by the one owner.
unsafe impl Send for Shared {}
// SAFETY: words are accessed atomically, and a chunk only by the process that its word allows.
unsafe impl Sync for Shared {}

impl Shared {
    /// Creates the memory; its descriptor stays open across `exec`.
    pub(crate) fn new() -> Result<Self, Failure> {
        let file = memfd_create("knem-bench", MFdFlags::empty()).map_err(cannot)?;
        ftruncate(&file, i64::try_from(SIZE).unwrap_or(i64::MAX)).map_err(cannot)?;
        Self::map(file.into())
    }

    /// Maps the memory of the other process by the inherited descriptor.
    pub(crate) fn inherited(descriptor: i32) -> Result<Self, Failure> {
        let path = format!("/proc/self/fd/{descriptor}");
        let opened = File::options().read(true).write(true).open(&path);
        Self::map(opened.map_err(|error| Failure::Other(format!("cannot share memory ({path}): {error}")))?)
    }

    /// Returns the descriptor to inherit.
    pub(crate) fn descriptor(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Closes the descriptor in programs that are started from now on.
    pub(crate) fn close_on_exec(&self) -> Result<(), Failure> {
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map(drop).map_err(cannot)
    }

    fn map(file: File) -> Result<Self, Failure> {
        let length = NonZeroUsize::MIN.saturating_add(SIZE - 1);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let owned: OwnedFd = file.into();
        // SAFETY: the kernel chooses the address, so the mapping replaces no other one.
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &owned, 0) }.map_err(cannot)?;
        Ok(Self { start: start.cast(), file: owned.into() })
    }

    /// First process, before each copy: resets all words.
    pub(crate) fn reset(&self) {
        for index in 0..CHUNKS {
            self.full(index).store(0, Ordering::Release);
        }
        for word in [Word::Go, Word::Done, Word::Offer] {
            self.at(word).store(0, Ordering::Release);
        }
    }

    /// First process: signals that the clock runs.
    pub(crate) fn go(&self) {
        self.at(Word::Go).store(1, Ordering::Release);
    }

    /// Second process: waits until the clock runs.
    pub(crate) fn wait_for_go(&self) -> Result<(), Failure> {
        self.wait(Word::Go).map(drop)
    }

    /// Receiver of the data or user of the region: signals the end.
    pub(crate) fn done(&self) {
        self.at(Word::Done).store(1, Ordering::Release);
    }

    /// Waits for that end.
    pub(crate) fn wait_for_done(&self) -> Result<(), Failure> {
        self.wait(Word::Done).map(drop)
    }

    /// Second process: passes the cookie of a new region; `None` if it could not be created.
    pub(crate) fn offer(&self, cookie: Option<u64>) {
        self.cookie().store(cookie.unwrap_or(0), Ordering::Relaxed);
        let state = if cookie.is_some() { OFFERED } else { NOT_OFFERED };
        self.at(Word::Offer).store(state, Ordering::Release);
    }

    /// First process: waits for the cookie.
    pub(crate) fn wait_for_offer(&self) -> Result<Option<u64>, Failure> {
        let state = self.wait(Word::Offer)?;
        Ok((state == OFFERED).then(|| self.cookie().load(Ordering::Relaxed)))
    }

    /// Sends `size` bytes through the ring; `fill` copies those at an offset into a piece.
    pub(crate) fn send(&self, size: usize, fill: impl Fn(usize, &mut [u8])) -> Result<(), Failure> {
        for (index, offset) in (0..size).step_by(CHUNK).enumerate() {
            let full = self.full(index % CHUNKS);
            until(|| full.load(Ordering::Acquire) == 0)?;
            let length = CHUNK.min(size - offset);
            // SAFETY: the chunk is inside the mapping, and the receiver does not access it before its word is set.
            fill(offset, unsafe { std::slice::from_raw_parts_mut(self.chunk(index % CHUNKS), length) });
            full.store(u32::try_from(length).unwrap_or(u32::MAX), Ordering::Release);
        }
        Ok(())
    }

    /// Receives `size` bytes through the ring; `empty` copies a piece to an offset.
    pub(crate) fn receive(&self, size: usize, empty: impl Fn(usize, &[u8])) -> Result<(), Failure> {
        for (index, offset) in (0..size).step_by(CHUNK).enumerate() {
            let full = self.full(index % CHUNKS);
            until(|| full.load(Ordering::Acquire) != 0)?;
            let length = CHUNK.min(size - offset);
            // SAFETY: the chunk is inside the mapping, and the sender does not access it before its word is cleared.
            empty(offset, unsafe { std::slice::from_raw_parts(self.chunk(index % CHUNKS), length) });
            full.store(0, Ordering::Release);
        }
        Ok(())
    }

    fn wait(&self, word: Word) -> Result<u32, Failure> {
        until(|| self.at(word).load(Ordering::Acquire) != 0)?;
        Ok(self.at(word).load(Ordering::Acquire))
    }

    fn at(&self, word: Word) -> &AtomicU32 {
        self.full(word as usize)
    }

    /// Returns the word of a chunk: the number of bytes in it, 0 if it may be filled.
    fn full(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the words are in the first part of the mapping.
        let offset = unsafe { self.start.as_ptr().add(index * LINE) };
        // SAFETY: the word is aligned, mapped as long as `self` exists, and both processes access it atomically.
        unsafe { AtomicU32::from_ptr(offset.cast()) }
    }

    fn cookie(&self) -> &AtomicU64 {
        // SAFETY: the words are in the first part of the mapping.
        let offset = unsafe { self.start.as_ptr().add(Word::Cookie as usize * LINE) };
        // SAFETY: the words are in the first part of the mapping.
        unsafe { AtomicU64::from_ptr(offset.cast()) }
    }

    fn chunk(&self, index: usize) -> *mut u8 {
        // SAFETY: the ring is in the mapping after the words.
        unsafe { self.start.as_ptr().add(WORDS_SIZE + index * CHUNK) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: start and length are those of the mapping, and there is no reference into it.
        let unmapped = unsafe { munmap(self.start.cast(), SIZE) };
        debug_assert!(unmapped.is_ok(), "a mapping can be unmapped");
    }
}

/// Waits for a condition: first by spinning, then by yielding the CPU, which the other process may need.
pub(crate) fn until(so: impl Fn() -> bool) -> Result<(), Failure> {
    const WITHOUT_YIELDING: u32 = 2000;
    const YIELDS_BETWEEN_CLOCK_READS: u32 = 4096;
    for _ in 0..WITHOUT_YIELDING {
        if so() {
            return Ok(());
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        for _ in 0..YIELDS_BETWEEN_CLOCK_READS {
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
                    shared.send(size, |offset, piece| piece.copy_from_slice(&sent[offset..][..piece.len()])).unwrap();
                });
                shared.go();
                let empty = |offset: usize, piece: &[u8]| {
                    received.lock().unwrap()[offset..][..piece.len()].copy_from_slice(piece);
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
        assert!((Word::Cookie as usize + 1) * LINE <= WORDS_SIZE);
    }
}
