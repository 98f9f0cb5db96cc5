// SPDX-License-Identifier: CECILL-B
//! `knem doctor`: finds what keeps KNEM from being used here, and prints remedies.
//!
//! Each group of checks has a file. The checks inspect a [`Machine`] and return [`Finding`]s; `text` and `json` write
//! them.

mod building;
#[cfg(test)]
mod carried_out;
mod device;
mod finding;
mod json;
mod kernel;
mod limits;
mod machine;
mod module;
mod mpi;
mod plugins;
mod prospect;
mod text;
mod usage;

use std::io::Write;
use std::path::Path;

use crate::cli::DoctorArgs;
use crate::exit::Failure;
use crate::json::Document;
use crate::machine::Machine;
use crate::style;

use finding::{Finding, State, KINDS};

/// A group of checks: its name, as in the ids of its findings, its title, and the checks.
struct Group {
    name: &'static str,
    title: &'static str,
    check: fn(&Machine) -> Vec<Finding>,
}

/// Every group, in the order of their dependencies.
const GROUPS: [Group; 8] = [
    Group { name: "machine", title: "Machine", check: machine::check },
    Group { name: "module", title: "Module", check: module::check },
    Group { name: "kernel", title: "Kernel", check: kernel::check },
    Group { name: "building", title: "Building", check: building::check },
    Group { name: "device", title: "Device", check: device::check },
    Group { name: "limits", title: "Limits", check: limits::check },
    Group { name: "use", title: "Use", check: usage::check },
    Group { name: "mpi", title: "MPI", check: mpi::check },
];

/// All findings, and the user they apply to.
struct Report {
    user: String,
    is_root: bool,
    kernel: String,
    /// All checks were run.
    whole: bool,
    findings: Vec<Finding>,
}

impl Report {
    /// Checks a machine: the chosen groups and findings, or all.
    fn of(machine: &Machine, chosen: &[String]) -> Self {
        let is_chosen = |id: &str| chosen.is_empty() || chosen.iter().any(|choice| matches(choice, id));
        let groups = GROUPS
            .iter()
            .filter(|group| KINDS.iter().any(|(id, _)| id.starts_with(&format!("{}.", group.name)) && is_chosen(id)));
        let mut findings: Vec<Finding> = groups.flat_map(|group| (group.check)(machine)).collect();
        findings.retain(|finding| is_chosen(finding.id));
        Self {
            user: machine.caller.user.clone(),
            is_root: machine.caller.is_root(),
            kernel: machine.kernel.clone(),
            whole: chosen.is_empty(),
            findings,
        }
    }

    fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|finding| finding.state == state).count()
    }

    /// The exit status, as in the command's help.
    fn status(&self, strict: bool) -> u8 {
        const PROBLEM: u8 = 1;
        const NOTE: u8 = 6;
        match self.findings.iter().map(|finding| finding.state).max() {
            Some(State::Problem) => PROBLEM,
            Some(State::Note) if strict => NOTE,
            _ => 0,
        }
    }
}

/// Whether a choice on the command line, a group or an id, selects this finding.
fn matches(choice: &str, id: &str) -> bool {
    choice == id || id.strip_prefix(choice).is_some_and(|rest| rest.starts_with('.'))
}

/// Runs the command.
pub(crate) fn run(path: &Path, arguments: &DoctorArgs) -> Result<(), Failure> {
    for choice in &arguments.check {
        if !KINDS.iter().any(|(id, _)| matches(choice, id)) {
            let groups: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
            let list: Vec<String> = KINDS.iter().map(|(id, about)| format!("  {id:22} {about}")).collect();
            let sentence = format!(
                "--check {choice}: there is no such check; use one of the groups {} or of the findings\n{}",
                groups.join(", "),
                list.join("\n")
            );
            return Err(Failure::Usage(sentence));
        }
    }
    let report = Report::of(&Machine::here(path), &arguments.check);
    let status = report.status(arguments.strict);
    if arguments.json {
        Document::new("knem-doctor", 1, json::Findings::new(&report, status)).print()?;
    } else {
        style::output().write_all(text::write(&report, arguments.verbose, style::width()).as_bytes())?;
    }
    if status == 0 {
        Ok(())
    } else {
        Err(Failure::Reported(status))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::machine::fake::Fake;
    use std::collections::BTreeSet;

    /// The finding with this id.
    pub(super) fn found<'a>(findings: &'a [Finding], id: &str) -> &'a Finding {
        findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no {id} in {findings:#?}"))
    }

    /// The states of findings.
    pub(super) fn states(findings: &[Finding]) -> Vec<State> {
        findings.iter().map(|finding| finding.state).collect()
    }

    pub(super) fn report(fake: &Fake) -> Report {
        Report::of(&fake.machine(), &[])
    }

    #[test]
    fn where_all_ok_the_status_is_0() {
        let report = report(&Fake::well());
        let wrong: Vec<&Finding> = report.findings.iter().filter(|finding| finding.state != State::Ok).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!((report.status(false), report.status(true)), (0, 0));
    }

    #[test]
    fn problems_and_notes_have_statuses() {
        assert_eq!(report(&Fake::new()).status(false), 1);
        let note = Fake::well().variable("UCX_TLS", "tcp");
        assert_eq!((report(&note).status(false), report(&note).status(true)), (0, 6));
    }

    #[test]
    fn a_problem_has_a_remedy() {
        for fake in [Fake::new(), Fake::new().file("/.dockerenv", ""), Fake::new().kernel("6.12.1+deb13-amd64")] {
            for finding in report(&fake).findings {
                let wants = finding.state == State::Problem;
                assert!(!wants || !finding.remedies.is_empty(), "{finding:#?}");
            }
        }
    }

    #[test]
    fn parts_can_be_chosen() {
        let machine = Fake::well().machine();
        let ids = |choices: &[&str]| -> BTreeSet<&str> {
            let choices: Vec<String> = choices.iter().map(|choice| (*choice).to_owned()).collect();
            Report::of(&machine, &choices).findings.iter().map(|finding| finding.id).collect()
        };
        assert_eq!(
            ids(&["device.node", "use"]),
            BTreeSet::from(["device.node", "use.requests", "use.refused", "use.failed"])
        );
        assert!(ids(&[]).len() > 25);
    }

    #[test]
    fn every_kind_is_of_a_group() {
        for (id, _) in KINDS {
            assert!(GROUPS.iter().any(|group| matches(group.name, id)), "{id}");
        }
        assert!(matches("use", "use.failed") && !matches("us", "use.failed") && !matches("use.", "use.failed"));
    }
}
