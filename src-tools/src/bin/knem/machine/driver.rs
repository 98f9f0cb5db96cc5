// SPDX-License-Identifier: CECILL-B
//! The driver as the package manager and DKMS know it. A vendor's package may be called knem or knem-dkms too: its
//! version decides.

use crate::machine::modules::{is_original, numbers};
use crate::machine::{Machine, Ran};

/// Names of packages with a KNEM driver, this project's first.
const NAMES: [&str; 5] = ["knem2-dkms", "knem-dkms", "knem", "kmod-knem", "knem-modules"];

/// The program that installs packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manager {
    Apt,
    Dnf,
    Zypper,
    /// None of these.
    Other,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A line of `dkms status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) version: String,
    /// `None`: added, and built for no kernel.
    pub(crate) kernel: Option<String>,
    pub(crate) installed: bool,
}

/// The installed driver.
#[derive(Clone, Debug, Default)]
pub(crate) struct Driver {
    /// This project's package.
    pub(crate) package: Option<Package>,
    /// Packages of another KNEM.
    pub(crate) vendors: Vec<Package>,
    /// The version whose source is in /usr/src.
    pub(crate) source: Option<String>,
    /// Its entries in DKMS; `None` if DKMS is not installed or did not answer.
    pub(crate) dkms: Option<Vec<Entry>>,
}

impl Driver {
    pub(super) fn of(machine: &Machine) -> Self {
        let (ours, mut vendors): (Vec<Package>, Vec<Package>) =
            packages(machine).into_iter().partition(Package::is_ours);
        vendors.retain(|package| is_original(package.upstream()));
        Self { package: ours.into_iter().next(), vendors, source: machine.source_version(), dkms: entries(machine) }
    }

    /// The installed version: the package's, or that of a source or DKMS's entry without a package.
    pub(crate) fn version(&self) -> Option<&str> {
        let entry = || Some(&*self.dkms.as_ref()?.iter().find(|entry| !is_original(&entry.version))?.version);
        self.package.as_ref().map(Package::upstream).or(self.source.as_deref()).or_else(entry)
    }

    /// Whether something is installed whose source was deleted.
    pub(crate) fn is_without_source(&self) -> bool {
        self.version().is_some() && self.source.as_deref() != self.version()
    }

    /// Whether DKMS knows the installed version; true where DKMS did not answer.
    pub(crate) fn is_known(&self) -> bool {
        let known = |entries: &Vec<Entry>| entries.iter().any(|entry| Some(&*entry.version) == self.version());
        self.dkms.as_ref().is_none_or(known)
    }

    /// Whether DKMS has the installed version installed for a kernel.
    pub(crate) fn is_installed_for(&self, kernel: &str) -> bool {
        let mut entries = self.dkms.iter().flatten();
        entries.any(|entry| {
            entry.installed && entry.kernel.as_deref() == Some(kernel) && Some(&*entry.version) == self.version()
        })
    }
}

impl Package {
    /// The version without an epoch and the package's own revision.
    pub(crate) fn upstream(&self) -> &str {
        let version = self.version.split_once(':').map_or(&*self.version, |(_, version)| version);
        version.rsplit_once('-').map_or(version, |(version, _)| version)
    }

    fn is_ours(&self) -> bool {
        self.name == "knem2-dkms" && !is_original(self.upstream())
    }
}

impl Machine {
    /// The program that installs packages here.
    pub(crate) fn manager(&self) -> Manager {
        // Debian may have a dnf, and Fedora an apt.
        let has = |program| self.find(program).is_some();
        match () {
            () if has("apt-get") && self.exists("/etc/debian_version") => Manager::Apt,
            () if has("dnf") => Manager::Dnf,
            () if has("zypper") => Manager::Zypper,
            () => Manager::Other,
        }
    }

    /// Returns the command that installs the driver's package again, with its deleted files.
    pub(crate) fn reinstall(&self) -> String {
        match self.manager() {
            Manager::Apt => "apt reinstall knem2-dkms".to_owned(),
            Manager::Zypper => "zypper install --force knem2-dkms".to_owned(),
            Manager::Dnf | Manager::Other => "dnf reinstall knem2-dkms".to_owned(),
        }
    }

    /// Returns the command that removes packages and nothing else.
    pub(crate) fn removal(&self, packages: &[&str]) -> String {
        let list = packages.join(" ");
        match self.manager() {
            Manager::Apt => format!("apt purge {list}"),
            Manager::Zypper => format!("zypper remove {list}"),
            Manager::Dnf | Manager::Other => format!("dnf remove --noautoremove {list}"),
        }
    }

    /// Returns the package that owns a file.
    pub(crate) fn owner(&self, path: &str) -> Option<String> {
        let name = match self.manager() {
            Manager::Apt => {
                self.ask("dpkg-query", &["-S", path])?.lines().next()?.split([':', ',']).next()?.trim().to_owned()
            }
            _ => self.ask("rpm", &["-q", "-f", "--qf", "%{NAME}\\n", path])?.lines().next()?.trim().to_owned(),
        };
        Some(name).filter(|name| !name.is_empty() && !name.contains(' '))
    }
}

/// Returns every installed package with a KNEM driver.
fn packages(machine: &Machine) -> Vec<Package> {
    let asked = match machine.manager() {
        Manager::Apt => {
            let format = "-f=${Package} ${Version} ${db:Status-Status}\\n";
            machine.run("dpkg-query", &[&["-W", format], &NAMES[..]].concat())
        }
        _ => machine.run("rpm", &[&["-q", "--qf", "%{NAME} %{VERSION} installed\\n"], &NAMES[..]].concat()),
    };
    // Both fail if one of the packages is not installed, and list the others.
    let Ran::Ended { output, .. } = asked else { return Vec::new() };
    let line = |line: &str| {
        let [name, version, "installed"] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
        NAMES.contains(&name).then(|| Package { name: name.to_owned(), version: version.to_owned() })
    };
    output.lines().filter_map(line).collect()
}

/// Parses the output of `dkms status`: `knem/2.0.0, 6.12.1, x86_64: installed`, before DKMS 3 `knem, 2.0.0, ...`, and
/// `knem/2.0.0: added`.
fn entries(machine: &Machine) -> Option<Vec<Entry>> {
    let Ran::Ended { output, .. } = machine.run("dkms", &["status", "-m", "knem"]) else { return None };
    let line = |line: &str| {
        let (what, state) = line.strip_prefix("knem")?.rsplit_once(": ")?;
        let mut parts = what.trim_start_matches(['/', ',', ' ']).split(", ");
        let version = parts.next()?.to_owned();
        Some(Entry { version, kernel: parts.next().map(str::to_owned), installed: state.starts_with("installed") })
    };
    Some(output.lines().filter_map(line).collect())
}

/// Whether a version is the same as another one or newer.
pub(crate) fn is_from(version: &str, other: &str) -> bool {
    numbers(version).0 >= numbers(other).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    const STATUS: &str = "dkms status -m knem";

    #[test]
    fn the_package_is_asked_for_and_not_the_source() {
        let deleted = Fake::well().without("/usr/src/knem-2.0.0").machine();
        assert_eq!(deleted.driver().version(), Some("2.0.0"));
        assert!(deleted.driver().is_without_source() && deleted.driver().is_known());
        assert!(!Fake::well().machine().driver().is_without_source());
        assert_eq!(Fake::new().machine().driver().version(), None);
    }

    #[test]
    fn a_vendors_package_is_not_ours() {
        let apt = |output: &str| Fake::well().without("/usr/src/knem-2.0.0").packages(output).machine();
        let machine = apt("knem 1.1.4.90mlnx3-OFED.23.10 installed\nknem-dkms 1.1.4.90mlnx3-1 installed\n");
        assert_eq!((machine.driver().package.as_ref(), machine.driver().vendors.len()), (None, 2));
        let machine = apt("knem2-dkms 2.0.0-1 deinstalled\nknem2-dkms 2.0.1~rc1-1 installed\n");
        assert_eq!(machine.driver().version(), Some("2.0.1~rc1"));
        let rpm = |output: &str| {
            let line = "rpm -q --qf %{NAME} %{VERSION} installed\\n knem2-dkms knem-dkms knem kmod-knem knem-modules";
            Fake::new().says("dnf --version", "").fails(line, output, "").machine()
        };
        let machine = rpm("package knem is not installed\nknem2-dkms 2.0.0 installed\nkmod-knem 1.1.4 installed\n");
        assert_eq!(machine.driver().version(), Some("2.0.0"));
        assert_eq!(machine.driver().vendors[0].name, "kmod-knem");
        assert_eq!(rpm("knem-dkms 1.1.4.90mlnx3 installed\n").driver().package, None);
    }

    #[test]
    fn both_forms_of_dkms_are_read() {
        let machine = |text| Fake::well().says(STATUS, text).machine();
        for text in ["knem/2.0.0, 7.2.6, x86_64: installed\n", "knem, 2.0.0, 7.2.6, x86_64: installed\n"] {
            assert!(machine(text).driver().is_installed_for("7.2.6"), "{text}");
            assert!(!machine(text).driver().is_installed_for("7.2.7"), "{text}");
        }
        let added = machine("knem/2.0.0: added\n");
        assert!(added.driver().is_known() && !added.driver().is_installed_for("7.2.6"));
        assert!(!machine("").driver().is_known());
        assert!(!machine("knem/1.1.4.90mlnx3, 7.2.6, x86_64: installed\n").driver().is_known());
    }

    #[test]
    fn commands_are_the_package_managers() {
        let dnf = Fake::new().says("dnf --version", "").machine();
        assert_eq!(
            (&*dnf.reinstall(), &*dnf.removal(&["x"])),
            ("dnf reinstall knem2-dkms", "dnf remove --noautoremove x")
        );
        let apt = Fake::well().says("dpkg-query -S /m/knem.ko", "kmod-knem: /m/knem.ko\n").machine();
        assert_eq!(apt.reinstall(), "apt reinstall knem2-dkms");
        assert_eq!((apt.owner("/m/knem.ko").as_deref(), apt.owner("/x")), (Some("kmod-knem"), None));
        let zypper = Fake::new().says("zypper --version", "").machine();
        assert_eq!(zypper.reinstall(), "zypper install --force knem2-dkms");
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_from("2.0.0", "2.0.0") && is_from("2.10", "2.9") && !is_from("1.1.4.90mlnx3", "2.0.0"));
    }
}
