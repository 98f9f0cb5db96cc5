// SPDX-License-Identifier: CECILL-B
//! The running kernel: its series, and whether it accepts the module's signature.

use super::finding::Finding;
use super::prospect::{self, Prospect};
use crate::machine::{Machine, Ran, Text};

/// The workspace's list of kernel series, which is the only one.
const WORKSPACE: &str = include_str!("../../../../../Cargo.toml");

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    if machine.container().is_some() {
        return Vec::new();
    }
    let secure = Security::of(machine);
    vec![series(machine), secure_boot(&secure), signature(machine, &secure)]
}

/// The kernel series that this release is tested on, oldest first.
fn supported() -> Vec<&'static str> {
    let list = WORKSPACE.lines().find_map(|line| line.strip_prefix("kernel-series = ")).unwrap_or_default();
    list.trim_matches(['[', ']']).split(',').map(|series| series.trim().trim_matches('"')).collect()
}

/// Whether a kernel is older than every supported series.
pub(super) fn is_too_old(kernel: &str) -> bool {
    numbers(&series_of(kernel)) < numbers(supported().first().unwrap_or(&""))
}

/// `6.12` of `6.12.107+deb13-amd64`.
fn series_of(kernel: &str) -> String {
    let mut parts = kernel.split(|character: char| !character.is_ascii_digit());
    format!("{}.{}", parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

fn series(machine: &Machine) -> Finding {
    const ID: &str = "kernel.series";
    let supported = supported();
    let (oldest, newest) = (supported.first().unwrap_or(&""), supported.last().unwrap_or(&""));
    let series = series_of(&machine.kernel);
    if is_too_old(&machine.kernel) {
        return Finding::problem(
            ID,
            format!("kernel {series} is older than {oldest}, the first that the driver supports"),
        )
        .means("the module is not built for this kernel")
        .remedy(prospect::remedy(machine, &machine.kernel));
    }
    if numbers(&series) > numbers(newest) && !machine.exists("/sys/module/knem") {
        return Finding::note(
            ID,
            format!("kernel {series} is newer than {newest}, the last that this release was tested on"),
        )
        .means("the build of the module may fail")
        .remedy("if it fails, install a newer release of knem2-dkms");
    }
    Finding::ok(ID, format!("kernel {series} is supported (from {oldest} on; tested up to {newest})"))
}

fn numbers(series: &str) -> Vec<u64> {
    series.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// Settings that decide whether the kernel loads unsigned modules.
struct Security {
    /// `None`: the firmware does not support it, or does not report it.
    secure_boot: Option<bool>,
    /// The kernel loads signed modules only.
    enforced: bool,
    /// Lockdown's mode, if there is one.
    lockdown: Option<String>,
    /// Reason why a setting could not be read.
    unseen: Option<String>,
}

impl Security {
    fn of(machine: &Machine) -> Self {
        const VARIABLES: &str = "/sys/firmware/efi/efivars";
        let variable = machine.names(VARIABLES).into_iter().find(|name| name.starts_with("SecureBoot-"));
        // Four bytes of attributes, and one of value.
        let secure_boot = variable
            .and_then(|name| machine.bytes(&format!("{VARIABLES}/{name}")))
            .and_then(|bytes| bytes.get(4).map(|byte| *byte == 1));
        let (lockdown, unseen) = match machine.read("/sys/kernel/security/lockdown") {
            Text::Read(text) => {
                let mode = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
                (mode.filter(|mode| *mode != "none").map(str::to_owned), None)
            }
            Text::Missing => (None, None),
            Text::Unreadable(reason) => (None, Some(format!("/sys/kernel/security/lockdown: {reason}"))),
        };
        let sig_enforce = machine.word("/sys/module/module/parameters/sig_enforce").is_some_and(|word| word == "Y");
        Self { secure_boot, enforced: sig_enforce || lockdown.is_some(), lockdown, unseen }
    }

    /// Whether a module without a trusted signature is refused. Secure Boot implies lockdown in distributions' kernels.
    fn is_strict(&self) -> bool {
        self.enforced || self.secure_boot == Some(true)
    }
}

fn secure_boot(secure: &Security) -> Finding {
    const ID: &str = "kernel.secure_boot";
    let boot = match secure.secure_boot {
        Some(true) => "Secure Boot is on",
        Some(false) => "Secure Boot is off",
        None => "there is no Secure Boot",
    };
    let lockdown = secure.lockdown.as_deref().map_or_else(String::new, |mode| format!(", lockdown is {mode}"));
    let enforced =
        if secure.is_strict() { ": modules must be signed by a trusted key" } else { ": modules need no signature" };
    let finding = Finding::ok(ID, format!("{boot}{lockdown}{enforced}"));
    match &secure.unseen {
        Some(unseen) => finding.detail(format!("not known: {unseen}")),
        None => finding,
    }
}

fn signature(machine: &Machine, secure: &Security) -> Finding {
    const ID: &str = "kernel.signature";
    if machine.exists("/sys/module/knem") {
        return Finding::ok(ID, "the kernel has loaded the module");
    }
    if !secure.is_strict() {
        return Finding::ok(ID, "no signature is needed");
    }
    let Some(file) = machine.module_files(&machine.kernel).into_iter().next() else {
        return Finding::unknown(ID, "there is no module file to check");
    };
    let description = machine.describe(&file.path);
    if description.signed == Some(false) {
        let kernel = &machine.kernel;
        let finding = Finding::problem(ID, "the module is not signed")
            .means("the kernel refuses it: Key was rejected by service");
        return match (Prospect::of(machine, kernel), machine.driver().version()) {
            (Prospect::Possible(_), Some(version)) => finding.remedy(format!(
                "{}; dkms remove knem/{version} -k {kernel}; dkms install knem/{version} -k {kernel}",
                machine.get(&["openssl"])
            )),
            // Built again, it is signed.
            _ => finding.remedy(prospect::remedy(machine, kernel)),
        };
    }
    match asked_of_script(machine).or_else(|| asked_of_mokutil(machine)) {
        Some(finding) => finding,
        None => Finding::unknown(ID, "the module is signed; whether this machine trusts the key is not known without mokutil")
            .remedy("modprobe knem: if the key is not trusted, it says 'Key was rejected by service'; docs/admin.md has what to do then"),
    }
}

/// Returns what the driver's own script reports about the key that DKMS signs with; `None` if it has nothing to report.
fn asked_of_script(machine: &Machine) -> Option<Finding> {
    const ID: &str = "kernel.signature";
    let script = format!("/usr/src/knem-{}/secure-boot.sh", machine.driver().source.as_deref()?);
    if !machine.exists(&script) {
        return None;
    }
    let Ran::Ended { success: true, output, complaint } = machine.run("sh", &[&script]) else { return None };
    let said = format!("{output}{complaint}");
    let sentence = said.trim().strip_prefix("knem: ").unwrap_or(said.trim());
    if sentence.is_empty() {
        return None;
    }
    // The sentence ends with its remedy.
    let (what, remedy) = sentence.rsplit_once("; ").unwrap_or((sentence, "restart, then run knem doctor again"));
    Some(Finding::problem(ID, what).remedy(remedy))
}

fn asked_of_mokutil(machine: &Machine) -> Option<Finding> {
    const ID: &str = "kernel.signature";
    let places = ["/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub"];
    let certificate = places.into_iter().find(|path| machine.exists(path))?;
    let Ran::Ended { output, complaint, .. } = machine.run("mokutil", &["--test-key", certificate]) else {
        return None;
    };
    let said = format!("{output}{complaint}");
    if said.contains("is already enrolled") {
        return Some(Finding::ok(ID, format!("the module is signed, and the key {certificate} is enrolled")));
    }
    said.contains("is not enrolled").then(|| {
        Finding::problem(ID, format!("the module is signed by a key that this machine does not trust ({certificate})"))
            .means("the kernel refuses it: Key was rejected by service")
            .remedy(format!("mokutil --import {certificate}; then restart, and confirm in the blue screen"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;
    use crate::doctor::tests::{found, states};
    use crate::machine::fake::Fake;

    const VARIABLE: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    const ON: &str = "\u{6}\0\0\0\u{1}";
    const FILE: &str = "/lib/modules/7.2.6/updates/dkms/knem.ko.xz";

    /// Secure Boot is on, and the module not loaded.
    fn strict() -> Fake {
        Fake::well().file(VARIABLE, ON).without("/sys/module/knem")
    }

    #[test]
    fn all_ok() {
        let findings = check(&Fake::well().machine());
        assert!(states(&findings).iter().all(|state| *state == State::Ok), "{findings:#?}");
    }

    #[test]
    fn the_list_of_series_is_the_workspaces() {
        let list = supported();
        assert!(list.len() > 1 && list.iter().all(|series| numbers(series).len() == 2), "{list:?}");
    }

    #[test]
    fn old_and_new_kernels() {
        let state = |fake: Fake| found(&check(&fake.machine()), "kernel.series").state;
        assert_eq!(state(Fake::new().kernel("5.4.0-200-generic")), State::Problem);
        for supported in ["5.10.0-32-amd64", "5.14.0-611.el9.x86_64", "6.12.107+deb13-amd64", "7.2.6"] {
            assert_eq!(state(Fake::new().kernel(supported)), State::Ok, "{supported}");
        }
        let new = found(&check(&Fake::new().kernel("99.1.0").machine()), "kernel.series").clone();
        assert_eq!(new.state, State::Note);
        assert!(new.remedies[0].contains("a newer release"));
        assert_eq!(state(Fake::well().kernel("99.1.0")), State::Ok, "it is loaded");
    }

    #[test]
    fn what_enforces_signatures() {
        let summary = |fake: Fake| found(&check(&fake.machine()), "kernel.secure_boot").summary.clone();
        assert_eq!(summary(Fake::new()), "there is no Secure Boot: modules need no signature");
        assert_eq!(summary(strict()), "Secure Boot is on: modules must be signed by a trusted key");
        let lockdown = Fake::well().file("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        assert!(summary(lockdown).contains("lockdown is integrity: modules must be signed"));
        let enforced = Fake::new().file("/sys/module/module/parameters/sig_enforce", "Y\n");
        assert!(summary(enforced).ends_with("signed by a trusted key"));
    }

    #[test]
    fn an_unsigned_module() {
        let fake = strict().says(&format!("modinfo -F signer {FILE}"), "\n");
        let finding = found(&check(&fake.machine()), "kernel.signature").clone();
        assert_eq!(finding.state, State::Problem);
        assert!(finding.remedies[0].contains("dkms install knem/2.0.0 -k 7.2.6"));
    }

    #[test]
    fn the_scripts_sentence_is_shown() {
        let complaint =
            "knem: Secure Boot is on, and this machine does not trust the key; enrol it: mokutil --import K\n";
        let ran = Ran::Ended { success: true, output: String::new(), complaint: complaint.to_owned() };
        let fake = strict().answers("sh /usr/src/knem-2.0.0/secure-boot.sh", ran);
        let finding = found(&check(&fake.machine()), "kernel.signature").clone();
        assert_eq!(finding.state, State::Problem);
        assert_eq!(finding.remedies, ["enrol it: mokutil --import K"]);
    }

    #[test]
    fn mokutil_knows_the_key() {
        let fake = strict().file("/var/lib/dkms/mok.pub", "");
        assert_eq!(found(&check(&fake.machine()), "kernel.signature").state, State::Unknown);
        let line = "mokutil --test-key /var/lib/dkms/mok.pub";
        let enrolled = fake.fails(line, "/var/lib/dkms/mok.pub is already enrolled\n", "");
        assert_eq!(found(&check(&enrolled.machine()), "kernel.signature").state, State::Ok);
        let missing = fake.says(line, "/var/lib/dkms/mok.pub is not enrolled\n");
        let finding = found(&check(&missing.machine()), "kernel.signature").clone();
        assert!(finding.remedies[0].starts_with("mokutil --import /var/lib/dkms/mok.pub"));
    }

    #[test]
    fn no_module_no_signature() {
        let fake = Fake::new().file(VARIABLE, ON);
        assert_eq!(found(&check(&fake.machine()), "kernel.signature").state, State::Unknown);
    }
}
