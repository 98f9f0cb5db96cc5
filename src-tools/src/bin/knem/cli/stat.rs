// SPDX-License-Identifier: CECILL-B
//! The command line of `knem stat`.

use clap::Args;

/// Options of `knem stat`.
#[derive(Debug, Args)]
pub(crate) struct StatArgs {
    /// Write JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Set all counters to 0, after showing them (administrators only)
    #[arg(long)]
    pub(crate) clear: bool,
}
