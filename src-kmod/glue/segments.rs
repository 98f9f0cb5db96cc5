// SPDX-License-Identifier: GPL-2.0-only
//! The list of segments that a caller gives, copied from its memory.

use crate::glue::user::Argument;
use crate::glue::{params, task};
use crate::logic::refusal::Refusal;
use crate::logic::segment::Measure;
use crate::uapi::ParamIovec;
use kernel::prelude::*;

/// As many segments are kept without an allocation.
const INLINE: usize = 8;
/// After as many segments others may run.
const STRIDE: usize = 1024;

/// A list of segments and what it adds up to.
///
/// # Invariants
/// `measure` is that of the segments, which are all within user memory.
pub(crate) struct Segments {
    list: List,
    measure: Measure,
}

enum List {
    Inline([ParamIovec; INLINE], usize),
    Heap(KVVec<ParamIovec>),
}

/// Why a list was not taken.
pub(crate) enum Failure {
    /// There is no memory for it, or it is longer than allowed.
    NoMemory(Error),
    /// It cannot be read, or makes no sense.
    Argument(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoMemory(error) | Failure::Argument(error) => error,
        }
    }
}

impl Segments {
    /// Copies `count` segments from address `array` of the caller, which is not looked at if there are none.
    ///
    /// # Errors
    /// ENOMEM for too many segments; EFAULT if the array cannot be read or a segment leaves user memory; EINVAL if
    /// the lengths do not add up.
    pub(crate) fn read(array: u64, count: u32) -> Result<Self, Failure> {
        let list = List::read(array, count)?;
        let measure = task::space().measure(list.as_slice()).map_err(|refusal| Failure::Argument(refusal.into()))?;
        // INVARIANT: Just measured, and never changed.
        Ok(Self { list, measure })
    }

    /// The segments.
    pub(crate) fn as_slice(&self) -> &[ParamIovec] {
        self.list.as_slice()
    }

    /// Bytes and pages of all segments.
    pub(crate) fn measure(&self) -> Measure {
        self.measure
    }
}

impl List {
    fn read(array: u64, count: u32) -> Result<Self, Failure> {
        if count > params::max_segments() {
            return Err(Failure::NoMemory(Refusal::TooManySegments.into()));
        }
        let count = usize::try_from(count).map_err(|_| Failure::NoMemory(ENOMEM))?;
        if count <= INLINE {
            let mut inline = [ParamIovec::default(); INLINE];
            for (n, slot) in inline.iter_mut().take(count).enumerate() {
                *slot = read_one(array, n)?;
            }
            return Ok(Self::Inline(inline, count));
        }
        let mut heap =
            KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN).map_err(|_| Failure::NoMemory(ENOMEM))?;
        for n in 0..count {
            if n % STRIDE == 0 {
                if task::killed() {
                    return Err(Failure::Argument(EINTR));
                }
                task::resched();
            }
            heap.push_within_capacity(read_one(array, n)?).map_err(|_| Failure::NoMemory(ENOMEM))?;
        }
        Ok(Self::Heap(heap))
    }

    fn as_slice(&self) -> &[ParamIovec] {
        match self {
            Self::Inline(inline, count) => inline.get(..*count).unwrap_or(&[]),
            Self::Heap(heap) => heap.as_slice(),
        }
    }
}

/// Reads the segment number `n` of the caller's array.
fn read_one(array: u64, n: usize) -> Result<ParamIovec, Failure> {
    let address =
        usize::try_from(array).ok().and_then(|array| array.checked_add(n.checked_mul(size_of::<ParamIovec>())?));
    let address = address.ok_or(Failure::Argument(EFAULT))?;
    Argument::new(address).read().map_err(Failure::Argument)
}
