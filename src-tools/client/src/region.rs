// SPDX-License-Identifier: CECILL-B
//! Memory that other processes may use.

use std::marker::PhantomData;

use crate::{Cookie, Device, Error};

/// Memory shared with other processes, until it is dropped.
///
/// The region borrows its memory and its device. Dropping it withdraws the cookie at once: a request that
/// comes later finds no region. A copy that is running then ends by itself.
#[derive(Debug)]
pub struct Region<'a> {
    device: &'a Device,
    cookie: Cookie,
    /// The memory, which the kernel uses though the compiler does not see it.
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Region<'a> {
    pub(crate) fn new(device: &'a Device, cookie: Cookie) -> Self {
        Self { device, cookie, memory: PhantomData }
    }

    /// The region's name, to be sent to the processes that may use it.
    pub fn cookie(&self) -> Cookie {
        self.cookie
    }

    /// Withdraws the region, and says whether it was still there: a single-use region that has been used is not.
    pub fn destroy(self) -> Result<(), Error> {
        let withdrawn = self.device.withdraw(self.cookie);
        // It is gone either way; the destructor has nothing left to do.
        std::mem::forget(self);
        withdrawn
    }
}

impl Drop for Region<'_> {
    fn drop(&mut self) {
        // It fails if the region has been used up: then it is withdrawn, which is what is wanted.
        let _ = self.device.withdraw(self.cookie);
    }
}
