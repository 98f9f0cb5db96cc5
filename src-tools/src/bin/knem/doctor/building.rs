// SPDX-License-Identifier: CECILL-B
//! Building: whether the module can be built for each kernel, and whether DKMS will build it.

use super::finding::Finding;
use super::prospect::{self, Prospect};
use crate::address;
use crate::machine::{Machine, Text};

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    if machine.container().is_some() {
        return Vec::new();
    }
    let mut findings = vec![dkms(machine)];
    findings.extend(autoinstall(machine));
    if machine.driver().version().is_some() {
        for kernel in machine.kernels() {
            findings.extend(buildable(machine, &kernel));
            findings.extend(failed(machine, &kernel));
        }
    }
    findings
}

fn dkms(machine: &Machine) -> Finding {
    const ID: &str = "building.dkms";
    let (driver, kernel) = (machine.driver(), &machine.kernel);
    let present = machine.module_files(kernel).iter().any(|file| file.chosen);
    let Some(version) = driver.version() else {
        return match present {
            true => Finding::ok(ID, "the module was installed prebuilt for this kernel")
                .means("other kernels need a prebuilt module too"),
            false => Finding::note(ID, "the package that builds the module is not installed")
                .means("only a prebuilt module for exactly this kernel can be installed")
                .remedy(prospect::remedy(machine, kernel)),
        };
    };
    let from = driver.package.as_ref().map_or_else(
        || format!("the source of knem {version}"),
        |package| format!("the package {} {}", package.name, package.version),
    );
    if driver.is_without_source() {
        return Finding::note(ID, format!("{from} is installed, and its source /usr/src/knem-{version} is deleted"))
            .means("DKMS cannot build the module for the next kernel")
            .remedy(machine.reinstall());
    }
    if machine.find("dkms").is_none() {
        return Finding::note(ID, format!("{from} is installed, DKMS is not"))
            .means("nothing builds the module for the next kernel")
            .remedy(machine.get(&["dkms"]));
    }
    if !driver.is_known() {
        return Finding::note(ID, format!("{from} is installed, and DKMS does not know knem {version}"))
            .means("DKMS builds it for no kernel; a full /tmp during the installation is one cause")
            .remedy(prospect::add(machine));
    }
    Finding::ok(ID, format!("DKMS knows knem {version}, from {from}"))
}

fn autoinstall(machine: &Machine) -> Option<Finding> {
    const ID: &str = "building.autoinstall";
    machine.driver().version()?;
    if machine.exists("/etc/dkms/no-autoinstall") {
        return Some(
            Finding::note(ID, "/etc/dkms/no-autoinstall keeps DKMS from building for new kernels")
                .means("the next kernel has no module until root builds it")
                .remedy("rm /etc/dkms/no-autoinstall"),
        );
    }
    let off = |text: &String| {
        let setting = text.lines().rev().find_map(|line| line.trim().strip_prefix("AUTOINSTALL="));
        setting.is_some_and(|value| !value.trim_matches('"').to_lowercase().starts_with('y'))
    };
    Some(if machine.text("/etc/dkms/knem.conf").as_ref().is_some_and(off) {
        Finding::note(ID, "/etc/dkms/knem.conf keeps DKMS from building for new kernels")
            .means("the next kernel has no module until root builds it")
            .remedy("remove the line AUTOINSTALL= from /etc/dkms/knem.conf")
    } else {
        Finding::ok(ID, "DKMS builds for new kernels automatically")
    })
}

/// Reports the sentence of the driver's own check unchanged.
fn buildable(machine: &Machine, kernel: &str) -> Option<Finding> {
    const ID: &str = "building.kernel";
    // A module that is loaded from elsewhere works now.
    let running = kernel == machine.kernel && !machine.exists("/sys/module/knem");
    let present = machine.module_files(kernel).iter().any(|file| file.chosen);
    let finding = match Prospect::of(machine, kernel) {
        Prospect::Possible(sentence) if present => Finding::ok(ID, sentence),
        Prospect::Possible(sentence) => Finding::note(ID, sentence)
            .means("it can be built, and is not: no build was tried, or the last one failed")
            .remedy(prospect::remedy(machine, kernel)),
        Prospect::Excluded { sentence, .. } if present => Finding::note(ID, sentence)
            .means("the module is installed; it could not be rebuilt")
            .remedy_if(prospect::fix(machine, kernel)),
        Prospect::Excluded { sentence, .. } if running => {
            let finding = Finding::problem(ID, sentence).means("there is no KNEM on the running kernel");
            finding.remedy(prospect::remedy(machine, kernel))
        }
        Prospect::Excluded { sentence, .. } => Finding::note(ID, sentence)
            .means("there is no KNEM when this kernel is started")
            .remedy_if(prospect::fix(machine, kernel)),
        Prospect::Unknown { reason, command } => Finding::unknown(ID, reason).remedy_if(command),
        // Findings of building.dkms.
        Prospect::NotInstalled | Prospect::Deleted | Prospect::NoDkms => return None,
    };
    Some(finding.about(kernel))
}

/// Reports a failed build, which leaves a log without a module.
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
        .means(format!("all known requirements were met: report it, with the log, {}", address::reports()))
        .remedy(format!("less {log}"))
        .remedy(prospect::remedy(machine, kernel))
        .details(last);
    Some(finding.about(kernel))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::tests::{found, states};
    use crate::machine::fake::Fake;
    use crate::machine::Ran;

    const STATUS: &str = "dkms status -m knem";
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
        let ready = Fake::well().without("/usr/src/knem-2.0.0").packages("").says("dkms status -m knem", "");
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
        let install = "dkms install knem/2.0.0 -k 7.2.6";
        assert_eq!(of(&fake.says(STATUS, "knem/2.0.0: added\n")).remedies, [install]);
        // DKMS would have nothing to do.
        assert_eq!(of(&fake).remedies, [format!("dkms uninstall knem/2.0.0 -k 7.2.6; {install}")]);
        assert_eq!(of(&fake.says(STATUS, "")).remedies, [format!("dkms add knem/2.0.0; {install}")]);
    }

    #[test]
    fn dkms_does_not_know_the_module() {
        let fake = Fake::well().says(STATUS, "");
        let finding = found(&check(&fake.machine()), "building.dkms").clone();
        assert!(finding.summary.ends_with("DKMS does not know knem 2.0.0"), "{finding:?}");
        assert_eq!(finding.remedies, ["dkms add knem/2.0.0; dkms install knem/2.0.0 -k 7.2.6"]);
        let excluded = fake.fails(CHECK, "knem cannot be built for kernel 7.2.6: it has no MMU\n", "");
        assert_eq!(found(&check(&excluded.machine()), "building.dkms").remedies, ["dkms add knem/2.0.0"]);
    }

    #[test]
    fn deleted_sources_come_back_with_the_package() {
        let finding = found(&check(&Fake::well().without("/usr/src/knem-2.0.0").machine()), "building.dkms").clone();
        assert_eq!((finding.state, &*finding.remedies[0]), (State::Note, "apt reinstall knem2-dkms"));
        assert!(finding.summary.contains("knem2-dkms 2.0.0-1"), "{finding:?}");
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
