// SPDX-License-Identifier: GPL-2.0-only
//! The CPUs that the worker thread of a context runs on.

use crate::glue::account::Account;
use crate::glue::ffi;
use crate::glue::params;
use crate::logic::cpus as sets;
use crate::uapi;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::uaccess::{UserPtr, UserSlice};

/// A set of CPUs, as C's `struct cpumask`, with as many words as the machine's CPUs need.
pub(crate) struct CpuSet(KVec<usize>);

impl CpuSet {
    /// Returns the empty set.
    fn none() -> Result<Self> {
        let words = ffi::knem_shim_cpumask_words();
        let mut mask = KVec::with_capacity(words, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..words {
            mask.push_within_capacity(0).map_err(|_| ENOMEM)?;
        }
        Ok(Self(mask))
    }

    /// Returns the CPUs that the calling task may use now.
    fn own() -> Result<Self> {
        let mut mask = Self::none()?;
        // SAFETY: The mask has `knem_shim_cpumask_words` words, which is the size that C writes.
        unsafe { ffi::knem_shim_allowed_cpus(mask.0.as_mut_ptr().cast()) };
        Ok(mask)
    }

    /// Returns the CPUs of the calling task's cpuset.
    fn of_cpuset(account: &Account) -> Result<Self> {
        let mut mask = Self::none()?;
        account.wait_for_probe()?;
        // SAFETY: The mask has `knem_shim_cpumask_words` words, which is the size that C writes.
        kernel::error::to_result(unsafe { ffi::knem_shim_cpuset_cpus(mask.0.as_mut_ptr().cast()) })?;
        Ok(mask)
    }

    /// Returns the online CPUs.
    fn online() -> Result<Self> {
        let mut mask = Self::none()?;
        // SAFETY: The mask has `knem_shim_cpumask_words` words, which is the size that C writes.
        unsafe { ffi::knem_shim_online_cpus(mask.0.as_mut_ptr().cast()) };
        Ok(mask)
    }

    /// Returns the CPUs that the calling task may use now, or all others if `reversed`.
    fn current(reversed: bool) -> Result<Self> {
        let mut mask = Self::own()?;
        if reversed {
            for word in mask.0.as_mut_slice() {
                *word = !*word;
            }
        }
        Ok(mask)
    }

    /// Reads a mask in user memory, one bit for each CPU. Bits that it lacks are 0, bits in excess are ignored.
    fn custom(address: u64, length: u32) -> Result<Self> {
        let mut mask = Self::none()?;
        let capacity = mask.0.len().saturating_mul(size_of::<usize>());
        let length = usize::try_from(length).map_err(|_| EFAULT)?.min(capacity);
        let address = usize::try_from(address).map_err(|_| EFAULT)?;
        let mut reader = UserSlice::new(UserPtr::from_addr(address), length).reader();
        // SAFETY: The slice covers exactly the initialised words of the mask, which may have any value, and the mask is
        // accessed only through it meanwhile.
        let bytes = unsafe { core::slice::from_raw_parts_mut(mask.0.as_mut_ptr().cast::<u8>(), capacity) };
        if let Some(bytes) = bytes.get_mut(..length) {
            reader.read_slice(bytes)?;
        }
        Ok(mask)
    }

    /// Returns the CPUs that a BIND_OFFLOAD requests.
    ///
    /// # Errors
    /// EINVAL unless the flags are exactly one of the three; EFAULT; ENOMEM.
    pub(crate) fn asked_for(command: &uapi::CmdBindOffload) -> Result<Arc<Self>> {
        let cpus = match command.flags {
            uapi::BIND_FLAG_CUSTOM => Self::custom(command.mask_ptr, command.mask_len),
            uapi::BIND_FLAG_CURRENT => Self::current(false),
            uapi::BIND_FLAG_CURRENT_REVERSED => Self::current(true),
            _ => Err(EINVAL),
        }?;
        Ok(Arc::new(cpus, GFP_KERNEL_ACCOUNT)?)
    }

    /// Returns the CPUs that the parameter `binding` requests.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn by_default() -> Result<Arc<Self>> {
        let cpus = match params::binding() {
            0 => Self::online(),
            binding => Self::current(binding < 0),
        }?;
        Ok(Arc::new(cpus, GFP_KERNEL_ACCOUNT)?)
    }

    /// Binds the calling worker thread to these CPUs. If all of them are offline, its affinity does not change.
    pub(crate) fn bind(&self) {
        // SAFETY: The mask has `knem_shim_cpumask_words` words, which is the size that C reads. Only the affinity of
        // the calling thread changes.
        unsafe { ffi::knem_worker_bind(self.0.as_ptr().cast()) }
    }
}

/// Chooses the CPUs for a worker thread that the calling task starts: the wanted ones that are in its cpuset, or those
/// that it may use now if there are none.
///
/// # Errors
/// ENOMEM; EINTR if the caller is killed.
pub(crate) fn choose(wanted: &CpuSet, account: &Account) -> Result<CpuSet> {
    let mut chosen = CpuSet::online()?;
    sets::intersect(&mut chosen.0, &wanted.0);
    let own = CpuSet::own()?;
    // The cpuset contains all CPUs that the task may use now, and is more expensive to determine.
    if !sets::within(&chosen.0, &own.0) {
        sets::intersect(&mut chosen.0, &CpuSet::of_cpuset(account)?.0);
    }
    Ok(if sets::empty(&chosen.0) { own } else { chosen })
}
