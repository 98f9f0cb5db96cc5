// SPDX-License-Identifier: CECILL-B
//! How far a benchmark is: a line on standard error, if that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::methods::Method;
use crate::sizes::format_size;

/// The line. It is gone when the benchmark has ended, however it did.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A line for so many copies. It draws nothing where standard error is no terminal.
    pub(crate) fn new(copies: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(copies), ProgressDrawTarget::stderr());
        // The template is a constant, and right.
        if let Ok(style) = ProgressStyle::with_template("{percent:>3}% {wide_bar} {msg:24} {eta:>4} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        // It is there from the beginning: the first copies may take long.
        bar.tick();
        Self(bar)
    }

    /// So many copies more are made.
    pub(crate) fn add(&self, method: Method, size: usize, copies: u64) {
        self.0.set_message(format!("{} {}", method.name(), format_size(size)));
        self.0.inc(copies);
    }

    /// The end.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}
