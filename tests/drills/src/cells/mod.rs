// SPDX-License-Identifier: CECILL-B
//! The drills, a file for each kind of problem.

mod ansible;
mod container;
mod diskless;
mod in_use;
mod interrupted;
mod kernels;
mod lacks;
mod local_install;
mod module_packages;
mod neighbours;
mod prometheus;
mod remedies;
mod removal;
mod rpm;
mod secure_boot;
mod surroundings;
mod unsupported;
mod versions;

use crate::drill::Drill;

/// Returns all drills, in the order in which they run.
pub fn all() -> Vec<Drill> {
    [
        kernels::DRILLS,
        lacks::DRILLS,
        interrupted::DRILLS,
        versions::DRILLS,
        removal::DRILLS,
        surroundings::DRILLS,
        neighbours::DRILLS,
        unsupported::DRILLS,
        in_use::DRILLS,
        secure_boot::DRILLS,
        remedies::DRILLS,
        ansible::DRILLS,
        diskless::DRILLS,
        container::DRILLS,
        rpm::DRILLS,
        local_install::DRILLS,
        module_packages::DRILLS,
        prometheus::DRILLS,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = all().iter().map(|drill| drill.name).collect();
        assert_eq!(names.len(), all().len());
    }

    /// Checks that docs/drills.md has a line for each drill and no other.
    #[test]
    fn the_matrix_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/drills.md");
        let text = std::fs::read_to_string(path).expect("readable");
        let rows = text.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let documented: Vec<&str> = rows.take_while(|line| line.starts_with("| ")).collect();
        let wanted: Vec<String> = all()
            .iter()
            .map(|drill| {
                let fast = if drill.fast { "yes" } else { "" };
                format!("| {} | {} | {fast} | {} |", drill.id, drill.name, drill.claim)
            })
            .collect();
        assert_eq!(documented, wanted, "the table should be:\n{}\n", wanted.join("\n"));
    }
}
