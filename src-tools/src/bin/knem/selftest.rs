// SPDX-License-Identifier: CECILL-B
//! `knem selftest`.

use std::path::Path;

use crate::cli::SelftestArgs;
use crate::exit::Failure;

/// Runs the command.
pub(crate) fn run(_path: &Path, _arguments: &SelftestArgs) -> Result<(), Failure> {
    Err(Failure::Other("being written".to_owned()))
}
