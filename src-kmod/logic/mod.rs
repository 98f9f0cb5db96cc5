// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! What the driver decides, as plain functions over plain data.
//!
//! No kernel, no allocation, no `unsafe`, no panic, and checked arithmetic throughout: cargo tests these
//! files, Kbuild compiles the same files into the module. Storage and side effects belong to the caller.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::float_arithmetic
    )
)]

pub mod access;
pub mod claim;
pub mod counter;
pub mod cpus;
pub mod crew;
pub mod dma;
pub mod events;
pub mod extent;
pub mod flags;
pub mod histogram;
pub mod memlock;
pub mod plan;
pub mod profile;
pub mod quota;
pub mod refusal;
pub mod report;
pub mod segment;
