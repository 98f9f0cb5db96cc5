// SPDX-License-Identifier: CECILL-B
//! The command line of `knem top`.

use clap::Args;

/// Options of `knem top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}
