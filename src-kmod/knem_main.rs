// SPDX-License-Identifier: GPL-2.0-only
//! KNEM: single-copy transfers between the processes of one machine.
//!
//! The kernel's root of the driver. A process declares a region of its memory on `/dev/knem` and gets a cookie. Any
//! process that it passes the cookie to copies from or into the region, with one copy. See knem(4).
//!
//! - `uapi`: the interface. `logic`: decisions, independent of the kernel; cargo's root `host.rs` compiles both as
//!   well.
//! - `glue`: all code that uses `kernel::`. `knem_*.c`: what only C can do. `kernel/`: a stand-in for the `kernel`
//!   crate, for kernels without it.

use kernel::prelude::*;

// Items that only cargo uses are not dead code; they are not in the object file.
#[allow(dead_code, unreachable_pub)]
pub(crate) mod logic;
#[allow(dead_code, unreachable_pub)]
pub(crate) mod uapi;

pub(crate) mod glue;

module! {
    type: Knem,
    name: "knem",
    authors: ["The KNEM in Rust developers"],
    description: "KNEM: single-copy transfers between processes",
    license: "GPL",
}

/// The loaded module. Fields are dropped in the order of their declaration: the device first, so that no file can be
/// opened any more and nothing is left in the table and the account when they are dropped.
struct Knem {
    _device: glue::operations::Registration,
    _workers: glue::thread::Workers,
    _files: glue::operations::Files,
    _engines: glue::dma::Engines,
    _registry: glue::registry::Registry,
    _table: glue::table::Table,
    _account: glue::charge::Account,
    _counters: glue::counters::Counters,
    _presence: glue::Presence,
}

impl kernel::Module for Knem {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // Created in the reverse order of the fields. A failure drops those that were created before it.
        let _presence = glue::Presence::new()?;
        let _counters = glue::counters::Counters::new()?;
        let _account = glue::charge::Account::new()?;
        let _table = glue::table::Table::new()?;
        let _registry = glue::registry::Registry::new();
        let _engines = glue::dma::Engines::new()?;
        let _files = glue::operations::Files::new();
        let _workers = glue::thread::Workers::new()?;
        let _device = glue::operations::Registration::new()?;
        Ok(Self { _device, _workers, _files, _engines, _registry, _table, _account, _counters, _presence })
    }
}
