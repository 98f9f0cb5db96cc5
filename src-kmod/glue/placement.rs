// SPDX-License-Identifier: GPL-2.0-only
//! Which CPUs the worker thread of a context runs on.

use crate::glue::account::Account;
use crate::glue::ffi;
use crate::glue::params;
use crate::logic::cpus;
use crate::uapi;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::uaccess::{UserPtr, UserSlice};

/// A set of processors, as C's `struct cpumask`: as many bytes as the machine's processors need.
pub(crate) struct Processors(KVec<usize>);

impl Processors {
    /// No processors.
    fn none() -> Result<Self> {
        let words = ffi::knem_shim_cpumask_words();
        let mut mask = KVec::with_capacity(words, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..words {
            mask.push_within_capacity(0).map_err(|_| ENOMEM)?;
        }
        Ok(Self(mask))
    }

    /// Those that the calling task may use now.
    fn own() -> Result<Self> {
        let mut mask = Self::none()?;
        // SAFETY: As many words as C asked for.
        unsafe { ffi::knem_shim_allowed_cpus(mask.0.as_mut_ptr().cast()) };
        Ok(mask)
    }

    /// Those of the calling task's cpuset.
    fn of_cpuset(account: &Account) -> Result<Self> {
        let mut mask = Self::none()?;
        account.wait_for_probe()?;
        // SAFETY: As many words as C asked for.
        kernel::error::to_result(unsafe { ffi::knem_shim_cpuset_cpus(mask.0.as_mut_ptr().cast()) })?;
        Ok(mask)
    }

    /// Those of the machine.
    fn online() -> Result<Self> {
        let mut mask = Self::none()?;
        // SAFETY: As many words as C asked for.
        unsafe { ffi::knem_shim_online_cpus(mask.0.as_mut_ptr().cast()) };
        Ok(mask)
    }

    /// Those that the calling task may use now, or all others.
    fn current(reversed: bool) -> Result<Self> {
        let mut mask = Self::own()?;
        if reversed {
            for word in mask.0.as_mut_slice() {
                *word = !*word;
            }
        }
        Ok(mask)
    }

    /// Those of a mask in user memory, a bit each: what it lacks is not in the set, what it has in excess is ignored.
    fn custom(address: u64, length: u32) -> Result<Self> {
        let mut mask = Self::none()?;
        let room = mask.0.len().saturating_mul(size_of::<usize>());
        let length = usize::try_from(length).map_err(|_| EFAULT)?.min(room);
        let address = usize::try_from(address).map_err(|_| EFAULT)?;
        let mut reader = UserSlice::new(UserPtr::from_addr(address), length).reader();
        // SAFETY: The bytes of the words, all of which exist and may take any value, seen through the only reference.
        let bytes = unsafe { core::slice::from_raw_parts_mut(mask.0.as_mut_ptr().cast::<u8>(), room) };
        if let Some(bytes) = bytes.get_mut(..length) {
            reader.read_slice(bytes)?;
        }
        Ok(mask)
    }

    /// Those that a BIND_OFFLOAD asks for.
    ///
    /// # Errors
    /// EINVAL unless the flags are exactly one of the three; EFAULT; ENOMEM.
    pub(crate) fn asked_for(command: &uapi::CmdBindOffload) -> Result<Arc<Self>> {
        let processors = match command.flags {
            uapi::BIND_FLAG_CUSTOM => Self::custom(command.mask_ptr, command.mask_len),
            uapi::BIND_FLAG_CURRENT => Self::current(false),
            uapi::BIND_FLAG_CURRENT_REVERSED => Self::current(true),
            _ => Err(EINVAL),
        }?;
        Ok(Arc::new(processors, GFP_KERNEL_ACCOUNT)?)
    }

    /// Those that the parameter `binding` asks for.
    ///
    /// # Errors
    /// ENOMEM.
    pub(crate) fn by_default() -> Result<Arc<Self>> {
        let processors = match params::binding() {
            0 => Self::online(),
            binding => Self::current(binding < 0),
        }?;
        Ok(Arc::new(processors, GFP_KERNEL_ACCOUNT)?)
    }

    /// Has the calling worker run on these CPUs. If all of them are offline, it stays where it is.
    pub(crate) fn bind(&self) {
        // SAFETY: As many words as C asked for; changes the calling thread only.
        unsafe { ffi::knem_worker_bind(self.0.as_ptr().cast()) }
    }
}

/// The CPUs for a worker that the calling task starts: those wanted of its cpuset, or its own if there are none.
///
/// # Errors
/// ENOMEM; EINTR if the caller is killed.
pub(crate) fn choose(wanted: &Processors, account: &Account) -> Result<Processors> {
    let mut chosen = Processors::online()?;
    cpus::intersect(&mut chosen.0, &wanted.0);
    let own = Processors::own()?;
    // The cpuset, which takes more to learn, has all that the task may use.
    if !cpus::within(&chosen.0, &own.0) {
        cpus::intersect(&mut chosen.0, &Processors::of_cpuset(account)?.0);
    }
    Ok(if cpus::empty(&chosen.0) { own } else { chosen })
}
