// SPDX-License-Identifier: CECILL-B
//! Names of packages on this distribution, by the table that the module's scripts read.

use crate::machine::Machine;

/// The table, which dkms/get.sh reads too.
const TABLE: &str = include_str!("../../../../../dkms/packages.txt");

/// Returns the cells of a line.
fn row(thing: &str) -> Option<Vec<&'static str>> {
    let rows = TABLE.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.into_iter().find(|cells| cells.first() == Some(&thing))
}

/// Returns the column of a word of os-release.
fn column(word: &str) -> Option<usize> {
    Some(match word {
        "debian" => 1,
        "ubuntu" => 2,
        "fedora" | "rhel" | "centos" => 3,
        "suse" | "sles" | "sled" => 4,
        "arch" | "archlinux" => 5,
        word if word.starts_with("opensuse") => 4,
        _ => return None,
    })
}

impl Machine {
    /// The command that installs what is missing: `apt install dkms`. Where the distribution is unknown, or has no
    /// package of it, the things themselves.
    pub(crate) fn get(&self, things: &[&str]) -> String {
        let names = |column: usize| {
            let name = |thing: &&str| row(thing)?.get(column).copied().filter(|name| *name != "-");
            let names: Option<Vec<&str>> = things.iter().map(name).collect();
            let command = row("command")?.get(column)?.replace('~', " ");
            Some(format!("{command} {}", names?.join(" ")))
        };
        self.family().and_then(names).unwrap_or_else(|| format!("install {}", things.join(" ")))
    }

    /// Returns the column of this distribution, by ID or ID_LIKE of os-release, or by its package manager.
    fn family(&self) -> Option<usize> {
        let text = self.text("/etc/os-release").or_else(|| self.text("/usr/lib/os-release")).unwrap_or_default();
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().replace(['"', '\''], "")
        };
        let words = format!("{} {}", field("ID"), field("ID_LIKE"));
        words.split_whitespace().find_map(column).or_else(|| {
            let programs = [("apt-get", 1), ("dnf", 3), ("zypper", 4), ("pacman", 5)];
            programs.into_iter().find_map(|(program, column)| self.find(program).map(|_| column))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::fake::Fake;

    #[test]
    fn names_are_the_distributions() {
        for (os_release, wanted) in [
            ("ID=debian\n", "apt install openssl knem2-dkms"),
            ("ID=ubuntu\nID_LIKE=debian\n", "apt install openssl knem2-dkms"),
            ("ID=fedora\n", "dnf install openssl knem2-dkms"),
            ("NAME=x\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf install openssl knem2-dkms"),
            ("ID='almalinux'\nID_LIKE='rhel centos fedora'\n", "dnf install openssl knem2-dkms"),
            ("ID=\"sles\"\nID_LIKE=\"suse\"\n", "zypper install openssl knem2-dkms"),
            ("ID=\"opensuse-tumbleweed\"\n", "zypper install openssl knem2-dkms"),
            ("ID=arch\n", "install openssl knem2-dkms"),
            ("ID=gentoo\n", "install openssl knem2-dkms"),
        ] {
            let machine = Fake::new().file("/etc/os-release", os_release).machine();
            assert_eq!(machine.get(&["openssl", "knem2-dkms"]), wanted, "{os_release}");
        }
        let arch = Fake::new().file("/usr/lib/os-release", "ID=arch\n").machine();
        assert_eq!(arch.get(&["dkms"]), "pacman -S dkms");
        let unnamed = Fake::new().says("dnf --version", "").machine();
        assert_eq!(unnamed.get(&["dkms"]), "dnf install dkms");
    }
}
