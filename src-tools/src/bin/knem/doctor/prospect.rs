// SPDX-License-Identifier: CECILL-B
//! Whether a kernel can have the module, and the remedy that works if it has none.

use super::kernel::is_too_old;
use crate::machine::driver::is_from;
use crate::machine::modules::ModuleFile;
use crate::machine::{Machine, Ran};

/// The site's settings for DKMS.
const SETTINGS: &str = "/etc/dkms/knem.conf";

/// Whether a kernel can have the module.
pub(super) enum Prospect {
    /// No driver is installed.
    NotInstalled,
    /// The driver's source is deleted.
    Deleted,
    /// The source is there, and DKMS is not.
    NoDkms,
    /// The driver excludes the kernel, or a build requirement is missing.
    Excluded {
        /// The driver's sentence.
        sentence: String,
        /// The remedy that the sentence ends with.
        remedy: Option<String>,
    },
    /// The module can be built; the driver's sentence.
    Possible(String),
    /// The driver's check does not answer.
    Unknown {
        reason: String,
        /// Command that shows more.
        command: Option<String>,
    },
}

impl Prospect {
    /// Runs the driver's own check.
    pub(super) fn of(machine: &Machine, kernel: &str) -> Self {
        let driver = machine.driver();
        let Some(version) = driver.version() else { return Self::NotInstalled };
        if driver.is_without_source() {
            return Self::Deleted;
        }
        if machine.find("dkms").is_none() {
            return Self::NoDkms;
        }
        let script = format!("/usr/src/knem-{version}/way.sh");
        match machine.run("sh", &[&script, kernel]) {
            Ran::Ended { success, output, complaint } => {
                let said = if output.trim().is_empty() { complaint } else { output };
                let first = said.lines().next().unwrap_or_default();
                if !success {
                    let (what, remedy) = split(first);
                    return Self::Excluded { sentence: what.to_owned(), remedy: remedy.map(str::to_owned) };
                }
                Self::Possible(first.to_owned())
            }
            Ran::NotThere => Self::Unknown { reason: format!("{script} cannot be run"), command: None },
            Ran::TooLong => Self::Unknown {
                reason: format!("{script} {kernel} took too long"),
                command: Some(format!("sh {script} {kernel}")),
            },
        }
    }
}

/// Splits a sentence into the cause and the remedy at its end.
fn split(sentence: &str) -> (&str, Option<&str>) {
    const BEGINNINGS: [&str; 6] = ["apt ", "dnf ", "zypper ", "pacman ", "install ", "remove "];
    match sentence.rsplit_once("; ") {
        Some((what, remedy)) if BEGINNINGS.iter().any(|beginning| remedy.starts_with(beginning)) => {
            (what, Some(remedy))
        }
        _ => (sentence, None),
    }
}

/// Returns the remedy that gets the module for a kernel, or else another kernel that has it.
pub(super) fn remedy(machine: &Machine, kernel: &str) -> String {
    fix(machine, kernel).unwrap_or_else(|| elsewhere(machine, kernel))
}

/// Returns the remedy that gets the module for a kernel; `None` if the kernel cannot have it.
pub(super) fn fix(machine: &Machine, kernel: &str) -> Option<String> {
    if is_too_old(kernel) {
        return None;
    }
    Some(match Prospect::of(machine, kernel) {
        Prospect::NotInstalled => machine.get(&["knem2-dkms"]),
        Prospect::Deleted => machine.reinstall(),
        Prospect::NoDkms => machine.get(&["dkms"]),
        Prospect::Possible(_) | Prospect::Unknown { .. } => build(machine, kernel),
        Prospect::Excluded { sentence, remedy } => {
            let rivals = rivals(machine, kernel);
            let rival = rivals.first().filter(|rival| rival.blocks);
            if let Some(command) = rival.and_then(|rival| rival.removal(machine, kernel)) {
                return Some(command);
            }
            match setting(&sentence) {
                Some(setting) => {
                    format!("remove the line {setting}= from {SETTINGS}; then: {}", build(machine, kernel))
                }
                None => remedy?,
            }
        }
    })
}

/// Returns the site's setting that a sentence names as the cause.
fn setting(sentence: &str) -> Option<&str> {
    let (before, _) = sentence.split_once(&format!(" set in {SETTINGS}"))?;
    before.rsplit(' ').find_map(|word| word.split_once('=')).map(|(name, _)| name)
}

/// Returns the remedy for a kernel that cannot have the module: another kernel.
fn elsewhere(machine: &Machine, kernel: &str) -> String {
    let has = |other: &String| other != kernel && machine.module_files(other).iter().any(|file| file.chosen);
    match machine.kernels().into_iter().rev().find(has) {
        Some(other) => format!("restart with kernel {other}, which has the module"),
        None => "install a newer kernel of your distribution and its headers, then restart".to_owned(),
    }
}

/// Returns the commands that build and install the module.
fn build(machine: &Machine, kernel: &str) -> String {
    let driver = machine.driver();
    let version = driver.version().unwrap_or_default();
    let install = format!("dkms install knem/{version} -k {kernel}");
    if !driver.is_known() {
        format!("dkms add knem/{version}; {install}")
    } else if driver.is_installed_for(kernel) {
        // The file was deleted: DKMS would find nothing to do.
        format!("dkms uninstall knem/{version} -k {kernel}; {install}")
    } else {
        install
    }
}

/// Returns the commands that add the driver to DKMS, and build it for the running kernel if possible.
pub(super) fn add(machine: &Machine) -> String {
    match Prospect::of(machine, &machine.kernel) {
        Prospect::Possible(_) => build(machine, &machine.kernel),
        _ => format!("dkms add knem/{}", machine.driver().version().unwrap_or_default()),
    }
}

/// Another knem.ko of a kernel.
pub(super) struct Rival {
    pub(super) path: String,
    pub(super) version: String,
    /// DKMS does not install over it.
    pub(super) blocks: bool,
}

/// Returns the kernel's knem.ko files that are not the driver's. DKMS does not install over those of its version or a
/// newer one.
pub(super) fn rivals(machine: &Machine, kernel: &str) -> Vec<Rival> {
    let driver = machine.driver();
    let ours = driver.version();
    let by_dkms = |file: &ModuleFile| {
        // Distributions with RPM install it to extra.
        let extra = format!("/lib/modules/{kernel}/extra/knem.ko");
        file.path.contains("/updates/dkms/") || file.path.starts_with(&extra) && driver.is_installed_for(kernel)
    };
    let files = machine.module_files(kernel).into_iter().filter(|file| !by_dkms(file));
    let rival = |file: ModuleFile| {
        let version = machine.describe(&file.path).version.unwrap_or_default();
        let blocks = !version.is_empty() && ours.is_some_and(|ours| is_from(&version, ours));
        Rival { path: file.path, version, blocks }
    };
    let mut rivals: Vec<Rival> = files.map(rival).collect();
    rivals.sort_by_key(|rival| !rival.blocks);
    rivals
}

impl Rival {
    /// Returns the command that removes it and leaves the kernel with the driver's module; `None` if the kernel cannot
    /// have that.
    pub(super) fn removal(&self, machine: &Machine, kernel: &str) -> Option<String> {
        let driver = machine.driver();
        driver.version()?;
        let remove = match machine.owner(&self.path) {
            Some(package) => machine.removal(&[&package]),
            None => format!("rm {}", self.path),
        };
        if driver.is_installed_for(kernel) {
            return Some(format!("{remove}; depmod -a {kernel}"));
        }
        if driver.is_without_source() {
            return None;
        }
        if self.blocks {
            // The driver's check names this file as the cause, or another one, which would remain.
            return Some(format!("{remove}; {}", build(machine, kernel)));
        }
        matches!(Prospect::of(machine, kernel), Prospect::Possible(_))
            .then(|| format!("{} && {remove}; depmod -a {kernel}", build(machine, kernel)))
    }
}
