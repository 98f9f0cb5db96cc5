// SPDX-License-Identifier: CECILL-B
//! Every point fails once: each scenario is repeated with its 1st, 2nd, ... n-th allocation, page allocation or user
//! copy failing, until none is left. A call that is refused must have changed nothing: it succeeds when it is repeated,
//! and in the end the driver holds what it held before.

mod asking;
mod asynchronous;
mod copies;
mod events;
mod module;
mod opening;
mod regions;
mod settings;
mod statistics;
mod teardown;

use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::nth::{self, Nth};
use crate::report::count;
use crate::state::State;

/// A sequence of calls of which every point is made to fail.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Nth),
}

/// The scenarios of a module, named after their functions.
macro_rules! scenarios {
    ($($test:ident),* $(,)?) => {
        pub(super) const ALL: &[$crate::faults::Scenario] =
            &[$($crate::faults::Scenario { name: stringify!($test), run: $test }),*];
    };
}
use scenarios;

/// What has so many points that it is left out unless it is named: the kernel's own loader allocates a lot.
const LONG: [&str; 1] = ["load_the_module"];

/// All of them, those that load and unload the module last.
pub(crate) fn all() -> Vec<&'static Scenario> {
    [
        opening::ALL,
        settings::ALL,
        regions::ALL,
        copies::ALL,
        asynchronous::ALL,
        events::ALL,
        statistics::ALL,
        teardown::ALL,
        module::ALL,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// More points than any scenario has: one that never comes to an end is a fault of its own.
const MOST: u32 = 20_000;

/// What a sweep found.
#[derive(Default)]
struct Sweep {
    points: u32,
    refused: u32,
}

/// Sweeps the scenarios with one of `words` in their names; returns whether all is as it must be.
pub(crate) fn run(words: &[String]) -> bool {
    if let Err(why) = nth::prepare() {
        eprintln!("knem-reliability: {why}");
        return false;
    }
    let chosen = |name: &str| {
        let named = words.iter().any(|word| name.contains(word.as_str()));
        named || words.is_empty() && !LONG.contains(&name)
    };
    let (mut total, mut scenarios, mut failed) = (Sweep::default(), 0, 0);
    for scenario in all().into_iter().filter(|scenario| chosen(scenario.name)) {
        match sweep(scenario) {
            Ok(sweep) => {
                println!("ok {}: {} points, {} refused", scenario.name, sweep.points, sweep.refused);
                count(&format!("points of {}", scenario.name), sweep.points.into());
                total.points += sweep.points;
                total.refused += sweep.refused;
                scenarios += 1;
            }
            Err(why) => {
                println!("not ok {}: {why}", scenario.name);
                failed += 1;
            }
        }
    }
    count("scenarios", scenarios);
    count("failure points", total.points.into());
    count("failure points that refused the call", total.refused.into());
    scenarios > 0 && failed == 0
}

fn sweep(scenario: &Scenario) -> Result<Sweep, String> {
    let before = State::now();
    // Once without a failure: what is allocated once and for all is there afterwards.
    once(scenario, u32::MAX, &before)?;
    let mut sweep = Sweep::default();
    for n in 1..MOST {
        let nth = once(scenario, n, &before).map_err(|why| format!("point {n}: {why}"))?;
        if !nth.hit() {
            return Ok(sweep);
        }
        sweep.points += 1;
        sweep.refused += u32::from(nth.refused());
    }
    Err(format!("more than {MOST} points"))
}

fn once(scenario: &Scenario, n: u32, before: &State) -> Result<Nth, String> {
    let nth = Nth::new(n);
    catch_unwind(AssertUnwindSafe(|| (scenario.run)(&nth))).map_err(|panic| crate::report::words(&*panic))?;
    before.comes_back()?;
    Ok(nth)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn there_are_sixty_scenarios_with_names_of_their_own() {
        let all = super::all();
        let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(names.len() >= 60, "{}", names.len());
    }
}
