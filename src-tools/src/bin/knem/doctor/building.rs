// SPDX-License-Identifier: CECILL-B
//! Building: whether the module can be built, for the running kernel and the others, and whether it will be.

use super::finding::Finding;
use crate::machine::{Machine, Ran, Text};

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    if machine.container().is_some() {
        return Vec::new();
    }
    let mut findings = vec![dkms(machine)];
    findings.extend(autoinstall(machine));
    if let Some(version) = machine.source_version() {
        for kernel in machine.kernels() {
            findings.push(buildable(machine, &version, &kernel));
            findings.extend(failed(machine, &kernel));
        }
    }
    findings
}

fn dkms(machine: &Machine) -> Finding {
    const ID: &str = "building.dkms";
    let present = machine.module_files(&machine.kernel).iter().any(|file| file.chosen);
    match (machine.find("dkms").is_some(), machine.source_version()) {
        (true, Some(version)) => Finding::ok(ID, format!("DKMS is there, and the source of knem {version}")),
        (false, Some(version)) => Finding::note(ID, format!("the source of knem {version} is there, and DKMS is not"))
            .means("nothing builds the module for the next kernel")
            .remedy("apt install dkms, or: dnf install dkms"),
        (_, None) if present => Finding::ok(ID, "the module was not built here: it came ready-made for this kernel")
            .means("for another kernel it has to come so too"),
        (_, None) => Finding::note(ID, "the package that builds the module is not installed")
            .means("the module can only come ready-made, for exactly this kernel")
            .remedy("apt install knem-dkms, or: dnf install knem-dkms"),
    }
}

fn autoinstall(machine: &Machine) -> Option<Finding> {
    const ID: &str = "building.autoinstall";
    machine.source_version()?;
    if machine.exists("/etc/dkms/no-autoinstall") {
        return Some(
            Finding::note(ID, "/etc/dkms/no-autoinstall keeps DKMS from building for new kernels")
                .means("the next kernel has no module until root builds it")
                .remedy("rm /etc/dkms/no-autoinstall, or each time: dkms autoinstall -k KERNEL"),
        );
    }
    let off = |text: &String| {
        let setting = text.lines().rev().find_map(|line| line.trim().strip_prefix("AUTOINSTALL="));
        setting.is_some_and(|value| !value.trim_matches('"').to_lowercase().starts_with('y'))
    };
    Some(if machine.text("/etc/dkms/knem.conf").as_ref().is_some_and(off) {
        Finding::note(ID, "/etc/dkms/knem.conf switches off that DKMS builds for new kernels")
            .means("the next kernel has no module until root builds it")
            .remedy("remove the line AUTOINSTALL= from /etc/dkms/knem.conf")
    } else {
        Finding::ok(ID, "DKMS builds for new kernels by itself")
    })
}

/// The sentence of the driver's own check, as it is.
fn buildable(machine: &Machine, version: &str, kernel: &str) -> Finding {
    const ID: &str = "building.kernel";
    // Where one is loaded from elsewhere, that is what counts now.
    let running = kernel == machine.kernel && !machine.exists("/sys/module/knem");
    let present = machine.module_files(kernel).iter().any(|file| file.chosen);
    let script = format!("/usr/src/knem-{version}/way.sh");
    let finding = match machine.run("sh", &[&script, kernel]) {
        Ran::Ended { success, output, complaint } => {
            let said = if output.trim().is_empty() { complaint } else { output };
            let first = said.lines().next().unwrap_or_default().to_owned();
            let (what, remedy) = split(&first);
            match (success, present, running) {
                (true, true, _) => Finding::ok(ID, first),
                (true, false, _) => Finding::note(ID, first)
                    .means("it can be built, and is not: no build was tried, or the last one failed")
                    .remedy(format!("dkms autoinstall -k {kernel}")),
                (false, true, _) => Finding::note(ID, what)
                    .remedy_if(remedy)
                    .means("the module is there already; it could not be built again"),
                (false, false, true) => {
                    Finding::problem(ID, what).remedy_if(remedy).means("there is no KNEM on the running kernel")
                }
                (false, false, false) => {
                    Finding::note(ID, what).remedy_if(remedy).means("there is no KNEM when this kernel is started")
                }
            }
        }
        Ran::NotThere => Finding::unknown(ID, format!("{script} could not be run")),
        Ran::TooLong => {
            Finding::unknown(ID, format!("{script} {kernel} took too long")).remedy(format!("sh {script} {kernel}"))
        }
    };
    finding.about(kernel)
}

/// What is wrong, and the remedy, which the sentence ends with.
fn split(sentence: &str) -> (&str, Option<&str>) {
    const COMMANDS: [&str; 2] = ["apt ", "install "];
    match sentence.rsplit_once("; ") {
        Some((what, remedy)) if COMMANDS.iter().any(|command| remedy.starts_with(command)) => (what, Some(remedy)),
        _ => (sentence, None),
    }
}

/// A build that failed leaves a log without a module.
fn failed(machine: &Machine, kernel: &str) -> Option<Finding> {
    const ID: &str = "building.log";
    let log = format!("/var/cache/knem/build/{kernel}.log");
    if !machine.exists(&log) || machine.exists(&format!("/var/cache/knem/build/{kernel}")) {
        return None;
    }
    let last: Vec<String> = match machine.read(&log) {
        Text::Read(text) => {
            let lines: Vec<&str> = text.lines().collect();
            lines.iter().skip(lines.len().saturating_sub(5)).map(|line| (*line).to_owned()).collect()
        }
        Text::Unreadable(reason) => vec![format!("its end cannot be shown: {reason}")],
        Text::Missing => Vec::new(),
    };
    let finding = Finding::note(ID, format!("the last build for kernel {kernel} failed: see {log}"))
        .means("everything that can be foreseen was there, so this is something new; please report it, with the log")
        .remedy(format!("less {log}"))
        .remedy(format!("dkms autoinstall -k {kernel}"))
        .details(last);
    Some(finding.about(kernel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::tests::{found, states};
    use crate::machine::fake::Fake;

    const CHECK: &str = "sh /usr/src/knem-2.0.0/way.sh 7.2.6";

    fn of(fake: &Fake) -> Finding {
        found(&check(&fake.machine()), "building.kernel").clone()
    }

    #[test]
    fn all_ok() {
        let findings = check(&Fake::well().machine());
        assert!(states(&findings).iter().all(|state| *state == State::Ok), "{findings:#?}");
        assert!(found(&findings, "building.kernel").summary.starts_with("knem can be built for kernel 7.2.6"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(found(&check(&Fake::new().machine()), "building.dkms").state, State::Note);
        let ready = Fake::well().without("/usr/src/knem-2.0.0");
        assert_eq!(found(&check(&ready.machine()), "building.dkms").state, State::Ok);
        let no_dkms = Fake::well().no_program("dkms");
        assert!(found(&check(&no_dkms.machine()), "building.dkms").remedies[0].contains("install dkms"));
    }

    #[test]
    fn building_for_new_kernels_can_be_off() {
        let off = Fake::well().file("/etc/dkms/no-autoinstall", "");
        assert_eq!(found(&check(&off.machine()), "building.autoinstall").state, State::Note);
        let off = Fake::well().file("/etc/dkms/knem.conf", "RUSTC=/opt/rustc\nAUTOINSTALL=\"no\"\n");
        assert!(found(&check(&off.machine()), "building.autoinstall").summary.contains("/etc/dkms/knem.conf"));
        let on = Fake::well().file("/etc/dkms/knem.conf", "AUTOINSTALL=\"yes\"\n");
        assert_eq!(found(&check(&on.machine()), "building.autoinstall").state, State::Ok);
    }

    #[test]
    fn the_sentence_is_that_of_the_check() {
        let sentence =
            "knem cannot be built for kernel 7.2.6: the headers of this kernel are not installed, or not complete; \
                        apt install linux-headers-7.2.6";
        let built = Fake::well().fails(CHECK, sentence, "");
        let finding = found(&check(&built.machine()), "building.kernel").clone();
        assert_eq!(finding.state, State::Note);
        assert_eq!(finding.remedies, ["apt install linux-headers-7.2.6"]);
        let not_built = built.without("/lib/modules/7.2.6/updates").file("/lib/modules/7.2.6/modules.dep", "");
        assert_eq!(of(&not_built).state, State::Note, "one is loaded");
        let not_built = not_built.without("/sys/module/knem");
        let finding = found(&check(&not_built.machine()), "building.kernel").clone();
        assert_eq!((finding.state, finding.subject.as_deref()), (State::Problem, Some("7.2.6")));
        assert!(finding.summary.ends_with("or not complete"), "{}", finding.summary);
        let other = not_built.kernel("7.3.0");
        assert_eq!(found(&check(&other.machine()), "building.kernel").state, State::Note);
    }

    #[test]
    fn a_module_that_is_not_built() {
        let fake = Fake::well().without("/lib/modules/7.2.6/updates").file("/lib/modules/7.2.6/modules.dep", "");
        let finding = found(&check(&fake.machine()), "building.kernel").clone();
        assert_eq!(finding.remedies, ["dkms autoinstall -k 7.2.6"]);
    }

    #[test]
    fn a_check_that_does_not_answer() {
        let finding = found(&check(&Fake::well().answers(CHECK, Ran::TooLong).machine()), "building.kernel").clone();
        assert_eq!(finding.state, State::Unknown);
        let finding = found(&check(&Fake::well().no_program("sh").machine()), "building.kernel").clone();
        assert_eq!(finding.state, State::Unknown);
    }

    #[test]
    fn a_failed_build_is_shown_by_its_end() {
        let log = "/var/cache/knem/build/7.2.6.log";
        let fake = Fake::well().file(log, "1\n2\n3\n4\n5\nerror[E0308]\n");
        let finding = found(&check(&fake.machine()), "building.log").clone();
        assert_eq!(finding.details, ["2", "3", "4", "5", "error[E0308]"]);
        let built = fake.file("/var/cache/knem/build/7.2.6/knem.ko", "");
        assert!(!check(&built.machine()).iter().any(|finding| finding.id == "building.log"));
    }
}
