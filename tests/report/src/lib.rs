// SPDX-License-Identifier: CECILL-B
//! What measurements write into documents: tables between marks, and plots.

pub mod page;
pub mod plot;
pub mod ratio;
