// SPDX-License-Identifier: CECILL-B
//! A drill, and the run of many: a failed one does not prevent the others from running, and a table prints the results.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, Result};
use knem_lab::cache::elapsed;

use crate::log::Log;
use crate::site::Site;

/// One cell of the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Drill {
    /// Its number in the matrix, as `D7`.
    pub id: &'static str,
    /// Its name, in small letters and dashes.
    pub name: &'static str,
    /// What it shows, in one line.
    pub claim: &'static str,
    /// Whether it is one of the few that run with every change.
    pub fast: bool,
    /// Fails if the claim does not hold.
    pub run: fn(&Site) -> Result<()>,
}

/// The result of a drill.
#[derive(Debug)]
pub struct Verdict {
    /// The drill.
    pub drill: Drill,
    /// How long it took.
    pub time: Duration,
    /// Why it failed.
    pub error: Option<anyhow::Error>,
}

impl Drill {
    /// Whether `wanted` selects this one: by its id, or a part of its name.
    pub fn is(&self, wanted: &str) -> bool {
        self.id.eq_ignore_ascii_case(wanted) || self.name.contains(wanted)
    }

    /// Runs it, with its log in `logs`.
    ///
    /// # Errors
    /// If the log cannot be written. A claim that does not hold is a verdict.
    pub fn judge(&self, site: &Site, logs: &Path) -> Result<Verdict> {
        eprintln!("==> {} {}: {}", self.id, self.name, self.claim);
        let log = Log::fresh(&logs.join(format!("{}.log", self.name)))?;
        log.line(&format!("{} {}: {}", self.id, self.name, self.claim))?;
        let start = Instant::now();
        let site = site.with_log(log.clone());
        // A drill that panics has failed.
        let result = catch_unwind(AssertUnwindSafe(|| (self.run)(&site)))
            .unwrap_or_else(|_| Err(anyhow!("the drill itself has a bug: it panicked")));
        let verdict = Verdict { drill: *self, time: start.elapsed(), error: result.err() };
        if let Some(error) = &verdict.error {
            log.line(&format!("FAILED: {error:#}"))?;
            eprintln!("{}\n{error:#}\nthe log is {}", verdict.line(), log.path().display());
        } else {
            log.line("ok")?;
            eprintln!("{}", verdict.line());
        }
        Ok(verdict)
    }
}

/// Runs drills, `jobs` at a time; the verdicts are in the order of the drills.
///
/// # Errors
/// If a log cannot be written.
pub fn judge_all(drills: &[Drill], site: &Site, logs: &Path, jobs: usize) -> Result<Vec<Verdict>> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Verdict)>> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(drill) = drills.get(index) else {
                return Ok(done);
            };
            done.push((index, drill.judge(site, logs)?));
        }
    };
    let results: Vec<Result<_>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        results.map(|result| result.unwrap_or_else(|_| Err(anyhow!("a thread panicked")))).collect()
    });
    let mut verdicts = Vec::new();
    for result in results {
        verdicts.extend(result?);
    }
    verdicts.sort_by_key(|(index, _)| *index);
    Ok(verdicts.into_iter().map(|(_, verdict)| verdict).collect())
}

impl Verdict {
    /// Returns a line of the table.
    pub fn line(&self) -> String {
        let word = if self.error.is_none() { "ok    " } else { "FAILED" };
        let Drill { id, name, claim, .. } = self.drill;
        format!("{word} {:>12}  {id:<4} {name:<26} {claim}", elapsed(self.time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill(run: fn(&Site) -> Result<()>) -> Drill {
        Drill { id: "D1", name: "headers-first", claim: "it works", fast: true, run }
    }

    #[test]
    fn drills_are_found_by_id_and_name() {
        let one = drill(|_| Ok(()));
        assert!(one.is("D1") && one.is("d1") && one.is("headers") && !one.is("D10"));
    }

    #[test]
    fn a_verdict_is_a_line() {
        let failed = Verdict { drill: drill(|_| Ok(())), time: Duration::from_secs(3), error: Some(anyhow!("no")) };
        assert!(failed.line().starts_with("FAILED") && failed.line().contains("headers-first"));
    }
}
