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

Does with the driver what programs do with it, and compares every byte: copies in all ways and between processes, refusals \
of what must be refused, limits, and that nothing is left behind. It takes some seconds, disturbs nobody, and needs no \
other right than to open the device; as root it also tests what another user may not do. What cannot be tested here is \
skipped, with the reason. The exit status is 1 if any test failed.";
