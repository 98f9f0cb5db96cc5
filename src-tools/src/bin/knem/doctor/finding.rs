// SPDX-License-Identifier: CECILL-B
//! A finding: the state of something, what it means, and its remedies.

use serde::Serialize;

/// State of a finding, by severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It is not known.
    Unknown,
    /// It works, and something about it is worth knowing or fixing.
    Note,
    /// It keeps KNEM from working for the caller.
    Problem,
}

impl State {
    /// Word that the report prints.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "not known",
            Self::Note => "note",
            Self::Problem => "PROBLEM",
        }
    }
}

/// Every kind of finding: its id, which is stable, and its subject. The part of the id before the dot is the group.
pub(super) const KINDS: [(&str, &str); 35] = [
    ("machine.kind", "container, virtual machine, Windows"),
    ("module.present", "the module's file for the running kernel"),
    ("module.loaded", "whether the module is loaded"),
    ("module.version", "versions of the loaded module, of its file, and of this command"),
    ("module.rust", "how the Rust part of the module was built, and why"),
    ("module.kernels", "which installed kernels have the module"),
    ("module.vendor", "another KNEM, of a vendor, or a file that DKMS does not install over"),
    ("module.autoload", "whether the module is loaded at boot"),
    ("module.options", "parameters that are set for it"),
    ("kernel.series", "whether the running kernel is one the driver is written for"),
    ("kernel.secure_boot", "Secure Boot, lockdown, and enforced signatures"),
    ("kernel.signature", "whether the module is signed by a key that the machine trusts"),
    ("building.dkms", "the driver's package, its source, and whether DKMS knows it"),
    ("building.autoinstall", "whether DKMS builds for new kernels"),
    ("building.kernel", "whether it can be built, for each kernel"),
    ("building.log", "builds that failed"),
    ("device.node", "the device node, its mode, owner and group"),
    ("device.access", "whether the caller can open it, and the interface it speaks"),
    ("device.group", "the group of the node"),
    ("device.member", "whether the caller is a member, in the database and in this process"),
    ("device.rule", "the udev rule, and others that change what it does"),
    ("limits.memlock", "the caller's limit of locked memory"),
    ("limits.file", "what PAM sets it to at login"),
    ("limits.systemd", "what systemd sets it to for services"),
    ("limits.slurm", "what Slurm does with it"),
    ("limits.pinned", "the machine's ceiling of pinned memory"),
    ("limits.unpinned", "regions that are pinned only while they are copied"),
    ("use.requests", "whether KNEM is used"),
    ("use.refused", "what was refused, and why"),
    ("use.failed", "copies that failed"),
    ("mpi.openmpi", "Open MPI: built with KNEM"),
    ("mpi.openmpi_choice", "Open MPI: whether it would choose KNEM"),
    ("mpi.ucx", "UCX: built with KNEM, and whether it would choose it"),
    ("mpi.plugins", "plug-ins of knem-mpi-plugins: versions, and whether they are loaded"),
    ("mpi.mpich", "MPICH and MVAPICH"),
];

/// A finding.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// One of [`KINDS`].
    pub(super) id: &'static str,
    /// Part of the id before the dot.
    pub(super) group: &'static str,
    /// Kernel or library that the finding is about, if there can be several.
    pub(super) subject: Option<String>,
    /// Severity.
    pub(super) state: State,
    /// The state in a sentence.
    pub(super) summary: String,
    /// Consequence of the state.
    pub(super) meaning: Option<String>,
    /// Remedies: each is a command, or a line for a named file.
    pub(super) remedies: Vec<String>,
    /// Details of what was found.
    pub(super) details: Vec<String>,
}

impl Finding {
    fn new(id: &'static str, state: State, summary: impl Into<String>) -> Self {
        debug_assert!(KINDS.iter().any(|(known, _)| *known == id), "{id} is not listed");
        Self {
            id,
            group: id.split('.').next().unwrap_or(id),
            subject: None,
            state,
            summary: summary.into(),
            meaning: None,
            remedies: Vec::new(),
            details: Vec::new(),
        }
    }

    /// A finding that is as it should be.
    pub(super) fn ok(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, State::Ok, summary)
    }

    /// A finding that is worth knowing.
    pub(super) fn note(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, State::Note, summary)
    }

    /// A finding that keeps KNEM from working.
    pub(super) fn problem(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, State::Problem, summary)
    }

    /// A finding that is not known; the sentence gives the reason.
    pub(super) fn unknown(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, State::Unknown, summary)
    }

    /// Sets the kernel or library that the finding is about.
    pub(super) fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// Consequence of the state.
    pub(super) fn means(mut self, meaning: impl Into<String>) -> Self {
        self.meaning = Some(meaning.into());
        self
    }

    /// Adds a remedy.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        #[cfg(test)]
        tests::demand_row(self.id, &remedy);
        self.remedies.push(remedy);
        self
    }

    /// Adds a remedy, if there is one.
    pub(super) fn remedy_if(self, remedy: Option<impl Into<String>>) -> Self {
        match remedy {
            Some(remedy) => self.remedy(remedy),
            None => self,
        }
    }

    /// Details of what was found.
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// Details of what was found.
    pub(super) fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::carried_out::rows;

    /// Fails for a remedy that the table does not have.
    pub(super) fn demand_row(id: &str, remedy: &str) {
        assert!(rows().iter().any(|row| row.is(id, remedy)), "no row of docs/drills.md has: | `{id}` | `{remedy}` |");
    }

    #[test]
    fn every_finding_is_in_the_documentation() {
        let page = include_str!("../../../../../docs/command.md");
        let rows: Vec<&str> = page.lines().skip_while(|line| *line != "| Id | About |").skip(2).collect();
        let rows: Vec<&str> = rows.into_iter().take_while(|line| line.starts_with('|')).collect();
        assert_eq!(rows, KINDS.map(|(id, about)| format!("| `{id}` | {about} |")));
    }

    #[test]
    fn every_finding_is_in_the_help() {
        for (id, about) in KINDS {
            let listed = crate::cli::FINDINGS
                .lines()
                .any(|line| line.trim().strip_prefix(id).is_some_and(|rest| rest.trim() == about));
            assert!(listed, "{id}: {about}");
        }
    }

    #[test]
    fn the_group_stands_before_the_dot() {
        let finding =
            Finding::problem("device.node", "x").about("y").means("m").remedy("see module.loaded").detail("d");
        assert_eq!((finding.group, finding.subject.as_deref()), ("device", Some("y")));
        assert!(State::Problem > State::Note && State::Note > State::Unknown && State::Unknown > State::Ok);
    }
}
