// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! What becomes of the flags that a caller gives.

use crate::logic::refusal::Refusal;
use crate::uapi;

/// The flags that the administrator has every request carry, and those that are taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// Added to every request.
    pub forced: u32,
    /// Taken away from every request.
    pub ignored: u32,
}

/// Module parameters that make up the masks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parameters {
    /// `pinlocal`: force PINLOCAL.
    pub pinlocal: bool,
    /// `forceflags`.
    pub force: u32,
    /// `ignoreflags`.
    pub ignore: u32,
}

impl Masks {
    /// The masks that the module's parameters ask for.
    ///
    /// # Errors
    /// [`Refusal::BadFlags`] (EINVAL) if a flag is both forced and ignored: the module does not load then.
    pub const fn new(parameters: Parameters) -> Result<Self, Refusal> {
        let mut forced = parameters.force;
        if parameters.pinlocal {
            forced |= uapi::FLAG_PINLOCAL;
        }
        let ignored = parameters.ignore;
        if forced & ignored != 0 {
            return Err(Refusal::BadFlags);
        }
        Ok(Self { forced, ignored })
    }

    const fn effective(self, user: u32, mask: u32) -> u32 {
        (user | self.forced) & !self.ignored & mask
    }

    /// The flags of a region, from those given at its creation. Unknown ones and those of copies vanish.
    #[must_use]
    pub const fn create(self, user: u32) -> Create {
        let flags = self.effective(user, uapi::FLAG_ANY_CREATE_MASK);
        Create { single_use: flags & uapi::FLAG_SINGLEUSE != 0, any_user: flags & uapi::FLAG_ANY_USER_ACCESS != 0 }
    }

    /// The flags of a copy, from those given with the request. Unknown ones and those of regions vanish.
    ///
    /// `slots` is the size of the file's status array, if it is mapped; `index` the slot asked for.
    ///
    /// # Errors
    /// [`Refusal::BadFlags`] (EINVAL) for an asynchronous request without a valid slot, or a notification of a
    /// request that is not handed to the thread.
    pub const fn copy(self, user: u32, slots: Option<u64>, index: u32) -> Result<Copy, Refusal> {
        let flags = self.effective(user, uapi::FLAG_ANY_COPY_MASK);
        if flags & uapi::FLAG_ANY_ASYNC_MASK != 0 {
            match slots {
                Some(slots) if (index as u64) < slots => {}
                _ => return Err(Refusal::BadFlags),
            }
        }
        if flags & uapi::FLAG_NOTIFY_FD != 0
            && (flags & uapi::FLAG_ANY_THREAD_MASK == 0 || flags & uapi::FLAG_ASYNCDMACOMPLETE != 0)
        {
            return Err(Refusal::BadFlags);
        }
        Ok(Copy { dma: flags & uapi::FLAG_DMA != 0, pin_local: flags & uapi::FLAG_PINLOCAL != 0 })
    }
}

/// Effective flags of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Create {
    /// The first request that is accepted consumes the region.
    pub single_use: bool,
    /// Other users may use it.
    pub any_user: bool,
}

/// Effective flags of a copy that is to be done before the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// A DMA engine is asked for.
    pub dma: bool,
    /// The caller's pages are to be pinned.
    pub pin_local: bool,
}

impl Copy {
    /// Refuses what needs a DMA engine where there is none.
    ///
    /// # Errors
    /// [`Refusal::BadFlags`] (EINVAL).
    pub const fn without_dma(self) -> Result<Self, Refusal> {
        if self.dma {
            return Err(Refusal::BadFlags);
        }
        Ok(self)
    }

    /// Whether the caller's side of an inline copy is pinned before the copy, rather than copied to or from
    /// through its mapping. `pin_reads` is the parameter `pinlocalread`: it concerns requests that read the caller's
    /// memory, that is, write to the region.
    #[must_use]
    pub const fn pins(self, write: bool, pin_reads: bool) -> bool {
        self.pin_local || (write && pin_reads)
    }
}

#[cfg(test)]
mod tests {
    use super::{Copy, Create, Masks, Parameters};
    use crate::logic::refusal::Refusal;
    use crate::uapi;

    const NONE: Masks = Masks { forced: 0, ignored: 0 };

    #[test]
    fn contradictions_are_refused_at_load() {
        let both = Parameters { force: 0x81, ignore: 0x80, ..Parameters::default() };
        assert_eq!(Masks::new(both), Err(Refusal::BadFlags));
        let hidden = Parameters { pinlocal: true, ignore: uapi::FLAG_PINLOCAL, ..Parameters::default() };
        assert_eq!(Masks::new(hidden), Err(Refusal::BadFlags));
        let fine = Parameters { pinlocal: true, force: 0x80, ignore: 0x40 };
        assert_eq!(Masks::new(fine), Ok(Masks { forced: 0x90, ignored: 0x40 }));
    }

    #[test]
    fn every_bit_outside_the_copy_mask_is_without_effect() {
        let plain = NONE.copy(0, None, u32::MAX);
        assert_eq!(plain, Ok(Copy { dma: false, pin_local: false }));
        assert_eq!(NONE.copy(!uapi::FLAG_ANY_COPY_MASK, None, u32::MAX), plain);
        for bit in (0..32).filter(|bit| uapi::FLAG_ANY_COPY_MASK & (1 << bit) == 0) {
            assert_eq!(NONE.copy(1 << bit, None, 7), plain, "bit {bit}");
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
            assert_eq!(NONE.copy(flag, None, 0), Err(Refusal::BadFlags));
            assert!(NONE.copy(flag, Some(4096), 4095).is_ok());
            assert_eq!(NONE.copy(flag, Some(4096), 4096), Err(Refusal::BadFlags));
            // With every asynchronous flag ignored the same request is synchronous, and needs no slot.
            let sync = Masks { forced: 0, ignored: uapi::FLAG_ANY_ASYNC_MASK };
            assert!(sync.copy(flag, None, u32::MAX).is_ok());
        }
    }

    #[test]
    fn notification_needs_the_thread_alone() {
        let notify = uapi::FLAG_NOTIFY_FD;
        assert_eq!(NONE.copy(notify, Some(1), 0), Err(Refusal::BadFlags));
        assert_eq!(NONE.copy(notify | 0x0c | 0x02, Some(1), 0), Err(Refusal::BadFlags));
        assert!(NONE.copy(notify | 0x08, Some(1), 0).is_ok());
    }

    #[test]
    fn pinning_of_the_callers_side() {
        let (plain, pin) = (Copy { dma: false, pin_local: false }, Copy { dma: false, pin_local: true });
        assert!(!plain.pins(false, true));
        assert!(plain.pins(true, true));
        assert!(!plain.pins(true, false));
        assert!(pin.pins(false, false) && pin.pins(true, false));
        assert_eq!(plain.without_dma(), Ok(plain));
        assert_eq!(Copy { dma: true, pin_local: false }.without_dma(), Err(Refusal::BadFlags));
    }
}
