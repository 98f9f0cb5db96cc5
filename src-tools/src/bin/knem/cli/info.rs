// SPDX-License-Identifier: CECILL-B
//! The command line of `knem info`.

use clap::Args;

/// Options of `knem info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}
