// SPDX-License-Identifier: CECILL-B
//! The machine that `knem doctor` and `knem info` inspect: files, programs, the caller, the device.
//!
//! Everything is read, nothing is changed. Files are looked for below a root and programs asked through a trait, so
//! that tests show it any machine they like.

mod caller;
pub(crate) mod commands;
pub(crate) mod driver;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod modules;
mod packages;
pub(crate) mod parameters;
mod surroundings;

use std::cell::OnceCell;
use std::io;
use std::path::{Path, PathBuf};

use knem::{Device, Info, NodeFacts};

pub(crate) use caller::Caller;
pub(crate) use commands::{Commands, Ran};
pub(crate) use driver::Driver;

/// A machine.
pub(crate) struct Machine {
    root: PathBuf,
    commands: Box<dyn Commands>,
    /// Release of the running kernel.
    pub(crate) kernel: String,
    /// The caller.
    pub(crate) caller: Caller,
    /// The device's node.
    pub(crate) node: PathBuf,
    /// Permissions of the node; `None` if it does not exist.
    pub(crate) facts: Option<NodeFacts>,
    /// Result of opening it.
    pub(crate) opened: Result<Info, knem::Error>,
    driver: OnceCell<Driver>,
}

/// The result of reading a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// Its text.
    Read(String),
    /// It does not exist.
    Missing,
    /// It exists, but cannot be read, for this reason.
    Unreadable(String),
}

impl Machine {
    /// Describes this machine, with the node at `path`.
    pub(crate) fn here(path: &Path) -> Self {
        Self {
            root: PathBuf::from("/"),
            commands: Box::new(commands::System),
            kernel: caller::kernel_release(),
            caller: Caller::here(),
            node: path.to_owned(),
            facts: NodeFacts::gather(path).ok(),
            opened: Device::open_at(path).map(|device| device.info()),
            driver: OnceCell::new(),
        }
    }

    /// Returns the installed driver; found out once.
    pub(crate) fn driver(&self) -> &Driver {
        self.driver.get_or_init(|| Driver::of(self))
    }

    /// Returns a path below the root.
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether a file exists.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> Text {
        match std::fs::read(self.path(path)) {
            Ok(bytes) => Text::Read(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Text::Missing
            }
            Err(error) => Text::Unreadable(error.to_string()),
        }
    }

    /// Reads the text of a file; `None` if it does not exist or cannot be read.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        match self.read(path) {
            Text::Read(text) => Some(text),
            _ => None,
        }
    }

    /// Reads the first word of a file, which is usually the value in files of /sys and /proc.
    pub(crate) fn word(&self, path: &str) -> Option<String> {
        self.text(path)?.split_whitespace().next().map(str::to_owned)
    }

    /// Reads the bytes of a file.
    pub(crate) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(path)).ok()
    }

    /// Lists the names in a directory, sorted; none if it cannot be read.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(directory)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Lists the paths of files in a directory whose names have this ending.
    pub(crate) fn files(&self, directory: &str, ending: &str) -> Vec<String> {
        let names = self.names(directory).into_iter().filter(|name| name.ends_with(ending));
        names.map(|name| format!("{directory}/{name}")).collect()
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.path(path).is_dir()
    }

    /// Whether it is a symbolic link.
    pub(crate) fn is_link(&self, path: &str) -> bool {
        self.path(path).is_symlink()
    }

    /// Finds a program.
    pub(crate) fn find(&self, program: &str) -> Option<String> {
        self.commands.find(program)
    }

    /// Runs a program to its end, or to its time limit.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        self.commands.run(program, arguments)
    }

    /// Returns the output of a program, if it succeeds.
    pub(crate) fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        match self.run(program, arguments) {
            Ran::Ended { success: true, output, .. } => Some(output),
            _ => None,
        }
    }

    /// Reads an environment variable, unless it is empty.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.commands.variable(name).filter(|value| !value.is_empty())
    }

    /// Reads the driver's detailed statistics.
    pub(crate) fn statistics(&self) -> Option<String> {
        self.text("/proc/driver/knem/statistics")
    }
}

/// Returns the number of a key, in lines of keys and numbers.
pub(crate) fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    #[test]
    fn files_are_those_below_the_root() {
        let machine = Fake::new().file("/etc/x/b.conf", "1\n").file("/etc/x/a.conf", "two words").machine();
        assert_eq!(machine.files("/etc/x", ".conf"), ["/etc/x/a.conf", "/etc/x/b.conf"]);
        assert_eq!(machine.word("/etc/x/a.conf").as_deref(), Some("two"));
        assert_eq!(machine.read("/etc/x/c.conf"), Text::Missing);
        assert_eq!(machine.read("/etc/x/a.conf/c"), Text::Missing);
        assert!(matches!(machine.read("/etc/x"), Text::Unreadable(_)));
        assert!(machine.names("/nowhere").is_empty());
    }

    #[test]
    fn numbers_have_keys() {
        let text = "pinned_bytes 4096\npinned_bytes_peak 8192\n";
        assert_eq!(number(text, "pinned_bytes"), Some(4096));
        assert_eq!(number(text, "pinned_bytes_peak"), Some(8192));
        assert_eq!(number(text, "pinned"), None);
    }
}
