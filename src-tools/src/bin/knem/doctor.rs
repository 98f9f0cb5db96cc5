// SPDX-License-Identifier: CECILL-B
//! `knem doctor`.

use std::path::Path;

use crate::cli::DoctorArgs;
use crate::exit::Failure;

/// Runs the command.
pub(crate) fn run(_path: &Path, _arguments: &DoctorArgs) -> Result<(), Failure> {
    Err(Failure::Other("being written".to_owned()))
}
