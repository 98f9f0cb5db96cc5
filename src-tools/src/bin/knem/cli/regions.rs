// SPDX-License-Identifier: CECILL-B
//! The command line of `knem regions`.

use std::path::PathBuf;

use clap::Args;

/// Options of `knem regions`.
#[derive(Debug, Args)]
#[command(after_long_help = COLUMNS)]
pub(crate) struct RegionsArgs {
    /// Show only contexts that this process opened
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Option<u32>,

    /// Show only contexts of this user, by name or number
    #[arg(long, value_name = "USER", value_hint = clap::ValueHint::Username)]
    pub(crate) user: Option<String>,

    /// Scripted mode: no headers, one line per region, tab-separated, - for missing values
    #[arg(short = 'H', long)]
    pub(crate) scripted: bool,

    /// Print exact numbers: bytes, without units
    #[arg(short = 'p', long)]
    pub(crate) exact: bool,

    /// Write JSON
    #[arg(short, long)]
    pub(crate) json: bool,

    /// Read the driver's lists from this directory
    #[arg(long, hide = true, value_name = "PATH", default_value = "/proc/driver/knem")]
    pub(crate) proc: PathBuf,
}

/// Description of `knem regions`.
pub(super) const REGIONS: &str = "\
List contexts and their regions, with the processes that own them

A context is one open of the device for writing; its process is the one that opened it. Contexts and regions are numbered in the order \
of their creation; the numbers reveal nothing about cookies. A user sees their own contexts, root sees all.";

/// What the columns mean.
const COLUMNS: &str = "\
Columns:
  CONTEXT           number of the context
  PID, PROCESS      process that opened it; - if it has exited or is not visible in this pid namespace
  USER              user who opened it
  REGIONS, PINNED   its current regions, and their memory
  REQUESTS, COPIED  requests submitted through it, and the bytes that they were to copy
  SLOTS             slots of its status array
  REGION, SIZE      number and size of a region
  EXTENTS           physically contiguous pieces of the region
  ACCESS            access for other processes: r read, w write
  FLAGS             single_use: destroyed by its first use; any_user: usable by every user; unpinned: pinned only while it is copied

Columns of --scripted: context, pid, process, user, region, size, extents, access, flags. There is one line per region. A context without \
regions has one line, with - from the region on.";
