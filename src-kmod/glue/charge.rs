// SPDX-License-Identifier: GPL-2.0-only
//! Accounting of pinned memory: to an address space, to its user, and to the machine.
//!
//! Pages are charged before they are pinned, and each sum is compared with its limit before it grows: a refused attempt takes
//! nothing from other processes, not even for a moment.

use crate::glue::account::Account as UserAccount;
use crate::glue::{ffi, params};
use crate::logic::memlock::{self, Enforced};
use crate::logic::refusal::Refusal;
use core::ptr::NonNull;
use kernel::bindings;
use kernel::mm::Mm;
use kernel::page::PAGE_SHIFT;
use kernel::prelude::*;
use kernel::sync::aref::ARef;

/// The machine's account, while the module is loaded. A small request changes no memory that CPUs share.
pub(crate) struct Account(());

impl Account {
    /// Opens the account. To be called once, before the device can be opened.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called once, at load.
        kernel::error::to_result(unsafe { ffi::knem_shim_pinned_init() })?;
        Ok(Self(()))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // SAFETY: The account is open.
        let left = unsafe { ffi::knem_shim_pinned() };
        if left != 0 {
            // The word is what the tests look for in the kernel's log.
            pr_err!("leak: {} pages are still accounted as pinned\n", left);
        }
        // SAFETY: The device is gone, hence every file and every `Charge`.
        unsafe { ffi::knem_shim_pinned_destroy() };
    }
}

/// A user as the kernel counts its locked memory: credentials, which keep the count.
struct User(NonNull<bindings::cred>);

// SAFETY: Credentials are constant and counted atomically; any task may give them back.
unsafe impl Send for User {}
// SAFETY: As for `Send`.
unsafe impl Sync for User {}

impl User {
    /// The user of the calling task.
    fn calling() -> Result<Self> {
        let cred = ffi::knem_shim_cred();
        NonNull::new(cred.cast_mut()).map(Self).ok_or(EFAULT)
    }

    /// Adds to the user's locked memory, unless that would exceed `most`.
    fn charge(&self, pages: i64, most: i64) -> bool {
        // SAFETY: The reference keeps the credentials, and they keep the user.
        unsafe { ffi::knem_shim_charge_locked(self.0.as_ptr(), pages, most) }
    }

    fn uncharge(&self, pages: i64) {
        // SAFETY: As in `charge`.
        unsafe { ffi::knem_shim_add_locked(self.0.as_ptr(), pages.wrapping_neg()) }
    }
}

impl Clone for User {
    fn clone(&self) -> Self {
        // SAFETY: The reference keeps the credentials; the new one is the copy's.
        unsafe { ffi::knem_shim_cred_get(self.0.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: The reference is this value's own, and is not used again.
        unsafe { ffi::knem_shim_cred_put(self.0.as_ptr()) }
    }
}

/// Who pays for pinned pages.
pub(crate) struct Payer {
    /// The address space that they count for (`VmPin` in /proc/PID/status). It is kept, so that what was added to it is
    /// taken from it, also when its processes are gone.
    mm: ARef<Mm>,
    user: User,
    account: UserAccount,
}

impl Payer {
    /// The calling process, on an open file of the user with this account.
    ///
    /// # Errors
    /// EFAULT for a task without user memory.
    pub(crate) fn calling(account: &UserAccount) -> Result<Self> {
        let mm = current!().mm().map(|mm| ARef::<Mm>::from(&**mm)).ok_or(EFAULT)?;
        Ok(Self { mm, user: User::calling()?, account: account.clone() })
    }

    /// The address space.
    pub(crate) fn mm(&self) -> &Mm {
        &self.mm
    }

    fn add_to_space(&self, pages: i64) {
        // SAFETY: The reference keeps the structure, and C changes its counter atomically.
        unsafe { ffi::knem_shim_add_pinned(self.mm.as_raw(), pages) }
    }
}

impl Clone for Payer {
    fn clone(&self) -> Self {
        Self { mm: ARef::from(&*self.mm), user: self.user.clone(), account: self.account.clone() }
    }
}

/// The limit that a process has set, as it was when the process made its request.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    enforced: Enforced,
    /// RLIMIT_MEMLOCK in pages.
    limit: i64,
    /// Whether the process may exceed it (CAP_IPC_LOCK): asked when that matters.
    exempt: Option<bool>,
}

impl Terms {
    /// Those of the calling process.
    pub(crate) fn calling() -> Self {
        let limit = ffi::knem_shim_memlock_pages();
        Self { enforced: params::memlock(), limit: i64::try_from(limit).unwrap_or(i64::MAX), exempt: None }
    }

    /// The same, for use in other tasks.
    pub(crate) fn settled(self) -> Self {
        Self { exempt: Some(self.exempt.unwrap_or(false)), ..self }
    }

    /// Whether the calling process may exceed the limit.
    fn exempt(&mut self) -> bool {
        // The calling task is the one whose terms these are: in other tasks they are `settled`.
        *self.exempt.get_or_insert_with(|| ffi::knem_shim_may_exceed_memlock())
    }

    /// Whether as many pages can never be pinned at once.
    pub(crate) fn forbid(&mut self, pages: u64) -> bool {
        let (machine, user) = ceilings();
        pages > machine.min(user)
            || (self.enforced != Enforced::No && i64::try_from(pages).map_or(true, |pages| pages > self.limit))
                && !self.exempt()
    }
}

/// Pages that are accounted, until they are removed or this is dropped.
pub(crate) struct Charge {
    /// `None`: the pages of a small request, which count for the machine alone.
    payer: Option<Payer>,
    pages: i64,
    /// As many of them count as locked memory of the user.
    locked: i64,
}

impl Charge {
    /// No pages yet.
    pub(crate) const fn new(payer: Option<Payer>) -> Self {
        Self { payer, pages: 0, locked: 0 }
    }

    /// Who pays, if that is not the machine alone.
    pub(crate) fn payer(&self) -> Option<&Payer> {
        self.payer.as_ref()
    }

    /// Adds pages.
    ///
    /// # Errors
    /// [`Refusal::PinLimit`] (ENOMEM) if that would exceed RLIMIT_MEMLOCK, the user's ceiling or the machine's. Nothing has changed then.
    pub(crate) fn add(&mut self, terms: &mut Terms, pages: u64) -> Result<(), Refusal> {
        let (machine, user) = ceilings();
        let count = i64::try_from(pages).map_err(|_| Refusal::PinLimit)?;
        let mut locked = 0;
        if let Some(payer) = &self.payer {
            match terms.enforced {
                Enforced::No => payer.add_to_space(count),
                Enforced::Space => {
                    // SAFETY: The reference keeps the structure, and C changes its counter atomically.
                    let fits = unsafe { ffi::knem_shim_charge_pinned(payer.mm.as_raw(), count, terms.limit) };
                    if !fits {
                        if !terms.exempt() {
                            return Err(Refusal::PinLimit);
                        }
                        payer.add_to_space(count);
                    }
                }
                Enforced::User => {
                    if payer.user.charge(count, terms.limit) {
                        locked = count;
                    } else if !terms.exempt() {
                        return Err(Refusal::PinLimit);
                    }
                    payer.add_to_space(count);
                }
            }
            if !payer.account.pinned().add_unless_over(pages, user) {
                payer.uncharge(count, locked);
                return Err(Refusal::PinLimit);
            }
        }
        let machine = i64::try_from(machine).unwrap_or(i64::MAX);
        // SAFETY: The account is open while a file is.
        if !unsafe { ffi::knem_shim_pinned_charge(count, machine) } {
            if let Some(payer) = &self.payer {
                payer.account.pinned().subtract(pages);
                payer.uncharge(count, locked);
            }
            return Err(Refusal::PinLimit);
        }
        self.pages = self.pages.saturating_add(count);
        self.locked = self.locked.saturating_add(locked);
        Ok(())
    }

    /// Adds pages of a window of at most [`memlock::FLOOR`] pages, whatever the limits are.
    pub(crate) fn add_beyond(&mut self, pages: u64) {
        let count = i64::try_from(pages.min(memlock::FLOOR)).unwrap_or(0);
        if let Some(payer) = &self.payer {
            payer.add_to_space(count);
            let _ = payer.account.pinned().add_unless_over(pages.min(memlock::FLOOR), u64::MAX);
        }
        // SAFETY: The account is open while a file is.
        unsafe { ffi::knem_shim_pinned_add(count) };
        self.pages = self.pages.saturating_add(count);
    }

    /// Takes pages back.
    pub(crate) fn remove(&mut self, pages: u64) {
        let count = i64::try_from(pages).unwrap_or(i64::MAX).min(self.pages);
        let locked = count.min(self.locked);
        self.pages = self.pages.saturating_sub(count);
        self.locked = self.locked.saturating_sub(locked);
        if count == 0 {
            return;
        }
        // SAFETY: The account is open while a file is or a transfer is in flight: both keep the module loaded.
        unsafe { ffi::knem_shim_pinned_add(count.wrapping_neg()) };
        if let Some(payer) = &self.payer {
            payer.account.pinned().subtract(u64::try_from(count).unwrap_or(0));
            payer.uncharge(count, locked);
        }
    }
}

impl Payer {
    fn uncharge(&self, pages: i64, locked: i64) {
        self.add_to_space(pages.wrapping_neg());
        if locked != 0 {
            self.user.uncharge(locked);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.remove(u64::MAX);
    }
}

/// The ceilings of the machine and of a user, in pages.
fn ceilings() -> (u64, u64) {
    let ram = ffi::knem_shim_ram_pages();
    let machine = memlock::ceiling(params::max_pinned_mib(), ram as u64, PAGE_SHIFT as u32);
    (machine, memlock::user_ceiling(params::max_user_pinned_mib(), machine, PAGE_SHIFT as u32))
}
