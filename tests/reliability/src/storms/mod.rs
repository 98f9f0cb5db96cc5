// SPDX-License-Identifier: CECILL-B
//! Storms: what happens to a device that many processes use, kill and close at once, for as long as one likes.
//! Afterwards it holds what it held before.

mod chaos;
mod contexts;
mod cycles;
mod kills;
mod regions;
mod stalls;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

use crate::state::State;

/// One kind of weather.
pub(crate) struct Storm {
    pub(crate) name: &'static str,
    run: fn(&Weather),
}

pub(crate) const ALL: &[Storm] = &[
    Storm { name: "kills", run: kills::run },
    Storm { name: "cycles", run: cycles::run },
    Storm { name: "contexts", run: contexts::run },
    Storm { name: "regions", run: regions::run },
    Storm { name: "stalls", run: stalls::run },
    Storm { name: "chaos", run: chaos::run },
    Storm { name: "failing", run: chaos::failing },
];

/// How long, and with which numbers.
pub(crate) struct Weather {
    end: Instant,
    /// What random numbers start from.
    seed: u64,
}

impl Weather {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

/// Runs the storms with these names, or all; returns whether all was as it must be.
pub(crate) fn run(names: &[String], seconds: u64, seed: u64) -> bool {
    let mut good = true;
    let mut known = 0;
    for storm in ALL.iter().filter(|storm| names.is_empty() || names.iter().any(|name| name == storm.name)) {
        known += 1;
        println!("storm {}: {seconds} s, seed {seed}", storm.name);
        let before = State::now();
        let weather = Weather { end: Instant::now() + Duration::from_secs(seconds), seed };
        let result = catch_unwind(AssertUnwindSafe(|| (storm.run)(&weather)));
        let result = result.map_err(|panic| crate::report::words(&*panic)).and_then(|()| before.comes_back());
        match result {
            Ok(()) => println!("ok {}", storm.name),
            Err(why) => {
                println!("not ok {}: {why}", storm.name);
                good = false;
            }
        }
    }
    good && known > 0
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_different() {
        let names: std::collections::BTreeSet<&str> = super::ALL.iter().map(|storm| storm.name).collect();
        assert_eq!(names.len(), super::ALL.len());
    }
}
