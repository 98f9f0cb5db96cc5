// SPDX-License-Identifier: GPL-2.0-only
//! The list of segments that a caller passes, copied from its memory.

use crate::glue::user::Argument;
use crate::glue::{params, task};
use crate::logic::refusal::Refusal;
use crate::logic::segment::Measure;
use crate::uapi::ParamIovec;
use core::mem::MaybeUninit;
use kernel::prelude::*;

/// Number of segments that are kept without an allocation, and that are read at a time.
const INLINE: usize = 8;
/// Number of segments after which other tasks may run.
const STRIDE: usize = 1024;

/// A list of segments and its measure. It is filled in place, since it is too large to be moved without need.
///
/// # Invariants
/// `measure` is that of the segments, which are all within user memory. The first `count` entries of `few` are
/// initialised.
pub(crate) struct Segments {
    /// The first `count` entries are the segments, unless `many` has them.
    few: [MaybeUninit<ParamIovec>; INLINE],
    count: usize,
    many: Option<KVVec<ParamIovec>>,
    measure: Measure,
}

/// Why a list was rejected.
pub(crate) enum Failure {
    /// There is no memory for it, or it is longer than allowed.
    NoMemory(Error),
    /// It cannot be read, or is not valid.
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
    /// No segments.
    pub(crate) const fn none() -> Self {
        // INVARIANT: An empty list has 0 bytes and 0 pages.
        Self { few: [MaybeUninit::uninit(); INLINE], count: 0, many: None, measure: Measure { bytes: 0, pages: 0 } }
    }

    /// Copies `count` segments from address `array` of the caller, which is not read if `count` is 0. The list must be
    /// empty, and is still empty after an error.
    ///
    /// # Errors
    /// ENOMEM for too many segments; EFAULT if the array cannot be read or a segment is not within user memory; EINVAL
    /// if the sum of the lengths overflows.
    pub(crate) fn fill(&mut self, array: u64, count: u32) -> Result<(), Failure> {
        if count > params::max_segments() {
            return Err(Failure::NoMemory(Refusal::TooManySegments.into()));
        }
        let count = usize::try_from(count).map_err(|_| Failure::NoMemory(ENOMEM))?;
        let measured = |segments: &[ParamIovec]| {
            task::space().measure(segments).map_err(|refusal| Failure::Argument(refusal.into()))
        };
        if let Some(few) = self.few.get_mut(..count) {
            // INVARIANT: The segments were read and measured just now, and never change.
            self.measure = measured(read_block(array, 0, few)?)?;
            self.count = count;
            return Ok(());
        }
        let many = read_many(array, count, &mut self.few)?;
        // INVARIANT: As above, the segments were measured just now, and never change.
        self.measure = measured(&many)?;
        self.many = Some(many);
        Ok(())
    }

    /// The segments.
    pub(crate) fn as_slice(&self) -> &[ParamIovec] {
        match &self.many {
            // SAFETY: By the invariant, the first `count` entries are initialised.
            None => unsafe { initialised(self.few.get(..self.count).unwrap_or(&[])) },
            Some(many) => many.as_slice(),
        }
    }

    /// Bytes and pages of all segments.
    pub(crate) fn measure(&self) -> Measure {
        self.measure
    }
}

/// Reads `count` segments, through the buffer `block`.
fn read_many(
    array: u64,
    count: usize,
    block: &mut [MaybeUninit<ParamIovec>; INLINE],
) -> Result<KVVec<ParamIovec>, Failure> {
    let mut many =
        KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN).map_err(|_| Failure::NoMemory(ENOMEM))?;
    while many.len() < count {
        if many.len() % STRIDE == 0 {
            if task::killed() {
                return Err(Failure::Argument(EINTR));
            }
            task::resched();
        }
        let next = block.len().min(count.saturating_sub(many.len()));
        let next = block.get_mut(..next).unwrap_or(&mut []);
        for segment in read_block(array, many.len(), next)? {
            many.push_within_capacity(*segment).map_err(|_| Failure::NoMemory(ENOMEM))?;
        }
    }
    Ok(many)
}

/// Reads segments of the caller's array from index `first` on.
fn read_block(array: u64, first: usize, block: &mut [MaybeUninit<ParamIovec>]) -> Result<&[ParamIovec], Failure> {
    if block.is_empty() {
        return Ok(&[]);
    }
    let address =
        usize::try_from(array).ok().and_then(|array| array.checked_add(first.checked_mul(size_of::<ParamIovec>())?));
    let address = address.ok_or(Failure::Argument(EFAULT))?;
    Argument::new(address).read_array(block).map_err(Failure::Argument)
}

/// # Safety
/// The segments must be initialised.
unsafe fn initialised(segments: &[MaybeUninit<ParamIovec>]) -> &[ParamIovec] {
    // SAFETY: The caller guarantees that the segments are initialised, and `MaybeUninit` has the layout of its content.
    unsafe { core::slice::from_raw_parts(segments.as_ptr().cast(), segments.len()) }
}
