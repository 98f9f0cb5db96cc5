// SPDX-License-Identifier: CECILL-B
//! The command line of `knem selftest`.

use clap::Args;

/// Options of `knem selftest`.
#[derive(Debug, Args)]
pub(crate) struct SelftestArgs {
    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}
