// SPDX-License-Identifier: GPL-2.0-only
//! Memory that is pinned window by window, each only while it is copied.

use crate::glue::charge::{Charge, Payer, Terms};
use crate::glue::pin::{Batch, How, Slot, Stop};
use crate::logic::memlock::FLOOR;
use crate::logic::segment::{self, Cursor};
use crate::logic::steps::Piece;
use crate::uapi::ParamIovec;
use kernel::page::PAGE_SHIFT;

/// How far a copy has progressed in segments, and the charge of its windows.
pub(crate) struct Walk {
    at: Cursor,
    charge: Charge,
    terms: Terms,
}

impl Walk {
    /// Starts at a byte of the segments. Without a `payer` a window has at most [`FLOOR`] pages, and is charged to the
    /// machine alone.
    pub(crate) const fn new(at: Cursor, payer: Option<Payer>, terms: Terms) -> Self {
        Self { at, charge: Charge::new(payer), terms }
    }

    /// Pins the next window: as many pages as `buffer` holds, `bytes` bytes at most, and fewer if the limits forbid
    /// more.
    ///
    /// # Errors
    /// As [`Batch::pin`]. Limits do not cause an error, they shorten the window.
    pub(crate) fn open<'a>(
        &'a mut self,
        how: How<'_>,
        segments: &'a [ParamIovec],
        writable: bool,
        bytes: u64,
        buffer: &'a mut [Slot],
    ) -> Result<Window<'a>, Stop> {
        let pieces = segment::pieces_from(segments, self.at, bytes);
        let mut pages = segment::touched_by(pieces, PAGE_SHIFT as u32, buffer.len() as u64);
        if self.charge.payer().is_none() || self.charge.add(&mut self.terms, pages).is_err() {
            pages = pages.min(FLOOR);
            self.charge.add_beyond(pages);
        }
        let buffer = buffer.get_mut(..usize::try_from(pages).unwrap_or(0)).unwrap_or(&mut []);
        match Batch::pin(how, segments, self.at, bytes, writable, buffer) {
            Ok(batch) => {
                self.charge.remove(pages.saturating_sub(batch.count()));
                Ok(Window { batch, charge: &mut self.charge, dirty: false })
            }
            Err(stop) => {
                self.charge.remove(pages);
                Err(stop)
            }
        }
    }

    /// Moves the position after `bytes` copied bytes.
    pub(crate) fn advance(&mut self, segments: &[ParamIovec], bytes: u64) {
        self.at = self.at.after(segments, bytes);
    }
}

/// Memory that is pinned until this is dropped.
pub(crate) struct Window<'a> {
    batch: Batch<'a>,
    charge: &'a mut Charge,
    dirty: bool,
}

impl Window<'_> {
    /// Number of bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.batch.bytes()
    }

    /// The memory, as addresses of the direct map.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.batch.pieces()
    }

    /// Records that the memory is about to be written.
    pub(crate) fn mark_written(&mut self) {
        self.dirty = true;
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        self.batch.unpin(self.dirty);
        self.charge.remove(self.batch.count());
    }
}
