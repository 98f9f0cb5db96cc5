// SPDX-License-Identifier: CECILL-B
//! Executes a sequence on a system and on the model side by side.

use std::fmt;

use crate::command::Command;
use crate::memory::ARENA;
use crate::model::Model;
use crate::outcome::Outcome;
use crate::system::System;

/// A difference between a system and the model.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The definite commands, with their outcomes.
    pub history: Vec<(Command, Outcome)>,
    /// The difference after the last one.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (command, outcome) in &self.history {
            writeln!(f, "    {command:?} -> {outcome:?}")?;
        }
        write!(f, "    {}", self.what)
    }
}

/// Statistics of sequences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Definite commands.
    pub commands: u64,
    /// Those that were not refused.
    pub granted: u64,
    /// Events read.
    pub events: u64,
}

impl Tally {
    /// Adds other statistics.
    pub fn add(&mut self, other: Self) {
        self.commands += other.commands;
        self.granted += other.granted;
        self.events += other.events;
    }
}

/// Executes a sequence. `observe` is called with each definite command before it is executed.
///
/// # Errors
/// The first difference.
pub fn compare<S: System>(
    mut system: S,
    sequence: &[Command],
    mut observe: impl FnMut(&Command),
) -> Result<Tally, Difference> {
    let mut side = Side { model: Model::new(system.settings()), history: Vec::new(), seen: Vec::new() };
    for command in sequence {
        for definite in side.model.resolve(command) {
            observe(&definite);
            side.step(&mut system, &definite)?;
        }
    }
    for definite in side.model.settle() {
        observe(&definite);
        side.step(&mut system, &definite)?;
    }
    let tally = side.tally();
    system.finish().map_err(|what| side.differs(what))?;
    Ok(tally)
}

struct Side {
    model: Model,
    history: Vec<(Command, Outcome)>,
    /// Buffer for what is copied out of the system.
    seen: Vec<u8>,
}

impl Side {
    fn step<S: System>(&mut self, system: &mut S, command: &Command) -> Result<(), Difference> {
        let seen = system.carry_out(command);
        let right = self.model.act(command, Some(&seen));
        let wrong = seen != right;
        self.history.push((command.clone(), seen));
        if wrong {
            return Err(self.differs(format!("the model says {right:?}")));
        }
        let problem = self.memory(system).or_else(|| self.slots(system)).or_else(|| self.counters(system));
        problem.map_or(Ok(()), |what| Err(self.differs(what)))
    }

    fn memory<S: System>(&mut self, system: &mut S) -> Option<String> {
        system.memory(&mut self.seen);
        self.model.adopt(&self.seen);
        if self.seen == self.model.memory() {
            return None;
        }
        let pairs = self.seen.iter().zip(self.model.memory()).enumerate();
        let mut wrong = pairs.filter(|(byte, (is, must))| is != must && !self.model.may_differ(*byte)).peekable();
        let (byte, (is, must)) = *wrong.peek()?;
        let (arena, offset, count) = (byte / ARENA, byte % ARENA, wrong.count());
        Some(format!(
            "{count} bytes are wrong, the first is byte {offset} of arena {arena} (number {byte}): {is}, not {must}"
        ))
    }

    fn slots<S: System>(&mut self, system: &mut S) -> Option<String> {
        for file in self.model.mapped().collect::<Vec<_>>() {
            system.slots(file, &mut self.seen);
            if self.seen.len() != self.model.slots(file) {
                return Some(format!("file {file} has {} slots, not {}", self.seen.len(), self.model.slots(file)));
            }
            if self.seen == self.model.array(file) {
                continue;
            }
            let wrong = self.seen.iter().enumerate().find(|(slot, value)| !self.model.slot_is(file, *slot, **value));
            if let Some((slot, value)) = wrong {
                let must = self.model.array(file)[slot];
                return Some(format!("slot {slot} of file {file} is {value}, not {must}"));
            }
        }
        None
    }

    fn counters<S: System>(&mut self, system: &mut S) -> Option<String> {
        let (is, must) = (system.counters()?, self.model.counters());
        (is != must).then(|| format!("the counters are {:?}, not {:?}", is.0, must.0))
    }

    fn differs(&mut self, what: String) -> Difference {
        Difference { history: std::mem::take(&mut self.history), what }
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for (_, outcome) in &self.history {
            tally.commands += 1;
            tally.granted += u64::from(!matches!(outcome, Outcome::Refused(_)));
            if let Outcome::Events(events) = outcome {
                tally.events += events.len() as u64;
            }
        }
        tally
    }
}
