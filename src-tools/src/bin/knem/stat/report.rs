// SPDX-License-Identifier: CECILL-B
//! A report: totals since the driver was loaded, or the difference of two samples.

use knem::profile::Profile;
use knem::statistics::{self, Counter, Statistics};
use serde::Serialize;

use super::sample::Sample;
use crate::units::float;

/// The period that a report covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Since {
    /// Since the module was loaded or its counters were cleared.
    Load,
    /// Since the previous report.
    PreviousReport,
}

/// A report.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The period it covers.
    pub(crate) since: Since,
    /// The counters restarted since the previous report, so this one has their totals.
    pub(crate) restarted: bool,
    /// Length of the period, if it is known.
    pub(crate) period_ns: Option<u64>,
    /// Version of the module.
    pub(crate) module_version: Option<String>,
    /// The device's text at the end of the period.
    pub(crate) statistics: Option<Statistics>,
    /// The compatible counters.
    pub(crate) counters: Vec<Counter>,
    /// The detailed statistics.
    pub(crate) profile: Option<Profile>,
}

impl Report {
    /// Returns the totals.
    pub(crate) fn since_load(now: &Sample) -> Self {
        Self {
            since: Since::Load,
            restarted: false,
            period_ns: now.profile.as_ref().map(|profile| profile.age_ns),
            module_version: now.module_version.clone(),
            statistics: now.statistics.clone(),
            counters: counters(now),
            profile: now.profile.clone(),
        }
    }

    /// Returns the difference to an earlier sample, or the totals if the counters restarted in between.
    pub(crate) fn between(before: &Sample, now: &Sample) -> Self {
        let total = Self::since_load(now);
        let restarted = Self { restarted: true, ..total.clone() };
        let profile = match (&before.profile, &now.profile) {
            (Some(before), Some(now)) => match now.since(before) {
                Some(difference) => Some(difference),
                None => return restarted,
            },
            (None, None) => None,
            // Another driver.
            _ => return restarted,
        };
        let counters = match &profile {
            Some(profile) => statistics::counters_of(profile),
            None => match difference(&counters(before), &total.counters) {
                Some(difference) => difference,
                None => return restarted,
            },
        };
        let elapsed = now.taken.saturating_duration_since(before.taken).as_nanos();
        let period_ns = match &profile {
            Some(profile) => Some(profile.age_ns),
            None => u64::try_from(elapsed).ok(),
        };
        Self { since: Since::PreviousReport, period_ns, counters, profile, ..total }
    }

    /// Returns the rate per second of a count, if the period is known.
    pub(crate) fn rate(&self, happened: u64) -> Option<f64> {
        let seconds = float(self.period_ns.filter(|period| *period != 0)?) / 1e9;
        Some(float(happened) / seconds)
    }

    /// Returns a compatible counter, or 0.
    pub(crate) fn counter(&self, key: &str) -> u64 {
        let value = self.counters.iter().find(|counter| counter.key == key).map_or(0, |counter| counter.value);
        u64::try_from(value).unwrap_or(0)
    }

    /// Requests that were submitted.
    pub(crate) fn requests(&self) -> u64 {
        self.counter("requests_submitted")
    }

    /// Requests that were accepted and then failed.
    pub(crate) fn failed(&self) -> u64 {
        match &self.profile {
            Some(profile) => profile.failed(),
            None => self.counter("failed_user_copy") + self.counter("failed_dma"),
        }
    }

    /// Calls that were refused. Older drivers count requests only.
    pub(crate) fn refused(&self) -> u64 {
        match &self.profile {
            Some(profile) => profile.refusals(),
            None => self
                .counters
                .iter()
                .filter(|counter| counter.key.starts_with("rejected_"))
                .fold(0, |sum, counter| sum + u64::try_from(counter.value).unwrap_or(0)),
        }
    }

    /// Mean size of the copies that succeeded.
    pub(crate) fn mean_size_bytes(&self) -> Option<f64> {
        let profile = self.profile.as_ref()?;
        mean(profile.bytes(), profile.copies().saturating_sub(profile.failed()))
    }

    /// Median time of a copy.
    pub(crate) fn median_time_ns(&self) -> Option<f64> {
        self.profile.as_ref()?.times().quantile(0.5)
    }
}

/// Divides a sum by the number of its parts.
pub(crate) fn mean(sum: u64, parts: u64) -> Option<f64> {
    (parts != 0).then(|| float(sum) / float(parts))
}

fn counters(sample: &Sample) -> Vec<Counter> {
    match (&sample.profile, &sample.statistics) {
        (Some(profile), _) => statistics::counters_of(profile),
        (None, Some(statistics)) => statistics.counters.clone(),
        (None, None) => Vec::new(),
    }
}

fn difference(before: &[Counter], now: &[Counter]) -> Option<Vec<Counter>> {
    let difference = |now: &Counter| {
        let before = before.iter().find(|before| before.key == now.key).map_or(0, |before| before.value);
        Some(Counter { value: now.value.checked_sub(before).filter(|value| *value >= 0)?, ..*now })
    };
    now.iter().map(difference).collect()
}
