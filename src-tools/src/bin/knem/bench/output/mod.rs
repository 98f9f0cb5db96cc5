// SPDX-License-Identifier: CECILL-B
//! Output formats of a benchmark, one file each. They format results and compute nothing.

pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod plot;
pub(crate) mod table;
