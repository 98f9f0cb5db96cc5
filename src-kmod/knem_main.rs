// SPDX-License-Identifier: GPL-2.0-only
//! KNEM: single-copy transfers between the processes of one machine.
//!
//! The kernel's root of the driver. A process declares a region of its memory on `/dev/knem` and gets a cookie;
//! any process it gives the cookie to copies from or into the region, with one copy. See knem(4).
//!
//! - `uapi`: the interface. `logic`: decisions, without the kernel; cargo's root `host.rs` compiles both as well.
//! - `glue`: everything that says `kernel::`. `knem_shim.c`, `knem_table.c`: what only C can do.

use kernel::prelude::*;

// What a room offers to cargo but not to the module is no mistake, and stays out of the object file.
#[allow(dead_code, unreachable_pub)]
mod logic;
#[allow(dead_code, unreachable_pub)]
mod uapi;

mod glue;

module! {
    type: Knem,
    name: "knem",
    authors: ["The KNEM in Rust developers"],
    description: "KNEM: single-copy transfers between the processes of one machine",
    license: "GPL",
}

/// The loaded module. Fields are dropped in the order of their declaration: first nobody can open the device
/// any more, and then nothing is left in the table and on the account.
#[pin_data]
struct Knem {
    #[pin]
    _device: glue::device::Registration,
    _files: glue::proc::Files,
    _engines: glue::dma::Engines,
    _registry: glue::registry::Registry,
    _table: glue::table::Table,
    _account: glue::charge::Account,
    _counters: glue::stats::Counters,
    _presence: glue::Presence,
}

impl kernel::InPlaceModule for Knem {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _presence: glue::Presence::new()?,
            _counters: glue::stats::Counters::new()?,
            _account: glue::charge::Account::new()?,
            _table: glue::table::Table::new()?,
            _registry: glue::registry::Registry::new(),
            _engines: glue::dma::Engines::new()?,
            _files: glue::proc::Files::new(),
            _device <- glue::device::Registration::new(),
        })
    }
}
