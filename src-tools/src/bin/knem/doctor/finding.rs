// SPDX-License-Identifier: CECILL-B
//! A finding: how something is, what that means, and its remedy.

use serde::Serialize;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It is not known.
    Unknown,
    /// It works, and something about it is worth knowing, or fixing.
    Note,
    /// It keeps KNEM from working for the caller.
    Problem,
}

impl State {
    /// The word for people.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "not known",
            Self::Note => "note",
            Self::Problem => "PROBLEM",
        }
    }
}

/// Every finding there can be: its name for programs, which stays, and what it is about. What stands before the dot is its group.
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
    /// What stands before the dot.
    pub(super) group: &'static str,
    /// Which one it is about, where there are several: a kernel.
    pub(super) subject: Option<String>,
    /// How it is.
    pub(super) state: State,
    /// That in a sentence.
    pub(super) summary: String,
    /// What follows from it.
    pub(super) meaning: Option<String>,
    /// The remedies: each a command, or a line for a file that is named.
    pub(super) remedies: Vec<String>,
    /// More of what was seen.
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

    /// It is as it should be.
    pub(super) fn ok(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, State::Ok, summary)
    }

    /// It is worth knowing.
    pub(super) fn note(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, State::Note, summary)
    }

    /// It keeps KNEM from working.
    pub(super) fn problem(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, State::Problem, summary)
    }

    /// It is not known: the sentence gives the reason.
    pub(super) fn unknown(id: &'static str, summary: impl Into<String>) -> Self {
        Self::new(id, State::Unknown, summary)
    }

    /// Which one it is about.
    pub(super) fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// What follows from it.
    pub(super) fn means(mut self, meaning: impl Into<String>) -> Self {
        self.meaning = Some(meaning.into());
        self
    }

    /// A remedy.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        let remedy = remedy.into();
        #[cfg(test)]
        tests::demand_row(self.id, &remedy);
        self.remedies.push(remedy);
        self
    }

    /// A remedy, if there is one.
    pub(super) fn remedy_if(self, remedy: Option<impl Into<String>>) -> Self {
        match remedy {
            Some(remedy) => self.remedy(remedy),
            None => self,
        }
    }

    /// More of what was seen.
    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// More of what was seen.
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
