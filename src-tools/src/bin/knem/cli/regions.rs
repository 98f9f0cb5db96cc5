// SPDX-License-Identifier: CECILL-B
//! The command line of `knem regions`.

use clap::Args;

/// Options of `knem regions`.
#[derive(Debug, Args)]
pub(crate) struct RegionsArgs {
    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}
