// SPDX-License-Identifier: CECILL-B
//! The output and exit status of a command, and a drill's requirements for them.

use anyhow::{bail, Result};

/// Number of lines that an error message repeats.
const TAIL: usize = 30;

/// A finished command.
#[derive(Debug, Clone)]
pub struct Said {
    /// The command, for errors.
    pub command: String,
    /// Its exit status; 128 and the signal's number if it was killed.
    pub status: i32,
    /// Both its outputs, interleaved.
    pub text: String,
}

impl Said {
    /// Fails unless it ended with `status`.
    ///
    /// # Errors
    /// If it ended otherwise.
    pub fn demand(&self, status: i32) -> Result<&Self> {
        if self.status != status {
            bail!("`{}` ended with {} instead of {status}; it said:\n{}", self.command, self.status, self.tail());
        }
        Ok(self)
    }

    /// Fails unless a line of its output has `words`.
    ///
    /// # Errors
    /// If no line has them.
    pub fn must_say(&self, words: &str) -> Result<&Self> {
        if !self.says(words) {
            bail!("`{}` does not say `{words}`; it said:\n{}", self.command, self.tail());
        }
        Ok(self)
    }

    /// Fails if a line of its output has `words`.
    ///
    /// # Errors
    /// If a line has them.
    pub fn must_not_say(&self, words: &str) -> Result<&Self> {
        if let Some(line) = self.text.lines().find(|line| line.contains(words)) {
            bail!("`{}` says `{words}`, which it should not: {line}", self.command);
        }
        Ok(self)
    }

    /// Whether a line of its output has `words`.
    pub fn says(&self, words: &str) -> bool {
        self.text.lines().any(|line| line.contains(words))
    }

    /// Returns its output, without surrounding whitespace.
    pub fn trimmed(&self) -> &str {
        self.text.trim()
    }

    /// Fails unless its output is exactly `text`, except for surrounding whitespace.
    ///
    /// # Errors
    /// If it is something else.
    pub fn must_be(&self, text: &str) -> Result<&Self> {
        if self.trimmed() != text {
            bail!("`{}` says `{}` instead of `{text}`", self.command, self.tail());
        }
        Ok(self)
    }

    fn tail(&self) -> String {
        let lines: Vec<&str> = self.trimmed().lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_demanded_is_checked() {
        let said = Said { command: "x".to_owned(), status: 1, text: "one two\nthree\n".to_owned() };
        assert!(said.demand(1).is_ok() && said.demand(0).is_err());
        assert!(said.must_say("one two").is_ok() && said.must_say("two\nthree").is_err());
        assert!(said.must_not_say("four").is_ok() && said.must_not_say("thr").is_err());
        assert!(said.must_be("one two\nthree").is_ok() && said.must_be("one").is_err());
    }
}
