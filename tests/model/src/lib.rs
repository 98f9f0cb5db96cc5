// SPDX-License-Identifier: CECILL-B
//! A small reference model of what a KNEM driver does, and random sequences of commands that a system and the model
//! carry out side by side.
//!
//! `command` is what sequences consist of, `strategy` draws them, `model` knows what must come of them, `compare` looks.
//! There are two systems: `device`, the real `/dev/knem`, and `threads`, another driver in miniature that works with real
//! threads and can be given bugs, to show that they are found.

pub mod command;
pub mod compare;
pub mod counters;
pub mod device;
pub mod memory;
pub mod model;
pub mod outcome;
pub mod run;
pub mod strategy;
pub mod system;
pub mod threads;
