// SPDX-License-Identifier: CECILL-B
//! `knem top`.

use std::path::Path;

use crate::cli::TopArgs;
use crate::exit::Failure;

/// Runs the command.
pub(crate) fn run(_path: &Path, _arguments: &TopArgs) -> Result<(), Failure> {
    Err(Failure::Other("being written".to_owned()))
}
