// SPDX-License-Identifier: CECILL-B
//! State of `knem top`: the last interval, the history of rates, and the contexts.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::time::Duration;

use knem::listing::Context;
use knem::Histogram;

use crate::processes::Names;
use crate::stat::report::Report;
use crate::stat::sample::Sample;
use crate::units::float;

/// Points of the history that are kept: as many as a wide terminal shows.
const PAST: usize = 400;

/// A snapshot of the driver.
pub(super) struct Snapshot {
    /// The driver's statistics.
    pub(super) sample: Sample,
    /// The contexts.
    pub(super) contexts: Vec<Context>,
}

/// A rate and its history.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    /// The latest value; `None` before the first interval has ended.
    pub(super) now: Option<f64>,
    /// The history, the latest last.
    pub(super) past: VecDeque<f64>,
}

impl Rate {
    fn push(&mut self, now: Option<f64>) {
        self.now = now;
        if let Some(now) = now {
            self.past.push_back(now);
        }
        if self.past.len() > PAST {
            self.past.pop_front();
        }
    }
}

/// The columns that contexts can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Bytes,
    Requests,
    Pinned,
    Regions,
    Process,
}

/// A context, as the screen shows it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The driver's numbers.
    pub(super) context: Context,
    /// Name of the process.
    pub(super) process: Option<String>,
    /// Name of the user.
    pub(super) user: String,
    /// Requests per second in the last interval.
    pub(super) requests_per_second: Option<f64>,
    /// Bytes per second in the last interval.
    pub(super) bytes_per_second: Option<f64>,
}

/// State of the screen.
pub(super) struct State {
    /// Time between refreshes.
    pub(super) interval: Duration,
    /// Colours are on.
    pub(super) colours: bool,
    /// Refreshing is paused.
    pub(super) paused: bool,
    /// The help is shown.
    pub(super) help: bool,
    /// Histograms cover the last interval instead of all time.
    pub(super) recent: bool,
    /// The column that contexts are sorted by.
    pub(super) sort: Sort,
    /// Totals.
    pub(super) total: Option<Report>,
    /// Differences in the last interval.
    pub(super) last: Option<Report>,
    /// Requests.
    pub(super) requests: Rate,
    /// Bytes.
    pub(super) bytes: Rate,
    /// Bytes by path, in the driver's order.
    pub(super) paths: Vec<(&'static str, Rate)>,
    /// The contexts, sorted.
    pub(super) rows: Vec<Row>,
    before: Option<Snapshot>,
}

impl State {
    /// Creates the state before the first snapshot.
    pub(super) fn new(interval: Duration, colours: bool) -> Self {
        Self {
            interval,
            colours,
            paused: false,
            help: false,
            recent: false,
            sort: Sort::Bytes,
            total: None,
            last: None,
            requests: Rate::default(),
            bytes: Rate::default(),
            paths: Vec::new(),
            rows: Vec::new(),
            before: None,
        }
    }

    /// Adds a snapshot.
    pub(super) fn take(&mut self, snapshot: Snapshot, names: &mut impl Names) {
        let before = self.before.as_ref();
        // Without an interval after a restart of the counters: its rates would be those of all time.
        let last =
            before.map(|before| Report::between(&before.sample, &snapshot.sample)).filter(|last| !last.restarted);
        let bytes = |copied: fn(&Report) -> Option<u64>| last.as_ref().and_then(|last| last.rate(copied(last)?));
        self.requests.push(bytes(|last| Some(last.requests())));
        self.bytes.push(bytes(|last| Some(last.profile.as_ref()?.bytes())));
        if let Some(profile) = &snapshot.sample.profile {
            if self.paths.is_empty() {
                self.paths = profile.paths.iter().map(|copies| (copies.path, Rate::default())).collect();
            }
        }
        let copied = last.as_ref().and_then(|last| last.profile.as_ref());
        for (n, (_, rate)) in self.paths.iter_mut().enumerate() {
            let bytes = copied.and_then(|profile| profile.paths.get(n)).map(|copies| copies.bytes);
            rate.push(bytes.and_then(|bytes| last.as_ref()?.rate(bytes)));
        }
        self.rows = snapshot.contexts.iter().map(|context| row(context, before, &snapshot, names)).collect();
        self.total = Some(Report::since_load(&snapshot.sample));
        self.last = last;
        self.before = Some(snapshot);
        self.sort();
    }

    /// Sorts by the next column.
    pub(super) fn sort_by_next(&mut self) {
        self.sort = match self.sort {
            Sort::Bytes => Sort::Requests,
            Sort::Requests => Sort::Pinned,
            Sort::Pinned => Sort::Regions,
            Sort::Regions => Sort::Process,
            Sort::Process => Sort::Bytes,
        };
        self.sort();
    }

    fn sort(&mut self) {
        let descending = |value: Option<f64>| Reverse(value.map_or(0, |value| value.max(0.0).to_bits()));
        // First by number, so that the order of equal rows is stable.
        self.rows.sort_by_key(|row| row.context.context);
        match self.sort {
            Sort::Bytes => self.rows.sort_by_key(|row| descending(row.bytes_per_second)),
            Sort::Requests => self.rows.sort_by_key(|row| descending(row.requests_per_second)),
            Sort::Pinned => self.rows.sort_by_key(|row| Reverse(row.context.pinned_bytes)),
            Sort::Regions => self.rows.sort_by_key(|row| Reverse(row.context.regions)),
            Sort::Process => self.rows.sort_by_key(|row| row.context.pid),
        }
    }

    /// Returns the histograms of sizes and times that are shown.
    pub(super) fn histograms(&self) -> Option<(Histogram, Histogram)> {
        let report = if self.recent { self.last.as_ref() } else { self.total.as_ref() };
        let profile = report?.profile.as_ref()?;
        Some((profile.sizes(), profile.times()))
    }
}

fn row(context: &Context, before: Option<&Snapshot>, now: &Snapshot, names: &mut impl Names) -> Row {
    let rate = |value: fn(&Context) -> u64| {
        let before = before?;
        let seconds = now.sample.taken.saturating_duration_since(before.sample.taken).as_secs_f64();
        // A context that was opened since then started at 0.
        let earlier = before.contexts.iter().find(|earlier| earlier.context == context.context).map_or(0, value);
        (seconds > 0.0).then(|| float(value(context).saturating_sub(earlier)) / seconds)
    };
    Row {
        process: context.pid.and_then(|pid| names.process(pid)),
        user: names.user(context.uid),
        requests_per_second: rate(|context| context.requests),
        bytes_per_second: rate(|context| context.requested_bytes),
        context: context.clone(),
    }
}
