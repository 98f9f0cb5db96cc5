// SPDX-License-Identifier: CECILL-B
//! Outputs of a benchmark, a file each: they format results, and compute nothing.

pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod plot;
pub(crate) mod table;
