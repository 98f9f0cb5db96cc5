// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! The driver's decisions, as plain functions over plain data.
//!
//! No kernel, no allocation, no `unsafe`, no panic, and checked arithmetic throughout. Cargo tests these files, and
//! Kbuild compiles the same files into the module. The caller owns the storage and causes the side effects.
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
pub mod device_text;
pub mod dma;
pub mod events;
pub mod extent;
pub mod flags;
pub mod histogram;
pub mod memlock;
pub mod quota;
pub mod refusal;
pub mod segment;
pub mod statistics;
pub mod steps;
