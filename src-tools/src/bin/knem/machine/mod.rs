// SPDX-License-Identifier: CECILL-B
//! The machine as `knem doctor` and `knem info` look at it: files, programs, the caller, the device.
//!
//! Everything is read, nothing is changed. Files are looked for below a root and programs asked through a trait, so that tests
//! show it any machine they like.

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
    /// Who asks.
    pub(crate) caller: Caller,
    /// The device's node.
    pub(crate) node: PathBuf,
    /// What there is to know about the node; `None` if there is none.
    pub(crate) facts: Option<NodeFacts>,
    /// What came of opening it.
    pub(crate) opened: Result<Info, knem::Error>,
    driver: OnceCell<Driver>,
}

/// What came of reading a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// Its text.
    Read(String),
    /// It is not there.
    Missing,
    /// It is there and cannot be read: the reason.
    Unreadable(String),
}

impl Machine {
    /// This machine, and the node at `path`.
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

    /// What is installed of the driver; asked once.
    pub(crate) fn driver(&self) -> &Driver {
        self.driver.get_or_init(|| Driver::of(self))
    }

    /// A place in the file system.
    fn place(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether something is there.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.place(path).symlink_metadata().is_ok()
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> Text {
        match std::fs::read(self.place(path)) {
            Ok(bytes) => Text::Read(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Text::Missing
            }
            Err(error) => Text::Unreadable(error.to_string()),
        }
    }

    /// The text of a file, if it is there and can be read.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        match self.read(path) {
            Text::Read(text) => Some(text),
            _ => None,
        }
    }

    /// The first word of a file: what files in /sys and /proc have to say, as a rule.
    pub(crate) fn word(&self, path: &str) -> Option<String> {
        self.text(path)?.split_whitespace().next().map(str::to_owned)
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.place(path)).ok()
    }

    /// The names in a directory, sorted; none if it cannot be read.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.place(directory)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The files in a directory whose names end so, as paths.
    pub(crate) fn files(&self, directory: &str, ending: &str) -> Vec<String> {
        let names = self.names(directory).into_iter().filter(|name| name.ends_with(ending));
        names.map(|name| format!("{directory}/{name}")).collect()
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.place(path).is_dir()
    }

    /// Whether it is a symbolic link.
    pub(crate) fn is_link(&self, path: &str) -> bool {
        self.place(path).is_symlink()
    }

    /// Where a program is.
    pub(crate) fn find(&self, program: &str) -> Option<String> {
        self.commands.find(program)
    }

    /// Runs a program to its end, or to its time limit.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        self.commands.run(program, arguments)
    }

    /// What a program writes, if it succeeds.
    pub(crate) fn ask(&self, program: &str, arguments: &[&str]) -> Option<String> {
        match self.run(program, arguments) {
            Ran::Ended { success: true, output, .. } => Some(output),
            _ => None,
        }
    }

    /// A variable of the environment, unless it is empty.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.commands.variable(name).filter(|value| !value.is_empty())
    }

    /// The driver's finer statistics, a word a line as a rule.
    pub(crate) fn statistics(&self) -> Option<String> {
        self.text("/proc/driver/knem/statistics")
    }
}

/// The number behind a key, in lines of keys and numbers.
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
