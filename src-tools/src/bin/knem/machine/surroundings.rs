// SPDX-License-Identifier: CECILL-B
//! The kind of machine: container, Windows, udev; and its memory limits.

use crate::machine::Machine;

impl Machine {
    /// Returns the kind of container, if this is one. Module, node and rules then belong to the host.
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

    /// Whether udev is running.
    pub(crate) fn has_udev(&self) -> bool {
        self.exists("/run/udev/control")
    }

    /// Returns the ceiling of memory pinned through the driver, in bytes: the parameter, or half of the memory.
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

    /// Returns a user's ceiling in bytes, and whether it is the parameter; else it is four fifths of the machine's
    /// ceiling.
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
