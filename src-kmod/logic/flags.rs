// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Evaluation of the flags that a caller passes.

use crate::logic::refusal::Refusal;
use crate::uapi;

/// The flags that the administrator adds to every request, and those that are removed from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// Added to every request.
    pub forced: u32,
    /// Removed from every request.
    pub ignored: u32,
}

/// Whether flags have a bit that the interface does not define. Clients expect it to be ignored.
#[must_use]
pub const fn has_unknown(flags: u32) -> bool {
    flags & !(uapi::FLAG_ANY_CREATE_MASK | uapi::FLAG_ANY_COPY_MASK) != 0
}

/// Module parameters that determine the masks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters {
    /// `pinlocal`: force PINLOCAL.
    pub pinlocal: bool,
    /// `dma=0`: ignore DMA.
    pub no_dma: bool,
    /// `thread=0`: ignore the flags that pass a request to the worker thread.
    pub no_thread: bool,
    /// `sync=1`: ignore every asynchronous flag.
    pub sync: bool,
    /// `forceflags`.
    pub force: u32,
    /// `ignoreflags`.
    pub ignore: u32,
}

impl Masks {
    /// Returns the masks that the module's parameters request.
    ///
    /// # Errors
    /// [`Refusal::BadFlags`] (EINVAL) if a flag is both forced and ignored. The module is not loaded then.
    pub const fn new(parameters: Parameters) -> Result<Self, Refusal> {
        let mut forced = parameters.force;
        if parameters.pinlocal {
            forced |= uapi::FLAG_PINLOCAL;
        }
        let mut ignored = parameters.ignore;
        if parameters.no_dma {
            ignored |= uapi::FLAG_DMA;
        }
        if parameters.no_thread {
            ignored |= uapi::FLAG_ANY_THREAD_MASK;
        }
        if parameters.sync {
            ignored |= uapi::FLAG_ANY_ASYNC_MASK;
        }
        if forced & ignored != 0 {
            return Err(Refusal::BadFlags);
        }
        Ok(Self { forced, ignored })
    }

    const fn effective(self, user: u32, mask: u32) -> u32 {
        (user | self.forced) & !self.ignored & mask
    }

    /// Returns the flags of a region, from those of its creation. Unknown ones and those of copies are dropped.
    #[must_use]
    pub const fn create(self, user: u32) -> Create {
        let flags = self.effective(user, uapi::FLAG_ANY_CREATE_MASK);
        Create { single_use: flags & uapi::FLAG_SINGLEUSE != 0, any_user: flags & uapi::FLAG_ANY_USER_ACCESS != 0 }
    }

    /// Returns the flags of a copy, from those of its request. Unknown ones and those of regions are dropped.
    ///
    /// `slots` returns the size of the context's status array, if it is mapped; `index` is the requested slot.
    ///
    /// # Errors
    /// [`Refusal::BadFlags`] (EINVAL) for an asynchronous request without a valid slot, or for NOTIFY_FD without a flag
    /// for the worker thread or with ASYNCDMACOMPLETE.
    pub fn copy(self, user: u32, slots: impl FnOnce() -> Option<u64>, index: u32) -> Result<Copy, Refusal> {
        let copy = Copy(self.effective(user, uapi::FLAG_ANY_COPY_MASK));
        if copy.asynchronous() && !valid(slots(), index) {
            return Err(Refusal::BadFlags);
        }
        if copy.notify() && (copy.0 & uapi::FLAG_ANY_THREAD_MASK == 0 || copy.detached()) {
            return Err(Refusal::BadFlags);
        }
        Ok(copy)
    }

    /// Returns the flags of INIT_ASYNC_RECV, whose result is always in a slot, and whose notification requires no
    /// worker thread.
    ///
    /// # Errors
    /// [`Refusal::BadFlags`] (EINVAL) without a valid slot, or for NOTIFY_FD with ASYNCDMACOMPLETE.
    pub const fn async_recv(self, user: u32, slots: Option<u64>, index: u32) -> Result<Copy, Refusal> {
        let copy = Copy(self.effective(user, uapi::FLAG_ANY_COPY_MASK));
        if !valid(slots, index) || (copy.notify() && copy.detached()) {
            return Err(Refusal::BadFlags);
        }
        Ok(copy)
    }

    /// Returns the flags of SYNC_RECV, which is always synchronous.
    ///
    /// # Errors
    /// [`Refusal::BadFlags`] (EINVAL) for NOTIFY_FD.
    pub const fn sync_recv(self, user: u32) -> Result<Copy, Refusal> {
        let copy = Copy(self.effective(user, uapi::FLAG_ANY_COPY_MASK));
        if copy.notify() {
            return Err(Refusal::BadFlags);
        }
        Ok(Copy(copy.0 & !uapi::FLAG_ANY_ASYNC_MASK))
    }
}

/// Whether a status array of `slots` bytes has the slot `index`.
const fn valid(slots: Option<u64>, index: u32) -> bool {
    match slots {
        Some(slots) => (index as u64) < slots,
        None => false,
    }
}

/// Effective flags of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// Whether the first accepted request consumes the region.
    pub single_use: bool,
    /// Whether other users may use it.
    pub any_user: bool,
}

/// Effective flags of a copy: bits of the interface, with a method for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copy(u32);

/// The task that executes a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    /// The calling task.
    Caller,
    /// The worker thread of the caller's context.
    Thread,
}

impl Copy {
    /// DMA: a DMA channel must copy.
    #[must_use]
    pub const fn dma(self) -> bool {
        self.0 & uapi::FLAG_DMA != 0
    }

    /// ASYNCDMACOMPLETE: the request does not wait for the DMA channel.
    #[must_use]
    pub const fn detached(self) -> bool {
        self.0 & uapi::FLAG_ASYNCDMACOMPLETE != 0
    }

    /// PINLOCAL: the caller's pages must be pinned.
    #[must_use]
    pub const fn pin_local(self) -> bool {
        self.0 & uapi::FLAG_PINLOCAL != 0
    }

    /// NOTIFY_FD: completion also queues an event.
    #[must_use]
    pub const fn notify(self) -> bool {
        self.0 & uapi::FLAG_NOTIFY_FD != 0
    }

    /// Whether a slot gets the result. Each of the asynchronous flags requests that, even if the request completes
    /// before the call returns; both then report the result.
    #[must_use]
    pub const fn asynchronous(self) -> bool {
        self.0 & uapi::FLAG_ANY_ASYNC_MASK != 0
    }

    /// Returns the task that copies, or drives the DMA channel.
    #[must_use]
    pub const fn worker(self) -> Worker {
        let thread = if self.dma() { uapi::FLAG_DMATHREAD } else { uapi::FLAG_MEMCPYTHREAD };
        if self.0 & thread != 0 {
            Worker::Thread
        } else {
            Worker::Caller
        }
    }

    /// Whether the request needs an allocation of its own, because another task than its caller may complete it.
    #[must_use]
    pub const fn outlives_call(self) -> bool {
        // DMATHREAD is not tested, since it selects the thread only together with DMA.
        self.0 & (uapi::FLAG_DMA | uapi::FLAG_MEMCPYTHREAD) != 0
    }

    /// Whether the caller's side of an inline copy is pinned before the copy, rather than accessed through its mapping.
    /// `pin_reads` is the parameter `pinlocalread`: it applies to requests that read the caller's memory, that is,
    /// write to the region.
    #[must_use]
    pub const fn pins(self, write: bool, pin_reads: bool) -> bool {
        self.outlives_call() || self.pin_local() || (write && pin_reads)
    }
}

#[cfg(test)]
mod tests {
    use super::{Copy, Create, Masks, Parameters, Worker};
    use crate::logic::refusal::Refusal;
    use crate::uapi;

    const NONE: Masks = Masks { forced: 0, ignored: 0 };

    #[test]
    fn contradictions_are_refused_at_load() {
        let both = Parameters { force: 0x81, ignore: 0x80, ..Parameters::default() };
        assert_eq!(Masks::new(both), Err(Refusal::BadFlags));
        let hidden = Parameters { pinlocal: true, ignore: uapi::FLAG_PINLOCAL, ..Parameters::default() };
        assert_eq!(Masks::new(hidden), Err(Refusal::BadFlags));
        let fine = Parameters { pinlocal: true, force: 0x80, ignore: 0x40, ..Parameters::default() };
        assert_eq!(Masks::new(fine), Ok(Masks { forced: 0x90, ignored: 0x40 }));
    }

    #[test]
    fn every_bit_outside_the_copy_mask_is_without_effect() {
        let plain = NONE.copy(0, || None, u32::MAX);
        assert_eq!(plain, Ok(Copy::default()));
        assert_eq!(NONE.copy(!uapi::FLAG_ANY_COPY_MASK, || None, u32::MAX), plain);
        for bit in (0..32).filter(|bit| uapi::FLAG_ANY_COPY_MASK & (1 << bit) == 0) {
            assert_eq!(NONE.copy(1 << bit, || None, 7), plain, "bit {bit}");
        }
    }

    #[test]
    fn create_keeps_its_two_bits() {
        for flags in 0..=0xffu32 {
            assert_eq!(
                NONE.create(flags),
                Create { single_use: flags & 0x20 != 0, any_user: flags & 0x80 != 0 },
                "{flags:#x}"
            );
        }
        assert!(!Masks { forced: 0, ignored: 0x20 }.create(0x20).single_use);
        assert!(Masks { forced: 0x80, ignored: 0 }.create(0).any_user);
    }

    #[test]
    fn asynchronous_requests_need_a_slot() {
        for flag in [uapi::FLAG_ASYNCDMACOMPLETE, uapi::FLAG_DMATHREAD, uapi::FLAG_MEMCPYTHREAD] {
            assert_eq!(NONE.copy(flag, || None, 0), Err(Refusal::BadFlags));
            assert!(NONE.copy(flag, || Some(4096), 4095).is_ok());
            assert_eq!(NONE.copy(flag, || Some(4096), 4096), Err(Refusal::BadFlags));
            // With every asynchronous flag ignored the same request is synchronous, and needs no slot.
            let sync = Masks { forced: 0, ignored: uapi::FLAG_ANY_ASYNC_MASK };
            assert!(sync.copy(flag, || None, u32::MAX).is_ok());
        }
    }

    #[test]
    fn notification_needs_the_thread_alone() {
        let notify = uapi::FLAG_NOTIFY_FD;
        assert_eq!(NONE.copy(notify, || Some(1), 0), Err(Refusal::BadFlags));
        assert_eq!(NONE.copy(notify | 0x0c | 0x02, || Some(1), 0), Err(Refusal::BadFlags));
        assert!(NONE.copy(notify | 0x08, || Some(1), 0).is_ok());
    }

    #[test]
    fn eight_flags_are_known() {
        assert!(!super::has_unknown(0xff));
        assert!((8..32).all(|bit| super::has_unknown(1 << bit)));
    }

    #[test]
    fn convenience_parameters_fill_the_masks() {
        let ignored = |parameters| Masks::new(parameters).map(|masks| masks.ignored);
        assert_eq!(ignored(Parameters { no_dma: true, ..Parameters::default() }), Ok(0x01));
        assert_eq!(ignored(Parameters { no_thread: true, ..Parameters::default() }), Ok(0x0c));
        assert_eq!(ignored(Parameters { sync: true, ..Parameters::default() }), Ok(0x0e));
        let contradiction = Parameters { sync: true, force: uapi::FLAG_MEMCPYTHREAD, ..Parameters::default() };
        assert_eq!(ignored(contradiction), Err(Refusal::BadFlags));
    }

    #[test]
    fn old_receives_have_rules_of_their_own() {
        let notify = uapi::FLAG_NOTIFY_FD;
        assert_eq!(NONE.async_recv(0, None, 0), Err(Refusal::BadFlags), "the slot is needed without any flag");
        assert_eq!(NONE.async_recv(0, Some(4096), 4096), Err(Refusal::BadFlags));
        assert!(NONE.async_recv(notify, Some(4096), 0).is_ok(), "and a notification needs no thread");
        assert_eq!(NONE.async_recv(notify | 0x02, Some(4096), 0), Err(Refusal::BadFlags));
        assert_eq!(NONE.sync_recv(notify), Err(Refusal::BadFlags));
        assert_eq!(NONE.sync_recv(0x0e), Ok(Copy::default()), "asynchronous flags vanish");
        let forced = Masks { forced: notify, ignored: 0 };
        assert_eq!(forced.sync_recv(0), Err(Refusal::BadFlags));
    }

    #[test]
    fn the_way_of_a_copy() {
        // Section 6.1 of the interface: flags, worker, whether it is pinned for a read and for a write.
        for (flags, worker, outlives, read, write) in [
            (0x00, Worker::Caller, false, false, true),
            (0x02, Worker::Caller, false, false, true),
            (0x04, Worker::Caller, false, false, true),
            (0x08, Worker::Thread, true, true, true),
            (0x0c, Worker::Thread, true, true, true),
            (0x10, Worker::Caller, false, true, true),
            (0x01, Worker::Caller, true, true, true),
            (0x03, Worker::Caller, true, true, true),
            (0x05, Worker::Thread, true, true, true),
            (0x09, Worker::Caller, true, true, true),
        ] {
            let copy = NONE.copy(flags, || Some(1), 0).expect("valid");
            assert_eq!(copy.worker(), worker, "{flags:#x}");
            assert_eq!(copy.outlives_call(), outlives, "{flags:#x}");
            assert_eq!((copy.pins(false, true), copy.pins(true, true)), (read, write), "{flags:#x}");
            assert_eq!(copy.asynchronous(), flags & 0x0e != 0, "{flags:#x}");
        }
        assert!(!Copy::default().pins(true, false), "pinlocalread=0");
    }
}
