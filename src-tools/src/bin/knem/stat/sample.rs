// SPDX-License-Identifier: CECILL-B
//! A sample of the driver's statistics.

use std::path::Path;
use std::time::Instant;

use knem::profile::{self, Profile};
use knem::statistics::{self, Statistics};
use knem::{Error, DEVICE_FILENAME};

/// Both of the driver's texts, as far as they are available. At least one is.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it was taken.
    pub(crate) taken: Instant,
    /// The device's text: for users who may open the device.
    pub(crate) statistics: Option<Statistics>,
    /// The detailed statistics: for every user, if the driver has them.
    pub(crate) profile: Option<Profile>,
    /// Version of the module.
    pub(crate) module_version: Option<String>,
}

impl Sample {
    /// Reads both texts.
    pub(crate) fn take(device: &Path, directory: &Path) -> Result<Self, Error> {
        let profile = profile::read(directory)?;
        let statistics = match statistics::read(device) {
            Ok(statistics) => Some(statistics),
            Err(Error::Permission { .. }) if profile.is_some() => None,
            // In a container there may be no node. A node that was given on the command line must exist.
            Err(Error::NoDevice { .. }) if profile.is_some() && device == Path::new(DEVICE_FILENAME) => None,
            Err(error) => return Err(error),
        };
        let module_version = match &statistics {
            Some(statistics) => Some(statistics.module_version.clone()),
            None => std::fs::read_to_string("/sys/module/knem/version").ok().map(|text| text.trim().to_owned()),
        };
        Ok(Self { taken: Instant::now(), statistics, profile, module_version })
    }
}
