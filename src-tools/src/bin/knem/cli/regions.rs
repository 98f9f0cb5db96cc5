// SPDX-License-Identifier: CECILL-B
//! The command line of `knem regions`.

use std::path::PathBuf;

use clap::Args;

/// Options of `knem regions`.
#[derive(Debug, Args)]
#[command(after_long_help = COLUMNS)]
pub(crate) struct RegionsArgs {
    /// Show files that this process has opened
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Option<u32>,

    /// Show files of this user: a name or a number
    #[arg(long, value_name = "USER", value_hint = clap::ValueHint::Username)]
    pub(crate) user: Option<String>,

    /// For scripts: a line for each region, no heads, a tab between columns, - for what there is not
    #[arg(short = 'H', long)]
    pub(crate) scripted: bool,

    /// Write numbers in full: bytes, no units
    #[arg(short = 'p', long)]
    pub(crate) exact: bool,

    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Directory of the driver's lists
    #[arg(long, hide = true, value_name = "PATH", default_value = "/proc/driver/knem")]
    pub(crate) proc: PathBuf,
}

/// Description of `knem regions`.
pub(super) const REGIONS: &str = "\
List open files and their regions, with the processes they belong to

A context is a file of the device that is open for writing: its process is the one that opened it. Numbers of contexts and regions are \
counted up, and tell nothing about cookies. You see your own; root sees all.";

/// What the columns mean.
const COLUMNS: &str = "\
Columns:
  CONTEXT           its number
  PID, PROCESS      the process that opened it; - if it is gone, or cannot be seen from here
  USER              the user who opened it
  REGIONS, PINNED   regions that it has now, and their memory
  REQUESTS, COPIED  requests that were made with it, and the bytes that they were to copy
  SLOTS             slots of its status array
  REGION, SIZE      number and size of a region
  EXTENTS           pieces of contiguous memory that it consists of
  ACCESS            what others may do: r read, w write
  FLAGS             single_use: it goes with its first use; any_user: every user may use it; unpinned: it is pinned only while it is copied

Columns of --scripted: context, pid, process, user, region, size, extents, access, flags. There is a line for each region, and one with - from \
the region on for a context without regions.";
