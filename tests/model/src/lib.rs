// SPDX-License-Identifier: CECILL-B
//! A small reference model of a KNEM driver, and random sequences of commands that a system and the model execute side
//! by side.
//!
//! `command` defines the commands, `strategy` generates sequences, `model` computes the outcomes, `compare` compares
//! them. There are two systems: `device`, the real `/dev/knem`, and `threads`, another driver in miniature that uses
//! real threads and can be given bugs, to show that they are found.

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
