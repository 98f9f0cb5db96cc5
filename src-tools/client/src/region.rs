// SPDX-License-Identifier: CECILL-B
//! Regions: memory that other processes may use.

use std::marker::PhantomData;

use crate::{Cookie, Device, Error};

/// Memory shared with other processes until the region is dropped.
///
/// The region borrows its memory and its device. Dropping it invalidates the cookie at once: later requests find no
/// region. A copy that is running continues to its end.
#[derive(Debug)]
pub struct Region<'a> {
    device: &'a Device,
    cookie: Cookie,
    /// The memory, which the kernel uses.
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Region<'a> {
    pub(crate) fn new(device: &'a Device, cookie: Cookie) -> Self {
        Self { device, cookie, memory: PhantomData }
    }

    /// Returns the cookie, to be sent to the processes that may use the region.
    pub fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// Destroys the region.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRegion`] (EINVAL).
    pub fn destroy(self) -> Result<(), Error> {
        let withdrawn = self.device.withdraw(self.cookie);
        // The region no longer exists in either case, so the destructor must not run.
        std::mem::forget(self);
        withdrawn
    }
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        // It fails for a single-use region that was used, which no longer exists either.
        let _ = self.device.withdraw(self.cookie);
    }
}
