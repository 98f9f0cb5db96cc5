// SPDX-License-Identifier: CECILL-B
//! The module's files: which kernels have one, and their modinfo.

use crate::machine::Machine;

/// Depth of the search below a kernel's directory of modules.
const DEPTH: usize = 12;

/// A file of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModuleFile {
    /// Its path.
    pub(crate) path: String,
    /// It is the one that modprobe loads.
    pub(crate) chosen: bool,
}

/// Modinfo of a file of the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// Version of the module.
    pub(crate) version: Option<String>,
    /// Owner of the key that signed it.
    pub(crate) signer: Option<String>,
    /// It has a signature; `None` if that is not known.
    pub(crate) signed: Option<bool>,
}

impl Machine {
    /// Lists the kernels that have a directory of modules, oldest first.
    pub(crate) fn kernels(&self) -> Vec<String> {
        let is_kernel = |name: &String| {
            let directory = format!("/lib/modules/{name}");
            ["modules.dep", "modules.builtin", "kernel"].iter().any(|file| self.exists(&format!("{directory}/{file}")))
        };
        let mut kernels: Vec<String> = self.names("/lib/modules").into_iter().filter(is_kernel).collect();
        kernels.sort_by_key(|name| numbers(name));
        kernels
    }

    /// Returns the version of the driver's source in /usr/src; the newest, if there are several.
    pub(super) fn source_version(&self) -> Option<String> {
        let trees = self.names("/usr/src").into_iter().filter_map(|name| name.strip_prefix("knem-").map(str::to_owned));
        trees
            .filter(|version| self.exists(&format!("/usr/src/knem-{version}/way.sh")))
            .max_by_key(|version| numbers(version))
    }

    /// Lists a kernel's files of the module, the chosen one first.
    pub(crate) fn module_files(&self, kernel: &str) -> Vec<ModuleFile> {
        let directory = format!("/lib/modules/{kernel}");
        let mut files = Vec::new();
        let dependencies = self.text(&format!("{directory}/modules.dep")).unwrap_or_default();
        for line in dependencies.lines() {
            let path = line.split(':').next().unwrap_or_default();
            if is_module(path.rsplit('/').next().unwrap_or_default()) {
                let path = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
                files.push(ModuleFile { path, chosen: true });
            }
        }
        self.search(&directory, DEPTH, &mut files);
        files
    }

    fn search(&self, directory: &str, depth: usize, files: &mut Vec<ModuleFile>) {
        for name in self.names(directory) {
            let path = format!("{directory}/{name}");
            if is_module(&name) && !files.iter().any(|file| file.path == path) {
                files.push(ModuleFile { path, chosen: false });
            } else if depth > 0 && self.is_directory(&path) && !self.is_link(&path) {
                self.search(&path, depth - 1, files);
            }
        }
    }

    /// How the Rust part of the module was built, and why so, as in `object: kernel built without CONFIG_RUST`: of the
    /// loaded module, or else of the file that modprobe takes. `None` for another driver.
    pub(crate) fn rust_part(&self) -> Option<String> {
        let loaded = self.text("/proc/driver/knem/info").unwrap_or_default();
        let shown = loaded.lines().find_map(|line| line.strip_prefix("rust ")).map(str::to_owned);
        let file = || self.module_files(&self.kernel).into_iter().find(|file| file.chosen);
        shown
            .or_else(|| self.ask("modinfo", &["-F", "rust", &file()?.path]))
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
    }

    /// Returns the modinfo of a file, by the program modinfo, or from the file itself if that is missing and the file
    /// is not compressed.
    pub(crate) fn describe(&self, path: &str) -> Description {
        let field = |name| self.ask("modinfo", &["-F", name, path]).map(|text| text.trim().to_owned());
        if let Some(version) = field("version") {
            let signer = field("signer").filter(|signer| !signer.is_empty());
            let signed = Some(signer.is_some() || field("sig_id").is_some_and(|kind| !kind.is_empty()));
            return Description { version: Some(version).filter(|version| !version.is_empty()), signer, signed };
        }
        if path.ends_with(".ko") {
            self.bytes(path).map(|bytes| described_by(&bytes)).unwrap_or_default()
        } else {
            Description::default()
        }
    }
}

/// Whether this is a name of the module's file.
fn is_module(name: &str) -> bool {
    matches!(name, "knem.ko" | "knem.ko.xz" | "knem.ko.gz" | "knem.ko.zst")
}

/// Whether a module of this version is the original driver, or a vendor's build of it.
pub(crate) fn is_original(version: &str) -> bool {
    version.starts_with("0.") || version.starts_with("1.")
}

/// Parses the modinfo of a file that is not compressed: strings of keys and values, and a marker at the end.
fn described_by(bytes: &[u8]) -> Description {
    const SIGNED: &[u8] = b"~Module signature appended~\n";
    let version = bytes.split(|byte| *byte == 0).find_map(|string| string.strip_prefix(b"version="));
    Description {
        version: version.map(|version| String::from_utf8_lossy(version).into_owned()),
        signer: None,
        signed: Some(bytes.ends_with(SIGNED)),
    }
}

/// Returns a sort key of a kernel's release: 7.10 sorts after 7.9.
pub(crate) fn numbers(release: &str) -> (Vec<u64>, String) {
    let numbers = release.split(|character: char| !character.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (numbers.collect(), release.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    #[test]
    fn kernels_are_sorted_by_number() {
        let machine = Fake::new()
            .file("/lib/modules/7.10.1/modules.dep", "")
            .file("/lib/modules/7.9.3/modules.builtin", "")
            .file("/lib/modules/leftover/build/x", "")
            .machine();
        assert_eq!(machine.kernels(), ["7.9.3", "7.10.1"]);
    }

    #[test]
    fn the_chosen_file_is_that_of_depmod() {
        let machine = Fake::new()
            .file("/lib/modules/7.2.6/modules.dep", "kernel/fs/ext4.ko:\nupdates/dkms/knem.ko.xz: kernel/x.ko\n")
            .file("/lib/modules/7.2.6/updates/dkms/knem.ko.xz", "")
            .file("/lib/modules/7.2.6/extra/knem/knem.ko", "")
            .machine();
        let files = machine.module_files("7.2.6");
        let found: Vec<_> = files.iter().map(|file| (file.path.rsplit('/').next().unwrap(), file.chosen)).collect();
        assert_eq!(found, [("knem.ko.xz", true), ("knem.ko", false)]);
    }

    #[test]
    fn a_file_tells_its_version_without_modinfo() {
        let text = "\u{7f}ELF\0license=GPL\0version=2.0.0\0srcversion=X\0~Module signature appended~\n";
        let machine = Fake::new().file("/m/knem.ko", text).machine();
        let description = machine.describe("/m/knem.ko");
        assert_eq!(description.version.as_deref(), Some("2.0.0"));
        assert_eq!(description.signed, Some(true));
        assert_eq!(machine.describe("/m/knem.ko.xz"), Description::default());
    }

    #[test]
    fn modinfo_is_asked_first() {
        let machine = Fake::new().says("modinfo -F version /m/knem.ko.xz", "1.1.4\n").machine();
        let description = machine.describe("/m/knem.ko.xz");
        assert_eq!(description.version.as_deref(), Some("1.1.4"));
        assert_eq!(description.signed, Some(false));
        assert!(is_original("1.1.4") && !is_original("2.0.0"));
    }
}
