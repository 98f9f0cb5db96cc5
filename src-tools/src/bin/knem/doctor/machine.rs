// SPDX-License-Identifier: CECILL-B
//! The kind of machine, which changes the meaning of the other findings.

use super::finding::Finding;
use crate::machine::Machine;

const KIND: &str = "machine.kind";

/// The findings of this group.
pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let kernel = format!("kernel {}", machine.kernel);
    if machine.is_wsl() {
        return vec![Finding::note(KIND, format!("this is the Windows Subsystem for Linux, {kernel}"))
            .means("Microsoft's kernel has no headers to build against: the module needs a kernel of your own")
            .remedy("set kernel= in .wslconfig to a kernel with CONFIG_RUST and modules, then: wsl --shutdown")];
    }
    if let Some(kind) = machine.container() {
        let finding = match machine.facts {
            Some(_) => Finding::ok(KIND, format!("this is a container ({kind}) that has the device, {kernel}")),
            None => Finding::note(KIND, format!("this is a container ({kind}) without the device, {kernel}")),
        };
        return vec![finding
            .means("module, node and udev rule belong to the host: fix findings about them there")
            .remedy(
                "docker, podman: --device /dev/knem --group-add keep-groups; apptainer has the host's /dev as a rule",
            )];
    }
    if machine.has_udev() {
        return vec![Finding::ok(KIND, format!("{kernel}, with udev"))];
    }
    vec![Finding::note(KIND, format!("{kernel}; udev is not running"))
        .means("nothing sets the group of the device node when the module is loaded: see device.node")]
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::doctor::finding::State;
    use crate::machine::fake::Fake;

    #[test]
    fn a_usual_machine() {
        assert_eq!(check(&Fake::well().machine())[0].state, State::Ok);
    }

    #[test]
    fn a_container_with_and_without_the_device() {
        let container = Fake::new().file("/.dockerenv", "");
        assert_eq!(check(&container.machine())[0].state, State::Note);
        let found = check(&container.opens().machine());
        assert_eq!(found[0].state, State::Ok);
        assert!(found[0].summary.contains("docker"), "{:?}", found[0]);
    }

    #[test]
    fn windows() {
        let found = check(&Fake::new().kernel("6.6.87.2-microsoft-standard-WSL2").machine());
        assert_eq!(found[0].state, State::Note);
        assert!(found[0].remedies[0].contains(".wslconfig"));
    }

    #[test]
    fn no_udev() {
        let found = check(&Fake::well().without("/run/udev/control").machine());
        assert!(found[0].summary.contains("udev is not running"), "{:?}", found[0]);
    }
}
