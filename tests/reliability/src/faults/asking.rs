// SPDX-License-Identifier: CECILL-B
//! What the scenarios have in common: requests that fail once and succeed when they are repeated, and memory to ask
//! for.

use knem_conformance::device::{segment, Knem, FAILED, READ, SUCCESS, WRITE};
use knem_conformance::memory::{Mapping, PAGE};
use knem_conformance::parameters::with_parameter;
use knem_conformance::slots::{Slots, DONE, PENDING};
use knem_core::uapi::ParamIovec;
use nix::errno::Errno;
use nix::libc;

use crate::nth::Nth;

/// Bytes of which no page is like another.
pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / PAGE * 7 + n * 13 % 251) as u8).collect()
}

/// A file, a region of so many bytes, and memory for the other side, all of it present.
pub(super) struct Pair {
    pub(super) knem: Knem,
    pub(super) memory: Mapping,
    pub(super) region: u64,
    pub(super) local: Mapping,
}

impl Pair {
    pub(super) fn new(length: usize) -> Self {
        Self::with(length, 0)
    }

    /// With these flags at its creation.
    pub(super) fn with(length: usize, flags: u32) -> Self {
        let (knem, memory) = (Knem::open(), Mapping::holding(&pattern(length)));
        let region = knem.create(&[memory.segment()], READ | WRITE, flags).expect("created");
        Self { knem, memory, region, local: Mapping::holding(&vec![0xaa; length]) }
    }

    /// Demands that the other side has become as the region, or as before the copy.
    pub(super) fn is_copied(&self) {
        assert!(self.memory.bytes() == self.local.bytes(), "other bytes than those asked for");
    }
}

/// A copy within the call: it fails once if a point fails in it, and then succeeds.
pub(super) fn copies(nth: &Nth, mut ask: impl FnMut() -> Result<u32, Errno>) {
    match nth.attempt(&mut ask) {
        Ok(SUCCESS) => return,
        Ok(FAILED) => assert!(nth.hit(), "failed without a failure"),
        Ok(other) => panic!("status {other}"),
        Err(_) => {}
    }
    assert_eq!(ask(), Ok(SUCCESS), "repeated");
}

/// A copy that the worker thread makes, reporting to the slot it is given.
pub(super) fn queues(nth: &Nth, slots: &Slots, mut ask: impl FnMut(u32) -> Result<u32, Errno>) {
    let mut slot = 1;
    slots.set(slot, PENDING);
    // The thread may have been started for it.
    let mut answer = nth.attempt_consuming(|| ask(slot));
    if answer.is_err() {
        // Another slot: the request has been accepted where only its status could not be written back.
        slot = 2;
        slots.set(slot, PENDING);
        answer = ask(slot);
    }
    assert_eq!(answer, Ok(u32::from(PENDING)));
    let status = slots.wait(slot);
    assert!(status == DONE || nth.hit(), "slot {slot} is {status}");
}

/// Unmaps memory, which is not to be used afterwards. The kernel may have to split mappings for it, and is refused the
/// memory.
pub(super) fn unmaps(nth: &Nth, memory: &Mapping) {
    let (address, length) = (memory.address() as usize, memory.len());
    nth.call(|| {
        let place = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: The range is a whole mapping, which the caller does not use afterwards.
        Errno::result(unsafe { libc::munmap(place, length) })
    });
}

/// Closes a file, and unmaps its status array.
pub(super) fn closes(nth: &Nth, knem: Knem, slots: Slots) {
    nth.during(|| drop(knem));
    unmaps(nth, slots.memory());
    std::mem::forget(slots);
}

/// Every second page, in reverse: as many extents as pages.
pub(super) fn scattered(memory: &Mapping) -> Vec<ParamIovec> {
    let pages = memory.len() / PAGE;
    (0..pages).rev().step_by(2).map(|page| segment(memory.address() + (page * PAGE) as u64, PAGE as u64)).collect()
}

/// While a ceiling keeps memory from being pinned for longer than a copy takes.
pub(super) fn without_pins(work: impl FnOnce()) {
    with_parameter("max_user_pinned_mb", "1", || {
        let (knem, filler) = (Knem::open(), Mapping::holding(&vec![1; 256 * PAGE]));
        knem.create(&[filler.segment()], READ, 0).expect("created");
        work();
    });
}
