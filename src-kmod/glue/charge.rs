// SPDX-License-Identifier: GPL-2.0-only
//! Accounting of pinned memory: to an address space, to its user and to the machine.
//!
//! Pages are charged before they are pinned, and each sum is compared with its limit before it grows. A refused attempt
//! never takes from the share of other processes, not even temporarily.

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

/// The machine's account of pinned pages, while the module is loaded. A small request writes to no memory that CPUs
/// share.
pub(crate) struct Account(());

impl Account {
    /// Opens the account. Must be called once, before the device can be opened.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: `Knem::init` calls this function once, at module load, before any page is charged.
        kernel::error::to_result(unsafe { ffi::knem_shim_pinned_init() })?;
        Ok(Self(()))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // SAFETY: `new` opened the account, and it is destroyed only below.
        let left = unsafe { ffi::knem_shim_pinned() };
        if left != 0 {
            // The tests search the kernel log for the word "leak".
            pr_err!("leak: {} pages are still accounted as pinned\n", left);
        }
        // SAFETY: The device is deregistered, hence every file is closed and every `Charge` dropped: nothing uses the
        // account any more.
        unsafe { ffi::knem_shim_pinned_destroy() };
    }
}

/// A user whose locked memory the kernel counts. The credentials keep the user structure, which has the count.
struct User(NonNull<bindings::cred>);

// SAFETY: Credentials do not change and their references are counted atomically, so that any task may drop one.
unsafe impl Send for User {}
// SAFETY: All methods read the credentials or change counters atomically, so that tasks may share a reference.
unsafe impl Sync for User {}

impl User {
    /// The user of the calling task.
    fn calling() -> Result<Self> {
        let cred = ffi::knem_shim_cred();
        NonNull::new(cred.cast_mut()).map(Self).ok_or(EFAULT)
    }

    /// Adds to the user's locked memory, unless that would exceed `most`.
    fn charge(&self, pages: i64, most: i64) -> bool {
        // SAFETY: `self` holds a reference to the credentials, which keep the user structure; C changes its counter
        // atomically.
        unsafe { ffi::knem_shim_charge_locked(self.0.as_ptr(), pages, most) }
    }

    fn uncharge(&self, pages: i64) {
        // SAFETY: As in `charge`, `self` holds a reference to the credentials, which keep the user structure.
        unsafe { ffi::knem_shim_add_locked(self.0.as_ptr(), pages.wrapping_neg()) }
    }
}

impl Clone for User {
    fn clone(&self) -> Self {
        // SAFETY: `self` holds a reference, so that the credentials are valid. The clone owns the new reference.
        unsafe { ffi::knem_shim_cred_get(self.0.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: This value owns the reference and does not use it again.
        unsafe { ffi::knem_shim_cred_put(self.0.as_ptr()) }
    }
}

/// The accounts to which pinned pages are charged.
pub(crate) struct Payer {
    /// The address space to which they are charged (`VmPin` in /proc/PID/status). The reference keeps it, so that pages
    /// are uncharged from it even after its processes have exited.
    mm: ARef<Mm>,
    user: User,
    account: UserAccount,
}

impl Payer {
    /// Returns the accounts for the calling process, on an open file of the user with this account.
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
        // SAFETY: `self.mm` is a reference to the structure, so that it is valid; C changes its counter atomically.
        unsafe { ffi::knem_shim_add_pinned(self.mm.as_raw(), pages) }
    }
}

impl Clone for Payer {
    fn clone(&self) -> Self {
        Self { mm: ARef::from(&*self.mm), user: self.user.clone(), account: self.account.clone() }
    }
}

/// The limit of a process (RLIMIT_MEMLOCK), as it was when the process made its request.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    enforced: Enforced,
    /// RLIMIT_MEMLOCK in pages.
    limit: i64,
    /// Whether the process may exceed it (CAP_IPC_LOCK); checked only when that matters.
    exempt: Option<bool>,
}

impl Terms {
    /// Returns the limit of the calling process.
    pub(crate) fn calling() -> Self {
        let limit = ffi::knem_shim_memlock_pages();
        Self { enforced: params::memlock(), limit: i64::try_from(limit).unwrap_or(i64::MAX), exempt: None }
    }

    /// Returns the same limit for use in other tasks, which must not check the capability.
    pub(crate) fn settled(self) -> Self {
        Self { exempt: Some(self.exempt.unwrap_or(false)), ..self }
    }

    /// Whether the calling process may exceed the limit.
    fn exempt(&mut self) -> bool {
        // The calling task is the one whose limit this is, because other tasks use a `settled` one.
        *self.exempt.get_or_insert_with(|| ffi::knem_shim_may_exceed_memlock())
    }

    /// Whether `pages` pages can never be pinned at the same time.
    pub(crate) fn forbid(&mut self, pages: u64) -> bool {
        let (machine, user) = ceilings();
        pages > machine.min(user)
            || (self.enforced != Enforced::No && i64::try_from(pages).map_or(true, |pages| pages > self.limit))
                && !self.exempt()
    }
}

/// Pages that are charged, until they are removed or this is dropped.
pub(crate) struct Charge {
    /// `None` for the pages of a small request, which are charged to the machine alone.
    payer: Option<Payer>,
    pages: i64,
    /// How many of them count as locked memory of the user.
    locked: i64,
}

impl Charge {
    /// No pages yet.
    pub(crate) const fn new(payer: Option<Payer>) -> Self {
        Self { payer, pages: 0, locked: 0 }
    }

    /// Returns the accounts, unless only the machine's is charged.
    pub(crate) fn payer(&self) -> Option<&Payer> {
        self.payer.as_ref()
    }

    /// Charges pages.
    ///
    /// # Errors
    /// [`Refusal::PinLimit`] (ENOMEM) if that would exceed RLIMIT_MEMLOCK, the user's ceiling or the machine's. Nothing
    /// is charged then.
    pub(crate) fn add(&mut self, terms: &mut Terms, pages: u64) -> Result<(), Refusal> {
        let (machine, user) = ceilings();
        let count = i64::try_from(pages).map_err(|_| Refusal::PinLimit)?;
        let mut locked = 0;
        if let Some(payer) = &self.payer {
            match terms.enforced {
                Enforced::No => payer.add_to_space(count),
                Enforced::Space => {
                    // SAFETY: `payer.mm` is a reference to the structure, so that it is valid; C changes its counter
                    // atomically.
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
        // SAFETY: The account is open, since a file is open during the call and the account is destroyed after the last
        // file.
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

    /// Charges pages of a window of at most [`memlock::FLOOR`] pages, regardless of the limits.
    pub(crate) fn add_beyond(&mut self, pages: u64) {
        let count = i64::try_from(pages.min(memlock::FLOOR)).unwrap_or(0);
        if let Some(payer) = &self.payer {
            payer.add_to_space(count);
            let _ = payer.account.pinned().add_unless_over(pages.min(memlock::FLOOR), u64::MAX);
        }
        // SAFETY: The account is open, since a file is open during the call and the account is destroyed after the last
        // file.
        unsafe { ffi::knem_shim_pinned_add(count) };
        self.pages = self.pages.saturating_add(count);
    }

    /// Uncharges pages.
    pub(crate) fn remove(&mut self, pages: u64) {
        let count = i64::try_from(pages).unwrap_or(i64::MAX).min(self.pages);
        let locked = count.min(self.locked);
        self.pages = self.pages.saturating_sub(count);
        self.locked = self.locked.saturating_sub(locked);
        if count == 0 {
            return;
        }
        // SAFETY: The account is open: a file is open or a transfer is in flight, both of which keep the module loaded.
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

/// Returns the ceilings of the machine and of a user, in pages.
fn ceilings() -> (u64, u64) {
    let ram = ffi::knem_shim_ram_pages();
    let machine = memlock::ceiling(params::max_pinned_mib(), ram as u64, PAGE_SHIFT as u32);
    (machine, memlock::user_ceiling(params::max_user_pinned_mib(), machine, PAGE_SHIFT as u32))
}
