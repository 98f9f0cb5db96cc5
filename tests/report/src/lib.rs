// SPDX-License-Identifier: CECILL-B
//! Writes measurements into documents: tables between marks, and plots.

pub mod page;
pub mod plot;
pub mod ratio;
