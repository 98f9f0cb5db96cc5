// SPDX-License-Identifier: CECILL-B
//! What kind of machine it is: real or virtual, a container, Windows.

use crate::machine::Machine;

impl Machine {
    /// The kind of container this is, if it is one. Module, node and rules are its host's then.
    pub(crate) fn container(&self) -> Option<String> {
        if let Some(kind) = self.word("/run/systemd/container") {
            return Some(kind);
        }
        for (path, kind) in
            [("/run/.containerenv", "podman"), ("/.dockerenv", "docker"), ("/.singularity.d", "apptainer")]
        {
            if self.exists(path) {
                return Some(kind.to_owned());
            }
        }
        self.variable("container")
    }

    /// Whether the kernel is that of the Windows Subsystem for Linux.
    pub(crate) fn is_wsl(&self) -> bool {
        self.kernel.to_lowercase().contains("microsoft")
    }

    /// Whether udev makes the nodes here.
    pub(crate) fn has_udev(&self) -> bool {
        self.exists("/run/udev/control")
    }

    /// Most memory that may be pinned through the driver, in bytes: the parameter's, or half of the memory.
    pub(crate) fn pinned_ceiling(&self) -> Option<u64> {
        let mebibytes: u64 = self.word("/sys/module/knem/parameters/max_pinned_mb")?.parse().ok()?;
        if mebibytes > 0 {
            return mebibytes.checked_mul(1 << 20);
        }
        let text = self.text("/proc/meminfo")?;
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024 / 2)
    }

    /// How much a user may pin, in bytes, and whether the parameter for that says so; else it is four fifths of the machine's ceiling.
    pub(crate) fn user_pinned_ceiling(&self) -> Option<(u64, bool)> {
        let mebibytes: u64 = self.word("/sys/module/knem/parameters/max_user_pinned_mb")?.parse().ok()?;
        if mebibytes > 0 {
            return Some((mebibytes.checked_mul(1 << 20)?, true));
        }
        Some((self.pinned_ceiling()? / 5 * 4, false))
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::fake::Fake;

    #[test]
    fn containers_are_recognised() {
        assert_eq!(Fake::new().machine().container(), None);
        assert_eq!(Fake::new().file("/run/systemd/container", "lxc\n").machine().container().as_deref(), Some("lxc"));
        assert_eq!(Fake::new().file("/.dockerenv", "").machine().container().as_deref(), Some("docker"));
        assert_eq!(Fake::new().file("/run/.containerenv", "").machine().container().as_deref(), Some("podman"));
        assert_eq!(Fake::new().variable("container", "oci").machine().container().as_deref(), Some("oci"));
    }

    #[test]
    fn the_ceiling_is_half_of_the_memory_or_what_is_set() {
        let machine = Fake::new().file("/proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n");
        let parameter = "/sys/module/knem/parameters/max_pinned_mb";
        assert_eq!(machine.machine().pinned_ceiling(), None);
        assert_eq!(machine.file(parameter, "0\n").machine().pinned_ceiling(), Some(1 << 20));
        assert_eq!(machine.file(parameter, "3\n").machine().pinned_ceiling(), Some(3 << 20));
        let user = "/sys/module/knem/parameters/max_user_pinned_mb";
        assert_eq!(machine.machine().user_pinned_ceiling(), None);
        let machine = machine.file(parameter, "5\n");
        assert_eq!(machine.file(user, "0\n").machine().user_pinned_ceiling(), Some((4 << 20, false)));
        assert_eq!(machine.file(user, "2\n").machine().user_pinned_ceiling(), Some((2 << 20, true)));
    }
}
