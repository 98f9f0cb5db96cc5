// SPDX-License-Identifier: CECILL-B
//! The command line of `knem top`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::stat::interval;

/// Options of `knem top`.
#[derive(Debug, Args)]
#[command(after_long_help = KEYS)]
pub(crate) struct TopArgs {
    /// Refresh every INTERVAL seconds, such as 1 or 0.5
    #[arg(value_name = "INTERVAL", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,

    /// End after COUNT refreshes [default: run until ended]
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Write JSON, one object per line, instead of showing a screen
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Read the driver's detailed statistics from this directory
    #[arg(long, hide = true, value_name = "PATH", default_value = "/proc/driver/knem")]
    pub(crate) proc: PathBuf,
}

/// Description of `knem top`.
pub(super) const TOP: &str = "\
Show rates, sizes, times and the busiest processes on a live screen

The screen shows rates with their recent history, histograms of the copies' sizes and times, and the contexts with their \
processes, the busiest first. Contexts of other users are shown to root only.

If the output is not a terminal, this is the same as `knem stat INTERVAL COUNT`.";

/// Key bindings.
const KEYS: &str = "\
Keys:
  q, Esc, Ctrl-C  quit
  s               sort by the next column, marked with *
  h               show histograms of the last interval, or since the counters started
  p, space        pause or continue
  +, -            double or halve the interval
  Ctrl-Z          suspend; fg continues
  ?               help";
