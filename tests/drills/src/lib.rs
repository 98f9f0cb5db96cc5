// SPDX-License-Identifier: CECILL-B
//! Drills: the packages on users' machines, tested on real Debian trees and stock kernels.
//!
//! A [`Site`](site::Site) has the archive, the kernels and the packages. A [`Machine`](machine::Machine) is a
//! throw-away tree above the laboratory's layers, in which a [`Shell`](shell::Shell) runs apt and checks the results,
//! and which can be booted. The drills themselves are in [`cells`].

pub mod cells;
pub mod dnf;
pub mod drill;
pub mod fake;
pub mod log;
pub mod machine;
pub mod memory;
pub mod recipe;
pub mod said;
pub mod shell;
pub mod site;
pub mod snapshot;
