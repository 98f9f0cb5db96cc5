// SPDX-License-Identifier: CECILL-B
//! Runs many sequences, generated from one seed; the first that fails is shortened as far as possible.

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
    /// Seed of all sequences.
    pub seed: u64,
    /// Number of the first sequence.
    pub first: u64,
    /// Number of sequences.
    pub cases: u64,
    /// Most commands in each.
    pub length: usize,
}

/// A sequence that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Seed, number and length identify it.
    pub seed: u64,
    /// See `seed`.
    pub case: u64,
    /// See `seed`.
    pub length: usize,
    /// The shortest sequence that still fails.
    pub shortest: Vec<Command>,
    /// The difference at the end of the shortest one.
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

/// Generates the sequence with a number, of a seed: the same at any time and on any machine.
fn draw(plan: &Plan, case: u64) -> (TestRunner, impl ValueTree<Value = Vec<Command>>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&plan.seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&case.to_le_bytes());
    let config = Config { failure_persistence: None, max_shrink_iters: 3000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tree = sequence(plan.length).new_tree(&mut runner);
    (runner, tree.expect("nothing is rejected while a sequence is drawn"))
}

/// Returns the sequence with a number, of a plan's seed.
#[must_use]
pub fn sequence_of(plan: &Plan, case: u64) -> Vec<Command> {
    draw(plan, case).1.current()
}

/// Runs a plan, each sequence against a new system. `observe` is called before each sequence and each command.
///
/// # Errors
/// The first failure.
pub fn run<S: System>(
    plan: &Plan,
    system: impl Fn() -> S,
    observe: impl Fn(u64, Option<&Command>),
) -> Result<Tally, Box<Failure>> {
    let total = RefCell::new(Tally::default());
    for case in plan.first..plan.first + plan.cases {
        observe(case, None);
        let (mut runner, tree) = draw(plan, case);
        let last = RefCell::new(None);
        let result = runner.run_one(tree, |sequence| {
            match compare(system(), &sequence, |command| observe(case, Some(command))) {
                Ok(tally) => {
                    total.borrow_mut().add(tally);
                    Ok(())
                }
                Err(difference) => {
                    let what = difference.what.clone();
                    last.replace(Some((sequence, difference)));
                    Err(TestCaseError::fail(what))
                }
            }
        });
        if let Err(error) = result {
            // The last sequence that failed is the shortest: every further reduction passed.
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
