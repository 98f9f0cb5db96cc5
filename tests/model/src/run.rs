// SPDX-License-Identifier: CECILL-B
//! Runs of many sequences, drawn from one seed; the first that fails is made as short as can be.

use std::cell::RefCell;
use std::fmt;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::command::Command;
use crate::compare::{compare, Difference, Tally};
use crate::strategy::sequence;
use crate::system::System;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// Number of the first sequence.
    pub first: u64,
    /// How many.
    pub cases: u64,
    /// Commands in each, at most.
    pub length: usize,
}

/// A sequence that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Seed, number and length say which one it was.
    pub seed: u64,
    /// See `seed`.
    pub case: u64,
    /// See `seed`.
    pub length: usize,
    /// What is left of it when everything without which it fails too is left out.
    pub shortest: Vec<Command>,
    /// How the shortest one failed.
    pub difference: Difference,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, case, length, shortest, difference } = self;
        writeln!(f, "sequence {case} of seed {seed} (--seed {seed} --first {case} --cases 1 --length {length})")?;
        writeln!(f, "  in short, as drawn:")?;
        for command in shortest {
            writeln!(f, "    {command:?}")?;
        }
        writeln!(f, "  carried out:")?;
        write!(f, "{difference}")
    }
}

/// The sequence with a number, of a seed: the same at any time and on any machine.
fn draw(plan: &Plan, case: u64) -> (TestRunner, impl ValueTree<Value = Vec<Command>>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&plan.seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&case.to_le_bytes());
    let config = Config { failure_persistence: None, max_shrink_iters: 3000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tree = sequence(plan.length).new_tree(&mut runner);
    (runner, tree.expect("nothing is rejected while a sequence is drawn"))
}

/// The sequence with a number, of a plan's seed.
#[must_use]
pub fn sequence_of(plan: &Plan, case: u64) -> Vec<Command> {
    draw(plan, case).1.current()
}

/// Runs a plan, each sequence against a new system. `told` hears what is about to happen.
///
/// # Errors
/// The first failure.
pub fn run<S: System>(
    plan: &Plan,
    system: impl Fn() -> S,
    told: impl Fn(u64, Option<&Command>),
) -> Result<Tally, Box<Failure>> {
    let total = RefCell::new(Tally::default());
    for case in plan.first..plan.first + plan.cases {
        told(case, None);
        let (mut runner, tree) = draw(plan, case);
        let last = RefCell::new(None);
        let result =
            runner.run_one(tree, |sequence| match compare(system(), &sequence, |command| told(case, Some(command))) {
                Ok(tally) => {
                    total.borrow_mut().add(tally);
                    Ok(())
                }
                Err(difference) => {
                    let what = difference.what.clone();
                    last.replace(Some((sequence, difference)));
                    Err(TestCaseError::fail(what))
                }
            });
        if let Err(error) = result {
            // The last sequence that failed is the shortest: every further step that was tried passed.
            let failed = last.take();
            let (shortest, difference) = match (failed, error) {
                (Some(failed), _) => failed,
                (None, TestError::Fail(why, sequence)) => {
                    (sequence, Difference { history: Vec::new(), what: why.to_string() })
                }
                (None, TestError::Abort(why)) => {
                    (Vec::new(), Difference { history: Vec::new(), what: why.to_string() })
                }
            };
            return Err(Box::new(Failure { seed: plan.seed, case, length: plan.length, shortest, difference }));
        }
    }
    Ok(total.into_inner())
}
