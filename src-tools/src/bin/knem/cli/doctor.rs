// SPDX-License-Identifier: CECILL-B
//! The command line of `knem doctor`.

use clap::Args;

/// Options of `knem doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}
