// SPDX-License-Identifier: CECILL-B
//! `knem stat`: the driver's statistics, once or at an interval.
//!
//! `sample` reads them, `report` computes, the other modules format.

mod distribution;
mod json;
pub(crate) mod numbers;
mod paths;
mod prometheus;
mod refused;
pub(crate) mod report;
mod row;
pub(crate) mod sample;
mod summary;
#[cfg(test)]
pub(crate) mod tests;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use knem::{statistics, Error};

use self::distribution::Distribution;
use self::numbers::Numbers;
use self::report::Report;
use self::sample::Sample;
use crate::cli::StatArgs;
use crate::exit::Failure;
use crate::signals::Signals;
use crate::style;

/// Runs the command.
pub(crate) fn run(device: &Path, arguments: &StatArgs) -> Result<(), Failure> {
    let signals = if arguments.interval.is_some() { Some(Signals::watch()?) } else { None };
    let sample = Sample::take(device, &arguments.proc)?;
    if sample.profile.is_none() && View::of(arguments).needs_profile() {
        return Err(Error::NoProfile.into());
    }
    match (arguments.interval, signals) {
        (Some(interval), Some(signals)) => repeat(device, arguments, sample, interval, &signals),
        _ => once(device, arguments, &sample),
    }
}

fn once(device: &Path, arguments: &StatArgs, sample: &Sample) -> Result<(), Failure> {
    let report = Report::since_load(sample);
    let text = if arguments.prometheus {
        prometheus::text(&report)
    } else if arguments.json {
        json::document(&report).text()?
    } else {
        View::of(arguments).once(&report)
    };
    style::output().write_all(text.as_bytes())?;
    if arguments.clear {
        statistics::clear(device)?;
    }
    Ok(())
}

fn repeat(
    device: &Path,
    arguments: &StatArgs,
    first: Sample,
    interval: Duration,
    signals: &Signals,
) -> Result<(), Failure> {
    let view = View::of(arguments);
    let mut heads = Heads { on_each_screen: !arguments.one_head, written: 0 };
    let mut out = style::output();
    let mut left = arguments.count;
    let mut report = (!arguments.skip_first).then(|| Report::since_load(&first));
    let mut before = first;
    let mut next = Instant::now();
    loop {
        if let Some(report) = report.take() {
            let text = if arguments.json { json::document(&report).line()? } else { view.again(&report, &mut heads) };
            out.write_all(text.as_bytes())?;
            out.flush()?;
            left = left.map(|left| left.saturating_sub(1));
        }
        if left == Some(0) {
            return Ok(());
        }
        // Deadlines by the clock instead of pauses, so that reports do not drift.
        next = (next + interval).max(Instant::now());
        if signals.within(next.saturating_duration_since(Instant::now())) {
            return Ok(());
        }
        let now = Sample::take(device, &arguments.proc)?;
        report = Some(Report::between(&before, &now));
        before = now;
    }
}

/// Which parts of a report are shown, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    paths: bool,
    sizes: bool,
    latency: bool,
    refused: bool,
    scripted: bool,
    numbers: Numbers,
    width: usize,
}

/// Decides when headers are printed.
pub(crate) struct Heads {
    on_each_screen: bool,
    written: usize,
}

impl Heads {
    /// Whether headers are due before the next line.
    fn due(&mut self) -> bool {
        let screen = match screen_lines() {
            Some(lines) if self.on_each_screen => lines.saturating_sub(2).max(1),
            _ => usize::MAX,
        };
        let due = self.written % screen == 0;
        self.written += 1;
        due
    }
}

/// Returns the lines of the terminal, if the output is one.
fn screen_lines() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    ratatui::crossterm::terminal::size().ok().map(|(_, lines)| lines.into())
}

impl View {
    fn of(arguments: &StatArgs) -> Self {
        Self {
            paths: arguments.paths,
            sizes: arguments.sizes,
            latency: arguments.latency,
            refused: arguments.refused,
            scripted: arguments.scripted,
            numbers: Numbers { exact: arguments.exact },
            width: style::width(),
        }
    }

    /// Whether it needs the detailed statistics.
    fn needs_profile(self) -> bool {
        self.paths || self.sizes || self.latency || self.refused
    }

    /// Returns the text of a single report.
    pub(crate) fn once(self, report: &Report) -> String {
        match (self.needs_profile(), self.scripted) {
            (true, _) => self.parts(report),
            (false, true) => summary::tabs(report),
            (false, false) => summary::text(report, self.numbers),
        }
    }

    /// Returns the text of one report of a sequence.
    pub(crate) fn again(self, report: &Report, heads: &mut Heads) -> String {
        let mut text = String::new();
        if report.restarted && !self.scripted {
            text += "(the counters restarted: cleared, or the module was reloaded; the next line covers the time since then)\n";
        }
        if self.needs_profile() {
            text += &self.parts(report);
            if !self.scripted {
                text.push('\n');
            }
            return text;
        }
        let table = row::row(report, self.numbers);
        if self.scripted {
            return table.tabs();
        }
        if heads.due() {
            text += &table.head();
        }
        text + &table.body()
    }

    /// Returns the requested parts, separated by blank lines. In scripted mode each line begins with the name of its
    /// part.
    fn parts(self, report: &Report) -> String {
        let Some(profile) = &report.profile else { return String::new() };
        let bars = !self.scripted;
        let distribution = |which: Distribution| {
            let table = which.table(profile, self.numbers, bars);
            if table.is_empty() && !self.scripted {
                return "No copies.\n".to_owned();
            }
            self.write(&table)
        };
        let mut parts = Vec::new();
        if self.paths {
            parts.push(("path", self.write(&paths::table(report, self.numbers))));
        }
        if self.sizes {
            parts.push(("size", distribution(Distribution::Sizes)));
        }
        if self.latency {
            parts.push(("time", distribution(Distribution::Times)));
        }
        if self.refused {
            let text = if self.scripted { refused::table(profile).tabs() } else { refused::text(profile, self.width) };
            parts.push(("refused", text));
        }
        if self.scripted {
            let named = |(name, text): &(&str, String)| -> String {
                text.lines().map(|line| format!("{name}\t{line}\n")).collect()
            };
            return parts.iter().map(named).collect();
        }
        parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
    }

    fn write(self, table: &crate::table::Table) -> String {
        if self.scripted {
            table.tabs()
        } else {
            table.text()
        }
    }
}
