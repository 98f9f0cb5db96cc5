// SPDX-License-Identifier: CECILL-B
//! JSON output: one object, with the name and version of its schema.

use std::io::{stdout, Write};

use serde::Serialize;

use crate::exit::Failure;

/// A document: the content after the name and version of its schema.
#[derive(Serialize)]
pub(crate) struct Document<T> {
    schema: &'static str,
    version: u32,
    #[serde(flatten)]
    content: T,
}

impl<T: Serialize> Document<T> {
    /// Creates a document of this schema.
    pub(crate) fn new(schema: &'static str, version: u32, content: T) -> Self {
        Self { schema, version, content }
    }

    /// Returns the text, ending in a newline.
    pub(crate) fn text(&self) -> Result<String, Failure> {
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::Other(format!("cannot write JSON: {error}")))?;
        text.push('\n');
        Ok(text)
    }

    /// Returns the text as a single line, for a sequence of documents.
    pub(crate) fn line(&self) -> Result<String, Failure> {
        let mut text =
            serde_json::to_string(self).map_err(|error| Failure::Other(format!("cannot write JSON: {error}")))?;
        text.push('\n');
        Ok(text)
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        Ok(stdout().write_all(self.text()?.as_bytes())?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    /// All keys of a document, but for those of objects whose keys are data.
    fn keys<'a>(value: &'a Value, data: &[&str], found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    found.insert(key);
                    if !data.contains(&key.as_str()) {
                        keys(value, data, found);
                    }
                }
            }
            Value::Array(list) => list.iter().for_each(|value| keys(value, data, found)),
            _ => {}
        }
    }

    /// Fails unless docs/command.md documents each key below the heading of its command.
    pub(crate) fn is_documented(text: &str) {
        let value: Value = serde_json::from_str(text).unwrap();
        let command = value["schema"].as_str().unwrap().replace('-', " ");
        let page = include_str!("../../../../docs/command.md");
        let (_, section) = page.split_once(&format!("\n## `{command}`\n")).unwrap();
        let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
        let mut found = BTreeSet::new();
        keys(&value, &["counters"], &mut found);
        let common = ["schema", "version"];
        let missing: Vec<&str> =
            found.into_iter().filter(|key| !common.contains(key) && !section.contains(&format!("`{key}`"))).collect();
        assert!(missing.is_empty(), "not in docs/command.md below `{command}`: {missing:?}");
    }
}
