// SPDX-License-Identifier: CECILL-B
//! What the driver says at one moment.

use std::path::Path;
use std::time::Instant;

use knem::profile::{self, Profile};
use knem::statistics::{self, Statistics};
use knem::{Error, DEVICE_FILENAME};

/// Both of the driver's texts, as far as they can be had. One of them is there.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it was taken.
    pub(crate) taken: Instant,
    /// The device's text: for those who may open the device.
    pub(crate) statistics: Option<Statistics>,
    /// The finer statistics: for everybody, where the driver has them.
    pub(crate) profile: Option<Profile>,
    /// Version of the module.
    pub(crate) module_version: Option<String>,
}

impl Sample {
    /// Asks the driver.
    pub(crate) fn take(device: &Path, directory: &Path) -> Result<Self, Error> {
        let profile = profile::read(directory)?;
        let statistics = match statistics::read(device) {
            Ok(statistics) => Some(statistics),
            Err(Error::Permission { .. }) if profile.is_some() => None,
            // As in a container. Whoever names another node wants to hear that it is not there.
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
