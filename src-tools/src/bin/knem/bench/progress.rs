// SPDX-License-Identifier: CECILL-B
//! Progress bar of a benchmark on standard error, if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::methods::Method;
use crate::sizes::format_size;

/// The progress bar. It is removed at the end, even after an error.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Creates a bar for so many copies. It draws nothing if standard error is not a terminal.
    pub(crate) fn new(copies: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(copies), ProgressDrawTarget::stderr());
        // The template is constant and valid.
        if let Ok(style) = ProgressStyle::with_template("{percent:>3}% {wide_bar} {msg:24} {eta:>4} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        // Draw it at once: the first copies may take long.
        bar.tick();
        Self(bar)
    }

    /// Adds completed copies.
    pub(crate) fn add(&self, method: Method, size: usize, copies: u64) {
        self.0.set_message(format!("{} {}", method.name(), format_size(size)));
        self.0.inc(copies);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}
