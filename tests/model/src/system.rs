// SPDX-License-Identifier: CECILL-B
//! Systems that are compared with the model.

use crate::counters::Counters;

use crate::command::Command;
use crate::outcome::Outcome;

/// Settings of a driver and its machine that behaviour depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Flags added to every request.
    pub forced: u32,
    /// Flags removed from every request.
    pub ignored: u32,
    /// Parameter `pinlocalread`.
    pub pin_reads: bool,
    /// Parameter `max_slots`.
    pub max_slots: u64,
    /// Bytes of a page.
    pub page: u64,
    /// Users of the sequences: real and effective id. The first one is the user that the program runs as.
    pub users: Vec<User>,
}

/// The user ids of a process, as the driver sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Real user id.
    pub real: u32,
    /// Effective user id.
    pub effective: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { forced: 0, ignored: 0, pin_reads: true, max_slots: 1 << 24, page: 4096, users: users() }
    }
}

/// Returns all users, for a program that runs as root.
#[must_use]
pub fn users() -> Vec<User> {
    [(0, 0), (1000, 1000), (1001, 1001), (0, 1000), (1000, 0)]
        .map(|(real, effective)| User { real, effective })
        .to_vec()
}

/// A driver of KNEM with memory for sequences, in its initial state: no file is open.
///
/// Descriptors, files and regions are identified by number, in the order in which opening, duplicating and creating
/// succeeded. A duplicate is a descriptor of the same file.
pub trait System {
    /// Returns the settings, which do not change.
    fn settings(&self) -> Settings;

    /// Executes a definite command.
    fn carry_out(&mut self, command: &Command) -> Outcome;

    /// Copies all memory out.
    fn memory(&mut self, into: &mut Vec<u8>);

    /// Copies the status array of a file out, which must be mapped.
    fn slots(&mut self, file: usize, into: &mut Vec<u8>);

    /// Returns the driver's counters, since the system was created or last cleared; `None` if other processes change
    /// them too.
    fn counters(&mut self) -> Option<Counters>;

    /// Closes everything, and reports what is left behind wrongly.
    fn finish(self) -> Result<(), String>;
}
