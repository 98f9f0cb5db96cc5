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

/// Description of `knem selftest`.
pub(super) const SELFTEST: &str = "\
Test the installed driver

Uses the driver as programs do and compares every byte: all kinds of copies, copies between processes, requests that \
must be refused, limits, and that nothing is left pinned. It takes a few seconds, does not disturb other processes, and \
needs only permission to open the device. As root it also tests what another user may not do. Tests that cannot run here \
are skipped, with the reason. The exit status is 1 if a test failed.";
