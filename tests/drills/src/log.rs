// SPDX-License-Identifier: CECILL-B
//! The log of a drill: everything that its commands printed, and the drill's own steps.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};

/// A log file; copies write to the same one.
#[derive(Debug, Clone)]
pub struct Log {
    file: Arc<File>,
    path: PathBuf,
    begin: Instant,
}

impl Log {
    /// Creates the log at `path`, empty.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn fresh(path: &Path) -> Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
        // Opened for appending, since commands and the drill write to it in turns.
        let file = File::options().read(true).append(true).open(path)?;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), begin: Instant::now() })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line of the drill itself, with the seconds since it began.
    ///
    /// # Errors
    /// If the disk is full, as a rule.
    pub fn line(&self, text: &str) -> Result<()> {
        let line = format!("==> {:7.1}  {text}\n", self.begin.elapsed().as_secs_f64());
        (&*self.file).write_all(line.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Writes the output of something.
    ///
    /// # Errors
    /// As for [`line`](Self::line).
    pub fn text(&self, text: &str) -> Result<()> {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        (&*self.file)
            .write_all(format!("{text}{end}").as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Returns an output for a command that writes to the log.
    ///
    /// # Errors
    /// If there are too many open files.
    pub fn output(&self) -> Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    /// Returns its present length.
    ///
    /// # Errors
    /// If the file's metadata cannot be read.
    pub fn length(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Returns what was written after byte `start`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn since(&self, start: u64) -> Result<String> {
        let length = usize::try_from(self.length()?.saturating_sub(start))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_command_and_the_drill_write_by_turns() {
        let home = tempfile::tempdir().expect("a directory");
        let log = Log::fresh(&home.path().join("a/b.log")).expect("made");
        log.line("one").expect("written");
        let start = log.length().expect("there");
        let status = Command::new("sh")
            .args(["-c", "echo two; echo three >&2"])
            .stdout(log.output().expect("a file"))
            .stderr(log.output().expect("a file"))
            .status();
        assert!(status.expect("sh runs").success());
        assert_eq!(log.since(start).expect("readable"), "two\nthree\n");
        log.text("four").expect("written");
        let whole = fs::read_to_string(log.path()).expect("readable");
        assert!(whole.starts_with("==> ") && whole.ends_with("  one\ntwo\nthree\nfour\n"), "{whole}");
    }
}
