// SPDX-License-Identifier: CECILL-B
//! Use: whether KNEM is used, what was refused, and what failed.

use knem::profile::Reason;
use knem::{explain, profile, statistics};
use knem_core::logic::counter::Counter;

use super::finding::Finding;
use crate::machine::Machine;
use crate::units;

/// Reasons that depend on the setup of the machine. The others are caused by programs, and usual at the end of jobs.
const SETTINGS: [&str; 7] =
    ["pin_limit", "too_many_segments", "other_user", "busy", "too_many_contexts", "slot_limit", "unavailable"];

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let Some(counts) = Counts::of(machine) else {
        return vec![Finding::unknown("use.requests", "without the module there are no statistics")];
    };
    let mut findings = vec![requests(&counts)];
    findings.extend(counts.reasons.as_deref().map(refused));
    findings.push(failed(&counts));
    findings
}

/// The statistics used here.
struct Counts {
    requests: u64,
    bytes: Option<u64>,
    age_ns: Option<u64>,
    failed: u64,
    /// Refusals by reason; `None` if the driver does not count them by reason.
    reasons: Option<Vec<Reason>>,
}

impl Counts {
    /// Reads the detailed statistics, or the device's own text if there are none.
    fn of(machine: &Machine) -> Option<Self> {
        if let Some(profile) = machine.statistics().and_then(|text| profile::parse(&text).ok()) {
            return Some(Self {
                requests: profile.counter(Counter::NAMES[Counter::Submitted as usize].1),
                bytes: Some(profile.bytes()),
                age_ns: Some(profile.age_ns),
                failed: profile.failed(),
                reasons: Some(profile.reasons),
            });
        }
        let statistics = statistics::parse(&machine.text(machine.node.to_str()?)?).ok()?;
        let read = |key| {
            let counter = statistics.counters.iter().find(|counter| counter.key == key);
            counter.and_then(|counter| u64::try_from(counter.value).ok()).unwrap_or(0)
        };
        Some(Self {
            requests: read("requests_submitted"),
            bytes: None,
            age_ns: None,
            failed: read("failed_user_copy").saturating_add(read("failed_dma")),
            reasons: None,
        })
    }
}

fn requests(counts: &Counts) -> Finding {
    const ID: &str = "use.requests";
    if counts.requests == 0 {
        let since = counts.age_ns.map_or_else(
            || "since it was loaded".to_owned(),
            |age| format!("since it was loaded or its counters were cleared, {} ago", units::age(age)),
        );
        return Finding::note(ID, format!("no program has used KNEM {since}"))
            .means("either no large messages were sent within this machine, or the programs do not use KNEM")
            .remedy("run a job and watch: knem stat 1; if the numbers stay 0, see the findings on Open MPI and UCX");
    }
    let since = counts.age_ns.map_or_else(|| "since it was loaded".to_owned(), |age| format!("in {}", units::age(age)));
    let bytes =
        counts.bytes.map_or_else(String::new, |bytes| format!(", {} of data", units::bytes(units::float(bytes))));
    Finding::ok(ID, format!("KNEM is used: {} requests {since}{bytes}", counts.requests))
}

fn refused(reasons: &[Reason]) -> Finding {
    const ID: &str = "use.refused";
    let mut sorted: Vec<&Reason> = reasons.iter().filter(|reason| reason.count > 0).collect();
    sorted.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    let Some(first) = sorted.first() else {
        return Finding::ok(ID, "nothing was refused");
    };
    let sentence = |reason: &&Reason| {
        let explained = explain::reason(&reason.name);
        format!("{} for {}: {} {}", requests_of(reason.count), reason.name, explained.meaning, explained.remedy)
    };
    let sentences: Vec<String> = sorted.iter().map(sentence).collect();
    match sorted.iter().find(|reason| SETTINGS.contains(&&*reason.name)) {
        Some(reason) => {
            let explained = explain::reason(&reason.name);
            Finding::note(ID, format!("{} refused ({}): {}", requests_of(reason.count), reason.name, explained.meaning))
                .means("programs fall back to other transports, or fail")
                .remedy(explained.remedy)
                .remedy("knem stat --refused")
                .details(sentences)
        }
        None => {
            let others = if sorted.len() > 1 { ", and others" } else { "" };
            let summary = format!("{} refused, caused by programs: {}{others}", requests_of(first.count), first.name);
            Finding::ok(ID, summary).details(sentences)
        }
    }
}

fn requests_of(count: u64) -> String {
    format!("{count} {}", if count == 1 { "call" } else { "calls" })
}

fn failed(counts: &Counts) -> Finding {
    const ID: &str = "use.failed";
    if counts.failed == 0 {
        return Finding::ok(ID, "no copy has failed");
    }
    Finding::note(ID, format!("{} copies have failed", counts.failed))
        .means("memory of the requesting process was not mapped, the process was killed, or a DMA channel failed")
        .remedy("usual when jobs are killed; otherwise: echo 1 > /sys/module/knem/parameters/debug, and read dmesg")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::tests::{found, states};
    use crate::machine::fake::Fake;
    use knem_core::logic::refusal::Refusal;

    const STATISTICS: &str = "/proc/driver/knem/statistics";

    fn of(text: &str, id: &str) -> Finding {
        found(&check(&Fake::well().file(STATISTICS, text).machine()), id).clone()
    }

    #[test]
    fn all_ok() {
        let findings = check(&Fake::well().machine());
        assert!(states(&findings).iter().all(|state| *state == State::Ok), "{findings:#?}");
        assert_eq!(findings[0].summary, "KNEM is used: 21 requests in 1h 0m, 1.00M of data");
    }

    #[test]
    fn no_program_uses_it() {
        let finding = of("version 1\nage_ns 5000000000\nsubmitted 0\n", "use.requests");
        assert_eq!(finding.state, State::Note);
        assert_eq!(
            finding.summary,
            "no program has used KNEM since it was loaded or its counters were cleared, 5s ago"
        );
    }

    #[test]
    fn refusals_come_with_their_remedies() {
        let finding = of("version 1\nsubmitted 1\nreason no_such_cookie 70\nreason pin_limit 3\n", "use.refused");
        assert_eq!(finding.state, State::Note);
        assert!(
            finding.summary.starts_with("3 calls refused (pin_limit)") && finding.remedies[0].contains("ulimit -l"),
            "{finding:?}"
        );
        assert_eq!(finding.details.len(), 2);
        let finding = of("version 1\nsubmitted 1\nreason no_such_cookie 70\n", "use.refused");
        assert_eq!(finding.state, State::Ok);
    }

    #[test]
    fn settings_are_reasons_of_the_driver() {
        for name in SETTINGS {
            assert!(Refusal::NAMES.iter().any(|(_, known)| *known == name), "{name}");
        }
    }

    #[test]
    fn failures_are_counted() {
        assert_eq!(
            of("version 1\nsubmitted 1\npath mapped failed 2\npath thread failed 1\n", "use.failed").summary,
            "3 copies have failed"
        );
    }

    #[test]
    fn an_old_driver_has_its_own_text() {
        let text = "knem 1.1.4\n Driver ABI=0xd\n Requests submitted                           : 7\n";
        let findings = check(&Fake::new().file("/dev/knem", text).machine());
        assert_eq!(found(&findings, "use.requests").summary, "KNEM is used: 7 requests since it was loaded");
        assert!(!findings.iter().any(|finding| finding.id == "use.refused"));
    }

    #[test]
    fn without_a_module() {
        assert_eq!(check(&Fake::new().machine())[0].state, State::Unknown);
    }
}
