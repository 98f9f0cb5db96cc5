// SPDX-License-Identifier: CECILL-B
//! JSON output: one object, with a name and a version of its layout.

use std::io::{stdout, Write};

use serde::Serialize;

use crate::exit::Failure;

/// An output with the name and version of its layout in front.
#[derive(Serialize)]
pub(crate) struct Document<T> {
    schema: &'static str,
    version: u32,
    #[serde(flatten)]
    content: T,
}

impl<T: Serialize> Document<T> {
    /// An output of this layout.
    pub(crate) fn new(schema: &'static str, version: u32, content: T) -> Self {
        Self { schema, version, content }
    }

    /// The text, ending in a newline.
    pub(crate) fn text(&self) -> Result<String, Failure> {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|error| Failure::Other(format!("cannot make JSON: {error}")))?;
        text.push('\n');
        Ok(text)
    }

    /// The text as a single line, for one of many.
    pub(crate) fn line(&self) -> Result<String, Failure> {
        let mut text =
            serde_json::to_string(self).map_err(|error| Failure::Other(format!("cannot make JSON: {error}")))?;
        text.push('\n');
        Ok(text)
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        Ok(stdout().write_all(self.text()?.as_bytes())?)
    }
}
