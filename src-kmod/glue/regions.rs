// SPDX-License-Identifier: GPL-2.0-only
//! The regions of a context: publishes them under a cookie, finds, lists and withdraws them.

use crate::glue::account::Account;
use crate::glue::memory::Memory;
use crate::glue::region::{Listed, Region, RegionRef, Set, Tree};
use crate::glue::segments::Segments;
use crate::glue::{counters, table, task};
use crate::logic::access::{Rule, Want};
use crate::logic::refusal::Refusal;
use crate::logic::statistics::{self, Event};
use crate::uapi::{self, Cookie};
use kernel::prelude::*;
use kernel::sync::Arc;

/// The regions of a context.
pub(crate) struct Regions(Arc<Set>);

impl Regions {
    /// Creates the empty set of a context that the calling task opens.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Set::new()?))
    }

    /// Creates a region of segments of the calling process, lists it and returns its cookie. The region is built in its
    /// final memory.
    ///
    /// # Errors
    /// As [`Memory::fill`]; ENOMEM, EINTR as [`table::insert`]; EBUSY if the context has as many as it may have
    /// (parameter `max_regions`).
    pub(crate) fn publish(
        &self,
        rule: Rule,
        single_use: bool,
        account: &Account,
        segments: &mut Segments,
    ) -> Result<Cookie> {
        let home = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let memory = Memory::none(account, rule.protection & uapi::PROT_WRITE != 0)?;
        let mut region = KBox::write(home, Region::new(self.0.clone(), rule, single_use, memory));
        region.memory_mut().fill(account, segments)?;
        let unpinned = region.memory().pinned().is_none();
        let ordinal = self.0.reserve()?;
        region.set_ordinal(ordinal);
        let (cookie, region) = table::insert(region).inspect_err(|_| self.0.cancel())?;
        counters::add(statistics::event(Event::RegionCreated), 1);
        if unpinned {
            counters::add(statistics::event(Event::UnpinnedCreated), 1);
        }
        // From here on a request may find the region, if it guesses the cookie, which is not returned yet.
        let bytes = region.memory().length();
        self.0.insert(region, bytes);
        Ok(cookie)
    }

    /// Withdraws the region with this cookie. Requests that use it still complete.
    ///
    /// # Errors
    /// EINVAL if this context has no such region.
    pub(crate) fn destroy(&self, cookie: Cookie) -> Result {
        let region = table::get(cookie)?;
        if !region.belongs_to(&self.0) {
            return Err(Refusal::NoSuchCookie.into());
        }
        // There is none if another call was first, or if the region is about to be listed and its cookie is not
        // returned yet.
        let listed = self.0.take(&region).ok_or(Refusal::NoSuchCookie)?;
        table::remove(&listed);
        Ok(())
    }

    /// Lists regions, as [`Set::list`].
    pub(crate) fn list(&self, from: u64, end: u64, batch: &mut [Listed]) -> usize {
        self.0.list(from, end, batch)
    }

    /// Returns the number of the next region, as [`Set::next`].
    pub(crate) fn next(&self) -> u64 {
        self.0.next()
    }

    /// Returns the number of regions and their bytes, as [`Set::totals`].
    pub(crate) fn totals(&self) -> (u32, u64) {
        self.0.totals()
    }

    /// Withdraws all regions, and returns them to be dropped. No more may be published.
    pub(crate) fn close(&self) -> Tree {
        let tree = self.0.take_all();
        let mut next = 0u64;
        while let Some(region) = tree.at(next) {
            table::remove(region);
            next = region.ordinal().saturating_add(1);
            task::resched();
        }
        tree
    }
}

/// Withdraws a region that a request has consumed, unless another task has withdrawn it.
fn withdraw(region: &Region) {
    table::remove(region);
    drop(region.set().take(region));
}

/// A region in use by a request that may still be refused. A single-use region is claimed, so that no other request
/// gets it. The claim is released if this is dropped before the request is accepted.
pub(crate) struct Claimed {
    region: RegionRef,
    foreign: bool,
    accepted: bool,
}

impl Claimed {
    /// Finds the region with this cookie, checks whether the calling task may use it as `want` requires, and claims it.
    ///
    /// # Errors
    /// EINVAL if there is none; the errors of [`Region::check`]; EINVAL if another request has claimed it.
    #[inline]
    pub(crate) fn new(cookie: Cookie, want: Want) -> Result<Self> {
        let region = table::get(cookie)?;
        let foreign = region.check(want)?;
        if !region.claim() {
            return Err(Refusal::NoSuchCookie.into());
        }
        Ok(Self { region, foreign, accepted: false })
    }

    /// Returns the region.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Whether the task that has claimed the region is another user's.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Whether the request is accepted.
    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Accepts the request: a single-use region is withdrawn, and stays claimed. Its memory remains until this is
    /// dropped, after the copy.
    pub(crate) fn accept(&mut self) {
        self.accepted = true;
        if self.region.is_single_use() {
            withdraw(&self.region);
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !self.accepted {
            self.region.give_back();
        }
    }
}
