// SPDX-License-Identifier: CECILL-B
//! The command line of `knem stat`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Options of `knem stat`.
#[derive(Debug, Default, Args)]
#[command(after_long_help = MORE)]
pub(crate) struct StatArgs {
    /// Seconds between reports, as 1 or 0.5; without it there is one report
    #[arg(value_name = "INTERVAL", value_parser = interval)]
    pub(crate) interval: Option<Duration>,

    /// Reports until the command ends; without it, it goes on until it is interrupted
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Leave out the first report, which is about all the time since the driver was loaded
    #[arg(short = 'y', long, requires = "interval")]
    pub(crate) skip_first: bool,

    /// Show copies by how they were made, with their times
    #[arg(long)]
    pub(crate) paths: bool,

    /// Show how many copies were of which size
    #[arg(long)]
    pub(crate) sizes: bool,

    /// Show how many copies took how long
    #[arg(short, long)]
    pub(crate) latency: bool,

    /// Show which calls were refused, what that means and what mends it
    #[arg(long)]
    pub(crate) refused: bool,

    /// For scripts: no heads, a tab between columns, - for what there is not
    #[arg(short = 'H', long)]
    pub(crate) scripted: bool,

    /// Write numbers in full: bytes, nanoseconds, no units
    #[arg(short = 'p', long)]
    pub(crate) exact: bool,

    /// Write the heads once, rather than on every screenful
    #[arg(short = 'n', long)]
    pub(crate) one_head: bool,

    /// Write JSON; with an interval, an object a line
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Write the text that Prometheus collects
    #[arg(long, conflicts_with_all = ["interval", "json", "scripted", "paths", "sizes", "latency", "refused"])]
    pub(crate) prometheus: bool,

    /// Set all counters to 0, after showing them (administrators only)
    #[arg(long, conflicts_with = "interval")]
    pub(crate) clear: bool,

    /// Directory of the driver's finer statistics
    #[arg(long, hide = true, value_name = "PATH", default_value = "/proc/driver/knem")]
    pub(crate) proc: PathBuf,
}

/// Understands a number of seconds.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: f64 = 0.01;
    const LONGEST: f64 = 1e8;
    match text.parse::<f64>() {
        Ok(seconds) if (SHORTEST..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) => Err(format!("an interval is a number of seconds from {SHORTEST} on")),
        Err(_) => Err("an interval is a number of seconds, as 1 or 0.5".to_owned()),
    }
}

/// Description of `knem stat`.
pub(super) const STAT: &str = "\
Show what the driver has counted, once or every few seconds

Without an interval: totals since the driver was loaded or its counters were cleared. With one: a line for each report, the first \
of them about all that time, the others about the time since the one before. If the counters begin anew in between, a line says so.

Everybody may read the statistics. A driver that is older than these tools has counters only, and the rest is shown as -.";

/// What the columns mean, and examples.
const MORE: &str = "\
Columns:
  REQ/S      requests in a second
  BYTES/S    bytes that were copied in a second
  FAILED/S   copies in a second that were begun and failed
  REFUSED/S  calls in a second that ended with an error
  SIZE       mean size of the copies
  TIME       median time from a call to the end of its copy, estimated from the histogram
  PINNED     memory that is pinned at the moment
  CONTEXTS   files of the device that are open for writing at the moment
  REGIONS    regions at the moment

Columns of --paths:
  PATH           mapped, pinned, thread or dma, as below
  COPIES, BYTES  copies that ended, and the bytes of those that succeeded
  FAILED         copies that failed
  50%, 90%, 99%  times that so many copies took less than, estimated from the histogram

Paths:
  mapped  by the calling processor, through the caller's mapping
  pinned  by the calling processor, between pinned memories
  thread  by the thread of the open file; time in its queue counts
  dma     by a DMA engine

Bytes have units of 1024, all else of 1000.

Examples:
  knem stat            Has KNEM been used, and how?
  knem stat 1          What is it doing now?
  knem stat -y 10 1    What did it do in the next ten seconds?
  knem stat --refused  Why was something refused, and what mends it?
  knem stat -j 1       The same for a program, an object a line

For the node exporter: systemctl enable --now knem-stat.timer; or, in its directory of text files: knem stat --prometheus > knem.prom.new && mv knem.prom.new knem.prom";
