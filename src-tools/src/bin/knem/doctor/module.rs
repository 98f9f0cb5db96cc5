// SPDX-License-Identifier: CECILL-B
//! The module: its files, whether it is loaded, and whether it is this project's.

use super::finding::Finding;
use super::kernel::is_too_old;
use super::prospect;
use crate::machine::modules::{is_original, Description, ModuleFile};
use crate::machine::{Machine, Ran};

/// Version of this command.
const OURS: &str = env!("CARGO_PKG_VERSION");

/// Data that the checks share.
struct Seen {
    /// Version of the loaded module; `None` if none is loaded.
    loaded: Option<String>,
    /// The file that modprobe loads for the running kernel, or else the first that exists.
    file: Option<ModuleFile>,
    /// Its modinfo.
    description: Description,
    container: bool,
}

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let file = machine.module_files(&machine.kernel).into_iter().next();
    let seen = Seen {
        loaded: loaded_version(machine),
        description: file.as_ref().map(|file| machine.describe(&file.path)).unwrap_or_default(),
        file,
        container: machine.container().is_some(),
    };
    let mut findings = vec![present(machine, &seen), loaded(machine, &seen)];
    findings.extend(version(machine, &seen));
    findings.extend(rust(machine));
    findings.extend(kernels(machine, &seen));
    findings.push(vendor(machine));
    findings.extend(autoload(machine, &seen));
    findings.extend(options(machine));
    findings
}

/// The version of the loaded module.
pub(super) fn loaded_version(machine: &Machine) -> Option<String> {
    machine.exists("/sys/module/knem").then(|| {
        machine.text("/sys/module/knem/version").map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
    })
}

fn present(machine: &Machine, seen: &Seen) -> Finding {
    const ID: &str = "module.present";
    let kernel = &machine.kernel;
    match &seen.file {
        Some(file) if file.chosen => {
            let version = seen.description.version.as_deref().unwrap_or("of an unknown version");
            let signer =
                seen.description.signer.as_deref().map_or_else(String::new, |signer| format!(", signed by {signer}"));
            Finding::ok(ID, format!("knem {version} is installed for the running kernel{signer}")).detail(&*file.path)
        }
        Some(file) => {
            let sentence = format!("{} exists, but is not in modules.dep", file.path);
            let finding =
                if seen.loaded.is_some() { Finding::note(ID, sentence) } else { Finding::problem(ID, sentence) };
            finding.means("modprobe knem does not find it").remedy(format!("depmod -a {kernel}"))
        }
        None if seen.loaded.is_some() => {
            Finding::note(ID, format!("a module is loaded, but there is none for kernel {kernel} on this disk"))
                .means("it was loaded from elsewhere, and is missing after a restart unless the initramfs has it")
        }
        None if seen.container => Finding::unknown(ID, "the host's modules cannot be seen from a container"),
        None => {
            let finding = Finding::problem(ID, format!("there is no module for the running kernel {kernel}"))
                .means("it cannot be loaded before it is installed or built for this kernel");
            finding.remedy(prospect::remedy(machine, kernel))
        }
    }
}

fn loaded(machine: &Machine, seen: &Seen) -> Finding {
    const ID: &str = "module.loaded";
    if let Some(version) = &seen.loaded {
        return Finding::ok(ID, format!("knem {version} is loaded"));
    }
    let finding =
        Finding::problem(ID, "the module is not loaded").means("there is no device: programs do without KNEM, or fail");
    if seen.container {
        return finding.remedy("on the host: modprobe knem");
    }
    match &seen.file {
        None => return finding.remedy("see module.present; then: modprobe knem"),
        Some(file) if !file.chosen => return finding.remedy(format!("depmod -a {}; modprobe knem", machine.kernel)),
        Some(_) => {}
    }
    match machine.module_barrier() {
        Some((file, line)) if line.starts_with("install") => finding
            .detail(format!("{file}: {line}"))
            .remedy(format!("remove the line '{line}' from {file}, then: modprobe knem")),
        _ => finding.remedy("modprobe knem"),
    }
}

/// Returns the command that replaces the loaded module with the installed one.
pub(super) fn reload(machine: &Machine) -> String {
    const RELOAD: &str = "modprobe -r knem; modprobe knem";
    match machine.word("/sys/module/knem/refcnt").as_deref() {
        None | Some("0") => RELOAD.to_owned(),
        Some(_) => format!("end the programs that this lists: fuser -v /dev/knem; then: {RELOAD}"),
    }
}

fn version(machine: &Machine, seen: &Seen) -> Option<Finding> {
    const ID: &str = "module.version";
    let loaded = seen.loaded.as_deref()?;
    let installed = seen.description.version.as_deref();
    if is_original(loaded) {
        return Some(
            Finding::note(
                ID,
                format!("the loaded module is the original driver, version {loaded}; this command is {OURS}"),
            )
            .means("it works, but has neither the detailed statistics nor the limits of this driver")
            .remedy_if((!is_too_old(&machine.kernel)).then_some("see module.vendor")),
        );
    }
    Some(match installed {
        Some(installed) if installed != loaded => {
            Finding::note(ID, format!("knem {loaded} is loaded, and {installed} is installed"))
                .means(
                    "the new one is used after a restart, or when it is reloaded while no process has the device open",
                )
                .remedy(reload(machine))
        }
        _ if loaded != OURS => Finding::note(ID, format!("the module is {loaded}, this command is {OURS}"))
            .means("they work together as long as the interface is the same")
            .remedy("install knem2-dkms and knem-tools of the same release"),
        _ => Finding::ok(ID, format!("module and command are both {OURS}")),
    })
}

fn rust(machine: &Machine) -> Option<Finding> {
    const ID: &str = "module.rust";
    let rust = machine.rust_part()?;
    let (way, why) = rust.split_once(": ").unwrap_or((&rust, ""));
    let way = if way == "kernel" { "built on the kernel crate" } else { "built with the prebuilt Rust object" };
    Some(Finding::ok(ID, format!("the module is {way}: {why}")))
}

fn kernels(machine: &Machine, seen: &Seen) -> Option<Finding> {
    const ID: &str = "module.kernels";
    let kernels = machine.kernels();
    if kernels.is_empty() || seen.container {
        return None;
    }
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for kernel in kernels {
        if machine.module_files(&kernel).iter().any(|file| file.chosen) {
            with.push(kernel);
        } else if kernel != machine.kernel {
            // The running kernel has its own finding.
            without.push(kernel);
        }
    }
    if with.is_empty() && without.is_empty() {
        return None;
    }
    let built = match machine.run("dkms", &["status", "-m", "knem"]) {
        Ran::Ended { success: true, output, .. } => output.lines().map(|line| format!("dkms: {line}")).collect(),
        _ => Vec::new(),
    };
    let finding = if without.is_empty() {
        Finding::ok(ID, format!("installed kernels with the module: {}", with.join(", ")))
    } else {
        let with = if with.is_empty() { "none".to_owned() } else { with.join(", ") };
        Finding::note(ID, format!("installed kernels with the module: {with}; without: {}", without.join(", ")))
            .means("after a restart into one of these there is no KNEM; see building.kernel for the reason")
    };
    Some(finding.details(built))
}

fn vendor(machine: &Machine) -> Finding {
    const ID: &str = "module.vendor";
    let driver = machine.driver();
    let (mut seen, mut removals, mut blocked) = (Vec::new(), Vec::new(), Vec::new());
    for kernel in machine.kernels() {
        for rival in prospect::rivals(machine, &kernel) {
            // Without a package it is a prebuilt module.
            if driver.version().is_none() && !is_original(&rival.version) {
                continue;
            }
            seen.push(format!("{} ({})", rival.path, rival.version));
            removals.extend(rival.removal(machine, &kernel));
            if rival.blocks {
                blocked.push(format!("{} ({}) for kernel {kernel}", rival.path, rival.version));
            }
        }
    }
    if seen.is_empty() && driver.vendors.is_empty() {
        return Finding::ok(ID, "no other KNEM is installed");
    }
    let finding = if blocked.is_empty() {
        Finding::note(ID, "another KNEM is installed, a vendor's or the original one")
            .means("modules of the same name hide each other, and which one is loaded may change with the next kernel")
    } else {
        Finding::note(
            ID,
            format!("another knem.ko of the same or a newer version is installed: {}", blocked.join(", ")),
        )
        .means("DKMS does not install the module for this kernel as long as that file exists")
    };
    let packages = driver.vendors.iter().map(|package| format!("package {} {}", package.name, package.version));
    let finding = finding.details(seen.into_iter().chain(packages));
    let names: Vec<&str> = driver.vendors.iter().map(|package| &*package.name).collect();
    if !names.is_empty() {
        // Only if the driver replaces what is removed.
        let ours = machine.module_files(&machine.kernel).iter().any(|file| file.chosen)
            && driver.is_installed_for(&machine.kernel);
        let remedy = match (ours, driver.version().is_some()) {
            (true, _) => Some(machine.removal(&names)),
            (false, false) if !is_too_old(&machine.kernel) => {
                Some(format!("{}; then run knem doctor again", machine.get(&["knem2-dkms", "knem-tools"])))
            }
            (false, false) => None,
            (false, true) => {
                Some(format!("{}; then run knem doctor again", prospect::remedy(machine, &machine.kernel)))
            }
        };
        return finding.remedy_if(remedy);
    }
    removals.sort();
    removals.dedup();
    removals.into_iter().fold(finding, Finding::remedy)
}

fn autoload(machine: &Machine, seen: &Seen) -> Option<Finding> {
    const ID: &str = "module.autoload";
    if seen.container {
        return None;
    }
    let hidden = machine.text("/etc/modules-load.d/knem.conf");
    let packaged =
        ["/run/modules-load.d/knem.conf", "/usr/lib/modules-load.d/knem.conf", "/lib/modules-load.d/knem.conf"];
    let lists = |text: &str| text.lines().any(|line| line.trim() == "knem");
    let text = hidden.clone().or_else(|| packaged.iter().find_map(|path| machine.text(path)));
    let elsewhere = || {
        let files = machine.files("/etc/modules-load.d", ".conf").into_iter().chain(["/etc/modules".to_owned()]);
        files.filter_map(|path| machine.text(&path)).any(|text| lists(&text))
    };
    if let Some((file, line)) = machine.module_barrier() {
        return Some(
            Finding::note(ID, format!("{file} prevents automatic loading of the module"))
                .means("after a restart there is no device until root runs modprobe knem")
                .detail(format!("{file}: {line}"))
                .remedy(format!("remove the line '{line}' from {file}")),
        );
    }
    Some(if text.is_some_and(|text| lists(&text)) || elsewhere() {
        Finding::ok(ID, "the module is loaded at boot")
    } else if hidden.is_some() {
        Finding::note(ID, "/etc/modules-load.d/knem.conf keeps the module from being loaded at boot")
            .means("usually the administrator's choice; there is no device until root runs modprobe knem")
            .remedy("rm /etc/modules-load.d/knem.conf")
    } else {
        Finding::note(ID, "nothing loads the module at boot")
            .means("after a restart there is no device until root runs modprobe knem")
            .remedy("echo knem > /etc/modules-load.d/knem.conf")
    })
}

fn options(machine: &Machine) -> Option<Finding> {
    const ID: &str = "module.options";
    let parameters = machine.parameters();
    let options = machine.module_options();
    let known = |name: &str| parameters.iter().any(|parameter| parameter.name == name);
    let wrong: Vec<_> = options.iter().filter(|option| !known(&option.0)).collect();
    if !wrong.is_empty() {
        let list: Vec<String> = wrong.iter().map(|(name, _, file)| format!("{name} in {file}")).collect();
        let finding = Finding::note(ID, format!("not parameters of the module: {}", list.join(", ")))
            .means("the kernel ignores them, with a line in its log");
        let remedies =
            wrong.iter().map(|(name, _, file)| format!("remove {name} from {file}; knem(4) lists the parameters"));
        return Some(remedies.fold(finding, Finding::remedy));
    }
    // The module derives these from the others and the page size.
    let derived = ["forceflags", "ignoreflags", "statslen"];
    let changed: Vec<String> = parameters
        .iter()
        .filter(|parameter| parameter.is_changed() && !derived.contains(&&*parameter.name))
        .map(|parameter| format!("{}={}", parameter.name, parameter.value.as_deref().unwrap_or_default()))
        .collect();
    if changed.is_empty() {
        return machine.exists("/sys/module/knem").then(|| Finding::ok(ID, "every parameter has its default"));
    }
    Some(Finding::ok(ID, format!("parameters that are not at their default: {}", changed.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::tests::{found, states};
    use crate::machine::fake::Fake;

    #[test]
    fn all_ok() {
        let findings = check(&Fake::well().machine());
        assert!(states(&findings).iter().all(|state| *state == State::Ok), "{findings:#?}");
        assert!(found(&findings, "module.present").summary.contains("signed by DKMS"));
    }

    #[test]
    fn without_anything_the_package_is_named() {
        let findings = check(&Fake::new().machine());
        let present = found(&findings, "module.present");
        assert_eq!(present.state, State::Problem);
        assert!(present.remedies[0].contains("knem2-dkms"));
        assert_eq!(found(&findings, "module.loaded").remedies, ["see module.present; then: modprobe knem"]);
        assert_eq!(found(&findings, "module.autoload").state, State::Note);
    }

    #[test]
    fn what_is_not_built_is_to_be_built() {
        let fake = Fake::new().file("/usr/src/knem-2.0.0/way.sh", "");
        assert!(found(&check(&fake.machine()), "module.present").remedies[0].contains("install dkms"));
        let fake = fake.says("dkms --version", "3\n");
        assert_eq!(found(&check(&fake.machine()), "module.present").remedies, ["dkms install knem/2.0.0 -k 7.2.6"]);
    }

    #[test]
    fn a_file_that_depmod_does_not_know() {
        let findings = check(&Fake::new().file("/lib/modules/7.2.6/extra/knem.ko", "").machine());
        assert_eq!(found(&findings, "module.present").remedies, ["depmod -a 7.2.6"]);
    }

    #[test]
    fn loaded_from_elsewhere() {
        let findings = check(&Fake::new().file("/sys/module/knem/version", "2.0.0").machine());
        assert_eq!(found(&findings, "module.present").state, State::Note);
        assert_eq!(found(&findings, "module.loaded").state, State::Ok);
    }

    #[test]
    fn in_a_container_it_is_the_hosts_affair() {
        let findings = check(&Fake::new().file("/.dockerenv", "").machine());
        assert_eq!(found(&findings, "module.present").state, State::Unknown);
        assert_eq!(found(&findings, "module.loaded").remedies, ["on the host: modprobe knem"]);
        assert!(!findings.iter().any(|finding| finding.id == "module.autoload"));
    }

    #[test]
    fn a_barrier_is_named() {
        let fake =
            Fake::well().without("/sys/module/knem").file("/etc/modprobe.d/no.conf", "install knem /bin/false\n");
        let findings = check(&fake.machine());
        assert!(found(&findings, "module.loaded").remedies[0].contains("/etc/modprobe.d/no.conf"));
        assert_eq!(found(&findings, "module.autoload").state, State::Note);
    }

    #[test]
    fn versions_differ() {
        let old = Fake::well().file("/sys/module/knem/version", "1.1.4.90mlnx3\n");
        assert!(found(&check(&old.machine()), "module.version").summary.contains("original driver"));
        let upgraded = Fake::well().file("/sys/module/knem/version", "1.9.0\n");
        assert!(found(&check(&upgraded.machine()), "module.version").state == State::Note);
        let newer = Fake::well().says("modinfo -F version /lib/modules/7.2.6/updates/dkms/knem.ko.xz", "2.1.0\n");
        let finding = check(&newer.machine());
        assert!(found(&finding, "module.version").summary.contains("2.1.0 is installed"));
        let other = newer.file("/sys/module/knem/version", "2.1.0\n");
        assert!(found(&check(&other.machine()), "module.version").summary.contains("this command is"));
    }

    #[test]
    fn kernels_without_the_module_are_listed() {
        let findings = check(&Fake::well().file("/lib/modules/7.3.1/modules.dep", "").machine());
        let kernels = found(&findings, "module.kernels");
        assert_eq!(kernels.state, State::Note);
        assert!(kernels.summary.ends_with("without: 7.3.1"), "{}", kernels.summary);
        assert!(kernels.details[0].contains("dkms: knem/2.0.0"));
    }

    #[test]
    fn a_vendors_file_is_found() {
        let path = "/lib/modules/7.2.6/extra/knem/knem.ko";
        let findings = check(&Fake::well().file(path, "\0version=1.1.4\0").machine());
        let vendor = found(&findings, "module.vendor");
        assert_eq!(vendor.state, State::Note);
        assert!(vendor.details[0].contains(path), "{vendor:?}");
    }

    #[test]
    fn a_vendors_package_goes_when_the_driver_is_there() {
        const VENDOR: &str = "knem 1.1.4.90mlnx3-OFED.23.10 installed\n";
        let remedies = |fake: &Fake| found(&check(&fake.machine()), "module.vendor").remedies.clone();
        let both = format!("{VENDOR}knem2-dkms 2.0.0-1 installed\n");
        assert_eq!(remedies(&Fake::well().packages(&both)), ["apt purge knem"]);
        let missing = Fake::well().packages(&both).says("dkms status -m knem", "knem/2.0.0: added\n");
        assert_eq!(remedies(&missing), ["dkms install knem/2.0.0 -k 7.2.6; then run knem doctor again"]);
        let alone = missing.packages(VENDOR).without("/usr/src/knem-2.0.0").says("dkms status -m knem", "");
        assert_eq!(remedies(&alone), ["apt install knem2-dkms knem-tools; then run knem doctor again"]);
        // A kernel that the driver does not support keeps the vendor's.
        assert_eq!(remedies(&alone.kernel("5.4.0")), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_dkms_does_not_install_over() {
        let path = "/lib/modules/7.2.6/updates/knem/knem.ko";
        let fake = Fake::well()
            .without("/lib/modules/7.2.6/updates")
            .file(path, "\0version=2.0.0\0")
            .file("/lib/modules/7.2.6/modules.dep", "updates/knem/knem.ko:\n")
            .says("dkms status -m knem", "knem/2.0.0: added\n")
            .fails(
                "sh /usr/src/knem-2.0.0/way.sh 7.2.6",
                "knem cannot be built for kernel 7.2.6: another knem.ko is there; remove that file, then: dkms autoinstall\n",
                "",
            );
        let vendor = found(&check(&fake.machine()), "module.vendor").clone();
        assert!(vendor.summary.contains(&format!("{path} (2.0.0) for kernel 7.2.6")), "{vendor:?}");
        assert_eq!(vendor.remedies, [format!("rm {path}; dkms install knem/2.0.0 -k 7.2.6")]);
        let packaged = fake.says(&format!("dpkg-query -S {path}"), &format!("kmod-knem: {path}\n"));
        let vendor = found(&check(&packaged.machine()), "module.vendor").clone();
        assert_eq!(vendor.remedies, ["apt purge kmod-knem; dkms install knem/2.0.0 -k 7.2.6"]);
        let older = fake
            .file(path, "\0version=1.1.4\0")
            .says("sh /usr/src/knem-2.0.0/way.sh 7.2.6", "knem can be built for kernel 7.2.6\n");
        let vendor = found(&check(&older.machine()), "module.vendor").clone();
        assert_eq!(vendor.remedies, [format!("dkms install knem/2.0.0 -k 7.2.6 && rm {path}; depmod -a 7.2.6")]);
    }

    #[test]
    fn a_kernel_without_the_driver_gets_no_command_that_fails() {
        let refuse = |sentence: &str| {
            Fake::well()
                .without("/lib/modules/7.2.6/updates")
                .without("/sys/module/knem")
                .file("/lib/modules/7.2.6/modules.dep", "")
                .fails("sh /usr/src/knem-2.0.0/way.sh 7.2.6", sentence, "")
                .says("dkms status -m knem", "knem/2.0.0: added\n")
        };
        let remedies = |fake: &Fake| {
            let report = crate::doctor::tests::report(fake);
            let of_the_module = ["module", "building", "kernel", "device"];
            let findings = report.findings.into_iter().filter(|finding| of_the_module.contains(&finding.group));
            findings
                .filter(|finding| finding.state == State::Problem)
                .flat_map(|finding| finding.remedies)
                .collect::<std::collections::BTreeSet<_>>()
        };
        let none = refuse("knem cannot be built for kernel 7.2.6: it has no MMU\n").absent(knem::Obstacle::NoModule);
        for remedy in remedies(&none) {
            assert!(remedy.starts_with("see ") || remedy.starts_with("install a newer kernel"), "{remedy}");
        }
        let other = none.file("/lib/modules/6.12.1/modules.dep", "updates/dkms/knem.ko:\n");
        assert!(remedies(&other).contains("restart with kernel 6.12.1, which has the module"));
        let other = other.kernel("5.4.0").absent(knem::Obstacle::NoModule);
        assert!(remedies(&other).iter().all(|remedy| !remedy.contains("dkms ") && !remedy.contains("apt ")));
        let site = refuse(
            "knem cannot be built for kernel 7.2.6: BUILD_EXCLUSIVE_KERNEL_MAX=6.11 is set in /etc/dkms/knem.conf, and this \
             kernel is newer\n",
        );
        let present = found(&check(&site.machine()), "module.present").clone();
        assert_eq!(
            present.remedies,
            ["remove the line BUILD_EXCLUSIVE_KERNEL_MAX= from /etc/dkms/knem.conf; then: dkms install knem/2.0.0 -k 7.2.6"]
        );
    }

    #[test]
    fn loading_at_boot_can_be_off() {
        let hidden = Fake::well().file("/etc/modules-load.d/knem.conf", "");
        assert_eq!(found(&check(&hidden.machine()), "module.autoload").remedies, ["rm /etc/modules-load.d/knem.conf"]);
        let other = hidden.file("/etc/modules-load.d/hpc.conf", "knem\n");
        assert_eq!(found(&check(&other.machine()), "module.autoload").state, State::Ok);
    }

    #[test]
    fn parameters_are_checked() {
        let wrong = Fake::well().file("/etc/modprobe.d/knem.conf", "options knem memlok=0\n");
        let findings = check(&wrong.machine());
        assert!(found(&findings, "module.options").summary.contains("memlok in /etc/modprobe.d/knem.conf"));
        let changed = Fake::well().file("/sys/module/knem/parameters/memlock", "0\n");
        let findings = check(&changed.machine());
        assert!(found(&findings, "module.options").summary.ends_with("memlock=0"));
    }
}
