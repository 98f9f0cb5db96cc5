// SPDX-License-Identifier: CECILL-B
//! Files that read like those of a driver.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

const DEVICE: &str = "\
knem 2.0.0
 Driver ABI=0xd
 Flags: forcing 0x0, ignoring 0x0
 DMAEngine: NoKernelSupport
 Debug: BuiltIn Disabled
 Requests submitted                           : 3
";

const STATISTICS: &str = "\
version 1
age_ns 60000000000
pinned_bytes 4096
pinned_bytes_peak 8192
contexts 1
regions 1
submitted 120
processed 119
path mapped bytes 491520
path mapped size 4096 120
path mapped time_ns 1024 120
refused INLINE_COPY EINVAL 1
reason no_such_cookie 1
";

/// The files, below a directory of their own.
pub(crate) struct Driver {
    directory: TempDir,
    options: [String; 2],
}

impl Driver {
    /// A driver that was used a little, by this process.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        fs::write(directory.path().join("device"), DEVICE).expect("written");
        let options = ["device", "proc"].map(|name| format!("{}", directory.path().join(name).display()));
        let driver = Self { directory, options };
        fs::create_dir(driver.proc()).expect("made");
        let pid = std::process::id();
        driver.count(STATISTICS);
        let row = format!("# context uid pid regions bytes requests copied slots\n0 0 {pid} 1 4096 120 491520 0\n");
        fs::write(driver.proc().join("contexts"), row).expect("written");
        let row = "# context region bytes extents protection flags\n0 0 4096 1 r- -\n";
        fs::write(driver.proc().join("regions"), row).expect("written");
        driver
    }

    fn proc(&self) -> &Path {
        Path::new(&self.options[1])
    }

    /// Changes the statistics, at once for who reads them.
    pub(crate) fn count(&self, statistics: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, statistics).expect("written");
        fs::rename(new, self.proc().join("statistics")).expect("renamed");
    }

    /// So many seconds passed, with so many more requests.
    pub(crate) fn went_on(&self, seconds: u64, requests: u64) {
        let age = format!("age_ns {}", (60 + seconds) * 1_000_000_000);
        let submitted = format!("submitted {}", 120 + requests);
        self.count(&STATISTICS.replace("age_ns 60000000000", &age).replace("submitted 120", &submitted));
    }

    /// The driver is unloaded.
    pub(crate) fn remove(&self) {
        // The statistics last, so that no command finds half of a driver.
        fs::remove_file(&self.options[0]).expect("removed");
        fs::remove_dir_all(self.proc()).expect("removed");
    }

    /// Options that have the command look there.
    pub(crate) fn options(&self) -> Vec<&str> {
        vec!["--device", &self.options[0], "--proc", &self.options[1]]
    }
}
