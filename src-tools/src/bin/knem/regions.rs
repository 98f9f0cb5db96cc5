// SPDX-License-Identifier: CECILL-B
//! `knem regions`.

use std::path::Path;

use crate::cli::RegionsArgs;
use crate::exit::Failure;

/// Runs the command.
pub(crate) fn run(_path: &Path, _arguments: &RegionsArgs) -> Result<(), Failure> {
    Err(Failure::Other("being written".to_owned()))
}
