// SPDX-License-Identifier: CECILL-B
//! The command line of `knem stat`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Options of `knem stat`.
#[derive(Debug, Default, Args)]
#[command(after_long_help = MORE)]
pub(crate) struct StatArgs {
    /// Report every INTERVAL seconds, such as 1 or 0.5 [default: one report]
    #[arg(value_name = "INTERVAL", value_parser = interval)]
    pub(crate) interval: Option<Duration>,

    /// End after COUNT reports [default: run until interrupted]
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Omit the first report, which covers all the time since the driver was loaded
    #[arg(short = 'y', long, requires = "interval")]
    pub(crate) skip_first: bool,

    /// Show copies and their times by path
    #[arg(long)]
    pub(crate) paths: bool,

    /// Show a histogram of the copies' sizes
    #[arg(long)]
    pub(crate) sizes: bool,

    /// Show a histogram of the copies' times
    #[arg(short, long)]
    pub(crate) latency: bool,

    /// Show which calls were refused, what each refusal means and its remedy
    #[arg(long)]
    pub(crate) refused: bool,

    /// Scripted mode: no headers, tab-separated, - for missing values
    #[arg(short = 'H', long)]
    pub(crate) scripted: bool,

    /// Print exact numbers: bytes, nanoseconds, without units
    #[arg(short = 'p', long)]
    pub(crate) exact: bool,

    /// Print the headers once instead of on every screen
    #[arg(short = 'n', long)]
    pub(crate) one_head: bool,

    /// Write JSON; with an interval, one object per line
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Write the Prometheus text format
    #[arg(long, conflicts_with_all = ["interval", "json", "scripted", "paths", "sizes", "latency", "refused"])]
    pub(crate) prometheus: bool,

    /// Show all counters, then set them to 0 (root only)
    #[arg(long, conflicts_with = "interval")]
    pub(crate) clear: bool,

    /// Read the driver's detailed statistics from this directory
    #[arg(long, hide = true, value_name = "PATH", default_value = "/proc/driver/knem")]
    pub(crate) proc: PathBuf,
}

/// Parses a number of seconds.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: f64 = 0.01;
    const LONGEST: f64 = 1e8;
    match text.parse::<f64>() {
        Ok(seconds) if (SHORTEST..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) => Err(format!("an interval must be at least {SHORTEST} seconds")),
        Err(_) => Err("an interval is a number of seconds, such as 1 or 0.5".to_owned()),
    }
}

/// Description of `knem stat`.
pub(super) const STAT: &str = "\
Show the driver's statistics, once or at an interval

Without an interval: totals since the driver was loaded or its counters were cleared. With an interval: one line per report. The first \
report covers all that time, each later one the time since the previous report. If the counters restart in between, a line reports it.

Every user may read the statistics. Drivers older than these tools have the counters only; everything else is shown as -.";

/// What the columns mean, and examples.
const MORE: &str = "\
Columns:
  REQ/S      requests per second
  BYTES/S    bytes copied per second
  FAILED/S   copies per second that started and failed
  REFUSED/S  calls per second that returned an error
  SIZE       mean size of a copy
  TIME       median time from the call to the end of its copy, estimated from the histogram
  PINNED     memory pinned now
  CONTEXTS   contexts now: opens of the device for writing
  REGIONS    regions now

Columns of --paths:
  PATH           mapped, pinned, thread or dma, as below
  COPIES, BYTES  completed copies, and the bytes of those that succeeded
  FAILED         copies that failed
  50%, 90%, 99%  percentiles of the time, estimated from the histogram

Paths:
  mapped  by the calling CPU, through the caller's mapping
  pinned  by the calling CPU, between pinned pages
  thread  by the context's worker thread; includes the time in its queue
  dma     by a DMA engine

Units of bytes are powers of 1024, all others powers of 1000.

Examples:
  knem stat            Show whether KNEM has been used, and how
  knem stat 1          Show what it is doing now
  knem stat -y 10 1    Show what it does in the next ten seconds
  knem stat --refused  Show what was refused and why, with remedies
  knem stat -j 1       Print one JSON object per second, for a program

For the node exporter: systemctl enable --now knem-stat.timer; or, in its directory of text files: knem stat --prometheus > knem.prom.new && mv knem.prom.new knem.prom";
