// SPDX-License-Identifier: CECILL-B
//! Measurements of the driver for docs/performance.md: records of `knem bench`, tables, and goals.

pub mod goals;
pub mod record;
pub mod tables;
