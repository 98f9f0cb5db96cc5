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
    /// Seconds between looks, as 1 or 0.5
    #[arg(value_name = "INTERVAL", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,

    /// Looks until the command ends; without it, it goes on until it is ended
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Write JSON, an object a line, rather than show a screen
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Directory of the driver's finer statistics
    #[arg(long, hide = true, value_name = "PATH", default_value = "/proc/driver/knem")]
    pub(crate) proc: PathBuf,
}

/// Description of `knem top`.
pub(super) const TOP: &str = "\
Watch the driver at work

A live screen: rates with their recent past, how many copies were of which size and took how long, and the open files with their \
processes, the busiest first. Files of other users are shown to root only.

Where the output is no terminal, this is the same as `knem stat INTERVAL COUNT`.";

/// What keys do.
const KEYS: &str = "\
Keys:
  q, Esc, Ctrl-C  end
  s               sort by the next column, which has a * then
  h               histograms of the last interval, or of all time since the counters began
  p, blank        pause, and go on
  +, -            double or halve the interval
  Ctrl-Z          stop; fg goes on
  ?               help";
