// SPDX-License-Identifier: CECILL-B
//! The module's parameters: their defaults, values, and the files that set them.

use crate::machine::Machine;

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: String,
    /// Its default; `None` if this command does not know the parameter.
    pub(crate) default: Option<&'static str>,
    /// Its value; `None` if the module is not loaded or does not have it.
    pub(crate) value: Option<String>,
    /// The value that a modprobe.d file sets, and that file.
    pub(crate) set: Option<(String, String)>,
}

/// Names and defaults, as in knem(4). The default of `statslen` is the size of a page.
pub(crate) const DEFAULTS: [(&str, &str); 25] = [
    ("memlock", "2"),
    ("unpinned", "1"),
    ("max_pinned_mb", "0"),
    ("max_user_pinned_mb", "0"),
    ("max_segments", "1048576"),
    ("max_regions", "1048576"),
    ("max_contexts", "4096"),
    ("max_queued", "65536"),
    ("max_slots", "16777216"),
    ("max_slots_mb", "0"),
    ("strict_ns", "0"),
    ("strict_dumpable", "0"),
    ("thread", "1"),
    ("binding", "1"),
    ("sync", "0"),
    ("dma", "1"),
    ("dmachannels", "0"),
    ("dmamin", "1024"),
    ("dmatimeout", "5000"),
    ("pinlocal", "0"),
    ("pinlocalread", "1"),
    ("forceflags", "0"),
    ("ignoreflags", "0"),
    ("statslen", "4096"),
    ("statsverbose", "0"),
];
/// The last one, which does not change the driver's operation.
pub(crate) const DEBUG: (&str, &str) = ("debug", "0");

/// Directories of modprobe.d: a file hides those of the same name in later directories.
const MODPROBE_DIRECTORIES: [&str; 5] =
    ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

impl Machine {
    /// Returns every parameter.
    pub(crate) fn parameters(&self) -> Vec<Parameter> {
        const VALUES: &str = "/sys/module/knem/parameters";
        let set = self.module_options();
        let known = DEFAULTS.iter().chain([&DEBUG]).map(|(name, default)| ((*name).to_owned(), Some(*default)));
        let mut names: Vec<(String, Option<&'static str>)> = known.collect();
        for name in self.names(VALUES) {
            if !names.iter().any(|(known, _)| *known == name) {
                names.push((name, None));
            }
        }
        let parameter = |(name, default): (String, Option<&'static str>)| Parameter {
            value: self.word(&format!("{VALUES}/{name}")),
            // The last one takes effect.
            set: set.iter().rev().find(|option| option.0 == name).map(|option| (option.1.clone(), option.2.clone())),
            name,
            default,
        };
        names.into_iter().map(parameter).collect()
    }

    /// Returns the options that modprobe.d sets: name, value, file.
    pub(crate) fn module_options(&self) -> Vec<(String, String, String)> {
        let mut options = Vec::new();
        for (file, line) in self.modprobe_lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some("options") && words.next() == Some("knem") {
                for word in words {
                    let (name, value) = word.split_once('=').unwrap_or((word, ""));
                    options.push((name.to_owned(), value.trim_matches('"').to_owned(), file.clone()));
                }
            }
        }
        options
    }

    /// A line that keeps modprobe from loading the module, and its file: `blacklist` (the kernel's and udev's loading
    /// by alias) or `install` with another command.
    pub(crate) fn module_barrier(&self) -> Option<(String, String)> {
        self.modprobe_lines().into_iter().find(|(_, line)| {
            let words: Vec<&str> = line.split_whitespace().collect();
            matches!(words[..], ["blacklist", "knem", ..] | ["install", "knem", ..])
        })
    }

    /// Returns the lines of modprobe.d with their files, without comments, in modprobe's order: by file name.
    fn modprobe_lines(&self) -> Vec<(String, String)> {
        let mut files: Vec<(String, String)> = Vec::new();
        for directory in MODPROBE_DIRECTORIES {
            for path in self.files(directory, ".conf") {
                let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                if !files.iter().any(|(known, _)| *known == name) {
                    files.push((name, path));
                }
            }
        }
        files.sort();
        let mut lines = Vec::new();
        for (_, path) in files {
            let text = self.text(&path).unwrap_or_default().replace("\\\n", " ");
            let kept = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.extend(kept.map(|line| (path.clone(), line.to_owned())));
        }
        lines
    }
}

impl Parameter {
    /// Whether its value differs from the default. The module itself adds to the masks of flags, so callers ignore
    /// those.
    pub(crate) fn is_changed(&self) -> bool {
        match (&self.value, self.default) {
            (Some(value), Some(default)) => value != default,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    fn named(machine: &Machine, name: &str) -> Parameter {
        machine.parameters().into_iter().find(|parameter| parameter.name == name).unwrap()
    }

    #[test]
    fn the_defaults_are_those_of_the_packaged_file() {
        let file = include_str!("../../../../../modprobe.d/knem.conf");
        let packaged: Vec<(&str, &str)> = file
            .lines()
            .filter_map(|line| line.strip_prefix("#options knem "))
            .filter_map(|option| option.split_once('='))
            .collect();
        let mut known: Vec<(&str, &str)> = DEFAULTS.iter().chain([&DEBUG]).copied().collect();
        let mut packaged_sorted = packaged.clone();
        known.sort_unstable();
        packaged_sorted.sort_unstable();
        assert_eq!(known, packaged_sorted);
    }

    #[test]
    fn files_of_the_administrator_hide_packaged_ones() {
        let fake = Fake::new()
            .file("/usr/lib/modprobe.d/knem.conf", "options knem memlock=0\n")
            .file("/etc/modprobe.d/knem.conf", "# options knem sync=1\noptions knem \\\n  max_regions=7 debug=1\n")
            .file("/etc/modprobe.d/zz.conf", "options knem debug=0\n")
            .file("/sys/module/knem/parameters/max_regions", "7\n")
            .file("/sys/module/knem/parameters/later", "x\n");
        let machine = fake.machine();
        let regions = named(&machine, "max_regions");
        assert_eq!(regions.value.as_deref(), Some("7"));
        assert_eq!(regions.set, Some(("7".to_owned(), "/etc/modprobe.d/knem.conf".to_owned())));
        assert!(regions.is_changed());
        assert_eq!(named(&machine, "memlock").set, None);
        assert_eq!(named(&machine, "sync").set, None);
        assert_eq!(named(&machine, "debug").set, Some(("0".to_owned(), "/etc/modprobe.d/zz.conf".to_owned())));
        assert_eq!(named(&machine, "later").default, None);
    }

    #[test]
    fn what_forbids_the_module_is_found() {
        assert_eq!(Fake::well().machine().module_barrier(), None);
        let machine = Fake::new().file("/etc/modprobe.d/x.conf", "blacklist nouveau\nblacklist knem\n").machine();
        assert_eq!(machine.module_barrier(), Some(("/etc/modprobe.d/x.conf".to_owned(), "blacklist knem".to_owned())));
    }
}
